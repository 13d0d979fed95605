"""ViT-B/16 as a careful person writes it, with the names of the composed model."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchEmbedding(nn.Module):
    def __init__(self, channels: int, dim: int, size: int):
        super().__init__()
        self.project = nn.Conv2d(channels, dim, kernel_size=size, stride=size)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x).flatten(2).transpose(1, 2)


class ClassToken(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.token = nn.Parameter(torch.empty(1, dim))
        nn.init.trunc_normal_(self.token, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1)


class Position(nn.Module):
    def __init__(self, tokens: int, dim: int):
        super().__init__()
        self.table = nn.Parameter(torch.empty(tokens, dim))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.shape[1]]


class SelfAttention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.project(out.transpose(1, 2).reshape(batch, tokens, dim))


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
        kept = x.new_empty(x.shape[0], 1, 1).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)


class Residual(nn.Module):
    def __init__(self, dim: int, inner: nn.Module, rate: float):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.inner = inner
        self.drop = DropPath(rate)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.inner(self.norm(x)))


class Layer(nn.Module):
    def __init__(self, dim: int, heads: int, rate: float):
        super().__init__()
        self.attention = Residual(dim, SelfAttention(dim, heads), rate)
        self.mlp = Residual(dim, MLP(dim), rate)

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.attention(x))


class Model(nn.Module):
    def __init__(self, classes: int, tokens: int):
        super().__init__()
        self.patch = PatchEmbedding(3, 768, size=16)
        self.token = ClassToken(768)
        self.position = Position(tokens, 768)
        rates = torch.linspace(0, 0.1, 12).tolist()
        self.layers = nn.Sequential(*(Layer(768, 12, rate) for rate in rates))
        self.norm = nn.LayerNorm(768, eps=1e-6)
        self.head = nn.Linear(768, classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.position(self.token(self.patch(image)))
        return {"logits": self.head(self.norm(self.layers(x))[:, 0])}
