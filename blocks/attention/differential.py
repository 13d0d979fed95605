"""Attention as the difference of two softmaxes.

Ports, masks and queries that may attend to nothing are as in `blocks.attention.dot_product`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.attention.dot_product import attend, merge_heads
from blocks.attention.mask import Mask
from blocks.errors import must_be_multiple, must_be_positive, must_be_share, must_divide
from blocks.norm import RMSNorm
from blocks.support.decode_cache import (
    DecodeCache,
    must_be_a_row,
    must_be_causal,
    must_not_mask_pairs,
)


class DifferentialAttention(nn.Module):
    """Self-attention whose weights are one softmax minus a learned share of another, so that what
    both see without need is cancelled.

    Formula:
        norm((softmax(Q1 K1ᵀ / √head_dim) - λ softmax(Q2 K2ᵀ / √head_dim)) V) (1 - initial), with
        λ = exp(a1 · b1) - exp(a2 · b2) + initial

    Args:
        dim: width of a token; inferred from the input.
        heads: number of heads of queries, even: two neighbours are subtracted, and read a value of
            2 * head_dim.
        kv_heads: number of heads of keys, even, each shared by `heads / kv_heads` heads of queries;
            divides `heads`. None is `heads`.
        initial: λ at the start, in [0, 1).
        causal: token i attends to tokens 0..i only.
        dropout: share of the weights of each softmax zeroed in training, in [0, 1).
        projection_dropout: share of the outputs zeroed in training, in [0, 1).
        head_dim: width of a query; None is `dim / heads`.
        bias: the fused projection to q, k, v has a bias.
        project_bias: the output projection has a bias.
        epsilon: of the norm of each head, RMSNorm with a weight that all heads share.
        rotary: turns queries and keys by position: `rotary(q, k) -> (q, k)`, both (batch, heads,
            tokens, head_dim).
        position_bias: added to the scores: `position_bias(queries, keys) -> (heads, queries,
            keys)`.
        qk_norm: normalises queries and keys, before they are turned, likewise.
        return_weights: a second output `weights`, the differences before dropout, which may be
            negative. It costs the fused kernel.

    Shape:
        x (batch, *tokens, dim), padding_mask (batch, *tokens), mask broadcastable to (batch, heads
        / 2, tokens, tokens)
        -> (batch, *tokens, dim), and weights (batch, heads / 2, tokens, tokens) if asked

    Raises:
        BlockError: `heads` or `kv_heads` is odd, `heads` does not divide `dim` where `head_dim` is
            not given, `kv_heads` does not divide `heads`, a dropout or `initial` outside [0, 1).

    Source:
        Ye et al. 2024, arXiv:2410.05258, section 2.1, equations 1-3: a and b start normal with
        deviation 0.1, `initial` is 0.8 - 0.6 exp(-0.3 · layer), counted from 0, and a head is
        normalised by RMSNorm. Two softmaxes that share the values: two calls of the fused kernel.
        The heads of the paper are `heads / 2` here, so that `heads` and parameters are those of the
        attention in whose place it stands. Rows of `qkv`: queries, then keys, then values.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        kv_heads: int | None = None,
        initial: float = 0.8,
        causal: bool = False,
        dropout: float = 0.0,
        projection_dropout: float = 0.0,
        head_dim: int | None = None,
        bias: bool = True,
        project_bias: bool = True,
        epsilon: float = 1e-5,
        rotary: nn.Module | None = None,
        position_bias: nn.Module | None = None,
        qk_norm: nn.Module | None = None,
        return_weights: bool = False,
    ):
        super().__init__()
        must_be_multiple("heads", heads)
        if head_dim is None:
            must_divide("heads", heads, "dim", dim)
            head_dim = dim // heads
        must_be_positive("head_dim", head_dim)
        self.heads, self.kv_heads = heads, heads if kv_heads is None else kv_heads
        must_be_multiple("kv_heads", self.kv_heads)
        must_divide("kv_heads", self.kv_heads, "heads", heads)
        must_be_share("initial", initial)
        must_be_share("dropout", dropout)
        must_be_share("projection_dropout", projection_dropout)
        self.head_dim, self.initial, self.causal = head_dim, initial, causal
        self.dropout, self.projection_dropout = dropout, projection_dropout
        self.return_weights = return_weights
        if return_weights:
            self.outputs = ("tokens", "weights")
        self.qkv = nn.Linear(dim, sum(self.sizes()), bias=bias)
        self.project = nn.Linear(heads * head_dim, dim, bias=project_bias)
        self.norm = RMSNorm(2 * head_dim, epsilon)
        self.lambdas = nn.Parameter(torch.empty(2, 2, head_dim))  # a1, b1; a2, b2
        nn.init.normal_(self.lambdas, std=0.1)
        self.qk_norm, self.rotary, self.position_bias = qk_norm, rotary, position_bias

    def sizes(self) -> list[int]:
        """Widths of q, k and v in the fused projection."""
        return [count * self.head_dim for count in (self.heads, self.kv_heads, self.kv_heads)]

    def parts(self) -> dict[str, dict[str, Tensor]]:
        return {"qkv.weight": dict(zip("qkv", self.qkv.weight.split(self.sizes()), strict=True))}

    def project_heads(self, x: Float[Tensor, "batch tokens dim"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (batch, heads, tokens, head_dim), keys (batch, kv_heads, tokens, head_dim),
        values (batch, kv_heads / 2, tokens, 2 head_dim).
        """
        q, k, v = self.qkv(x).split(self.sizes(), dim=-1)
        q, k = (part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in (q, k))
        if self.qk_norm is not None:
            q, k = self.qk_norm(q, k)
        if self.rotary is not None:
            q, k = self.rotary(q, k)
        return q, k, v.unflatten(-1, (-1, 2 * self.head_dim)).transpose(1, 2)

    def subtract(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        causal: bool,
        padding_mask: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The tokens, and the differences of the weights if asked."""
        bias = None if self.position_bias is None else self.position_bias(q.shape[2], k.shape[2])
        both, seen = [], []
        for part in (0, 1):
            heads, weights = attend(
                q[:, part::2],
                k[:, part::2],
                v,
                padding_mask=padding_mask,
                mask=mask,
                causal=causal,
                bias=None if bias is None else bias[part::2],
                dropout=self.dropout if self.training else 0.0,
                grouped=self.kv_heads != self.heads,
                weights=self.return_weights,
            )
            both.append(heads)
            seen.append(weights)
        first, second = self.lambdas.prod(dim=1).sum(dim=-1).exp()
        share = (first - second + self.initial).to(q.dtype)
        heads = self.norm(both[0] - share * both[1]) * (1 - self.initial)
        out = self.project(merge_heads(heads))
        if seen[0] is None or seen[1] is None:
            return out, None
        return out, seen[0] - share * seen[1]

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        padding_mask: Bool[Tensor, " batch *tokens"] | None = None,
        mask: Mask | None = None,
    ) -> (
        Float[Tensor, "batch *tokens dim"]
        | tuple[Float[Tensor, "batch *tokens dim"], Float[Tensor, "batch heads queries keys"]]
    ):
        q, k, v = self.project_heads(x.flatten(1, -2))
        out, weights = self.subtract(
            q, k, v, causal=self.causal, padding_mask=padding_mask, mask=mask
        )
        out = F.dropout(out.view(x.shape), self.projection_dropout, self.training)
        return out if weights is None else (out, weights)

    def step(
        self,
        memory: DecodeCache,
        x: Tensor,
        padding_mask: Tensor | None = None,
        mask: Mask | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        must_be_causal(self.causal)
        must_be_a_row(x)
        must_not_mask_pairs(mask)
        q, k, v = self.project_heads(x)
        k, v = memory.append("keys", k, 2), memory.append("values", v, 2)
        if padding_mask is not None:
            padding_mask = memory.append("padding_mask", padding_mask, 1)
        # the last token attends to all before it: no mask, and a faster kernel
        alone = q.shape[2] == 1
        out, weights = self.subtract(q, k, v, causal=not alone, padding_mask=padding_mask)
        return out if weights is None else (out, weights)
