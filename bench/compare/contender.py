"""What takes part in a comparison, and the two pieces of work it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Contender:
    """One implementation with its batch.

    Args:
        model: what is trained.
        loss: of the batch, with gradients.
        output: what the model says to the batch: what must be equal to ours, and what inference
            costs.
        extra: a module that holds parameters which `model` lacks, an embedding say; for copying
            weights.
    """

    model: nn.Module
    loss: Callable[[], Tensor]
    output: Callable[[], Tensor]
    extra: nn.Module | None = None

    def trainer(self, bfloat16: bool = False, rate: float = 1e-5) -> Callable[[], Tensor]:
        """A step of training: the loss, its gradients and a fused AdamW; in mixed precision if
        asked. It returns the loss before the step, without waiting for the device.
        """
        self.model.train()
        device = next(self.model.parameters()).device.type
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=rate, fused=True)

        def step() -> Tensor:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
                loss = self.loss()
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    def asker(self, bfloat16: bool = False) -> Callable[[], Tensor]:
        """Inference; in mixed precision if asked."""
        self.model.eval()
        device = next(self.model.parameters()).device.type

        def ask() -> Tensor:
            with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
                return self.output()

        return torch.inference_mode()(ask)

    def state(self) -> dict[str, Tensor]:
        """Its weights under its own names."""
        return {
            **self.model.state_dict(),
            **(self.extra.state_dict() if self.extra is not None else {}),
        }


@dataclass(frozen=True)
class Family:
    """Contenders that do the same work.

    Args:
        name: as on the command line.
        size: the work in words.
        contenders: name -> what makes it; the first is ours.
        maps: peers whose weights are copied into ours before anything is timed -> map of
            `conf/weights`. The others differ from ours in a detail that `near` tells.
        near: peer -> in what it differs.
        flops: of a step of training: of the products of matrices and convolutions, forward and
            twice backward.
        items: in a batch, and what they are: images, tokens.
        memory: bytes of a training of ours in bfloat16, as `explain --memory` states them.
        only_gpu: not among those that `python -m bench` measures by default.
    """

    name: str
    size: str
    contenders: dict[str, Callable[[], Contender]]
    maps: dict[str, str] = field(default_factory=dict)
    near: dict[str, str] = field(default_factory=dict)
    flops: Callable[[], int] = lambda: 0
    items: tuple[int, str] = (1, "batches")
    memory: Callable[[], int] = lambda: 0
    only_gpu: bool = False

    @property
    def peers(self) -> list[str]:
        """The contenders that are not ours."""
        return list(self.contenders)[1:]
