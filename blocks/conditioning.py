"""What a network is told beside its input: numbers as features, and features that scale and shift
others.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import must_be_multiple, must_be_positive
from blocks.position.waves import frequencies


class SinusoidalFeatures(nn.Module):
    """Cosines and sines of a number, each slower than the one before: a time step as features.

    Formula:
        [cos(x / base^(2i / dim)), sin(x / base^(2i / dim))] for i in 0..dim/2

    Args:
        dim: number of features, even.
        base: the slowest cosine has period 2π · base.

    Shape:
        (batch, ...) -> (batch, ..., dim)

    Raises:
        BlockError: `dim` is odd, `base` is not positive.

    Source:
        Ho et al. 2020 (DDPM), arXiv:2006.11239, appendix B; all cosines, then all sines, as in DiT,
        arXiv:2212.09748.
    """

    def __init__(self, *, dim: int, base: float = 10000.0):
        super().__init__()
        must_be_multiple("dim", dim)
        must_be_positive("base", base)
        self.dim, self.base = dim, base

    def forward(self, x: Float[Tensor, " batch *axes"]) -> Float[Tensor, "batch *axes out_dim"]:
        turn = x.unsqueeze(-1) * frequencies(self.dim, self.base, like=x)
        return torch.cat((turn.cos(), turn.sin()), dim=-1).to(x.dtype)


class FourierFeatures(nn.Module):
    """Cosines and sines of random projections: a network then learns quick changes over low
    dimensions.

    Formula:
        [cos(2π x B), sin(2π x B)], B drawn once and kept

    Args:
        dim: width of the input; inferred from it.
        features: number of features, even.
        deviation: standard deviation of B, in turns per unit of the input.

    Shape:
        (batch, ..., dim) -> (batch, ..., features)

    Raises:
        BlockError: `features` is odd, `deviation` is not positive.

    Source:
        Tancik et al. 2020, arXiv:2006.10739, section 6.1. B is a buffer of the `state_dict`.
    """

    projection: Tensor

    def __init__(self, dim: int, *, features: int, deviation: float = 1.0):
        super().__init__()
        must_be_multiple("features", features)
        must_be_positive("deviation", deviation)
        self.register_buffer("projection", torch.randn(dim, features // 2) * deviation)

    def forward(
        self, x: Float[Tensor, "batch *axes dim"]
    ) -> Float[Tensor, "batch *axes out_features"]:
        turn = 2 * math.pi * (x @ self.projection.to(x.dtype))
        return torch.cat((turn.cos(), turn.sin()), dim=-1)


class FeatureModulation(nn.Module):
    """Scales and shifts each channel of all tokens by what is known of the example (FiLM).

    Formula:
        x · (1 + scale) + shift

    Shape:
        x (batch, *tokens, dim), scale (batch, dim), shift (batch, dim) -> the shape of x

    Source:
        Perez et al. 2018, arXiv:1709.07871, section 2: scales as differences from 1, as advised in
        section 7.2.
    """

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        scale: Float[Tensor, "batch dim"],
        shift: Float[Tensor, "batch dim"],
    ) -> Float[Tensor, "batch *tokens dim"]:
        axes = (-1, *[1] * (x.dim() - 2), x.shape[-1])
        return torch.addcmul(shift.reshape(axes), x, 1 + scale.reshape(axes))


class ChannelGate(nn.Module):
    """Multiplies each channel of all tokens by what is known of the example.

    Shape:
        x (batch, *tokens, dim), gate (batch, dim) -> the shape of x

    Source:
        Peebles and Xie 2023 (DiT), arXiv:2212.09748, section 3.2, there the gate of a branch.
    """

    def forward(
        self, x: Float[Tensor, "batch *tokens dim"], gate: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch *tokens dim"]:
        return x * gate.reshape(-1, *[1] * (x.dim() - 2), x.shape[-1])
