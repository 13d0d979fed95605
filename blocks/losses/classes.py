"""Losses of scores against classes."""

import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from blocks.errors import (
    BlockError,
    must_be_positive,
    must_be_share,
    must_have_equal_shapes,
)

IGNORED = -100  # the label of what has none, as in torch


def move_classes_last(logits: Tensor, label: Tensor) -> Tensor:
    """Return logits with the classes on the last axis.

    Args:
        logits: (batch, ..., classes), or (batch, classes, ...) as convolutions give them.
        label: (batch, ...), without the axis of the classes.

    Raises:
        BlockError: neither order fits the label.
    """
    shape, wanted = tuple(logits.shape), tuple(label.shape)
    if shape[:-1] == wanted:
        return logits
    if shape[:1] + shape[2:] == wanted:
        return logits.movedim(1, -1)
    raise BlockError(
        "logits have the axes of the label, and one of the classes",
        got=f"logits {shape[1:]}, label {wanted[1:]} of each sample",
        fits="logits (batch, classes) with label (batch), logits (batch, tokens, classes) with "
        "label (batch, tokens), logits (batch, classes, height, width) with label "
        "(batch, height, width)",
        code="shape-mismatch",
    )


class CrossEntropy(nn.Module):
    """Cross-entropy of logits, the mean over the labels.

    Args:
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        ignored: the label of a place without one. Without any other, the loss is 0.

    Shape:
        logits (batch, ..., classes) or (batch, classes, ...), label (batch, ...) -> ()

    Raises:
        BlockError: the axes of logits and label do not fit.

    Source:
        Label smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.

    Formula:
        mean of -log softmax(logits)[label]
    """

    def __init__(self, *, label_smoothing: float = 0.0, ignored: int = IGNORED):
        super().__init__()
        must_be_share("label_smoothing", label_smoothing)
        self.label_smoothing = label_smoothing
        self.ignored = ignored

    def forward(
        self, logits: Float[Tensor, " batch *axes"], label: Int[Tensor, " batch *places"]
    ) -> Float[Tensor, ""]:
        logits = move_classes_last(logits, label)
        label = label.flatten()
        total = F.cross_entropy(
            logits.flatten(0, -2),
            label,
            ignore_index=self.ignored,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        return total / (label != self.ignored).sum().clamp(min=1)


class FocalLoss(nn.Module):
    """Cross-entropy that counts what is nearly right less, the mean over the labels.

    Args:
        gamma: how much less; 0 is the cross-entropy.

    Shape:
        logits (batch, ..., classes) or (batch, classes, ...), label (batch, ...) -> ()

    Raises:
        BlockError: the axes of logits and label do not fit; gamma is negative.

    Source:
        Lin et al. 2017, arXiv:1708.02002, equation 4.

    Formula:
        mean of -(1 - p)^gamma log p, p = softmax(logits)[label]
    """

    def __init__(self, *, gamma: float = 2.0):
        super().__init__()
        if gamma < 0:
            raise BlockError("gamma must not be negative", got=f"gamma={gamma}", fits="gamma=2.0")
        self.gamma = gamma

    def forward(
        self, logits: Float[Tensor, " batch *axes"], label: Int[Tensor, " batch *places"]
    ) -> Float[Tensor, ""]:
        logs = move_classes_last(logits, label).log_softmax(-1)
        logs = logs.gather(-1, label[..., None])[..., 0]
        return -((1 - logs.exp()) ** self.gamma * logs).mean()


class BinaryCrossEntropy(nn.Module):
    """Cross-entropy of a logit for yes against no, the mean over all of them.

    Shape:
        logits (batch, ...), target (batch, ...) in [0, 1] or bool -> ()

    Raises:
        BlockError: the shapes differ.

    Source:
        Goodfellow et al. 2016, Deep Learning, section 6.2.2.2.

    Formula:
        mean of -target log σ(logits) - (1 - target) log(1 - σ(logits))
    """

    def forward(
        self, logits: Float[Tensor, " batch *axes"], target: Shaped[Tensor, " batch *axes"]
    ) -> Float[Tensor, ""]:
        must_have_equal_shapes(logits=tuple(logits.shape), target=tuple(target.shape))
        return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype))


class DiceLoss(nn.Module):
    """One minus the soft Dice coefficient, the mean over the classes that a batch has.

    Args:
        smooth: added to numerator and denominator.

    Shape:
        logits (batch, ..., classes) or (batch, classes, ...), label (batch, ...) -> ()

    Raises:
        BlockError: the axes of logits and label do not fit; smooth is not positive.

    Source:
        Milletari et al. 2016, arXiv:1606.04797, section 3, with the sums of the probabilities in
        place of those of their squares.

    Formula:
        1 - mean over classes of (2 Σ p t + s) / (Σ p + Σ t + s)
    """

    def __init__(self, *, smooth: float = 1.0):
        super().__init__()
        must_be_positive("smooth", smooth)
        self.smooth = smooth

    def forward(
        self, logits: Float[Tensor, " batch *axes"], label: Int[Tensor, " batch *places"]
    ) -> Float[Tensor, ""]:
        logits = move_classes_last(logits, label).flatten(0, -2)
        label = label.flatten()
        counted = label != IGNORED
        share = logits.softmax(-1) * counted[:, None]
        classes = logits.shape[-1]
        truth = F.one_hot(label.clamp(min=0, max=classes - 1), classes) * counted[:, None]
        overlap = (share * truth).sum(0)
        sizes = share.sum(0) + truth.sum(0)
        present = (truth.sum(0) > 0).to(share.dtype)
        dice = (2 * overlap + self.smooth) / (sizes + self.smooth)
        return 1 - (dice * present).sum() / present.sum().clamp(min=1)


class DistillationLoss(nn.Module):
    """Divergence of a student's classes from those of a teacher, both softened.

    Args:
        temperature: by which the logits of both are divided; the loss is multiplied by its square,
            so that its gradients keep their size.

    Shape:
        logits (batch, ..., classes), teacher (batch, ..., classes) -> ()

    Raises:
        BlockError: the shapes differ; the temperature is not positive.

    Source:
        Hinton et al. 2015, arXiv:1503.02531, section 2.

    Formula:
        T² · mean of Σ q (log q - log p), p = softmax(logits / T), q = softmax(teacher / T)
    """

    def __init__(self, *, temperature: float = 4.0):
        super().__init__()
        must_be_positive("temperature", temperature)
        self.temperature = temperature

    def forward(
        self,
        logits: Float[Tensor, " batch *axes classes"],
        teacher: Float[Tensor, " batch *axes classes"],
    ) -> Float[Tensor, ""]:
        must_have_equal_shapes(logits=tuple(logits.shape), teacher=tuple(teacher.shape))
        student = (logits / self.temperature).log_softmax(-1).flatten(0, -2)
        wanted = (teacher / self.temperature).log_softmax(-1).flatten(0, -2)
        divergence = F.kl_div(student, wanted, reduction="batchmean", log_target=True)
        return divergence * self.temperature**2
