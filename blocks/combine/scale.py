"""Scale values."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import BlockError


class UnitNorm(nn.Module):
    """Divide by the Euclidean length along the last axis, so that only the direction is left.

    Formula:
        x / max(‖x‖, ε)

    Args:
        epsilon: the smallest length that is divided by.

    Shape:
        (..., dim) -> the same

    Source:
        The embeddings of Schroff et al. 2015 (FaceNet), arXiv:1503.03832, section 3.1; the cosine
        logits of Radford et al. 2021 (CLIP), arXiv:2103.00020, figure 3.
    """

    def __init__(self, epsilon: float = 1e-12):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return F.normalize(x, dim=-1, eps=self.epsilon)


class Gain(nn.Module):
    """Multiply by a number that is given, not learned.

    Formula:
        factor · x

    Args:
        factor: the number, alpha of DeepNorm say.

    Shape:
        any -> the same

    Source:
        Wang et al. 2022, arXiv:2203.00555 (DeepNorm).
    """

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    @property
    def idle(self) -> bool:
        return self.factor == 1

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x * self.factor


class LayerScale(nn.Module):
    """Multiply every channel of the tokens by a learned number that starts small.

    Formula:
        γ ⊙ x

    Args:
        dim: width of a token; inferred from the input.
        initial: where all numbers start.

    Shape:
        (batch, ..., dim) -> the same

    Source:
        Touvron et al. 2021, arXiv:2103.17239 (CaiT), section 2: `initial` 0.1 up to depth 18, 1e-5
        up to 24, 1e-6 deeper.
    """

    def __init__(self, dim: int, initial: float = 1e-5):
        super().__init__()
        self.gain = nn.Parameter(torch.full((dim,), float(initial)))

    def forward(self, x: Float[Tensor, "batch *tokens dim"]) -> Float[Tensor, "batch *tokens dim"]:
        return x * self.gain


class ChannelScale(nn.Module):
    """LayerScale for images: multiply every channel by a learned number that starts small.

    Formula:
        γ ⊙ x

    Args:
        channels: number of channels; inferred from the input.
        initial: where all numbers start.

    Shape:
        (batch, channels, ...) -> the same

    Source:
        Touvron et al. 2021, arXiv:2103.17239, section 2; as ConvNeXt, Liu et al. 2022,
        arXiv:2201.03545, uses it.
    """

    def __init__(self, channels: int, initial: float = 1e-6):
        super().__init__()
        self.gain = nn.Parameter(torch.full((channels,), float(initial)))

    def forward(
        self, x: Float[Tensor, "batch channels *size"]
    ) -> Float[Tensor, "batch channels *size"]:
        return x * self.gain.view(-1, *(1 for _ in x.shape[2:]))


class ReZero(nn.Module):
    """Multiply everything by one learned number that starts at zero, so that a residual branch
    starts closed.

    Formula:
        α x

    Args:
        initial: where the number starts.

    Shape:
        any -> the same

    Source:
        Bachlechner et al. 2021, arXiv:2003.04887. One axis of size 1, which sharded training needs.
    """

    def __init__(self, initial: float = 0.0):
        super().__init__()
        self.gain = nn.Parameter(torch.full((1,), float(initial)))

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x * self.gain


class LogitScale(nn.Module):
    """Multiply by one learned number, the inverse of a temperature, which has an upper limit.

    Of two unit vectors one is scaled, so that their products are the logits.

    Formula:
        min(eᵗ, most) · x

    Args:
        initial: where the number starts.
        most: its limit; in training t is set back to it, so that it can fall again.

    Shape:
        any -> the same

    Raises:
        BlockError: the start is not positive, or above the limit.

    Source:
        Radford et al. 2021 (CLIP), arXiv:2103.00020, section 2.5: t starts at log(1 / 0.07), the
        limit is 100. One axis of size 1, which sharded training needs.
    """

    def __init__(self, initial: float = 1 / 0.07, *, most: float = 100.0):
        super().__init__()
        if not 0 < initial <= most:
            raise BlockError(
                "the scale must start above zero and at most at its limit",
                got=f"initial={initial:g}, most={most:g}",
                fits="0 < initial <= most",
                fix="e.g. initial: 14.3, most: 100",
            )
        self.limit = math.log(most)
        self.log_scale = nn.Parameter(torch.full((1,), math.log(initial)))

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if self.training:
            with torch.no_grad():
                self.log_scale.clamp_(max=self.limit)
        return x * self.log_scale.clamp(max=self.limit).exp()
