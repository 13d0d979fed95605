"""Swin-T as a careful person writes it, for any grid, with the names of the composed model."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def relative_index(high: int, wide: int) -> Tensor:
    cells = torch.stack(
        torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
    )
    distance = cells.flatten(1)[:, :, None] - cells.flatten(1)[:, None]
    return (
        (distance[0] + high - 1) * (2 * wide - 1) + distance[1] + wide - 1
    ).flatten()


def windows(x: Tensor, high: int, wide: int) -> Tensor:
    batch, height, width, dim = x.shape
    x = x.view(batch, height // high, high, width // wide, wide, dim)
    return x.transpose(2, 3).reshape(-1, high * wide, dim)


class PatchEmbedding(nn.Module):
    def __init__(self, channels: int, dim: int, size: int):
        super().__init__()
        self.project = nn.Conv2d(channels, dim, kernel_size=size, stride=size)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x).permute(0, 2, 3, 1)


class WindowAttention(nn.Module):
    def __init__(self, dim: int, grid: int, heads: int, window: int, shift: int):
        super().__init__()
        self.heads, self.window = heads, min(window, grid)
        self.shift = shift if grid > window else 0
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        table = torch.empty((2 * self.window - 1) ** 2, heads)
        self.position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        index = relative_index(self.window, self.window)
        self.register_buffer("index", index, persistent=False)

    def mask(self, height: int, width: int, device: torch.device) -> Tensor:
        region = torch.zeros(1, height, width, 1, device=device)
        parts = (
            slice(-self.window),
            slice(-self.window, -self.shift),
            slice(-self.shift, None),
        )
        for number, (rows, columns) in enumerate((a, b) for a in parts for b in parts):
            region[:, rows, columns] = number
        label = windows(region, self.window, self.window).squeeze(-1)
        apart = label[:, None, :] != label[:, :, None]
        return torch.zeros(apart.shape, device=device).masked_fill(apart, -torch.inf)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, dim = x.shape
        side, cells = self.window, self.window**2
        down, right = -height % side, -width % side
        x = F.pad(x, (0, 0, 0, right, 0, down))
        _, high, wide, _ = x.shape
        shift = (self.shift if high > side else 0, self.shift if wide > side else 0)
        x = torch.roll(x, (-shift[0], -shift[1]), dims=(1, 2))
        qkv = self.qkv(windows(x, side, side))
        q, k, v = qkv.view(-1, cells, 3, self.heads, dim // self.heads).permute(
            2, 0, 3, 1, 4
        )
        bias = self.position_bias_table[self.index].view(cells, cells, self.heads)
        bias = bias.permute(2, 0, 1)[None]
        if any(shift):
            mask = self.mask(high, wide, x.device)
            bias = (bias + mask[:, None]).repeat(batch, 1, 1, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out = self.project(out.transpose(1, 2).reshape(-1, cells, dim))
        out = out.view(batch, high // side, wide // side, side, side, dim).transpose(
            2, 3
        )
        out = torch.roll(out.reshape(batch, high, wide, dim), shift, dims=(1, 2))
        return out[:, :height, :width]


class MLP(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.expand = nn.Linear(dim, 4 * dim)
        self.activation = nn.GELU()
        self.project = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.activation(self.expand(x)))


class DropPath(nn.Module):
    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)


class Residual(nn.Module):
    def __init__(self, dim: int, inner: nn.Module, rate: float):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.inner = inner
        self.drop = DropPath(rate)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.inner(self.norm(x)))


class Layer(nn.Module):
    def __init__(self, dim: int, grid: int, heads: int, shift: int, rate: float):
        super().__init__()
        attention = WindowAttention(dim, grid, heads, window=7, shift=shift)
        self.attention = Residual(dim, attention, rate)
        self.mlp = Residual(dim, MLP(dim), rate)

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.attention(x))


class PatchMerging(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduce = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduce(self.norm(torch.cat(corners, dim=-1)))


class Stage(nn.Module):
    def __init__(
        self, dim: int, grid: int, heads: int, rates: list[float], merge: bool
    ):
        super().__init__()
        self.merge = PatchMerging(dim // 2) if merge else nn.Identity()
        layers = (Layer(dim, grid, heads, 3 * (i % 2), r) for i, r in enumerate(rates))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.merge(x))


class Model(nn.Module):
    def __init__(self, classes: int, grid: int):
        super().__init__()
        self.patch = PatchEmbedding(3, 96, size=4)
        self.patch_norm = nn.LayerNorm(96)
        rates = torch.linspace(0, 0.2, 12).tolist()
        self.stages = nn.Sequential(
            Stage(96, grid, 3, rates[:2], merge=False),
            Stage(192, grid // 2, 6, rates[2:4], merge=True),
            Stage(384, grid // 4, 12, rates[4:10], merge=True),
            Stage(768, grid // 8, 24, rates[10:], merge=True),
        )
        self.norm = nn.LayerNorm(768)
        self.head = nn.Linear(768, classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.norm(self.stages(self.patch_norm(self.patch(image))))
        return {"logits": self.head(x.mean(dim=(1, 2)))}
