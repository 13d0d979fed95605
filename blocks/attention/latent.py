"""Attention whose keys and values are made from a few numbers a token."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.attention.dot_product import attend, merge_heads
from blocks.attention.mask import Mask
from blocks.errors import must_be_positive, must_be_share, must_divide
from blocks.norm import RMSNorm
from blocks.support.decode_cache import (
    DecodeCache,
    must_be_a_row,
    must_be_causal,
    must_not_mask_pairs,
)
from blocks.support.tensor_parallel import Division


class LatentAttention(nn.Module):
    """Multi-head latent attention: keys and values of all heads come from one short vector a token,
    which is all that decoding keeps, beside one key that is turned by position and shared by all
    heads.

    Formula:
        c = norm(x W_c); a head's key is [c W_k, turned x W_r], its value c W_v; q likewise, from x
        or from norm(x W_q)

    Args:
        dim: width of a token; inferred from the input.
        heads: number of heads.
        kv_rank: width of the vector that keys and values are made from.
        q_rank: width of the vector that queries are made from. None makes them from x.
        head_dim: width of the part of queries and keys that is turned by position, even; None is
            `dim / heads` where that is even.
        content_dim: width of their part that is not turned. None is `head_dim`.
        value_dim: width of a value. None is `content_dim`.
        causal: token i attends to tokens 0..i only.
        dropout: share of attention weights zeroed in training, in [0, 1).
        bias: the projections down to the short vectors have a bias.
        project_bias: the output projection has a bias.
        epsilon: of the norms of the short vectors, RMSNorm.
        scale: factor of the scores. None is 1 / √(head_dim + content_dim).
        rotary: turns queries and keys by position: `rotary(q, k) -> (q, k)`, q (batch, heads,
            tokens, head_dim), k (batch, 1, tokens, head_dim).

    Shape:
        x (batch, *tokens, dim), padding_mask (batch, *tokens), mask broadcastable to (batch, heads,
        tokens, tokens) -> (batch, *tokens, dim)

    Raises:
        BlockError: `heads` does not divide `dim` where `head_dim` is not given, a width or rank
            that is not positive, a dropout outside [0, 1).

    Source:
        DeepSeek-V2, arXiv:2405.04434, section 2.1, and DeepSeek-V3, arXiv:2412.19437, section
        2.1.1. A head's query and key begin with the part without position. In decoding the cache
        holds kv_rank + head_dim numbers a token, and W_k is applied to queries, W_v to the sum of
        the vectors, so that no key or value is made again. Weights start as in `torch.nn.Linear`.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        kv_rank: int,
        q_rank: int | None = None,
        head_dim: int | None = None,
        content_dim: int | None = None,
        value_dim: int | None = None,
        causal: bool = False,
        dropout: float = 0.0,
        bias: bool = False,
        project_bias: bool = False,
        epsilon: float = 1e-6,
        scale: float | None = None,
        rotary: nn.Module | None = None,
    ):
        super().__init__()
        must_be_positive("heads", heads)
        if head_dim is None:
            must_divide("heads", heads, "dim", dim)
            head_dim = dim // heads
        content_dim = head_dim if content_dim is None else content_dim
        value_dim = content_dim if value_dim is None else value_dim
        must_be_positive("head_dim", head_dim)
        must_be_positive("content_dim", content_dim)
        must_be_positive("value_dim", value_dim)
        must_be_positive("kv_rank", kv_rank)
        must_be_positive("q_rank", 1 if q_rank is None else q_rank)
        must_be_positive("scale", 1.0 if scale is None else scale)
        must_be_share("dropout", dropout)
        self.heads, self.kv_rank, self.causal, self.dropout = heads, kv_rank, causal, dropout
        self.head_dim, self.content_dim, self.value_dim = head_dim, content_dim, value_dim
        self.scale = (head_dim + content_dim) ** -0.5 if scale is None else scale
        self.rotary = rotary
        if q_rank is None:
            self.q_down, self.q_norm = None, None
        else:
            self.q_down, self.q_norm = nn.Linear(dim, q_rank, bias=bias), RMSNorm(q_rank, epsilon)
        source = dim if q_rank is None else q_rank
        self.q = nn.Linear(source, heads * (content_dim + head_dim), bias=False)
        self.kv_down = nn.Linear(dim, kv_rank + head_dim, bias=bias)
        self.kv_norm = RMSNorm(kv_rank, epsilon)
        self.kv = nn.Linear(kv_rank, heads * (content_dim + value_dim), bias=False)
        self.project = nn.Linear(heads * value_dim, dim, bias=project_bias)

    def compress(self, x: Float[Tensor, "batch tokens dim"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (batch, heads, tokens, content_dim + head_dim), the short vectors (batch, tokens,
        kv_rank), and the shared keys (batch, 1, tokens, head_dim).
        """
        short = x
        if self.q_down is not None and self.q_norm is not None:
            short = self.q_norm(self.q_down(x))
        q = self.q(short).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        latent, shared = self.kv_down(x).split([self.kv_rank, self.head_dim], dim=-1)
        content, turned = q.split([self.content_dim, self.head_dim], dim=-1)
        shared = shared.unsqueeze(1)
        if self.rotary is not None:
            turned, shared = self.rotary(turned, shared)
        # the kernels divide by the root of the width
        factor = self.scale * (self.head_dim + self.content_dim) ** 0.5
        return torch.cat((content, turned), dim=-1) * factor, self.kv_norm(latent), shared

    def attend_to(
        self,
        q: Tensor,
        latent: Tensor,
        shared: Tensor,
        *,
        padding_mask: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Float[Tensor, "batch heads tokens value_dim"]:
        """Make keys and values of all heads, and attend to them."""
        # the weight, not the layer: decoding applies it to all tokens, or to none
        both = F.linear(latent, self.kv.weight).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        content, v = both.split([self.content_dim, self.value_dim], dim=-1)
        k = torch.cat((content, shared.expand(-1, self.heads, -1, -1)), dim=-1)
        heads, _ = attend(
            q,
            k,
            v,
            padding_mask=padding_mask,
            mask=mask,
            causal=self.causal,
            dropout=self.dropout if self.training else 0.0,
        )
        return heads

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        padding_mask: Bool[Tensor, " batch *tokens"] | None = None,
        mask: Mask | None = None,
    ) -> Float[Tensor, "batch *tokens dim"]:
        q, latent, shared = self.compress(x.flatten(1, -2))
        out = self.attend_to(q, latent, shared, padding_mask=padding_mask, mask=mask)
        return self.project(merge_heads(out)).view(x.shape)

    def step(
        self,
        memory: DecodeCache,
        x: Tensor,
        padding_mask: Tensor | None = None,
        mask: Mask | None = None,
    ) -> Tensor:
        must_be_causal(self.causal)
        must_be_a_row(x)
        must_not_mask_pairs(mask)
        q, latent, shared = self.compress(x)
        latent, shared = memory.append("latents", latent, 1), memory.append("keys", shared, 2)
        if padding_mask is not None:
            padding_mask = memory.append("padding_mask", padding_mask, 1)
        if q.shape[2] > 1:
            out = self.attend_to(q, latent, shared, padding_mask=padding_mask)
            return self.project(merge_heads(out))
        weight = self.kv.weight.unflatten(0, (self.heads, -1))
        of_keys, of_values = weight.split([self.content_dim, self.value_dim], dim=1)
        content, turned = q.split([self.content_dim, self.head_dim], dim=-1)
        # one key of kv_rank + head_dim numbers, and one value, for all heads: they are the queries
        q = torch.cat((content @ of_keys, turned), dim=-1).transpose(1, 2)
        k = torch.cat((latent, shared.squeeze(1)), dim=-1).unsqueeze(1)
        factor = math.sqrt(q.shape[-1] / (self.head_dim + self.content_dim))
        out, _ = attend(q * factor, k, latent.unsqueeze(1), padding_mask=padding_mask)
        return self.project(merge_heads(out.transpose(1, 2) @ of_values.mT))

    def division(self, devices: int) -> Division:
        must_divide("devices", devices, "heads", self.heads)
        columns = {
            "q": (self.heads * (self.content_dim + self.head_dim),),
            "kv": (self.heads * (self.content_dim + self.value_dim),),
        }
        return Division(columns, ("project",), ("heads",))
