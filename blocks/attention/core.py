"""Attention without projections: the core of attentions that are composed of nodes."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.attention.dot_product import attend, attend_next
from blocks.attention.mask import Mask
from blocks.errors import must_be_positive, must_be_share, must_divide
from blocks.support.decode_cache import DecodeCache, StepError, must_not_mask_pairs


class Attend(nn.Module):
    """Scaled dot-product attention of given queries, keys and values, by a fused kernel.

    Formula:
        softmax(scale · q kᵀ + mask) v

    Args:
        heads: number of query heads; inferred from `q`.
        causal: query i attends to keys 0..i only; of fewer queries than keys the last stands at the
            last key.
        window: a query attends to keys that are less than this many tokens away only, its own
            included. None is all.
        scale: factor of the products. None is 1 / √head_dim.
        soft_cap: scores are `soft_cap * tanh(scores / soft_cap)`, before masks and `position_bias`.
            It costs the fused kernel.
        sinks: each head learns the score of one more key without a value, which starts at 0.
        dropout: share of attention weights zeroed in training, in [0, 1).
        position_bias: added to the scores: `position_bias(queries, keys) -> (heads, queries,
            keys)`.
        return_weights: a second output `weights`, the attention weights before dropout. It costs
            the fused kernel.

    Shape:
        q (batch, heads, queries, head_dim), k (batch, kv_heads, keys, head_dim), v (batch,
        kv_heads, keys, value_dim), mask broadcastable to (batch, heads, queries, keys),
        padding_mask (batch, keys)
        -> (batch, heads, queries, value_dim), and weights (batch, heads, queries, keys) if asked

    Raises:
        BlockError: a dropout outside [0, 1), a `window`, `scale` or `soft_cap` that is not
            positive; in forward: `kv_heads` does not divide `heads`, a padding mask that is not
            boolean, a mask of three axes whose first is not `heads`.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, equation 1; grouped queries of Ainslie et al. 2023,
        arXiv:2305.13245; the options are those of `SelfAttention`. Equals `MatMul` with `transpose`
        and `Softmax` and `MatMul` to 1e-12 in float64, but for a query that may attend to nothing:
        it gives zeros here and NaN there. Written out so, a causal step over 1,024 tokens takes
        2.8 times the time (quartiles 2.5 to 3.0) and 3.0 times the memory:
        `python -m bench.kernels.attend` on one thread.
    """

    heads_first = True

    def __init__(
        self,
        heads: int,
        *,
        causal: bool = False,
        window: int | None = None,
        scale: float | None = None,
        soft_cap: float | None = None,
        sinks: bool = False,
        dropout: float = 0.0,
        position_bias: nn.Module | None = None,
        return_weights: bool = False,
    ):
        super().__init__()
        must_be_positive("heads", heads)
        must_be_positive("window", 1 if window is None else window)
        must_be_positive("scale", 1 if scale is None else scale)
        must_be_positive("soft_cap", 1 if soft_cap is None else soft_cap)
        must_be_share("dropout", dropout)
        self.causal, self.window, self.scale, self.soft_cap = causal, window, scale, soft_cap
        self.dropout, self.return_weights = dropout, return_weights
        if return_weights:
            self.outputs = ("heads", "weights")
        self.position_bias = position_bias
        self.sinks = nn.Parameter(torch.zeros(heads)) if sinks else None

    def forward(
        self,
        q: Float[Tensor, "batch heads queries head_dim"],
        k: Float[Tensor, "batch kv_heads keys head_dim"],
        v: Float[Tensor, "batch kv_heads keys value_dim"],
        mask: Mask | None = None,
        padding_mask: Bool[Tensor, " batch keys"] | None = None,
    ) -> (
        Float[Tensor, "batch heads queries value_dim"]
        | tuple[
            Float[Tensor, "batch heads queries value_dim"],
            Float[Tensor, "batch heads queries keys"],
        ]
    ):
        must_divide("kv_heads", k.shape[1], "heads", q.shape[1])
        bias = None if self.position_bias is None else self.position_bias(q.shape[2], k.shape[2])
        out, weights = attend(
            q,
            k,
            v,
            padding_mask=padding_mask,
            mask=mask,
            causal=self.causal,
            bias=bias,
            window=self.window,
            soft_cap=self.soft_cap,
            sinks=self.sinks,
            dropout=self.dropout if self.training else 0.0,
            scale=self.scale,
            grouped=k.shape[1] != q.shape[1],
            weights=self.return_weights,
        )
        return out if weights is None else (out, weights)

    def step(
        self,
        memory: DecodeCache,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Mask | None = None,
        padding_mask: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        must_not_mask_pairs(mask)
        if not self.causal:  # keys of a context, the same at every step: verified before it is used
            if self.window is not None or self.position_bias is not None:
                raise StepError(
                    "the distance of a query to the keys of a context is not known in steps",
                    got="causal=false with window or position_bias",
                    fits="causal=true",
                )
            return Attend.forward(self, q, k, v, None, padding_mask)
        out, weights = attend_next(
            memory,
            q,
            k,
            v,
            padding_mask=padding_mask,
            position_bias=self.position_bias,
            window=self.window,
            soft_cap=self.soft_cap,
            sinks=self.sinks,
            scale=self.scale,
            weights=self.return_weights,
        )
        return out if weights is None else (out, weights)
