"""The mean over an epoch."""

from torch import Tensor
from torchmetrics import MeanMetric


class Mean(MeanMetric):
    """A weighted mean of single numbers that does not look whether they are numbers.

    The look of `MeanMetric` makes each step wait for a GPU; its `nan_strategy="disable"` does
    without, and forgets the weights. A loss that is not a number ends the run anyway, by
    `tasks.learn.nonfinite`.
    """

    def update(self, value: Tensor, weight: Tensor | int = 1) -> None:  # type: ignore[override]
        self.mean_value += value * weight
        self.weight += weight
