"""Attention over tokens.

All blocks have the ports `x`, (`context`,) `padding_mask`, `mask`, so one word swaps them.

`x` may have any number of token axes, a grid for one: they are flattened inside, in row-major
order. True in a boolean mask means "takes part". A query that may look at nothing gives zeros, with
finite gradients. Where there are fewer queries than keys, the last query stands at the last key.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.attention.mask import Mask, key_mask, masked_softmax, merge_masks
from blocks.errors import BlockError, must_be_positive, must_be_share, must_divide
from blocks.support.decode_cache import (
    DecodeCache,
    StepError,
    must_be_a_row,
    must_be_causal,
    must_not_mask_pairs,
)
from blocks.support.tensor_parallel import divide_heads


def attend(
    q: Float[Tensor, "batch heads queries head_dim"],
    k: Float[Tensor, "batch kv_heads keys head_dim"],
    v: Float[Tensor, "batch kv_heads keys head_dim"],
    *,
    padding_mask: Tensor | None = None,
    mask: Tensor | None = None,
    causal: bool = False,
    bias: Tensor | None = None,
    dropout: float = 0.0,
    grouped: bool = False,
    weights: bool = False,
) -> tuple[
    Float[Tensor, "batch heads queries head_dim"], Float[Tensor, "batch heads queries keys"] | None
]:
    """softmax(q k' / sqrt(head_dim) + bias) v by a fused kernel; by hand where the weights are to
    be seen.

    `grouped`: there are fewer heads of k and v than of q.
    """
    scores = (q.shape[1], q.shape[2], k.shape[2])
    if not weights:
        # The kernels know causality, but not together with a mask, and count from the first key.
        known = (
            causal
            and padding_mask is None
            and mask is None
            and bias is None
            and scores[1] == scores[2]
        )
        merged = merge_masks(
            scores,
            like=q,
            padding_mask=padding_mask,
            mask=mask,
            causal=causal and not known,
            bias=bias,
        )
        heads = F.scaled_dot_product_attention(
            q, k, v, attn_mask=merged, dropout_p=dropout, is_causal=known, enable_gqa=grouped
        )
        return heads, None
    if grouped:
        k, v = (part.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for part in (k, v))
    merged = merge_masks(
        scores, like=q, padding_mask=padding_mask, mask=mask, causal=causal, bias=bias
    )
    seen = masked_softmax(q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1), merged)
    return F.dropout(seen, dropout) @ v, seen


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
        rotary: turns queries and keys by position: `rotary(q, k) -> (q, k)`, both (batch, heads,
            tokens, head_dim).
        position_bias: added to the scores: `position_bias(queries, keys) -> (heads, queries,
            keys)`.
        return_weights: a second output `weights`, the attention weights before dropout. It costs
            the fused kernel.

    Shape:
        x (batch, *tokens, dim), padding_mask (batch, *tokens), mask broadcastable to (batch, heads,
        tokens, tokens)
        -> (batch, *tokens, dim), and weights (batch, heads, tokens, tokens) if asked

    Raises:
        BlockError: `heads` does not divide `dim`, `kv_heads` does not divide `heads`, a dropout
            outside [0, 1), a padding mask that is not boolean, a mask of three axes whose first is
            not `heads`.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2; grouped queries of Ainslie et al.
        2023, arXiv:2305.13245; multi-query of Shazeer 2019, arXiv:1911.02150. Equals
        `torch.nn.MultiheadAttention` to 1e-6. `qkv` is one projection whose rows are all heads of
        q, then k, then v. Weights start as in `torch.nn.Linear`.
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
        rotary: nn.Module | None = None,
        position_bias: nn.Module | None = None,
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
        self.head_dim = dim // heads if head_dim is None else head_dim
        self.causal, self.dropout, self.projection_dropout = causal, dropout, projection_dropout
        self.return_weights = return_weights
        if return_weights:
            self.outputs = ("tokens", "weights")
        self.qkv = nn.Linear(dim, (heads + 2 * self.kv_heads) * self.head_dim, bias=bias)
        self.project = nn.Linear(heads * self.head_dim, dim, bias=project_bias)
        self.rotary, self.position_bias = rotary, position_bias

    def parts(self) -> dict[str, dict[str, Tensor]]:
        sizes = [count * self.head_dim for count in (self.heads, self.kv_heads, self.kv_heads)]
        return {"qkv.weight": dict(zip("qkv", self.qkv.weight.split(sizes), strict=True))}

    def project_heads(self, x: Float[Tensor, "batch tokens dim"]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (batch, heads, tokens, head_dim)."""
        qkv = self.qkv(x).unflatten(-1, (-1, self.head_dim))
        q, k, v = qkv.transpose(1, 2).split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        return q, k, v

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
        if self.rotary is not None:
            q, k = self.rotary(q, k)
        bias = None if self.position_bias is None else self.position_bias(q.shape[2], k.shape[2])
        out, weights = attend(
            q,
            k,
            v,
            padding_mask=padding_mask,
            mask=mask,
            causal=self.causal,
            bias=bias,
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
        padding_mask: Tensor | None = None,
        mask: Mask | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        must_be_causal(self.causal)
        must_be_a_row(x)
        must_not_mask_pairs(mask)
        q, k, v = self.project_heads(x)
        if self.rotary is not None:
            q, k = self.rotary(q, k)
        k, v = memory.append("keys", k, 2), memory.append("values", v, 2)
        if padding_mask is not None:
            padding_mask = memory.append("padding_mask", padding_mask, 1)
        bias = None if self.position_bias is None else self.position_bias(q.shape[2], k.shape[2])
        alone = (
            q.shape[2] == 1
        )  # the last token may look at all before it: no mask, and a faster kernel
        out, weights = attend(
            q,
            k,
            v,
            padding_mask=padding_mask,
            causal=not alone,
            bias=bias,
            grouped=self.kv_heads != self.heads,
            weights=self.return_weights,
        )
        out = self.project(merge_heads(out))
        return out if weights is None else (out, weights)


class CrossAttention(nn.Module):
    """Multi-head attention of tokens to the tokens of a context.

    Formula:
        softmax(Q Kᵀ / √head_dim) V, then the output projection; Q = x W, and K, V = context W

    Args:
        dim: width of a token; inferred from the input.
        context_dim: width of a context token; inferred from `context`.
        heads: number of heads; divides `dim`, a head is `head_dim = dim / heads` wide.
        kv_heads: number of key and value heads; divides `heads`. None is `heads`, 1 is multi-query.
        dropout: share of attention weights zeroed in training, in [0, 1).
        projection_dropout: share of the outputs zeroed in training, in [0, 1).
        bias: the projections to q and to k, v have a bias.
        project_bias: the output projection has a bias.
        return_weights: a second output `weights`, the attention weights before dropout. It costs
            the fused kernel.

    Shape:
        x (batch, *tokens, dim), context (batch, *context_tokens, context_dim), padding_mask (batch,
        *context_tokens), mask broadcastable to (batch, heads, tokens, context_tokens)
        -> (batch, *tokens, dim), and weights (batch, heads, tokens, context_tokens) if asked

    Raises:
        BlockError: `heads` does not divide `dim`, `kv_heads` does not divide `heads`, a dropout
            outside [0, 1), a padding mask that is not boolean, a mask of three axes whose first is
            not `heads`.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3. `kv` is one projection whose rows are
        all heads of k, then v. Equals `torch.nn.MultiheadAttention` to 1e-6. Weights start as in
        `torch.nn.Linear`.
    """

    division = divide_heads(q=("heads",), kv=("kv_heads", "kv_heads"))

    def __init__(
        self,
        dim: int,
        context_dim: int,
        *,
        heads: int,
        kv_heads: int | None = None,
        dropout: float = 0.0,
        projection_dropout: float = 0.0,
        bias: bool = True,
        project_bias: bool = True,
        return_weights: bool = False,
    ):
        super().__init__()
        must_divide("heads", heads, "dim", dim)
        self.heads, self.kv_heads = heads, heads if kv_heads is None else kv_heads
        must_divide("kv_heads", self.kv_heads, "heads", heads)
        must_be_share("dropout", dropout)
        must_be_share("projection_dropout", projection_dropout)
        self.head_dim, self.dropout, self.projection_dropout = (
            dim // heads,
            dropout,
            projection_dropout,
        )
        self.return_weights = return_weights
        if return_weights:
            self.outputs = ("tokens", "weights")
        self.q = nn.Linear(dim, dim, bias=bias)
        self.kv = nn.Linear(context_dim, 2 * self.kv_heads * self.head_dim, bias=bias)
        self.project = nn.Linear(dim, dim, bias=project_bias)

    def parts(self) -> dict[str, dict[str, Tensor]]:
        return {"kv.weight": dict(zip("kv", self.kv.weight.chunk(2), strict=True))}

    def project_context(
        self, context: Float[Tensor, "batch keys context_dim"]
    ) -> tuple[Tensor, Tensor]:
        """Keys and values, each (batch, kv_heads, keys, head_dim)."""
        kv = self.kv(context).unflatten(-1, (-1, self.head_dim))
        k, v = kv.transpose(1, 2).chunk(2, dim=1)
        return k, v

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
        q = split_heads(self.q(x.flatten(1, -2)), self.head_dim)
        k, v = memory.once(
            "context", (context,), lambda: self.project_context(context.flatten(1, -2))
        )
        grouped = self.kv_heads != self.heads
        out, weights = attend(
            q, k, v, padding_mask=padding_mask, grouped=grouped, weights=self.return_weights
        )
        out = self.project(merge_heads(out)).view(x.shape)
        return out if weights is None else (out, weights)


class LinearAttention(nn.Module):
    """Self-attention with the kernel (elu(q) + 1) · (elu(k) + 1) in place of the softmax: linear in
    the tokens.

    Formula:
        φ(Q) (φ(K)ᵀ V) / (φ(Q) Σ φ(K)), with φ(x) = elu(x) + 1

    Args:
        dim: width of a token; inferred from the input.
        heads: number of heads; divides `dim`, a head is `head_dim = dim / heads` wide.
        causal: token i attends to tokens 0..i only.
        projection_dropout: share of the outputs zeroed in training, in [0, 1).
        bias: the fused projection to q, k, v has a bias. The output projection always has one.
        chunk: tokens that a causal pass compares pair by pair; a sum of head_dim x head_dim stands
            for those before. The result does not depend on it; memory is tokens x (chunk +
            head_dim² / chunk) a head.
        return_weights: a second output `weights`, what each token adds to each: to be looked at,
            for it is quadratic in the tokens and the first output is computed without it.

    Shape:
        x (batch, *tokens, dim), padding_mask (batch, *tokens)
        -> (batch, *tokens, dim), and weights (batch, heads, tokens, tokens) if asked

    Raises:
        BlockError: `heads` does not divide `dim`, a dropout outside [0, 1), `chunk` not positive, a
            padding mask that is not boolean. A `mask`, too: the weight of a pair is never formed,
            so that it cannot be masked.

    Source:
        Katharopoulos et al. 2020, arXiv:2006.16236, equations 4-7 and 9-12. The paper's causal
        kernel walks over the tokens; here chunks are compared as matrices, which is the same sum.
        Weights start as in `torch.nn.Linear`.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        causal: bool = False,
        projection_dropout: float = 0.0,
        bias: bool = True,
        chunk: int = 64,
        return_weights: bool = False,
    ):
        super().__init__()
        must_divide("heads", heads, "dim", dim)
        must_be_share("projection_dropout", projection_dropout)
        must_be_positive("chunk", chunk)
        self.heads, self.head_dim = heads, dim // heads
        self.causal, self.projection_dropout, self.chunk = causal, projection_dropout, chunk
        self.return_weights = return_weights
        if return_weights:
            self.outputs = ("tokens", "weights")
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.project = nn.Linear(dim, dim)

    def parts(self) -> dict[str, dict[str, Tensor]]:
        return {"qkv.weight": dict(zip("qkv", self.qkv.weight.chunk(3), strict=True))}

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        padding_mask: Bool[Tensor, " batch *tokens"] | None = None,
        mask: Mask | None = None,
    ) -> (
        Float[Tensor, "batch *tokens dim"]
        | tuple[Float[Tensor, "batch *tokens dim"], Float[Tensor, "batch heads queries keys"]]
    ):
        if mask is not None:
            raise BlockError(
                "LinearAttention never forms the weight of a pair and cannot mask it",
                got=f"mask of shape {tuple(mask.shape)}",
                fix="padding_mask for padding, causal=true for the future, SelfAttention for "
                "any other mask",
            )
        q, k, v = split_heads(self.qkv(x.flatten(1, -2)), self.head_dim).chunk(3, dim=1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        if padding_mask is not None:
            k = k.masked_fill(~key_mask(padding_mask).transpose(-2, -1), 0.0)
        above, below = self.sum_before(q, k, v) if self.causal else self.sum_all(q, k, v)
        below = below.masked_fill(below == 0, 1.0)  # nothing to look at: 0 / 1
        out = self.project(merge_heads(above / below)).view(x.shape)
        out = F.dropout(out, self.projection_dropout, self.training)
        return (out, self.pairs(q, k) / below) if self.return_weights else out

    def pairs(self, q: Tensor, k: Tensor) -> Tensor:
        """Numerators of the weights, (batch, heads, queries, keys)."""
        pairs = q @ k.transpose(-2, -1)
        return pairs.tril() if self.causal else pairs

    def step(
        self,
        memory: DecodeCache,
        x: Tensor,
        padding_mask: Tensor | None = None,
        mask: Mask | None = None,
    ) -> Tensor:
        if self.return_weights:
            raise StepError(
                "weights over all pairs are no sum that goes on", got="return_weights=true"
            )
        must_be_causal(self.causal)
        must_be_a_row(x)
        must_not_mask_pairs(mask)
        q, k, v = split_heads(self.qkv(x), self.head_dim).chunk(3, dim=1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        if padding_mask is not None:
            k = k.masked_fill(~key_mask(padding_mask).transpose(-2, -1), 0.0)
        values, norm = k.transpose(-2, -1) @ v, k.sum(-2).unsqueeze(-1)
        past_values, past_norm = memory.get("values"), memory.get("norm")
        if past_values is None or past_norm is None:
            past_values, past_norm = torch.zeros_like(values), torch.zeros_like(norm)
        memory.keep("values", past_values + values)
        memory.keep("norm", past_norm + norm)
        if x.shape[1] == 1:
            above, below = q @ (past_values + values), q @ (past_norm + norm)
        else:
            above, below = self.sum_before(q, k, v)
            above, below = above + q @ past_values, below + q @ past_norm
        return self.project(merge_heads(above / below.masked_fill(below == 0, 1.0)))

    def sum_all(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator over all tokens."""
        return q @ (k.transpose(-2, -1) @ v), q @ k.sum(-2).unsqueeze(-1)

    def sum_before(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator over the tokens up to each: pairs inside a chunk, running sums
        of those before.
        """
        tokens = q.shape[2]
        short = -tokens % self.chunk
        q, k, v = (
            F.pad(part, (0, 0, 0, short)).unflatten(2, (-1, self.chunk)) for part in (q, k, v)
        )
        pairs = (q @ k.transpose(-2, -1)).tril()
        # The first chunk has nothing before it, the last sum is nobody's past.
        values = F.pad((k.transpose(-2, -1) @ v).cumsum(2)[:, :, :-1], (0, 0, 0, 0, 1, 0))
        norm = F.pad(k.sum(-2).cumsum(2)[:, :, :-1], (0, 0, 1, 0)).unsqueeze(-1)
        above = pairs @ v + q @ values
        below = pairs.sum(-1, keepdim=True) + q @ norm
        return above.flatten(2, 3)[:, :, :tokens], below.flatten(2, 3)[:, :, :tokens]
