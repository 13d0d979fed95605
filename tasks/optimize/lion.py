"""Lion: the sign of the momentum."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer


class Lion(Optimizer):
    """Each weight moves by the learning rate, in the direction of the sign of its momentum.

    It keeps one number for each weight, AdamW two. Its learning rate is 3 to 10 times lower than
    that of AdamW, and its weight decay as many times higher.

    Args:
        params: parameters, or groups of them.
        lr: learning rate.
        betas: share of the momentum in an update, and share of it that a step keeps, in [0, 1).
        weight_decay: decoupled.

    Source:
        Chen et al. 2023, arXiv:2302.06675, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ):
        defaults = {"lr": lr, "betas": tuple(betas), "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            trained = [each for each in group["params"] if each.grad is not None]
            if trained:
                self._step_group(trained, group)
        return loss

    def _step_group(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        share, kept = group["betas"]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        momenta = [local(self.state[each]["momentum_buffer"]) for each in parameters]
        gradients = [local(each.grad) for each in parameters if each.grad is not None]
        weights = [local(each) for each in parameters]
        updates = torch._foreach_lerp(momenta, gradients, 1 - share)
        torch._foreach_sign_(updates)
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, updates, alpha=-group["lr"])
        torch._foreach_lerp_(momenta, gradients, 1 - kept)


def local(tensor: Tensor) -> Tensor:
    """Return the part of a sharded tensor that this process has, or a whole one."""
    if isinstance(tensor, DTensor):
        return tensor.to_local()
    return tensor
