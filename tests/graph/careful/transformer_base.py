"""The Transformer as a careful person writes it, with the names of the composed model."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attend(
    q: Tensor, k: Tensor, v: Tensor, padding_mask: Tensor | None, causal: bool = False
) -> Tensor:
    if padding_mask is None:
        out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    else:
        mask = padding_mask[:, None, None]
        if causal:
            tokens = q.shape[2]
            mask = mask & torch.ones_like(mask[0, 0]).expand(tokens, tokens).tril()
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return out.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    def __init__(self, dim: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return self.project(attend(q, k, v, padding_mask, self.causal))


class CrossAttention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        batch, tokens, dim = x.shape
        q = self.q(x).view(batch, tokens, self.heads, -1).transpose(1, 2)
        kv = self.kv(memory).view(batch, memory.shape[1], 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4)
        return self.project(attend(q, k, v, mask))


class MLP(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.expand = nn.Linear(dim, 4 * dim)
        self.activation = nn.ReLU()
        self.project = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.activation(self.expand(x)))


class Residual(nn.Module):
    def __init__(self, dim: int, inner: nn.Module):
        super().__init__()
        self.inner = inner
        self.dropout = nn.Dropout(0.1)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, *inputs: Tensor | None) -> Tensor:
        return self.norm(x + self.dropout(self.inner(x, *inputs)))


class Encoder(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.attention = Residual(dim, SelfAttention(dim, heads, causal=False))
        self.mlp = Residual(dim, MLP(dim))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.mlp(self.attention(x, mask))


class Decoder(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.attention = Residual(dim, SelfAttention(dim, heads, causal=True))
        self.cross = Residual(dim, CrossAttention(dim, heads))
        self.mlp = Residual(dim, MLP(dim))

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        memory_mask: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        return self.mlp(self.cross(self.attention(x, mask), memory, memory_mask))


class SinusoidalPosition(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        tokens, dim = x.shape[1:]
        steps = torch.arange(0, dim, 2, dtype=torch.float32, device=x.device)
        places = torch.arange(tokens, dtype=torch.float32, device=x.device)
        turn = torch.outer(places, torch.pow(10000.0, -steps / dim))
        return x + torch.stack((turn.sin(), turn.cos()), dim=-1).flatten(-2).to(x.dtype)


class Model(nn.Module):
    def __init__(self, depth: int, vocab: int = 37000, dim: int = 512, heads: int = 8):
        super().__init__()
        self.dim = dim
        self.embedding = nn.Embedding(vocab, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.position = SinusoidalPosition()
        self.dropout = nn.Dropout(0.1)
        self.encoder = nn.ModuleList(Encoder(dim, heads) for _ in range(depth))
        self.decoder = nn.ModuleList(Decoder(dim, heads) for _ in range(depth))
        self.head = nn.Linear(dim, vocab, bias=False)
        self.head.weight = self.embedding.weight

    def embed(self, tokens: Tensor) -> Tensor:
        scaled = self.embedding(tokens) * math.sqrt(self.dim)
        return self.dropout(self.position(scaled))

    def forward(
        self,
        source: Tensor,
        target: Tensor,
        source_mask: Tensor | None = None,
        target_mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        memory = self.embed(source)
        for layer in self.encoder:
            memory = layer(memory, source_mask)
        x = self.embed(target)
        for layer in self.decoder:
            x = layer(x, memory, source_mask, target_mask)
        return {"logits": self.head(x)}
