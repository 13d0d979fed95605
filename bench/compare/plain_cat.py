"""CAT-T by hand, as one writes it after the paper: the implementation that ours is compared with.

Lin et al. 2021, arXiv:2106.05786. Parameters have the names of the authors' file, so that the map
`cat` copies them.
"""

import torch
from torch import Tensor, nn

DIM, DEPTHS, HEADS, PATCH = 64, (1, 1, 3, 1), (2, 4, 8, 16), 7


def cut(x: Tensor) -> Tensor:
    """(batch, height, width, dim) -> (batch · patches, cells, dim)."""
    batch, height, width, dim = x.shape
    x = x.view(batch, height // PATCH, PATCH, width // PATCH, PATCH, dim)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, PATCH * PATCH, dim)


def join(patches: Tensor, height: int, width: int) -> Tensor:
    """(batch · patches, cells, dim) -> (batch, height, width, dim)."""
    x = patches.view(-1, height // PATCH, width // PATCH, PATCH, PATCH, patches.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, patches.shape[-1])


class Attention(nn.Module):
    """Multi-head attention with a bias for each relative position, or with one head and none."""

    def __init__(self, dim: int, heads: int, relative: bool):
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        if relative:
            self.relative_position_bias_table = nn.Parameter(
                torch.zeros((2 * PATCH - 1) ** 2, heads)
            )
            place = torch.stack(
                torch.meshgrid(torch.arange(PATCH), torch.arange(PATCH), indexing="ij")
            ).flatten(1)
            down, right = place[:, :, None] - place[:, None] + PATCH - 1
            self.register_buffer("relative_position_index", down * (2 * PATCH - 1) + right)
        self.relative = relative

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        q, k, v = (
            self.qkv(x)
            .reshape(batch, tokens, 3, self.heads, dim // self.heads)
            .permute(2, 0, 3, 1, 4)
        )
        scores = (q * self.scale) @ k.transpose(-2, -1)
        if self.relative:
            index = self.get_buffer("relative_position_index").view(-1)
            bias = self.relative_position_bias_table[index]
            scores = scores + bias.view(tokens, tokens, -1).permute(2, 0, 1)[None]
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, dim))


class Mlp(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Layer(nn.Module):
    """Attention inside patches, or across them channel by channel, and an MLP."""

    def __init__(self, dim: int, heads: int, across: bool):
        super().__init__()
        self.across = across
        self.norm1, self.norm2, self.mlp = nn.LayerNorm(dim), nn.LayerNorm(dim), Mlp(dim)
        self.attn = Attention(PATCH * PATCH, 1, False) if across else Attention(dim, heads, True)

    def attend(self, x: Tensor) -> Tensor:
        batch, height, width, dim = x.shape
        patches = cut(x)
        if not self.across:
            return join(self.attn(patches), height, width)
        count, cells = len(patches) // batch, PATCH * PATCH
        tokens = (
            patches.view(batch, count, cells, dim)
            .permute(0, 3, 1, 2)
            .reshape(batch * dim, count, cells)
        )
        tokens = self.attn(tokens).view(batch, dim, count, cells).permute(0, 2, 3, 1)
        return join(tokens.reshape(batch * count, cells, dim), height, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Merge(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class Stage(nn.Module):
    def __init__(self, dim: int, depth: int, heads: int, last: bool):
        super().__init__()
        self.pre_ipsa_blocks = nn.ModuleList(Layer(dim, heads, False) for _ in range(depth))
        self.cpsa_blocks = nn.ModuleList(Layer(dim, heads, True) for _ in range(depth))
        self.post_ipsa_blocks = nn.ModuleList(Layer(dim, heads, False) for _ in range(depth))
        self.downsample = None if last else Merge(dim)

    def forward(self, x: Tensor) -> Tensor:
        for layers in zip(
            self.pre_ipsa_blocks, self.cpsa_blocks, self.post_ipsa_blocks, strict=True
        ):
            for layer in layers:
                x = layer(x)
        return x if self.downsample is None else self.downsample(x)


class Embedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj, self.norm = nn.Conv2d(3, DIM, 4, 4), nn.LayerNorm(DIM)

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(self.proj(image).permute(0, 2, 3, 1))


class Cat(nn.Module):
    """CAT-T for images of 224 x 224."""

    def __init__(self, classes: int):
        super().__init__()
        self.patch_embed = Embedding()
        self.ape = nn.Parameter(torch.zeros(1, 56 * 56, DIM))
        nn.init.trunc_normal_(self.ape, std=0.02)
        sizes = zip(DEPTHS, HEADS, strict=True)
        self.layers = nn.ModuleList(
            Stage(DIM * 2**stage, depth, heads, stage == 3)
            for stage, (depth, heads) in enumerate(sizes)
        )
        self.norm, self.head = nn.LayerNorm(DIM * 8), nn.Linear(DIM * 8, classes)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch_embed(image) + self.ape.view(56, 56, DIM)
        for stage in self.layers:
            x = stage(x)
        return self.head(self.norm(x).mean((1, 2)))
