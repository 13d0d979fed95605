"""Attention inside patches and across patches of a grid (CAT).

Grids are (batch, height, width, dim).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from blocks.attention.dot_product import attend
from blocks.attention.window import WindowAttention, cut, round_up
from blocks.errors import must_be_positive, must_be_share


class InnerPatchAttention(WindowAttention):
    """Multi-head self-attention among the cells of one patch, with a bias per relative position.

    Formula:
        softmax(Q Kᵀ / √head_dim + B) V in each patch

    Args:
        dim: width of a token; inferred from the input.
        height: rows of the grid; inferred from the input.
        width: columns of the grid; inferred from the input.
        heads: number of heads; divides `dim`, a head is `dim / heads` wide.
        patch: side of a patch in cells. Where the grid is no larger, the patch becomes the grid.
        bias: the fused projection to q, k, v has a bias. The output projection always has one.
        position_bias: add the learned `position_bias_table` to the scores.
        dropout: share of attention weights zeroed in training, in [0, 1).
        projection_dropout: share of the outputs zeroed in training, in [0, 1).
        return_weights: a second output `weights`, the attention weights before dropout, computed
            once more by hand.

    Shape:
        (batch, height, width, dim) -> (batch, height, width, dim), and weights (batch, heads,
        patches, cells, cells) if asked

    Raises:
        BlockError: `heads` does not divide `dim`, `patch` is not positive, a dropout outside [0,
            1).

    Source:
        Lin et al. 2021 (CAT), arXiv:2106.05786, section 3.2.1. It is `WindowAttention` without
        shift under the paper's name; weights and padding are described there.
    """

    def __init__(
        self,
        dim: int,
        height: int,
        width: int,
        *,
        heads: int,
        patch: int,
        bias: bool = True,
        position_bias: bool = True,
        dropout: float = 0.0,
        projection_dropout: float = 0.0,
        return_weights: bool = False,
    ):
        must_be_positive("patch", patch)
        super().__init__(
            dim,
            height,
            width,
            heads=heads,
            window=patch,
            bias=bias,
            position_bias=position_bias,
            dropout=dropout,
            projection_dropout=projection_dropout,
            return_weights=return_weights,
        )


class CrossPatchAttention(nn.Module):
    """Self-attention among the patches of a grid, each channel on its own.

    A token is one patch of one channel, flattened: `patch²` wide whatever the model's width. One
    head, no position.

    Formula:
        softmax(Q Kᵀ / √patch²) V among the patches of one channel

    Args:
        height: rows of the grid; inferred from the input.
        width: columns of the grid; inferred from the input.
        patch: side of a patch in cells. Where the grid is no larger, the patch becomes the grid.
        bias: the fused projection to q, k, v has a bias. The output projection always has one.
        dropout: share of attention weights zeroed in training, in [0, 1).
        projection_dropout: share of the outputs zeroed in training, in [0, 1).
        return_weights: a second output `weights`, the attention weights before dropout. It costs
            the fused kernel.

    Shape:
        (batch, height, width, dim) -> (batch, height, width, dim), and weights (batch, dim,
        patches, patches) if asked; `places` says which cells of the grid a patch holds. Built for
        one grid, it runs on any other with the same weights.

    Raises:
        BlockError: `patch` is not positive, a dropout outside [0, 1).

    Source:
        Lin et al. 2021 (CAT), arXiv:2106.05786, section 3.2.2. The authors need a grid that patches
        divide; here it is padded with zeros on the right and at the bottom. Weights start as in
        `torch.nn.Linear`.
    """

    def __init__(
        self,
        height: int,
        width: int,
        *,
        patch: int,
        bias: bool = True,
        dropout: float = 0.0,
        projection_dropout: float = 0.0,
        return_weights: bool = False,
    ):
        super().__init__()
        must_be_positive("patch", patch)
        must_be_share("dropout", dropout)
        must_be_share("projection_dropout", projection_dropout)
        self.patch = (min(patch, height), min(patch, width))
        self.dropout, self.projection_dropout = dropout, projection_dropout
        self.return_weights = return_weights
        if return_weights:
            self.outputs = ("grid", "weights")
        cells = self.patch[0] * self.patch[1]
        self.qkv = nn.Linear(cells, 3 * cells, bias=bias)
        self.project = nn.Linear(cells, cells)

    def parts(self) -> dict[str, dict[str, Tensor]]:
        return {"qkv.weight": dict(zip("qkv", self.qkv.weight.chunk(3), strict=True))}

    def places(self, height: int, width: int) -> Int[Tensor, "patches cells"]:
        """The cells of each patch as numbers of the grid's cells in row-major order; -1 for a
        padded cell.
        """
        number = torch.full((round_up(height, self.patch[0]), round_up(width, self.patch[1])), -1)
        number[:height, :width] = torch.arange(height * width).view(height, width)
        return cut(number, self.patch)

    def forward(
        self, x: Float[Tensor, "batch height width dim"]
    ) -> (
        Float[Tensor, "batch height width dim"]
        | tuple[Float[Tensor, "batch height width dim"], Float[Tensor, "batch dim patches patches"]]
    ):
        batch, height, width, dim = x.shape
        high, wide = self.patch
        grid = round_up(height, high), round_up(width, wide)
        if grid != (height, width):
            x = F.pad(x, (0, 0, 0, grid[1] - width, 0, grid[0] - height))
        rows, columns = grid[0] // high, grid[1] // wide
        x = x.view(batch, rows, high, columns, wide, dim).permute(0, 5, 1, 3, 2, 4)
        q, k, v = self.qkv(x.reshape(batch, dim, rows * columns, high * wide)).chunk(3, dim=-1)
        # Channels take the axis on which a kernel expects heads.
        out, weights = attend(
            q, k, v, dropout=self.dropout if self.training else 0.0, weights=self.return_weights
        )
        out = F.dropout(self.project(out), self.projection_dropout, self.training)
        out = (
            out.view(batch, dim, rows, columns, high, wide)
            .permute(0, 2, 4, 3, 5, 1)
            .reshape(batch, *grid, dim)
        )
        out = out if grid == (height, width) else out[:, :height, :width].contiguous()
        return out if weights is None else (out, weights)
