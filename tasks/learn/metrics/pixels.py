"""The loss of a class for each pixel, over all pixels of a part."""

import torch
from torch import Tensor
from torchmetrics import Metric

from tasks.learn.losses.pixels import (
    divide_cross_entropy,
    divide_dice,
    sum_cross_entropy,
    sum_dice,
)


class PixelLoss(Metric):
    """The weighted sum of cross-entropy and soft Dice over all pixels that were added.

    It adds up the sums that both losses divide, so that it is the loss of one batch of all samples,
    however they are divided into batches and processes. The mean of the losses of the batches is
    another number: the Dice score of a class is no mean over batches.

    Args:
        classes: their number.
        cross_entropy: weight of the cross-entropy.
        dice: weight of the soft Dice loss.
    """

    full_state_update = False
    total: Tensor
    mass: Tensor
    overlap: Tensor
    predicted: Tensor
    present: Tensor

    def __init__(self, classes: int, *, cross_entropy: float, dice: float):
        super().__init__()
        self.cross_entropy, self.dice = cross_entropy, dice
        # float32 would lose single pixels among ten million
        for name in ("total", "mass"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("overlap", "predicted", "present"):
            self.add_state(name, torch.zeros(classes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, label: Tensor, weight: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            logits: (batch, classes, height, width).
            label: (batch, height, width), the class of each pixel.
            weight: (classes,), of each class in the cross-entropy; None: 1.
        """
        if self.cross_entropy:
            total, mass = sum_cross_entropy(logits, label, weight)
            self.total += total
            self.mass += mass
        if self.dice:
            overlap, predicted, present = sum_dice(logits, label)
            self.overlap += overlap
            self.predicted += predicted
            self.present += present

    def compute(self) -> Tensor:
        entropy = divide_cross_entropy(self.total, self.mass)
        dice = divide_dice(self.overlap, self.predicted, self.present)
        return (self.cross_entropy * entropy + self.dice * dice).float()
