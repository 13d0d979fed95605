"""Attention within windows of a grid, and merging between stages.

Grids are (batch, height, width, dim).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_positive, must_be_share, must_divide

Size = tuple[int, int]
Heads = Float[Tensor, "batch windows heads cells head_dim"]


def round_up(size: int, step: int) -> int:
    return -(-size // step) * step


def relative_index(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """The row of the bias table for each pair of cells of a window, (cells, cells)."""
    row = torch.arange(height, device=device).repeat_interleave(width)
    column = torch.arange(width, device=device).repeat(height)
    down = row[:, None] - row + height - 1
    right = column[:, None] - column + width - 1
    return down * (2 * width - 1) + right


def cut(grid: Tensor, window: Size) -> Tensor:
    """(height, width) -> (windows, cells), both in row-major order."""
    rows = grid.unflatten(1, (-1, window[1])).unflatten(0, (-1, window[0]))
    return rows.transpose(1, 2).flatten(2).flatten(0, 1)


def neighbour_mask(
    grid: Size, window: Size, shift: Size, device: torch.device | None = None
) -> Float[Tensor, "windows 1 cells cells"]:
    """0 for cells that are neighbours on the grid, -inf for those that only the cyclic shift
    brought together.
    """
    # Only the last window of an axis holds cells from both ends.
    down = torch.arange(grid[0], device=device) >= grid[0] - shift[0]
    right = torch.arange(grid[1], device=device) >= grid[1] - shift[1]
    label = cut(2 * down[:, None] + right, window)
    apart = label[:, None, :, None] != label[:, None, None, :]
    return torch.zeros(apart.shape, device=device).masked_fill(apart, -torch.inf)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows of a grid, which may be shifted, with a bias per
    relative position.

    Formula:
        softmax(Q Kᵀ / √head_dim + B + mask) V in each window; B is the table at the relative
        position

    Args:
        dim: width of a token; inferred from the input.
        height: rows of the grid; inferred from the input.
        width: columns of the grid; inferred from the input.
        heads: number of heads; divides `dim`, a head is `dim / heads` wide.
        window: side of a window in cells. Where the grid is no larger, the window becomes the grid.
        shift: cells by which the windows are shifted up and left, cyclically, in [0, window). An
            axis that holds one window only is not shifted.
        bias: the fused projection to q, k, v has a bias. The output projection always has one.
        position_bias: add the learned `position_bias_table` to the scores.
        key_bias: where there is a bias, the part of k has it too.
        scale: factor of the scores. None is 1 / √head_dim.
        qk_norm: normalises queries and keys: `qk_norm(q, k) -> (q, k)`, both (..., heads, cells,
            head_dim).
        bias_table: computes the table in place of the learned one: `bias_table(height, width) ->
            ((2 · height - 1) · (2 · width - 1), heads)` for a window of height x width.
        dropout: share of attention weights zeroed in training, in [0, 1).
        projection_dropout: share of the outputs zeroed in training, in [0, 1).
        return_weights: a second output `weights`, the attention weights before dropout, computed
            once more by hand.

    Shape:
        (batch, height, width, dim) -> (batch, height, width, dim), and weights (batch, heads,
        windows, cells, cells) if asked; `places` says where on the grid a cell stands. Built for
        one grid, it runs on any other with the same weights.

    Raises:
        BlockError: `heads` does not divide `dim`, `window` or `scale` is not positive, `shift`
            outside [0, window), a dropout outside [0, 1), a `bias_table` without `position_bias`.

    Source:
        Liu et al. 2021 (Swin), arXiv:2103.14030, sections 3.2-3.3. The table has ((2h - 1) (2w -
        1), heads) entries for a window of h x w and starts as a truncated normal of deviation 0.02.
        A grid that windows do not divide is padded with zeros on the right and at the bottom
        *before* the shift; padded cells take part, as in torchvision and transformers. (timm shifts
        first, so that its mask is off at the seam of a padded grid.) For a grid that is not square
        the window is fitted per axis, as in timm; the authors take the shorter side. `qk_norm`,
        `bias_table` and `key_bias` are those of Liu et al. 2022 (Swin V2), arXiv:2111.09883,
        section 3.3, and its code: see `QKCosine` and `LogSpacedBias`.
    """

    index: Tensor | None
    mask: Tensor  # None, and not read, where nothing is shifted

    def __init__(
        self,
        dim: int,
        height: int,
        width: int,
        *,
        heads: int,
        window: int,
        shift: int = 0,
        bias: bool = True,
        position_bias: bool = True,
        key_bias: bool = True,
        scale: float | None = None,
        qk_norm: nn.Module | None = None,
        bias_table: nn.Module | None = None,
        dropout: float = 0.0,
        projection_dropout: float = 0.0,
        return_weights: bool = False,
    ):
        super().__init__()
        must_divide("heads", heads, "dim", dim)
        must_be_positive("window", window)
        must_be_positive("scale", 1 if scale is None else scale)
        if bias_table is not None and not position_bias:
            raise BlockError(
                "a bias_table needs position_bias",
                got="position_bias=false",
                fits="position_bias=true, or no bias_table",
            )
        if not 0 <= shift < window:
            raise BlockError(
                "shift must be in [0, window)",
                got=f"shift={shift}, window={window}",
                fits=f"e.g. shift={window // 2}",
            )
        must_be_share("dropout", dropout)
        must_be_share("projection_dropout", projection_dropout)
        self.heads, self.head_dim, self.shift = heads, dim // heads, shift
        self.scale = self.head_dim**-0.5 if scale is None else scale
        self.window = (min(window, height), min(window, width))
        self.dropout, self.projection_dropout = dropout, projection_dropout
        self.return_weights = return_weights
        if return_weights:
            self.outputs = ("grid", "weights")
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias and key_bias)
        # of q and v, where k has none
        self.q_bias, self.v_bias = None, None
        if bias and not key_bias:
            self.q_bias = nn.Parameter(torch.zeros(dim))
            self.v_bias = nn.Parameter(torch.zeros(dim))
        self.project = nn.Linear(dim, dim)
        self.qk_norm, self.bias_table = qk_norm, bias_table
        high, wide = self.window
        index = relative_index(high, wide) if position_bias else None
        self.register_buffer("index", index, persistent=False)
        self.register_parameter("position_bias_table", None)
        if position_bias and bias_table is None:
            table = torch.empty((2 * high - 1) * (2 * wide - 1), heads)
            self.position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.grid = self.padded(height, width)
        shifted = self.shifts(self.grid)
        mask = neighbour_mask(self.grid, self.window, shifted) if any(shifted) else None
        self.register_buffer("mask", mask, persistent=False)

    def parts(self) -> dict[str, dict[str, Tensor]]:
        return {"qkv.weight": dict(zip("qkv", self.qkv.weight.chunk(3), strict=True))}

    def position_tables(self, rows: int, columns: int) -> dict[str, tuple[str, Size]]:
        """How the table is resampled, and its grid of distances, whatever grid flows in."""
        if self.position_bias_table is None:
            return {}
        high, wide = self.window
        return {"position_bias_table": ("window", (2 * high - 1, 2 * wide - 1))}

    def padded(self, height: int, width: int) -> Size:
        """The grid in whole windows."""
        high, wide = self.window
        return round_up(height, high), round_up(width, wide)

    def shifts(self, grid: Size) -> Size:
        """The shift along each axis of a padded grid."""
        high, wide = self.window
        return self.shift * (grid[0] > high), self.shift * (grid[1] > wide)

    def score_bias(self, grid: Size, shift: Size, like: Tensor) -> Tensor | None:
        """What is added to the scores: (heads, cells, cells), or (windows, heads or 1, cells,
        cells) with a shift.
        """
        bias = None
        if self.index is not None:
            table = self.position_bias_table
            if self.bias_table is not None:
                table = self.bias_table(*self.window)
            bias = F.embedding(self.index, table).permute(2, 0, 1)
        if any(shift):
            mask = self.mask
            if grid != self.grid:  # than the one it was built for
                mask = neighbour_mask(grid, self.window, shift, like.device)
            bias = mask if bias is None else bias + mask
        return bias

    def places(self, height: int, width: int) -> Int[Tensor, "windows cells"]:
        """The cells of each window as numbers of the grid's cells in row-major order; -1 for a
        padded cell.
        """
        grid = self.padded(height, width)
        number = torch.full(grid, -1)
        number[:height, :width] = torch.arange(height * width).view(height, width)
        shift = self.shifts(grid)
        return cut(torch.roll(number, (-shift[0], -shift[1]), dims=(0, 1)), self.window)

    def attend(self, q: Heads, k: Heads, v: Heads, bias: Tensor | None) -> Heads:
        # On a CPU no fused kernel gives the bias a gradient, and separate steps are faster than the
        # fallback of torch.
        if q.device.type == "cpu":
            return self.attend_by_hand(q, k, v, bias)
        return self.attend_fused(q, k, v, bias)

    def attend_by_hand(self, q: Heads, k: Heads, v: Heads, bias: Tensor | None) -> Heads:
        return F.dropout(self.weigh(q, k, bias), self.dropout, self.training) @ v

    def weigh(
        self, q: Heads, k: Heads, bias: Tensor | None
    ) -> Float[Tensor, "batch windows heads cells cells"]:
        scores = (q * self.scale) @ k.transpose(-2, -1)
        return (scores if bias is None else scores.add_(bias)).softmax(-1)

    def attend_fused(self, q: Heads, k: Heads, v: Heads, bias: Tensor | None) -> Heads:
        # Fused kernels take four axes. Windows that differ in their bias are merged with the heads,
        # others with the batch, so that the bias is not copied per sample.
        shape, beside = q.shape, 0
        if bias is not None:
            if bias.dim() == 4:
                bias, beside = bias.expand(-1, self.heads, -1, -1).flatten(0, 1), 1
            bias = bias.to(q.dtype)[None]
        q, k, v = (part.flatten(beside, beside + 1) for part in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, dropout_p=dropout, scale=self.scale
        )
        return out.view(shape)

    def forward(
        self, x: Float[Tensor, "batch height width dim"]
    ) -> (
        Float[Tensor, "batch height width dim"]
        | tuple[
            Float[Tensor, "batch height width dim"],
            Float[Tensor, "batch heads windows cells cells"],
        ]
    ):
        batch, height, width, dim = x.shape
        high, wide = self.window
        grid = self.padded(height, width)
        shift = self.shifts(grid)
        if grid != (height, width):
            x = F.pad(x, (0, 0, 0, grid[1] - width, 0, grid[0] - height))
        if any(shift):
            x = torch.roll(x, (-shift[0], -shift[1]), dims=(1, 2))
        # Projections are per cell, whatever the order: one copy takes q, k and v into windows and
        # heads.
        rows, columns = grid[0] // high, grid[1] // wide
        qkv = self.qkv(x)
        if self.q_bias is not None and self.v_bias is not None:
            of_k = self.v_bias.new_zeros(self.v_bias.shape)
            qkv = qkv + torch.cat((self.q_bias, of_k, self.v_bias))
        qkv = qkv.view(batch, rows, high, columns, wide, 3, self.heads, self.head_dim)
        q, k, v = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(2, 3).flatten(4, 5)
        if self.qk_norm is not None:
            q, k = self.qk_norm(q, k)
        bias = self.score_bias(grid, shift, like=x)
        out = self.attend(q, k, v, bias)
        out = out.view(batch, rows, columns, self.heads, high, wide, self.head_dim)
        out = self.project(out.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, *grid, dim))
        if any(shift):
            out = torch.roll(out, shift, dims=(1, 2))
        if grid != (height, width):
            out = out[:, :height, :width].contiguous()
        out = F.dropout(out, self.projection_dropout, self.training)
        return (out, self.weigh(q, k, bias).transpose(1, 2)) if self.return_weights else out


class PatchMerging(nn.Module):
    """Halves a grid: four neighbours become one token of twice the width.

    Formula:
        norm([top left, bottom left, top right, bottom right]) W

    Args:
        dim: width of a token; inferred from the input.

    Shape:
        (batch, height, width, dim) -> (batch, height / 2, width / 2, 2 · dim), rounded up; an odd
        grid is padded with zeros on the right and at the bottom.

    Source:
        Liu et al. 2021 (Swin), arXiv:2103.14030, section 3.1: neighbours in the order top left,
        bottom left, top right, bottom right, LayerNorm over 4 · dim, linear to 2 · dim without
        bias. CAT (arXiv:2106.05786) has the same.
    """

    def __init__(self, dim: int):
        super().__init__()
        must_be_positive("dim", dim)
        self.norm = nn.LayerNorm(4 * dim)
        self.reduce = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(
        self, x: Float[Tensor, "batch height width dim"]
    ) -> Float[Tensor, "batch out_height out_width out_dim"]:
        height, width = x.shape[1:3]
        if height % 2 or width % 2:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduce(self.norm(torch.cat(corners, dim=-1)))
