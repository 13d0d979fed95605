"""Weights resampled to another resolution or number of channels: position tables, and filters of
colour images.
"""

import math

import torch.nn.functional as F
from torch import Tensor

from blocks.graph.errors import did_you_mean
from blocks.graph.language.expression import ExpressionError
from blocks.graph.record.token_grid import Grid

FITS = ("grid", "window", "first", "own")
FIX = (
    "weights.grid=[4, 8], --grid 4 8, or grid: [4, 8] in the line of the map: its rows and columns"
)


def resample(
    kind: str,
    table: Tensor,
    shape: tuple[int, ...],
    prefix: int = 0,
    *,
    old: Grid | None = None,
    new: Grid | None = None,
) -> tuple[Tensor, str]:
    """Return a table in another shape, and how it was resampled; the table itself where its kind
    does not fit that shape.

    Args:
        kind: "grid" for a vector for each cell of a grid, "window" for a bias for each distance in
            a window, "first" for a vector for each position, of which the first are kept.
        table: (..., dim).
        shape: the shape to return.
        prefix: rows before those of the grid: class tokens.
        old: rows and columns of the grid of `table`; a square where None.
        new: rows and columns of the grid to return; a square where None.

    Raises:
        ExpressionError: the kind is unknown, a grid has another number of cells, or a table without
            a grid is no square.
    """
    if kind not in FITS:
        raise ExpressionError(f"no way {kind!r} to fit a table", did_you_mean(kind, FITS))
    if kind == "first":
        if table.dim() != len(shape) or table.shape[0] <= shape[0]:
            return table, ""
        return table[: shape[0]], f"the first {shape[0]} of {table.shape[0]} positions"
    if table.dim() < 2 or table.shape[-1] != shape[-1]:
        return table, ""
    rows = table.flatten(0, -2)
    wanted = math.prod(shape[:-1])
    if new is not None and math.prod(new) + prefix != wanted:
        new = None
    if old is None and rows.shape[0] == wanted and not _is_square(wanted - prefix):
        old = new  # the same number of rows, and no square: assume the same grid
    if old is not None or new is not None or rows.shape[0] != wanted:
        old = _grid_of(table, prefix, old)
        new = _grid_of(table.new_empty(shape, device="meta"), prefix, new)
    if old == new:
        return table.reshape(shape), ""
    assert old is not None
    assert new is not None
    front, cells = rows[:prefix], rows[prefix:]
    image = cells.float().T.reshape(1, -1, *old)
    # As timm for positions; as the authors of Swin for windows, whose few entries must not be
    # blurred.
    image = F.interpolate(
        image, size=new, mode="bicubic", align_corners=False, antialias=kind == "grid"
    )
    resized = image.flatten(2)[0].T.to(table.dtype)
    result = resized.new_empty(prefix + resized.shape[0], resized.shape[1])
    result[:prefix], result[prefix:] = front, resized
    return result.reshape(shape), f"{old[0]} x {old[1]} to {new[0]} x {new[1]}, bicubic"


def fit_channels(weight: Tensor, channels: int) -> tuple[Tensor, str]:
    """Return the filters of a first convolution on RGB images for another number of channels, and
    how they were made.

    One channel gets the sum of the three; more get the three in turn, times 3 / channels. Source:
    `adapt_input_conv` of timm.
    """
    exact = weight.float()
    if channels == 1:
        return exact.sum(1, keepdim=True).to(weight.dtype), "RGB to 1 channel, summed"
    turns = math.ceil(channels / 3)
    repeated = exact.repeat(1, turns, *[1] * (weight.dim() - 2))[:, :channels]
    how = f"RGB to {channels} channels, repeated and scaled by 3/{channels}"
    return (repeated * (3 / channels)).to(weight.dtype), how


def _grid_of(table: Tensor, prefix: int, stated: Grid | None) -> Grid:
    """Return the rows and columns of a table: as stated, from its axes, or a square."""
    cells = math.prod(table.shape[:-1]) - prefix
    behind = ""
    if prefix:
        behind = f" behind {prefix} in front"
    if stated is not None:
        if math.prod(stated) != cells:
            problem = (
                f"{stated[0]} x {stated[1]} is not the grid of {max(cells, 0)} positions{behind}"
            )
            raise ExpressionError(problem, _list_grids(cells), FIX)
        return stated
    sides = [size for size in table.shape[:-1] if size > 1]
    if len(sides) == 2 and not prefix:
        return sides[0], sides[1]
    if not _is_square(cells):
        problem = f"{max(cells, 0)} positions{behind} are no square, and nothing states their grid"
        raise ExpressionError(problem, _list_grids(cells), FIX)
    return (math.isqrt(cells),) * 2


def _is_square(cells: int) -> bool:
    return cells > 0 and math.isqrt(cells) ** 2 == cells


def _list_grids(cells: int) -> str | None:
    """Return the grids with a number of cells, the most square first."""
    sides = range(math.isqrt(max(cells, 0)), 0, -1)
    grids = [f"[{side}, {cells // side}]" for side in sides if cells % side == 0]
    return ", ".join(grids[:3]) or None
