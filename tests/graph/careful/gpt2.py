"""GPT-2 as a careful person writes it, with the names of the composed model."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mask = None
        if padding_mask is not None:
            past = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).tril()
            mask = padding_mask[:, None, None] & past
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None
        )
        return self.project(out.transpose(1, 2).reshape(batch, tokens, dim))


class MLP(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.expand = nn.Linear(dim, 4 * dim)
        self.activation = nn.GELU("tanh")
        self.project = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.activation(self.expand(x)))


class Residual(nn.Module):
    def __init__(self, dim: int, inner: nn.Module):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.inner = inner
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, *masks: Tensor | None) -> Tensor:
        return x + self.dropout(self.inner(self.norm(x), *masks))


class Layer(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.attention = Residual(dim, SelfAttention(dim, heads))
        self.mlp = Residual(dim, MLP(dim))

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        return self.mlp(self.attention(x, padding_mask))


class Position(nn.Module):
    def __init__(self, tokens: int, dim: int):
        super().__init__()
        self.table = nn.Parameter(torch.empty(tokens, dim))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.shape[1]]


class Model(nn.Module):
    def __init__(self, depth: int = 12):
        super().__init__()
        self.embedding = nn.Embedding(50257, 768)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.position = Position(1024, 768)
        self.dropout = nn.Dropout(0.1)
        self.layers = nn.ModuleList(Layer(768, 12) for _ in range(depth))
        self.norm = nn.LayerNorm(768)
        self.head = nn.Linear(768, 50257, bias=False)
        self.head.weight = self.embedding.weight

    def forward(
        self, tokens: Tensor, padding_mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        x = self.dropout(self.position(self.embedding(tokens)))
        for layer in self.layers:
            x = layer(x, padding_mask)
        return {"logits": self.head(self.norm(x))}
