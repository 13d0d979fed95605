"""Fourier transforms of real values."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from blocks.combine.axes import axis_index
from blocks.errors import BlockError, must_be_positive, must_have_equal_shapes

Norm = Literal["backward", "ortho", "forward"]


def must_be_norm(norm: str) -> None:
    """Raise a BlockError unless torch knows how to scale so."""
    if norm not in ("backward", "ortho", "forward"):
        raise BlockError(
            "norm is not known", got=f"norm={norm}", fits="norm in backward, ortho, forward"
        )


def list_axes(axes: int | list[int], count: int) -> list[int]:
    """The axes as indices from the front; raises a BlockError where one is not there or twice."""
    given = [axes] if isinstance(axes, int) else axes
    found = [axis_index(axis, count) for axis in given]
    if not found or len(set(found)) < len(found):
        raise BlockError(
            "axes must be one or more, each once", got=f"axes={axes}, {count} axes", fits="[1, 2]"
        )
    return found


class FFT(nn.Module):
    """The discrete Fourier transform of a real value over one axis or several.

    Formula:
        Σ x_t exp(-2πi k t / n) for each k

    Args:
        axes: indices of axes, counted from the end where negative; 1 are the tokens.
        half: leave out what mirrors the rest: n // 2 + 1 numbers on the last of `axes`.
        norm: where 1 / n stands: in the inverse (backward), here (forward), or its root in both.

    Shape:
        any -> real, and imaginary: both the same, or with n // 2 + 1 on the last of `axes`

    Raises:
        BlockError: `norm` is unknown; in forward: an axis that is not there, or twice.

    Source:
        Cooley and Tukey 1965; `torch.fft`. The real part over tokens and dim: Lee-Thorp et al. 2021
        (FNet), arXiv:2105.03824, equation 3. Values of 16 bits are transformed in 32.
    """

    outputs = ("real", "imaginary")

    def __init__(self, axes: int | list[int] = 1, *, half: bool = False, norm: Norm = "backward"):
        super().__init__()
        must_be_norm(norm)
        self.axes, self.halved, self.norm = axes, half, norm

    def forward(self, x: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        axes = list_axes(self.axes, x.ndim)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        transform = torch.fft.rfftn if self.halved else torch.fft.fftn
        found = transform(wide, dim=axes, norm=self.norm)
        return found.real.to(x.dtype), found.imag.to(x.dtype)


class InverseFFT(nn.Module):
    """The real part of the inverse Fourier transform over one axis or several.

    Formula:
        1/n Σ X_k exp(2πi k t / n) for each t

    Args:
        axes: indices of axes, counted from the end where negative; 1 are the tokens.
        half: the last of `axes` has the n // 2 + 1 numbers that `FFT` with `half` gives.
        size: n of the last of `axes`, where `half`; None is the even one.
        norm: as that of `FFT`.

    Shape:
        real, and imaginary of the same shape -> the same, or with n on the last of `axes`

    Raises:
        BlockError: `norm` is unknown, `size` is not positive or given without `half`; in forward:
            an axis that is not there, or twice; two shapes.

    Source:
        Cooley and Tukey 1965; `torch.fft`. With `FFT` and `Multiply`, a global filter: Rao et al.
        2021 (GFNet), arXiv:2107.00645, section 3.2.
    """

    def __init__(
        self,
        axes: int | list[int] = 1,
        *,
        half: bool = False,
        size: int | None = None,
        norm: Norm = "backward",
    ):
        super().__init__()
        must_be_norm(norm)
        must_be_positive("size", 1 if size is None else size)
        if size is not None and not half:
            raise BlockError(
                "size belongs to half a transform", got=f"size={size}, half=false", fits="half=true"
            )
        self.axes, self.halved, self.size, self.norm = axes, half, size, norm

    def forward(
        self, real: Float[Tensor, "..."], imaginary: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        must_have_equal_shapes(real=tuple(real.shape), imaginary=tuple(imaginary.shape))
        axes = list_axes(self.axes, real.ndim)
        kind = torch.promote_types(real.dtype, torch.float32)
        found = torch.complex(real.to(kind), imaginary.to(kind))
        if not self.halved:
            return torch.fft.ifftn(found, dim=axes, norm=self.norm).real.to(real.dtype)
        last = 2 * (real.shape[axes[-1]] - 1) if self.size is None else self.size
        sizes = [real.shape[axis] for axis in axes[:-1]] + [last]
        return torch.fft.irfftn(found, s=sizes, dim=axes, norm=self.norm).to(real.dtype)
