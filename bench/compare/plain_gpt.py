"""GPT-2 as one writes it by hand for speed: one product for queries, keys and values, torch's fused
attention, and a vocabulary rounded up to a multiple of 64.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCAB = 50304  # 50,257 and 47 tokens that no text has


class Layer(nn.Module):
    """Attention and MLP, each on a branch behind its norm."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.project = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.widen, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, tokens, dim))
        return x + self.narrow(F.gelu(self.widen(self.norm2(x)), approximate="tanh"))


class PlainGPT(nn.Module):
    """Logits (batch, tokens, VOCAB) of the next tokens."""

    def __init__(self, dim: int, depth: int, heads: int, length: int) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(VOCAB, dim), nn.Embedding(length, dim)
        self.layers = nn.ModuleList(Layer(dim, heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, VOCAB, bias=False)
        self.head.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        place = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embedding(tokens) + self.position(place)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))
