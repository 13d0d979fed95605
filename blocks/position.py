"""Where a token stands: added to tokens, turned into queries and keys, or added to attention
scores.

What is added to tokens maps x to x + table. `Rotary` is the part `rotary` of an attention, `ALiBi`
and `RelativeBias` are the part `position_bias`. Tables that are not learned are computed where they
are used, so they know no longest length, are computed in float32 under any precision, and are not
in the `state_dict`.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_positive
from blocks.support.decode_cache import DecodeCache, StepError


def must_be_multiple(name: str, value: int, parts: int = 2) -> None:
    """Raise a BlockError unless `value` is a positive multiple of `parts`."""
    if value < 1 or value % parts:
        nearest = max(parts, round(value / parts) * parts)
        raise BlockError(
            f"{name} must be a multiple of {parts}",
            got=f"{name}={value}",
            fits=f"e.g. {name}={nearest}",
        )


def angles(
    positions: int, dim: int, base: float, like: Tensor
) -> Float[Tensor, "positions half_dim"]:
    """position / base^(2i / dim) for i in 0..dim/2, in float32 at least."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    steps = torch.arange(0, dim, 2, dtype=dtype, device=like.device)
    places = torch.arange(positions, dtype=dtype, device=like.device)
    return torch.outer(places, torch.pow(base, -steps / dim))


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

    Shape:
        (batch, tokens, dim) -> (batch, tokens, dim)

    Raises:
        BlockError: `dim` is odd, `base` is not positive.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.5, interleaved as written there: component
        2i is the sine and 2i + 1 the cosine of position / base^(2i / dim).
    """

    def __init__(self, dim: int, *, base: float = 10000.0):
        super().__init__()
        must_be_multiple("dim", dim)
        must_be_positive("base", base)
        self.dim, self.base = dim, base

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        return x + self.waves(x.shape[1], like=x)

    def waves(self, tokens: int, like: Tensor) -> Float[Tensor, "tokens dim"]:
        """The table for a number of tokens."""
        turn = angles(tokens, self.dim, self.base, like=like)
        return torch.stack((turn.sin(), turn.cos()), dim=-1).flatten(-2).to(like.dtype)

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

    Shape:
        (batch, height, width, dim) -> (batch, height, width, dim), or
        (batch, tokens, dim) -> (batch, tokens, dim) where tokens - class_tokens is a square

    Raises:
        BlockError: `dim` is no multiple of four, `base` is not positive; in forward: tokens that
            are no square, class tokens beside a grid.

    Source:
        Chen et al. 2021 (MoCo v3), arXiv:2104.02057, and He et al. 2022 (MAE), arXiv:2111.06377.
        One half of a vector is the column, the other the row, each all sines, then all cosines.
        Their order is that of the authors' codes.
    """

    def __init__(
        self,
        dim: int,
        *,
        class_tokens: int = 0,
        first: Literal["column", "row"] = "column",
        base: float = 10000.0,
    ):
        super().__init__()
        must_be_multiple("dim", dim, parts=4)
        must_be_positive("base", base)
        if class_tokens < 0:
            raise BlockError(
                "class_tokens must not be negative", got=f"class_tokens={class_tokens}"
            )
        if first not in ("column", "row"):
            raise BlockError(
                "first must be column or row", got=f"first={first}", fits="first=column, first=row"
            )
        self.dim, self.class_tokens, self.first, self.base = dim, class_tokens, first, base

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
        turn = angles(max(height, width), self.dim // 2, self.base, like=like)
        line = torch.cat((turn.sin(), turn.cos()), dim=-1).to(like.dtype)
        column, row = line[:width].expand(height, -1, -1), line[:height, None].expand(-1, width, -1)
        return torch.cat((column, row) if self.first == "column" else (row, column), dim=-1)


class Rotary(nn.Module):
    """Turns queries and keys by their position, so that their product knows the distance only; any
    number of tokens.

    Args:
        head_dim: width of a head, even; `dim / heads` of the attention around it.
        base: the slowest pair turns once in 2π · base tokens.

    Shape:
        q (batch, heads, tokens, head_dim), k (batch, kv_heads, tokens, head_dim) -> both, turned

    Raises:
        BlockError: `head_dim` is odd, `base` is not positive.

    Source:
        Su et al. 2021, arXiv:2104.09864, section 3.2.2. Component i is paired with i + head_dim /
        2, as in GPT-NeoX and in transformers' Llama; the paper pairs 2i with 2i + 1, which is the
        same up to a permutation of the weights of q and k.
    """

    outputs = ("q", "k")

    def __init__(self, head_dim: int, *, base: float = 10000.0):
        super().__init__()
        must_be_multiple("head_dim", head_dim)
        must_be_positive("base", base)
        self.head_dim, self.base = head_dim, base

    def forward(
        self,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch kv_heads tokens head_dim"],
    ) -> tuple[
        Float[Tensor, "batch heads tokens head_dim"],
        Float[Tensor, "batch kv_heads tokens head_dim"],
    ]:
        cosine, sine = self.turns(q.shape[2], like=q)
        return self.rotate(q, cosine, sine), self.rotate(k, cosine, sine)

    def turns(self, tokens: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the angles of each token, both (tokens, head_dim / 2)."""
        turn = angles(tokens, self.head_dim, self.base, like=like)
        return turn.cos().to(like.dtype), turn.sin().to(like.dtype)

    def step(self, memory: DecodeCache, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        turns = memory.once("turns", (), lambda: self.turns(memory.limit, like=q))
        cosine, sine = (part[memory.seen : memory.seen + q.shape[2]] for part in turns)
        return self.rotate(q, cosine, sine), self.rotate(k, cosine, sine)

    @staticmethod
    def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)


class ALiBi(nn.Module):
    """Lowers the score of a pair by its distance, each head at its own slope. Nothing is learned.

    Args:
        heads: number of heads; the attention's own.

    Shape:
        queries, keys -> (heads, queries, keys)

    Raises:
        BlockError: `heads` is not positive.

    Source:
        Press et al. 2022, arXiv:2108.12409, section 3: slopes 2^(-8/heads), 2^(-16/heads), ...;
        where `heads` is no power of two, those of the power below and every second one of the power
        above, as in the authors' code. The paper is causal; without a causal mask the bias is the
        same on both sides.
    """

    slopes: Tensor

    def __init__(self, heads: int):
        super().__init__()
        must_be_positive("heads", heads)
        below = 2 ** (heads.bit_length() - 1)
        slopes = [2 ** (-8 * i / below) for i in range(1, below + 1)]
        slopes += [2 ** (-4 * i / below) for i in range(1, 2 * below, 2)]
        self.register_buffer("slopes", torch.tensor(slopes[:heads]), persistent=False)

    def forward(self, queries: int, keys: int) -> Float[Tensor, "heads queries keys"]:
        device = self.slopes.device
        query = torch.arange(keys - queries, keys, device=device)
        distance = (torch.arange(keys, device=device) - query[:, None]).abs()
        return -self.slopes[:, None, None] * distance


class RelativeBias(nn.Module):
    """A learned bias per head and distance; far distances share a bucket.

    Args:
        heads: number of heads; the attention's own.
        buckets: number of buckets. With `bidirectional` half of them are for keys after the query.
        max_distance: from here on all distances share the last bucket.
        bidirectional: keys after the query have buckets of their own; else they count as distance 0
            (for causal use).

    Shape:
        queries, keys -> (heads, queries, keys)

    Raises:
        BlockError: `heads` is not positive, too few or odd `buckets`, `max_distance` within the
            exact buckets.

    Source:
        Raffel et al. 2020 (T5), arXiv:1910.10683, section 2.1: half of the buckets of one side are
        exact distances, the rest grow logarithmically. T5 shares one table over all layers
        (`share`). Starts standard normal, as `torch.nn.Embedding`.
    """

    def __init__(
        self, heads: int, *, buckets: int = 32, max_distance: int = 128, bidirectional: bool = True
    ):
        super().__init__()
        must_be_positive("heads", heads)
        must_be_multiple("buckets", buckets, parts=4 if bidirectional else 2)
        self.side = buckets // 2 if bidirectional else buckets
        if max_distance <= self.side // 2:
            raise BlockError(
                "max_distance must exceed the exact buckets",
                got=f"max_distance={max_distance}, {self.side // 2} exact buckets",
                fits=f"max_distance={self.side // 2 + 1} or more",
            )
        self.max_distance, self.bidirectional = max_distance, bidirectional
        self.table = nn.Parameter(torch.randn(buckets, heads))

    def bucket(self, distance: Tensor) -> Tensor:
        """The row of the table for key position minus query position."""
        exact = self.side // 2
        after = (distance > 0) * self.side if self.bidirectional else 0
        distance = distance.abs() if self.bidirectional else -distance.clamp(max=0)
        ratio = torch.log(distance.clamp(min=exact).float() / exact) / math.log(
            self.max_distance / exact
        )
        far = (exact + (ratio * (self.side - exact)).long()).clamp(max=self.side - 1)
        return after + torch.where(distance < exact, distance, far)

    def forward(self, queries: int, keys: int) -> Float[Tensor, "heads queries keys"]:
        # A row of the matrix is a section of one line over all distances, so buckets are computed
        # once per distance.
        distance = torch.arange(1 - keys, queries, device=self.table.device)
        line = F.embedding(self.bucket(distance), self.table).t()
        return line.unfold(1, keys, 1).flip(1)
