"""Positions that turn queries and keys: the part `rotary` of an attention."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_multiple, must_be_positive
from blocks.position.waves import frequencies
from blocks.support.decode_cache import DecodeCache


def rotate(x: Tensor, cosine: Tensor, sine: Tensor, *, interleaved: bool = False) -> Tensor:
    """Turn pairs of the first 2n components, n angles a token; the rest stays.

    Args:
        x: (..., tokens, head_dim).
        cosine: (tokens, n).
        sine: (tokens, n).
        interleaved: components 2i and 2i + 1 are a pair; else i and i + n.
    """
    turned, rest = x[..., : 2 * cosine.shape[-1]], x[..., 2 * cosine.shape[-1] :]
    if interleaved:
        first, second = turned.unflatten(-1, (-1, 2)).unbind(-1)
        parts = (first * cosine - second * sine, second * cosine + first * sine)
        return torch.cat((torch.stack(parts, dim=-1).flatten(-2), rest), dim=-1)
    first, second = turned.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine, rest), dim=-1)


class Rotary(nn.Module):
    """Turns queries and keys by their position, so that their product knows the distance only; any
    number of tokens.

    Args:
        head_dim: width of a head, even; `dim / heads` of the attention around it.
        base: the slowest pair turns once in 2π · base tokens.
        dims: how many of the components are turned, from the first on, even. None is all of them.
        interleaved: components 2i and 2i + 1 are a pair, as in the paper; else i and i + dims / 2,
            as in GPT-NeoX and in transformers' Llama. Both are the same up to a permutation of the
            weights of q and k.
        scaling: makes frequencies slower, for texts longer than those of the training:
            `scaling(frequencies) -> (frequencies, amplitude)`.

    Shape:
        q (batch, heads, tokens, head_dim), k (batch, kv_heads, tokens, head_dim) -> both, turned

    Raises:
        BlockError: `head_dim` or `dims` is odd, `dims` exceeds `head_dim`, `base` is not positive.

    Source:
        Su et al. 2021, arXiv:2104.09864, section 3.2.2. Some components only: Black et al. 2022
        (GPT-NeoX), arXiv:2204.06745, section 2.1.
    """

    outputs = ("q", "k")

    def __init__(
        self,
        head_dim: int,
        *,
        base: float = 10000.0,
        dims: int | None = None,
        interleaved: bool = False,
        scaling: nn.Module | None = None,
    ):
        super().__init__()
        must_be_multiple("head_dim", head_dim)
        must_be_positive("base", base)
        if dims is not None:
            must_be_multiple("dims", dims)
            if dims > head_dim:
                raise BlockError(
                    "dims must not exceed head_dim",
                    got=f"dims={dims}, head_dim={head_dim}",
                    fits=f"dims={head_dim} or less",
                )
        self.dims, self.base = head_dim if dims is None else dims, base
        self.interleaved, self.scaling = interleaved, scaling

    def forward(
        self,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch kv_heads tokens head_dim"],
    ) -> tuple[
        Float[Tensor, "batch heads tokens head_dim"],
        Float[Tensor, "batch kv_heads tokens head_dim"],
    ]:
        cosine, sine = self.turns(q.shape[2], like=q)
        return self.turn(q, cosine, sine), self.turn(k, cosine, sine)

    def turn(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        return rotate(x, cosine, sine, interleaved=self.interleaved)

    def turns(self, tokens: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the angles of each token, both (tokens, dims / 2)."""
        steps, amplitude = frequencies(self.dims, self.base, like=like), 1.0
        if self.scaling is not None:
            steps, amplitude = self.scaling(steps)
        places = torch.arange(tokens, dtype=steps.dtype, device=like.device)
        grown = torch.outer(places, steps)
        return (grown.cos() * amplitude).to(like.dtype), (grown.sin() * amplitude).to(like.dtype)

    def step(self, memory: DecodeCache, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        turns = memory.once("turns", (), lambda: self.turns(memory.limit, like=q))
        cosine, sine = (part[memory.seen : memory.seen + q.shape[2]] for part in turns)
        return self.turn(q, cosine, sine), self.turn(k, cosine, sine)


class Rotary2d(nn.Module):
    """Turns queries and keys by row and column of a square grid whose cells were flattened.

    The angles of a cell follow the grid: its centre lies between -1 and 1 on both axes, whatever
    the number of cells, so that another resolution needs no other table.

    Args:
        head_dim: width of a head, a multiple of four; `dim / heads` of the attention around it.
        class_tokens: leading tokens that stand nowhere and are not turned, e.g. class token and
            registers.
        base: the slowest pair turns `base` times less than the quickest, which turns once from -1
            to 0.

    Shape:
        q (batch, heads, tokens, head_dim), k (batch, kv_heads, tokens, head_dim) -> both, turned;
        tokens - class_tokens is a square

    Raises:
        BlockError: `head_dim` is no multiple of four, `base` is not positive, `class_tokens` is
            negative; in forward: tokens that are no square.

    Source:
        Siméoni et al. 2025 (DINOv3), arXiv:2508.10104, section 3.2: angles of the row in the first
        quarter and of the column in the second quarter of the components, each paired with the one
        half a head further. Positions are neither jittered nor scaled in training here.
    """

    outputs = ("q", "k")

    def __init__(self, head_dim: int, *, class_tokens: int = 0, base: float = 100.0):
        super().__init__()
        must_be_multiple("head_dim", head_dim, parts=4)
        must_be_positive("base", base)
        if class_tokens < 0:
            raise BlockError(
                "class_tokens must not be negative", got=f"class_tokens={class_tokens}"
            )
        self.head_dim, self.class_tokens, self.base = head_dim, class_tokens, base

    def forward(
        self,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch kv_heads tokens head_dim"],
    ) -> tuple[
        Float[Tensor, "batch heads tokens head_dim"],
        Float[Tensor, "batch kv_heads tokens head_dim"],
    ]:
        turn = self.turns(q.shape[2], like=q)
        cosine, sine = turn.cos().to(q.dtype), turn.sin().to(q.dtype)
        return rotate(q, cosine, sine), rotate(k, cosine, sine)

    def turns(self, tokens: int, like: Tensor) -> Float[Tensor, "tokens half_dim"]:
        """The angles of each token."""
        cells = tokens - self.class_tokens
        side = math.isqrt(max(cells, 0))
        if side * side != cells or side == 0:
            raise BlockError(
                "tokens without class tokens must be a square",
                got=f"tokens={tokens}, class_tokens={self.class_tokens}",
                fits=f"{max(side, 1) ** 2 + self.class_tokens} or "
                f"{(side + 1) ** 2 + self.class_tokens} tokens",
                code="shape-mismatch",
            )
        steps = 2 * math.pi * frequencies(self.head_dim // 2, self.base, like=like)
        places = torch.arange(side, dtype=steps.dtype, device=like.device)
        line = torch.outer((places + 0.5) / side * 2 - 1, steps)
        row = line[:, None].expand(-1, side, -1)
        column = line.expand(side, -1, -1)
        grid = torch.cat((row, column), dim=-1).flatten(0, 1)
        return F.pad(grid, (0, 0, self.class_tokens, 0))
