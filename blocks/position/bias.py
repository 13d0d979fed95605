"""Positions that are added to the scores of attention: its part `position_bias`."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_positive
from blocks.position.waves import must_be_multiple


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
