"""What is drawn at random in training."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import must_be_share, must_have_equal_shapes


class DropPath(nn.Module):
    """Zero a residual branch for some examples of the batch in training, and scale the others so
    that the mean stays.

    Formula:
        x · m / (1 - rate), with m = 0 for a share `rate` of the examples, else 1; x after training

    Args:
        rate: share of examples zeroed, in [0, 1).

    Shape:
        (batch, ...) -> the same

    Raises:
        BlockError: `rate` is outside [0, 1).

    Source:
        Huang et al. 2016, arXiv:1603.09382 (stochastic depth), drawn for each example and scaled in
        training, not in evaluation, as in Larsson et al. 2017, arXiv:1605.07648, and every vision
        transformer since DeiT.
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        must_be_share("rate", rate)
        self.rate = rate

    @property
    def idle(self) -> bool:
        return self.rate == 0

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        if not self.training or self.rate == 0:
            return x
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        kept = x.new_empty(shape).bernoulli_(1 - self.rate)
        return x * kept.div_(1 - self.rate)


class GaussianSample(nn.Module):
    """A sample of a normal distribution in training, through which gradients flow; its mean
    otherwise.

    Formula:
        mean + exp(log_variance / 2) · ε, with ε of the standard normal distribution; mean after
        training

    Shape:
        mean (batch, ...), log_variance (batch, ...) -> the same

    Raises:
        BlockError: the shapes differ.

    Source:
        Kingma and Welling 2014, arXiv:1312.6114, section 2.4 (the reparameterization trick).
    """

    def forward(
        self, mean: Float[Tensor, " batch *axes"], log_variance: Float[Tensor, " batch *axes"]
    ) -> Float[Tensor, " batch *axes"]:
        must_have_equal_shapes(mean=tuple(mean.shape), log_variance=tuple(log_variance.shape))
        if not self.training:
            return mean
        return mean + (log_variance / 2).exp() * torch.randn_like(mean)
