"""Losses of classification: of one class for each sample, and of several labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.errors import ArgumentError

SHOWN = 8  # classes in a message


def class_losses(
    logits: Tensor, label: Tensor, *, loss: str, smoothing: float, gamma: float
) -> Tensor:
    """Return the loss of each sample (batch,), without weights.

    Args:
        logits: (batch, classes).
        label: (batch,), the number of a class.
        loss: focal (Lin et al. 2017, arXiv:1708.02002, equation 4), or squared_error of the
            probabilities, summed over the classes (Brier 1950).
        smoothing: share of the target that is spread over all classes.
        gamma: of the focal loss.
    """
    classes = logits.shape[1]
    target = F.one_hot(label, classes) * (1 - smoothing) + smoothing / classes
    if loss == "squared_error":
        return (logits.softmax(1) - target).square().sum(1)
    logs = logits.log_softmax(1)
    return -(target * (1 - logs.exp()) ** gamma * logs).sum(1)


def class_loss(
    logits: Tensor,
    label: Tensor,
    *,
    loss: str = "cross_entropy",
    smoothing: float = 0.0,
    gamma: float = 2.0,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor | int]:
    """Return the mean loss of samples with one class each, and the sum of their weights.

    Args:
        logits: (batch, classes).
        label: (batch,), the number of a class.
        loss: cross_entropy, or one of `class_losses`.
        smoothing: share of the target that is spread over all classes.
        gamma: of the focal loss.
        weight: (classes,), of the samples by their class; the mean is weighted by it. The
            cross-entropy weighs a smoothed target by the class of each share, as torch does.
    """
    if loss == "cross_entropy":
        if weight is None:
            return F.cross_entropy(logits, label, label_smoothing=smoothing), len(label)
        total = F.cross_entropy(logits, label, weight, label_smoothing=smoothing, reduction="sum")
        count = weight[label].sum()
        return divide(total, count), count
    losses = class_losses(logits, label, loss=loss, smoothing=smoothing, gamma=gamma)
    if weight is None:
        return losses.mean(), len(label)
    weights = weight[label]
    return divide((losses * weights).sum(), weights.sum()), weights.sum()


def label_loss(
    logits: Tensor,
    label: Tensor,
    *,
    loss: str = "cross_entropy",
    smoothing: float = 0.0,
    gamma: float = 2.0,
    weight: Tensor | None = None,
) -> tuple[Tensor, int]:
    """Return the mean loss of samples with several labels each, and their number.

    Args:
        logits: (batch, classes).
        label: (batch, classes), 1 for each label that a sample has, else 0.
        loss: cross_entropy, the binary one of each class; focal; squared_error, summed over the
            classes.
        smoothing: the targets are `smoothing / 2` and `1 - smoothing / 2`.
        gamma: of the focal loss.
        weight: (classes,), of a label that a sample has, beside 1 for one that it has not.
    """
    target = label.to(logits.dtype) * (1 - smoothing) + smoothing / 2
    if loss == "cross_entropy":
        mean = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
        return mean, len(label)
    positive = 1.0 if weight is None else weight
    if loss == "squared_error":
        weights = torch.where(label > 0, positive, 1.0)
        return (weights * (logits.sigmoid() - target).square()).sum(1).mean(), len(label)
    yes = positive * target * (-logits).sigmoid() ** gamma * F.logsigmoid(logits)
    no = (1 - target) * logits.sigmoid() ** gamma * F.logsigmoid(-logits)
    return -(yes + no).mean(), len(label)


def divide(total: Tensor, count: Tensor) -> Tensor:
    """Return a weighted mean; zero where nothing has a weight."""
    return total / torch.where(count > 0, count, 1.0)


def balance_classes(counts: Tensor) -> Tensor:
    """Return the weight of each class that makes all of them count alike: the number of samples
    over the number of classes times that of the class, as scikit-learn has it.

    Args:
        counts: (classes,), of the training samples.
    """
    return (counts.sum() / (len(counts) * counts.clamp_min(1))).float()


def balance_labels(counts: Tensor, samples: int) -> Tensor:
    """Return the weight of each label that makes it count as its absence does.

    Args:
        counts: (classes,), of the training samples with the label.
        samples: number of training samples.
    """
    return ((samples - counts).clamp_min(1) / counts.clamp_min(1)).float()


def read_class_weights(
    value: Mapping[str, Any] | Sequence[float] | None, classes: Sequence[str]
) -> Tensor | None:
    """Return the weight of each class (classes,); None where all weigh alike.

    Args:
        value: a number for each class in their order, or for some classes by name; the others
            have 1.
        classes: their names.

    Raises:
        ArgumentError: there is no such class, not one number for each class, a number is
            negative, or all are zero.
    """
    if value is None:
        return None
    shown = ", ".join(classes[:SHOWN])
    if len(classes) > SHOWN:
        shown += ", ..."
    if isinstance(value, Mapping):
        named = {str(name): weight for name, weight in value.items()}
        unknown = [name for name in named if name not in classes]
        if unknown:
            raise ArgumentError(
                "class_weights", "there is no such class", got=", ".join(unknown), fits=shown
            )
        value = [named.get(name, 1.0) for name in classes]
    if len(value) != len(classes):
        raise ArgumentError(
            "class_weights",
            "class_weights has one number for each class",
            got=f"{len(value)} numbers",
            fits=f"{len(classes)} numbers, of {shown}; or balanced, or {{NAME: NUMBER}}",
        )
    are_numbers = all(isinstance(weight, int | float) for weight in value)
    if not are_numbers or min(value) < 0 or max(value) == 0:
        raise ArgumentError(
            "class_weights",
            "a class weight is a number that is not negative, and one of them is positive",
            got=f"class_weights={list(value)}",
            fits="numbers of 0 or more",
        )
    return torch.tensor(list(value), dtype=torch.float32)
