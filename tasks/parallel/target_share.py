"""The weight of each batch in an optimizer step that several batches and processes share.

The gradient of a step is that of one mean over all of its targets, however these are distributed.
Their number is known only after the last batch. Each batch is therefore backpropagated with its
number of targets in a common unit, and the gradients are divided once, before they are measured,
clipped and applied. The unit is a power of two: it keeps the numbers in the range of half
precision, and changes no bit of the result.
"""

from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from tasks.parallel.optimizer_state import mesh_of


class TargetShare:
    """Counts the targets of the current optimizer step.

    Attributes:
        count: number of targets of the current batch.
    """

    def __init__(self) -> None:
        self.count: Tensor | int = 1
        # targets of the batches of this step in this process, in units
        self.gathered: Tensor | None = None
        # about the number of targets of one batch; the same in every process
        self.unit: Tensor | None = None

    @staticmethod
    def is_single(trainer: pl.Trainer) -> bool:
        """Return whether each batch is a step by itself, whose loss needs no weight."""
        return trainer.world_size == 1 and trainer.accumulate_grad_batches == 1

    def weight(self, loss: Tensor, trainer: pl.Trainer) -> Tensor:
        """Return the gradient with which to backpropagate the loss of this batch.

        Lightning has divided the loss by the number of batches already. Every process must call
        this for each of its batches: the first call agrees on the unit.
        """
        dtype = torch.promote_types(loss.dtype, torch.float32)
        count = torch.as_tensor(self.count, device=loss.device).to(dtype)
        if self.unit is None:
            most: Any = trainer.strategy.reduce(count.clone(), reduce_op="max")
            self.unit = most.clamp_min(1).log2().floor().exp2()
        share = count / self.unit
        if self.gathered is None:
            self.gathered = share
        else:
            self.gathered = self.gathered + share
        return (share * trainer.accumulate_grad_batches).to(loss.dtype)

    def divide(self, parameters: Iterable[nn.Parameter], trainer: pl.Trainer) -> None:
        """Divide the gradients, which are means over the processes, by the targets of the step."""
        assert self.gathered is not None
        mean: Any = trainer.strategy.reduce(self.gathered, reduce_op="mean")
        self.gathered = None
        mean = torch.where(mean > 0, mean, 1.0)  # without a target there is no gradient either
        groups: dict[tuple[Any, torch.device, torch.dtype], list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                key = (mesh_of(parameter), parameter.device, parameter.dtype)
                groups.setdefault(key, []).append(parameter.grad)
        for gradients in groups.values():
            torch._foreach_div_(gradients, mean.to(gradients[0].device))
