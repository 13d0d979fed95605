"""What each batch weighs in a step that several batches and processes make together.

The gradient of a step is that of one mean over all of its targets, however they are divided. How
many there are is known after the last batch only. So each batch is backpropagated with its number
of targets in a common unit, and the gradients are divided once, before they are measured, clipped
and applied. The unit is a power of two: it keeps the numbers in the range of half precision, and
changes no bit of the result.
"""

from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from tasks.parallel.optimizer_state import kind_of


class TargetShare:
    """The targets of the step that is being made.

    Attributes:
        count: targets of the batch that is being learned from.
    """

    def __init__(self) -> None:
        self.count: Tensor | int = 1
        self.gathered: Tensor | None = (
            None  # targets of the batches of this step in this process, in units
        )
        self.unit: Tensor | None = None  # about the targets of one batch, the same in every process

    @staticmethod
    def alone(trainer: pl.Trainer) -> bool:
        """Whether each batch is a step by itself, whose loss needs no weight."""
        return trainer.world_size == 1 and trainer.accumulate_grad_batches == 1

    def weight(self, loss: Tensor, trainer: pl.Trainer) -> Tensor:
        """What to backpropagate from this batch's loss, which Lightning has divided by the number
        of batches.

        Of several processes each has to ask for each of its batches: they agree on the unit at the
        first one.
        """
        count = torch.as_tensor(self.count, device=loss.device).to(
            torch.promote_types(loss.dtype, torch.float32)
        )
        if self.unit is None:
            most: Any = trainer.strategy.reduce(count.clone(), reduce_op="max")
            self.unit = most.clamp_min(1).log2().floor().exp2()
        share = count / self.unit
        self.gathered = share if self.gathered is None else self.gathered + share
        return (share * trainer.accumulate_grad_batches).to(loss.dtype)

    def divide(self, parameters: Iterable[nn.Parameter], trainer: pl.Trainer) -> None:
        """Divide the gradients, which are means over the processes, by the targets of the step."""
        assert self.gathered is not None
        mean: Any = trainer.strategy.reduce(self.gathered, reduce_op="mean")
        self.gathered = None
        mean = torch.where(mean > 0, mean, 1.0)  # without any target there is no gradient either
        together: dict[tuple[Any, torch.device, torch.dtype], list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                key = (kind_of(parameter), parameter.device, parameter.dtype)
                together.setdefault(key, []).append(parameter.grad)
        for gradients in together.values():
            torch._foreach_div_(gradients, mean.to(gradients[0].device))
