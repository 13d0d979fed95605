"""Learned position tables brought to another resolution."""

import math

import torch.nn.functional as F
from torch import Tensor

from blocks.graph.errors import did_you_mean
from blocks.graph.expression import ExpressionError

FITS = ("grid", "window", "first")


def resample(kind: str, table: Tensor, shape: tuple[int, ...], prefix: int = 0) -> tuple[Tensor, str]:
    """The table in another shape, and what was done; as it is where its kind says nothing about that shape.

    Args:
        kind: "grid" for a vector for each place of a square, "window" for a bias for each distance in a square window,
            "first" for a vector for each position, of which fewer are wanted.
        prefix: rows in front that stand nowhere: class tokens.

    Raises:
        ExpressionError: an unknown kind, or a table that is no square.
    """
    if kind not in FITS:
        raise ExpressionError(f"no way {kind!r} to fit a table", did_you_mean(kind, FITS))
    if kind == "first":
        if table.dim() != len(shape) or table.shape[0] < shape[0]:
            return table, ""
        return table[: shape[0]], f"the first {shape[0]} of {table.shape[0]} positions"
    rows = table.flatten(0, -2)
    if rows.shape[-1] != shape[-1]:
        return table, ""
    old = _side(rows.shape[0] - prefix, tuple(table.shape))
    new = shape[:2] if len(shape) == 3 else (_side(shape[0] - prefix, shape),) * 2
    front, places = rows[:prefix], rows[prefix:]
    if (old, old) == new:
        return table.reshape(shape), ""
    image = places.float().T.reshape(1, -1, old, old)
    # As timm for positions; as the authors of Swin for windows, whose few entries must not be blurred.
    image = F.interpolate(image, size=new, mode="bicubic", align_corners=False, antialias=kind == "grid")
    resized = image.flatten(2)[0].T.to(table.dtype)
    result = resized.new_empty(prefix + resized.shape[0], resized.shape[1])
    result[:prefix], result[prefix:] = front, resized
    return result.reshape(shape), f"{old} x {old} to {new[0]} x {new[1]}, bicubic"


def _side(cells: int, shape: tuple[int, ...]) -> int:
    side = math.isqrt(max(cells, 0))
    if side == 0 or side * side != cells:
        raise ExpressionError(f"a table of {shape} is no square and cannot be resampled")
    return side
