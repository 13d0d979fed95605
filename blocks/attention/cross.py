"""Attention of tokens to the tokens of a context.

Ports, masks and queries that may attend to nothing are as in `blocks.attention.dot_product`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.attention.dot_product import attend, merge_heads, split_heads
from blocks.attention.mask import Mask
from blocks.errors import must_be_positive, must_be_share, must_divide
from blocks.support.decode_cache import DecodeCache, must_not_mask_pairs
from blocks.support.tensor_parallel import divide_heads


class CrossAttention(nn.Module):
    """Multi-head attention of tokens to the tokens of a context.

    Formula:
        softmax(Q Kᵀ / √head_dim) V, then the output projection; Q = x W, and K, V = context W

    Args:
        dim: width of a token; inferred from the input.
        context_dim: width of a context token; inferred from `context`.
        heads: number of heads; divides `dim`, the values of a head are `dim / heads` wide.
        kv_heads: number of key and value heads; divides `heads`. None is `heads`, 1 is multi-query.
        head_dim: width of the queries and keys of a head; None is `dim / heads`.
        dropout: share of attention weights zeroed in training, in [0, 1).
        projection_dropout: share of the outputs zeroed in training, in [0, 1).
        bias: the projections to q and to k, v have a bias.
        project_bias: the output projection has a bias.
        key_bias: where there is a bias, the part of k has it too.
        scale: factor of the scores. None is 1 / √head_dim.
        return_weights: a second output `weights`, the attention weights before dropout. It costs
            the fused kernel.

    Shape:
        x (batch, *tokens, dim), context (batch, *context_tokens, context_dim), padding_mask (batch,
        *context_tokens), mask broadcastable to (batch, heads, tokens, context_tokens)
        -> (batch, *tokens, dim), and weights (batch, heads, tokens, context_tokens) if asked

    Raises:
        BlockError: `heads` does not divide `dim`, `kv_heads` does not divide `heads`, a dropout
            outside [0, 1), a `head_dim` or `scale` that is not positive, a padding mask that is
            not boolean, a mask of three axes whose first is not `heads`.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3; queries and keys narrower than values
        as in Perceiver IO, arXiv:2107.14795, table 7. `kv` is one projection whose rows are all
        heads of k, then v. Equals `torch.nn.MultiheadAttention` to 1e-6. Weights start as in
        `torch.nn.Linear`.
    """

    division = divide_heads(q=("heads",), kv=("kv_heads", "values"))

    def __init__(
        self,
        dim: int,
        context_dim: int,
        *,
        heads: int,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        dropout: float = 0.0,
        projection_dropout: float = 0.0,
        bias: bool = True,
        project_bias: bool = True,
        key_bias: bool = True,
        scale: float | None = None,
        return_weights: bool = False,
    ):
        super().__init__()
        must_divide("heads", heads, "dim", dim)
        self.heads, self.kv_heads = heads, heads if kv_heads is None else kv_heads
        must_divide("kv_heads", self.kv_heads, "heads", heads)
        must_be_share("dropout", dropout)
        must_be_share("projection_dropout", projection_dropout)
        must_be_positive("scale", 1 if scale is None else scale)
        self.value_dim, self.scale = dim // heads, scale
        self.head_dim = self.value_dim if head_dim is None else head_dim
        must_be_positive("head_dim", self.head_dim)
        self.dropout, self.projection_dropout = dropout, projection_dropout
        self.return_weights = return_weights
        if return_weights:
            self.outputs = ("tokens", "weights")
        self.q = nn.Linear(dim, heads * self.head_dim, bias=bias)
        width = self.kv_heads * self.value_dim
        self.kv = nn.Linear(
            context_dim, self.kv_heads * self.head_dim + width, bias=bias and key_bias
        )
        # where k has none
        self.v_bias = nn.Parameter(torch.zeros(width)) if bias and not key_bias else None
        self.project = nn.Linear(dim, dim, bias=project_bias)

    def parts(self) -> dict[str, dict[str, Tensor]]:
        return {"kv.weight": dict(zip("kv", self.kv.weight.split(self.kv_sizes()), strict=True))}

    def kv_sizes(self) -> list[int]:
        """The widths of k and v in their projection."""
        return [self.kv_heads * self.head_dim, self.kv_heads * self.value_dim]

    def project_context(
        self, context: Float[Tensor, "batch keys context_dim"]
    ) -> tuple[Tensor, Tensor]:
        """Keys (batch, kv_heads, keys, head_dim) and values (batch, kv_heads, keys, value_dim)."""
        k, v = self.kv(context).split(self.kv_sizes(), dim=-1)
        if self.v_bias is not None:
            v = v + self.v_bias
        return split_heads(k, self.head_dim), split_heads(v, self.value_dim)

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        context: Float[Tensor, "batch *context_tokens context_dim"],
        padding_mask: Bool[Tensor, " batch *context_tokens"] | None = None,
        mask: Mask | None = None,
    ) -> (
        Float[Tensor, "batch *tokens dim"]
        | tuple[Float[Tensor, "batch *tokens dim"], Float[Tensor, "batch heads queries keys"]]
    ):
        q = split_heads(self.q(x.flatten(1, -2)), self.head_dim)
        k, v = self.project_context(context.flatten(1, -2))
        out, weights = attend(
            q,
            k,
            v,
            padding_mask=padding_mask,
            mask=mask,
            scale=self.scale,
            dropout=self.dropout if self.training else 0.0,
            grouped=self.kv_heads != self.heads,
            weights=self.return_weights,
        )
        out = self.project(merge_heads(out)).view(x.shape)
        out = F.dropout(out, self.projection_dropout, self.training)
        return out if weights is None else (out, weights)

    def step(
        self,
        memory: DecodeCache,
        x: Tensor,
        context: Tensor,
        padding_mask: Tensor | None = None,
        mask: Mask | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        must_not_mask_pairs(mask)
        # rows that read the same context are queries of one row: keys and values are read once
        several = memory.several
        k, v = memory.once(
            "context",
            (context,),
            lambda: self.project_context(context[::several].flatten(1, -2)),
        )
        if padding_mask is not None:
            padding_mask = padding_mask[::several]
        q = self.q(x.flatten(1, -2)).view(len(x) // several, -1, self.heads * self.head_dim)
        grouped = self.kv_heads != self.heads
        out, weights = attend(
            split_heads(q, self.head_dim),
            k,
            v,
            padding_mask=padding_mask,
            scale=self.scale,
            grouped=grouped,
            weights=self.return_weights,
        )
        out = self.project(merge_heads(out).reshape(len(x), -1, self.heads * self.value_dim))
        out = out.view(x.shape)
        if weights is None:
            return out
        return out, weights.unflatten(2, (several, -1)).transpose(1, 2).flatten(0, 1)
