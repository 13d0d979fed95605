"""Positions that are added to tokens: x becomes x + table.

Tables that are not learned are computed where they are used, so they know no longest length, are
computed in float32 under any precision, and are not in the `state_dict`.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_multiple, must_be_positive
from blocks.position.waves import angles, frequencies
from blocks.support.decode_cache import DecodeCache, StepError


class LearnedPosition(nn.Module):
    """Adds a learned vector per position.

    Formula:
        x + table[position]

    Args:
        tokens: number of tokens; inferred from the input.
        dim: width of a token; inferred from the input.
        length: rows of the table, if more than `tokens` (GPT-2 trained on shorter texts: 1024).
            None is `tokens`.

    Shape:
        (batch, tokens, dim) -> (batch, tokens, dim). Fewer tokens take the first rows.

    Raises:
        BlockError: `length` is less than `tokens`; in forward: more tokens than rows.

    Source:
        Gehring et al. 2017, arXiv:1705.03122, section 3.1; as in BERT, GPT and ViT. Starts as a
        truncated normal of deviation 0.02, as in BERT and ViT.
    """

    def __init__(self, tokens: int, dim: int, *, length: int | None = None):
        super().__init__()
        rows = tokens if length is None else length
        if rows < tokens:
            raise BlockError(
                "length must be at least tokens",
                got=f"length={rows}, tokens={tokens}",
                fits=f"length={tokens} or more",
            )
        self.table = nn.Parameter(torch.empty(rows, dim))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        rows = self.table.shape[0]
        if x.shape[1] > rows:
            raise BlockError(
                "more tokens than learned positions",
                got=f"{x.shape[1]} tokens, {rows} positions",
                fix=f"length={x.shape[1]} or more when it is built",
                code="shape-mismatch",
            )
        return x + self.table[: x.shape[1]]

    def position_tables(self, rows: int, columns: int) -> dict[str, tuple[str, tuple[int, int]]]:
        """How the table is resampled, and its grid, where the tokens came from one."""
        return {"table": ("grid", (rows, columns))}

    def step(self, memory: DecodeCache, x: Tensor) -> Tensor:
        end, rows = memory.seen + x.shape[1], self.table.shape[0]
        if end > rows:
            raise StepError(
                "more tokens than learned positions", got=f"{end} tokens, {rows} positions"
            )
        return x + self.table[memory.seen : end]


class LearnedPosition2d(nn.Module):
    """Adds a learned vector per cell of a grid.

    Args:
        height: rows of the grid; inferred from the input.
        width: columns of the grid; inferred from the input.
        dim: width of a token; inferred from the input.

    Shape:
        (batch, height, width, dim) -> (batch, height, width, dim)

    Raises:
        BlockError: in forward: the grid is not the one it was built for.

    Source:
        The absolute positions of Swin (arXiv:2103.14030) and CAT (arXiv:2106.05786). Starts as a
        truncated normal of deviation 0.02.
    """

    def __init__(self, height: int, width: int, dim: int):
        super().__init__()
        self.table = nn.Parameter(torch.empty(height, width, dim))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(
        self, x: Float[Tensor, "batch height width dim"]
    ) -> Float[Tensor, "batch height width dim"]:
        height, width, _ = self.table.shape
        if x.shape[1:3] != (height, width):
            raise BlockError(
                "learned positions know one grid only",
                got=f"{x.shape[1]} x {x.shape[2]}, built for {height} x {width}",
                fix="SinusoidalPosition2d fits any grid",
                code="shape-mismatch",
            )
        return x + self.table

    def position_tables(self, rows: int, columns: int) -> dict[str, tuple[str, tuple[int, int]]]:
        """How the table is resampled, and its grid."""
        return {"table": ("grid", (rows, columns))}


class SinusoidalPosition(nn.Module):
    """Adds sines and cosines of the position; any number of tokens.

    Formula:
        x + [sin(t / base^(2i / dim)), cos(t / base^(2i / dim))]

    Args:
        dim: width of a token, even; inferred from the input.
        base: the longest wave is 2π · base tokens long.
        interleaved: sines and cosines in turn; else all sines, then all cosines.

    Shape:
        (batch, tokens, dim) -> (batch, tokens, dim)

    Raises:
        BlockError: `dim` is odd, `base` is not positive.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.5, interleaved as written there: component
        2i is the sine and 2i + 1 the cosine of position / base^(2i / dim).
    """

    def __init__(self, dim: int, *, base: float = 10000.0, interleaved: bool = True):
        super().__init__()
        must_be_multiple("dim", dim)
        must_be_positive("base", base)
        self.dim, self.base, self.interleaved = dim, base, interleaved

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        return x + self.waves(x.shape[1], like=x)

    def waves(self, tokens: int, like: Tensor) -> Float[Tensor, "tokens dim"]:
        """The table for a number of tokens."""
        turn = angles(tokens, self.dim, self.base, like=like)
        parts = turn.sin(), turn.cos()
        if self.interleaved:
            return torch.stack(parts, dim=-1).flatten(-2).to(like.dtype)
        return torch.cat(parts, dim=-1).to(like.dtype)

    def step(self, memory: DecodeCache, x: Tensor) -> Tensor:
        waves = memory.once("waves", (), lambda: self.waves(memory.limit, like=x))
        return x + waves[memory.seen : memory.seen + x.shape[1]]


class SinusoidalPosition2d(nn.Module):
    """Adds sines and cosines of column and row to the tokens of a grid, or of a square that was
    flattened.

    Args:
        dim: width of a token, a multiple of four; inferred from the input.
        class_tokens: leading tokens that stand nowhere and get nothing; for flattened tokens only.
        first: what the first half of a vector tells, the column (MAE) or the row (MoCo v3).
        base: the longest wave is 2π · base cells long.
        interleaved: sines and cosines in turn; else all sines, then all cosines.
        extent: positions of each axis run from `extent / size` to `extent`, whatever its size; None
            counts cells from 0.

    Shape:
        (batch, height, width, dim) -> (batch, height, width, dim), or
        (batch, tokens, dim) -> (batch, tokens, dim) where tokens - class_tokens is a square

    Raises:
        BlockError: `dim` is no multiple of four, `base` or `extent` is not positive; in forward:
            tokens that are no square, class tokens beside a grid.

    Source:
        Chen et al. 2021 (MoCo v3), arXiv:2104.02057, and He et al. 2022 (MAE), arXiv:2111.06377.
        One half of a vector is the column, the other the row, each all sines, then all cosines.
        Their order is that of the authors' codes. `extent` 2π, rows first and interleaved: Carion
        et al. 2020 (DETR), arXiv:2005.12872, appendix A.4, and its code.
    """

    def __init__(
        self,
        dim: int,
        *,
        class_tokens: int = 0,
        first: Literal["column", "row"] = "column",
        base: float = 10000.0,
        interleaved: bool = False,
        extent: float | None = None,
    ):
        super().__init__()
        must_be_multiple("dim", dim, parts=4)
        must_be_positive("base", base)
        must_be_positive("extent", 1 if extent is None else extent)
        if class_tokens < 0:
            raise BlockError(
                "class_tokens must not be negative", got=f"class_tokens={class_tokens}"
            )
        if first not in ("column", "row"):
            raise BlockError(
                "first must be column or row", got=f"first={first}", fits="first=column, first=row"
            )
        self.dim, self.class_tokens, self.first, self.base = dim, class_tokens, first, base
        self.interleaved, self.extent = interleaved, extent

    def forward(self, x: Float[Tensor, "batch *tokens dim"]) -> Float[Tensor, "batch *tokens dim"]:
        if x.dim() == 4:
            if self.class_tokens:
                raise BlockError(
                    "a grid has no class tokens",
                    got=f"class_tokens={self.class_tokens}",
                    fits="class_tokens=0",
                )
            return x + self.grid(x.shape[1], x.shape[2], like=x)
        cells = x.shape[1] - self.class_tokens
        side = math.isqrt(max(cells, 0))
        if side * side != cells or side == 0:
            raise BlockError(
                "tokens without class tokens must be a square",
                got=f"tokens={x.shape[1]}, class_tokens={self.class_tokens}",
                fits=f"{max(side, 1) ** 2 + self.class_tokens} or "
                f"{(side + 1) ** 2 + self.class_tokens} tokens",
                fix="keep the grid (batch, height, width, dim), if it is no square",
                code="shape-mismatch",
            )
        return x + F.pad(self.grid(side, side, like=x).flatten(0, 1), (0, 0, self.class_tokens, 0))

    def grid(self, height: int, width: int, like: Tensor) -> Float[Tensor, "height width dim"]:
        """The table for a grid."""
        column, row = self.line(width, like), self.line(height, like)[:, None]
        column, row = column.expand(height, -1, -1), row.expand(-1, width, -1)
        return torch.cat((column, row) if self.first == "column" else (row, column), dim=-1)

    def line(self, cells: int, like: Tensor) -> Float[Tensor, "cells half_dim"]:
        """The table for an axis."""
        steps = frequencies(self.dim // 2, self.base, like)
        positions = torch.arange(cells, dtype=steps.dtype, device=like.device)
        if self.extent is not None:
            positions = (positions + 1) * (self.extent / cells)
        turn = torch.outer(positions, steps)
        parts = turn.sin(), turn.cos()
        if self.interleaved:
            return torch.stack(parts, dim=-1).flatten(-2).to(like.dtype)
        return torch.cat(parts, dim=-1).to(like.dtype)
