"""Positions that are added to the scores of attention: its part `position_bias`."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_multiple, must_be_positive


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


class LogSpacedBias(nn.Module):
    """The bias of each pair of cells of a window, which a small network computes from their
    distance on a logarithmic scale, so that it knows windows of other sizes, too.

    Formula:
        16 · sigmoid(W₂ ReLU(W₁ d + b)), d = sign(Δ) · log₂(1 + 8 |Δ| / (window - 1)) / 3 for rows
        and columns

    Args:
        heads: number of heads; the attention's own.
        hidden: width of the network.
        trained: side of the window whose distances are 1; None is the window itself. A fine-tuned
            model with larger windows states that of its training.

    Shape:
        height, width -> ((2 · height - 1) · (2 · width - 1), heads), a row for each distance

    Raises:
        BlockError: `heads` or `hidden` is not positive, `trained` is less than 2.

    Source:
        Liu et al. 2022 (Swin V2), arXiv:2111.09883, section 3.3; the range of 8 distances, the
        sigmoid and the width 512 are those of the authors' code.
    """

    def __init__(self, heads: int, *, hidden: int = 512, trained: int | None = None):
        super().__init__()
        must_be_positive("heads", heads)
        must_be_positive("hidden", hidden)
        if trained is not None and trained < 2:
            raise BlockError(
                "trained must be a window of 2 cells or more",
                got=f"trained={trained}",
                fits="e.g. trained=8",
            )
        self.trained = trained
        self.expand = nn.Linear(2, hidden)
        self.project = nn.Linear(hidden, heads, bias=False)

    def distances(self, side: int) -> Float[Tensor, " distances"]:
        """Those of an axis of a window, -1 to 1 for the window of training."""
        weight = self.expand.weight
        cells = torch.arange(1 - side, side, dtype=weight.dtype, device=weight.device)
        cells = cells / max((self.trained or side) - 1, 1)
        return cells.sign() * torch.log2(1 + 8 * cells.abs()) / 3

    def forward(self, height: int, width: int) -> Float[Tensor, "distances heads"]:
        rows, columns = self.distances(height), self.distances(width)
        pairs = torch.cartesian_prod(rows, columns)
        return 16 * torch.sigmoid(self.project(F.relu(self.expand(pairs))))
