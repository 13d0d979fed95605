"""Scaled dot-product attention over tokens.

All blocks of attention over tokens have the ports `x`, (`context`,) `padding_mask`, `mask`, so that
one can replace another.

`x` may have any number of token axes, e.g. those of a grid: they are flattened inside, in row-major
order. True in a boolean mask means that the position takes part. A query that may attend to nothing
gives zeros, with finite gradients. Where there are fewer queries than keys, the last query is at
the position of the last key.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.attention.mask import Mask, append_sinks, key_mask, masked_softmax, merge_masks
from blocks.errors import (
    BlockError,
    must_be_one_of,
    must_be_positive,
    must_be_share,
    must_divide,
)
from blocks.support.decode_cache import (
    DecodeCache,
    must_be_a_row,
    must_be_causal,
    must_not_mask_pairs,
)
from blocks.support.tensor_parallel import divide_heads

# Tokens, and windows in them, from which bands are worth their copies: (tokens, windows). The fused
# kernel is faster where queries are long, as all pairs have them: on an Intel Xeon four windows of
# 256 take 1.6 times the time of all pairs, eight 0.9.
BANDED = (256, 4)
BANDED_AND_FUSED = (512, 8)


def attend(
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch kv_heads keys head_dim"],
    v: Float[Tensor, "batch kv_heads keys value_dim"],
    *,
    padding_mask: Tensor | None = None,
    mask: Tensor | None = None,
    causal: bool = False,
    bias: Tensor | None = None,
    window: int | None = None,
    soft_cap: float | None = None,
    sinks: Float[Tensor, " heads"] | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    grouped: bool = False,
    weights: bool = False,
) -> tuple[
    Float[Tensor, "batch heads queries value_dim"], Float[Tensor, "batch heads queries keys"] | None
]:
    """softmax(q k' / sqrt(head_dim) + bias) v by a fused kernel; step by step where the weights are
    returned or the scores capped.

    Args:
        padding_mask: (batch, *keys), True for a real token.
        mask: broadcastable to (batch, heads, queries, keys), boolean or added to the scores.
        causal: query i attends to keys 0..i only.
        bias: (heads, queries, keys), added to the scores.
        window: a query attends to keys that are less than this many tokens away only.
        soft_cap: scores are bent to (-soft_cap, soft_cap) by tanh, before masks and bias.
        sinks: the score of one more key without a value, for each head.
        scale: factor of the products. None is 1 / √head_dim.
        dropout: share of attention weights zeroed.
        grouped: whether k and v have fewer heads than q.
        weights: whether the attention weights are returned; those of a sink are not.
    """
    scores = (q.shape[1], q.shape[2], k.shape[2])
    fused = not weights and soft_cap is None
    if window is not None and window >= scores[2]:
        window = None
    alone = causal and mask is None and bias is None and not weights
    if window is not None:
        whole = (q.shape[0], q.shape[2])
        if alone and scores[1] == scores[2] and is_faster_in_bands(scores[1], window, fused):
            q, k, v, padding_mask = cut_bands(q, k, v, padding_mask, window)
            scores = (scores[0], window, 2 * window)
    # The kernels can be causal, but not together with a mask, and count from the first key.
    known = fused and causal and scores[1] == scores[2]
    known &= all(part is None for part in (padding_mask, mask, bias, window, sinks))
    merged = merge_masks(
        scores,
        like=q,
        padding_mask=padding_mask,
        mask=mask,
        causal=causal and not known,
        window=window,
        bias=bias,
    )
    if sinks is not None:
        merged = append_sinks(merged, sinks, scores, like=q)
        k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
    if fused:
        heads = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=merged,
            dropout_p=dropout,
            is_causal=known,
            scale=scale,
            enable_gqa=grouped,
        )
        if window is not None:
            heads = join_bands(heads, *whole)
        return heads, None
    if grouped:
        k, v = (part.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for part in (k, v))
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    products = q * scale @ k.transpose(-2, -1)
    if soft_cap is not None:
        products = soft_cap * torch.tanh(products / soft_cap)
    seen = masked_softmax(products, merged)
    heads = F.dropout(seen, dropout) @ v
    if window is not None:
        heads = join_bands(heads, *whole)
    return heads, seen[..., : scores[2]] if weights else None


def is_faster_in_bands(tokens: int, window: int, fused: bool) -> bool:
    """Whether a causal window is computed by bands in less time than under a mask of all pairs."""
    fewest, windows = BANDED_AND_FUSED if fused else BANDED
    return tokens >= max(windows * window, fewest)


def cut_bands(
    q: Float[Tensor, "batch heads tokens head_dim"],
    k: Float[Tensor, "batch kv_heads tokens head_dim"],
    v: Float[Tensor, "batch kv_heads tokens value_dim"],
    padding_mask: Tensor | None,
    window: int,
) -> tuple[Tensor, Tensor, Tensor, Bool[Tensor, "_ keys"]]:
    """Bands of `window` queries, each with its own keys and those of the band before, as a batch:
    under a causal window no query sees others. Time and memory grow with tokens x window.
    """
    if padding_mask is None:
        padding_mask = torch.ones(q.shape[0], q.shape[2], dtype=torch.bool, device=q.device)
    short = -q.shape[2] % window
    real = F.pad(key_mask(padding_mask), (window, short)).unfold(-1, 2 * window, window)
    q = F.pad(q, (0, 0, 0, short)).unfold(2, window, window)
    k, v = (F.pad(x, (0, 0, window, short)).unfold(2, 2 * window, window) for x in (k, v))
    q, k, v = (x.transpose(1, 2).flatten(0, 1).transpose(-2, -1) for x in (q, k, v))
    return q, k, v, real.flatten(0, -2)


def join_bands(
    heads: Float[Tensor, "_ heads band value_dim"], batch: int, tokens: int
) -> Float[Tensor, "batch heads tokens value_dim"]:
    """The tokens of all bands in a row; without bands nothing changes."""
    return heads.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2, 3)[:, :, :tokens]


def attend_next(
    memory: DecodeCache,
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch kv_heads queries head_dim"],
    v: Float[Tensor, "batch kv_heads queries value_dim"],
    *,
    padding_mask: Tensor | None,
    position_bias: nn.Module | None,
    window: int | None,
    soft_cap: float | None,
    sinks: Float[Tensor, " heads"] | None,
    scale: float | None = None,
    weights: bool,
) -> tuple[Tensor, Tensor | None]:
    """What causal attention gives for the tokens after those in memory, which keeps their keys and
    values.
    """
    reach = None if window is None or weights else window - 1
    k, v = memory.append("keys", k, 2, reach), memory.append("values", v, 2, reach)
    if padding_mask is not None:
        padding_mask = memory.append("padding_mask", padding_mask, 1, reach)
    bias = None
    if position_bias is not None:
        bias = position_bias(q.shape[2], memory.seen + q.shape[2])[..., -k.shape[2] :]
    # the last token attends to all before it: no mask, and a faster kernel
    alone = q.shape[2] == 1
    return attend(
        q,
        k,
        v,
        padding_mask=padding_mask,
        causal=not alone,
        bias=bias,
        window=window,
        soft_cap=soft_cap,
        sinks=sinks,
        scale=scale,
        grouped=k.shape[1] != q.shape[1],
        weights=weights,
    )


def split_heads(
    x: Float[Tensor, "batch tokens _"], head_dim: int
) -> Float[Tensor, "batch heads tokens head_dim"]:
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)


def merge_heads(x: Float[Tensor, "batch heads tokens head_dim"]) -> Float[Tensor, "batch tokens _"]:
    return x.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head scaled dot-product self-attention, with grouped keys and values if asked.

    Formula:
        softmax(Q Kᵀ / √head_dim + bias) V, then the output projection; Q, K, V = x W

    Args:
        dim: width of a token; inferred from the input.
        heads: number of heads; divides `dim` where `head_dim` is not given.
        kv_heads: number of key and value heads, each shared by `heads / kv_heads` neighbouring
            query heads; divides `heads`. None is `heads` (multi-head), 1 is multi-query.
        causal: token i attends to tokens 0..i only.
        dropout: share of attention weights zeroed in training, in [0, 1).
        projection_dropout: share of the outputs zeroed in training, in [0, 1).
        head_dim: width of a head; None is `dim / heads`.
        bias: the fused projection to q, k, v has a bias.
        project_bias: the output projection has a bias.
        key_bias: where there is a bias, the part of k has it too.
        scale: factor of the scores. None is 1 / √head_dim.
        rotary: turns queries and keys by position: `rotary(q, k) -> (q, k)`, both (batch, heads,
            tokens, head_dim).
        position_bias: added to the scores: `position_bias(queries, keys) -> (heads, queries,
            keys)`.
        window: a token attends to tokens that are less than this many away only, to itself
            included: sliding window, or local attention. None is all.
        qk_norm: normalises queries and keys, before they are turned: `qk_norm(q, k) -> (q, k)`,
            both (batch, heads, tokens, head_dim).
        soft_cap: scores are `soft_cap * tanh(scores / soft_cap)`, before masks and `position_bias`.
            It costs the fused kernel.
        sinks: each head learns the score of one more key without a value, so that its weights may
            sum to less than 1.
        gate: what a token lets through of what it read, sigmoids of projections of x: `head`, a
            number for each head; `element`, one for each component of a head.
        value_residual: values are a learned mixture of `first_values`, which is then required, and
            their own, in equal shares at the start.
        return_weights: a second output `weights`, the attention weights before dropout. It costs
            the fused kernel.

    Shape:
        x (batch, *tokens, dim), padding_mask (batch, *tokens), mask broadcastable to (batch, heads,
        tokens, tokens), first_values (batch, *tokens, kv_heads * head_dim)
        -> (batch, *tokens, dim), and weights (batch, heads, tokens, tokens) if asked

    Raises:
        BlockError: `heads` does not divide `dim`, `kv_heads` does not divide `heads`, a dropout
            outside [0, 1), a `window`, `soft_cap` or `scale` that is not positive, an unknown
            `gate`, `first_values` without `value_residual` or the reverse, a padding mask that is
            not boolean, a mask of three axes whose first is not `heads`.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2; grouped queries of Ainslie et al.
        2023, arXiv:2305.13245; multi-query of Shazeer 2019, arXiv:1911.02150; windows of Beltagy et
        al. 2020, arXiv:2004.05150, section 3.1; soft caps of Gemma 2, arXiv:2408.00118, section 2;
        sinks of GPT-OSS, arXiv:2508.10925, here 0 at the start; gates of Qiu et al. 2025,
        arXiv:2505.06708, section 2.2 (G1), without a bias; mixtures of values of Zhou et al. 2024,
        arXiv:2410.17897, section 3.2. Equals `torch.nn.MultiheadAttention` to 1e-6. `qkv` is one
        projection whose rows are all heads of q, then k, then v. Weights start as in
        `torch.nn.Linear`.
    """

    division = divide_heads(qkv=("heads", "kv_heads", "kv_heads"))

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        kv_heads: int | None = None,
        causal: bool = False,
        dropout: float = 0.0,
        projection_dropout: float = 0.0,
        head_dim: int | None = None,
        bias: bool = True,
        project_bias: bool = True,
        key_bias: bool = True,
        scale: float | None = None,
        rotary: nn.Module | None = None,
        position_bias: nn.Module | None = None,
        window: int | None = None,
        qk_norm: nn.Module | None = None,
        soft_cap: float | None = None,
        sinks: bool = False,
        gate: Literal["none", "head", "element"] = "none",
        value_residual: bool = False,
        return_weights: bool = False,
    ):
        super().__init__()
        if head_dim is None:
            must_divide("heads", heads, "dim", dim)
        must_be_positive("heads", heads)
        must_be_positive("head_dim", 1 if head_dim is None else head_dim)
        self.heads, self.kv_heads = heads, heads if kv_heads is None else kv_heads
        must_divide("kv_heads", self.kv_heads, "heads", heads)
        must_be_share("dropout", dropout)
        must_be_share("projection_dropout", projection_dropout)
        must_be_positive("window", 1 if window is None else window)
        must_be_positive("soft_cap", 1 if soft_cap is None else soft_cap)
        must_be_positive("scale", 1 if scale is None else scale)
        must_be_one_of("gate", gate, ["none", "head", "element"])
        self.head_dim = dim // heads if head_dim is None else head_dim
        self.causal, self.dropout, self.projection_dropout = causal, dropout, projection_dropout
        self.window, self.soft_cap, self.scale = window, soft_cap, scale
        self.return_weights = return_weights
        if return_weights:
            self.outputs = ("tokens", "weights")
        whole = bias and key_bias
        self.qkv = nn.Linear(dim, (heads + 2 * self.kv_heads) * self.head_dim, bias=whole)
        # of q and v, where k has none
        self.q_bias, self.v_bias = None, None
        if bias and not key_bias:
            self.q_bias = nn.Parameter(torch.zeros(heads * self.head_dim))
            self.v_bias = nn.Parameter(torch.zeros(self.kv_heads * self.head_dim))
        self.project = nn.Linear(heads * self.head_dim, dim, bias=project_bias)
        self.qk_norm, self.rotary, self.position_bias = qk_norm, rotary, position_bias
        self.sinks = nn.Parameter(torch.zeros(heads)) if sinks else None
        self.value_mix = nn.Parameter(torch.full((2,), 0.5)) if value_residual else None
        width = 1 if gate == "head" else self.head_dim
        self.gate = None if gate == "none" else nn.Linear(dim, heads * width, bias=False)

    def parts(self) -> dict[str, dict[str, Tensor]]:
        sizes = [count * self.head_dim for count in (self.heads, self.kv_heads, self.kv_heads)]
        return {"qkv.weight": dict(zip("qkv", self.qkv.weight.split(sizes), strict=True))}

    def project_heads(
        self, x: Float[Tensor, "batch tokens dim"], first_values: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (batch, heads, tokens, head_dim)."""
        qkv = self.qkv(x)
        if self.q_bias is not None and self.v_bias is not None:
            of_k = self.v_bias.new_zeros(self.v_bias.shape)
            qkv = qkv + torch.cat((self.q_bias, of_k, self.v_bias))
        qkv = qkv.unflatten(-1, (-1, self.head_dim))
        q, k, v = qkv.transpose(1, 2).split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        if (first_values is None) != (self.value_mix is None):
            raise BlockError(
                "first_values and value_residual belong together",
                got="first_values alone" if self.value_mix is None else "value_residual alone",
                fix="+model/values=residual sets both",
            )
        if first_values is not None and self.value_mix is not None:
            first, own = self.value_mix.to(v.dtype)
            v = first * split_heads(first_values.flatten(1, -2), self.head_dim) + own * v
        if self.qk_norm is not None:
            q, k = self.qk_norm(q, k)
        if self.rotary is not None:
            q, k = self.rotary(q, k)
        return q, k, v

    def leave(
        self, heads: Float[Tensor, "batch heads tokens head_dim"], x: Float[Tensor, "batch ... dim"]
    ) -> Float[Tensor, "batch ... dim"]:
        """What the heads read, through the gate and the output projection."""
        if self.gate is not None:
            opened = torch.sigmoid(self.gate(x.flatten(1, -2)))
            heads = heads * opened.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return self.project(merge_heads(heads)).view(x.shape)

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        padding_mask: Bool[Tensor, " batch *tokens"] | None = None,
        mask: Mask | None = None,
        first_values: Float[Tensor, "batch *tokens value_dim"] | None = None,
    ) -> (
        Float[Tensor, "batch *tokens dim"]
        | tuple[Float[Tensor, "batch *tokens dim"], Float[Tensor, "batch heads queries keys"]]
    ):
        q, k, v = self.project_heads(x.flatten(1, -2), first_values)
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
            scale=self.scale,
            dropout=self.dropout if self.training else 0.0,
            grouped=self.kv_heads != self.heads,
            weights=self.return_weights,
        )
        out = F.dropout(self.leave(out, x), self.projection_dropout, self.training)
        return out if weights is None else (out, weights)

    def step(
        self,
        memory: DecodeCache,
        x: Tensor,
        padding_mask: Tensor | None = None,
        mask: Mask | None = None,
        first_values: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        must_be_causal(self.causal)
        must_be_a_row(x)
        must_not_mask_pairs(mask)
        q, k, v = self.project_heads(x, first_values)
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
        out = self.leave(out, x)
        return out if weights is None else (out, weights)
