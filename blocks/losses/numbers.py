"""Losses of numbers against numbers, and of distributions."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_positive, must_have_equal_shapes


class SquaredError(nn.Module):
    """Squared error, the mean over all numbers.

    Shape:
        x (batch, ...), target (batch, ...) -> ()

    Raises:
        BlockError: the shapes differ.

    Source:
        Goodfellow et al. 2016, Deep Learning, section 6.2.1.2.

    Formula:
        mean of (x - target)²
    """

    def forward(
        self, x: Float[Tensor, " batch *axes"], target: Float[Tensor, " batch *axes"]
    ) -> Float[Tensor, ""]:
        must_have_equal_shapes(x=tuple(x.shape), target=tuple(target.shape))
        return F.mse_loss(x, target)


class AbsoluteError(nn.Module):
    """Absolute error, the mean over all numbers.

    Shape:
        x (batch, ...), target (batch, ...) -> ()

    Raises:
        BlockError: the shapes differ.

    Source:
        Goodfellow et al. 2016, Deep Learning, section 6.2.1.2.

    Formula:
        mean of |x - target|
    """

    def forward(
        self, x: Float[Tensor, " batch *axes"], target: Float[Tensor, " batch *axes"]
    ) -> Float[Tensor, ""]:
        must_have_equal_shapes(x=tuple(x.shape), target=tuple(target.shape))
        return F.l1_loss(x, target)


class HuberLoss(nn.Module):
    """Squared error near the target, absolute error far from it, the mean over all numbers.

    Args:
        delta: the error at which it becomes linear.

    Shape:
        x (batch, ...), target (batch, ...) -> ()

    Raises:
        BlockError: the shapes differ; delta is not positive.

    Source:
        Huber 1964, section 2.

    Formula:
        mean of e² / 2 for |e| < δ, else δ (|e| - δ / 2), e = x - target
    """

    def __init__(self, *, delta: float = 1.0):
        super().__init__()
        must_be_positive("delta", delta)
        self.delta = delta

    def forward(
        self, x: Float[Tensor, " batch *axes"], target: Float[Tensor, " batch *axes"]
    ) -> Float[Tensor, ""]:
        must_have_equal_shapes(x=tuple(x.shape), target=tuple(target.shape))
        return F.huber_loss(x, target, delta=self.delta)


class QuantileLoss(nn.Module):
    """The pinball loss, whose minimum is a quantile of the target; the mean over all numbers.

    Args:
        quantile: in (0, 1).

    Shape:
        x (batch, ...), target (batch, ...) -> ()

    Raises:
        BlockError: the shapes differ; the quantile is not between 0 and 1.

    Source:
        Koenker and Bassett 1978, section 3.

    Formula:
        mean of max(q e, (q - 1) e), e = target - x
    """

    def __init__(self, *, quantile: float = 0.5):
        super().__init__()
        if not 0 < quantile < 1:
            raise BlockError(
                "a quantile is between 0 and 1", got=f"quantile={quantile}", fits="quantile=0.5"
            )
        self.quantile = quantile

    def forward(
        self, x: Float[Tensor, " batch *axes"], target: Float[Tensor, " batch *axes"]
    ) -> Float[Tensor, ""]:
        must_have_equal_shapes(x=tuple(x.shape), target=tuple(target.shape))
        error = target - x
        return torch.maximum(self.quantile * error, (self.quantile - 1) * error).mean()


class CosineDistance(nn.Module):
    """One minus the cosine between two vectors, the mean over all pairs.

    Shape:
        x (batch, ..., dim), target (batch, ..., dim) -> ()

    Raises:
        BlockError: the shapes differ.

    Source:
        Salton et al. 1975, doi:10.1145/361219.361220.

    Formula:
        mean of 1 - x · target / (|x| |target|)
    """

    def forward(
        self, x: Float[Tensor, " batch *axes dim"], target: Float[Tensor, " batch *axes dim"]
    ) -> Float[Tensor, ""]:
        must_have_equal_shapes(x=tuple(x.shape), target=tuple(target.shape))
        return 1 - F.cosine_similarity(x, target, dim=-1).mean()


class GaussianKL(nn.Module):
    """Divergence of a normal distribution from the standard one, summed over its dimensions, the
    mean over the batch.

    Shape:
        mean (batch, ...), log_variance (batch, ...) -> ()

    Raises:
        BlockError: the shapes differ.

    Source:
        Kingma and Welling 2014, arXiv:1312.6114, appendix B.

    Formula:
        mean of Σ (mean² + exp(log_variance) - 1 - log_variance) / 2
    """

    def forward(
        self, mean: Float[Tensor, " batch *axes"], log_variance: Float[Tensor, " batch *axes"]
    ) -> Float[Tensor, ""]:
        must_have_equal_shapes(mean=tuple(mean.shape), log_variance=tuple(log_variance.shape))
        terms = mean.square() + log_variance.exp() - 1 - log_variance
        return terms.flatten(1).sum(1).mean() / 2


class Mean(nn.Module):
    """The mean of all numbers, for what a model computes as a loss itself.

    Shape:
        x (batch, ...) -> ()

    Source:
        The arithmetic mean.
    """

    def forward(self, x: Float[Tensor, " batch *axes"]) -> Float[Tensor, ""]:
        return x.mean()
