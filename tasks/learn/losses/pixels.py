"""Losses of a class for each pixel; pixels that are ignored take no part.

Each loss is a quotient of sums over pixels. The sums of several batches can be added, so that the
loss of a whole part does not depend on how it was divided.
"""

import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # the class of a pixel that is not judged, as in `F.cross_entropy`


def pixel_cross_entropy(logits: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy over the pixels, zero where all of them are ignored.

    Args:
        logits: (batch, classes, height, width).
        label: (batch, height, width), the class of each pixel.
        weight: (classes,), of each class; the mean is weighted, too.
    """
    total, mass = sum_cross_entropy(logits, label, weight)
    return divide_cross_entropy(total, mass)


def sum_cross_entropy(
    logits: Tensor, label: Tensor, weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the sum of the cross-entropy over the pixels, and that of their weights.

    Args:
        logits: (batch, classes, height, width).
        label: (batch, height, width), the class of each pixel.
        weight: (classes,), of each class; None: 1.
    """
    total = F.cross_entropy(logits, label, weight, ignore_index=IGNORED, reduction="sum")
    judged = label != IGNORED
    if weight is None:
        return total, judged.sum()
    return total, (weight[label.clamp_min(0)] * judged).sum()


def divide_cross_entropy(total: Tensor, mass: Tensor) -> Tensor:
    """Return the mean of a sum over pixels, zero without a pixel."""
    return total / mass.clamp_min(1e-12)


def soft_dice(logits: Tensor, label: Tensor) -> Tensor:
    """Return one minus the mean Dice score of the probabilities over the classes that the batch
    has, each over all pixels of the batch; zero where all pixels are ignored.

    Args:
        logits: (batch, classes, height, width).
        label: (batch, height, width), the class of each pixel.

    Source:
        Milletari et al. 2016 (V-Net), arXiv:1606.04797, section 3, with sums instead of squares in
        the denominator as in Drozdzal et al. 2016, arXiv:1608.04117, section 3.
    """
    return divide_dice(*sum_dice(logits, label))


def sum_dice(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return sums over the pixels for each class (classes,): of its probability where it is right,
    of its probability, and of its pixels.

    Args:
        logits: (batch, classes, height, width).
        label: (batch, height, width), the class of each pixel.
    """
    judged = label != IGNORED
    target = label.clamp_min(0)
    share = logits.float().softmax(1) * judged[:, None]
    right = share.gather(1, target[:, None])
    none = share.new_zeros(logits.shape[1])
    present = none.index_add(0, target.flatten(), judged.flatten().to(share.dtype))
    overlap = none.index_add(0, target.flatten(), right.flatten())
    return overlap, share.sum((0, 2, 3)), present


def divide_dice(overlap: Tensor, predicted: Tensor, present: Tensor) -> Tensor:
    """Return the Dice loss of the sums of `sum_dice`."""
    score = 2 * overlap / (predicted + present).clamp_min(1e-12)
    known = present > 0
    return ((1 - score) * known).sum() / known.sum().clamp_min(1)
