"""Angles that grow with the position, each at its own frequency."""

import torch
from jaxtyping import Float
from torch import Tensor


def frequencies(dim: int, base: float, like: Tensor) -> Float[Tensor, " half_dim"]:
    """base^(-2i / dim) for i in 0..dim/2, in float32 at least: radians from a position to the
    next.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    steps = torch.arange(0, dim, 2, dtype=dtype, device=like.device)
    return torch.pow(base, -steps / dim)


def angles(
    positions: int, dim: int, base: float, like: Tensor
) -> Float[Tensor, "positions half_dim"]:
    """position / base^(2i / dim) for i in 0..dim/2, in float32 at least."""
    steps = frequencies(dim, base, like)
    return torch.outer(torch.arange(positions, dtype=steps.dtype, device=like.device), steps)
