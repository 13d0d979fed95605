"""Attention that is linear in the tokens.

Ports, masks and queries that may attend to nothing are as in `blocks.attention.dot_product`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.attention.dot_product import merge_heads, split_heads
from blocks.attention.mask import Mask, key_mask
from blocks.errors import BlockError, must_be_positive, must_be_share, must_divide
from blocks.support.decode_cache import (
    DecodeCache,
    StepError,
    must_be_a_row,
    must_be_causal,
    must_not_mask_pairs,
)


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
        bias: the fused projection to q, k, v has a bias.
        project_bias: the output projection has a bias.
        rotary: turns φ(q) and φ(k) by position, in the numerator alone: `rotary(q, k) -> (q, k)`,
            both (batch, heads, tokens, head_dim).
        chunk: tokens that a causal pass compares pair by pair; those before are represented by a
            sum of head_dim x head_dim. The result does not depend on it; memory is tokens x (chunk
            + head_dim² / chunk) a head.
        return_weights: a second output `weights`, what each token adds to each. For inspection: it
            is quadratic in the tokens, and the first output is computed without it.

    Shape:
        x (batch, *tokens, dim), padding_mask (batch, *tokens)
        -> (batch, *tokens, dim), and weights (batch, heads, tokens, tokens) if asked

    Raises:
        BlockError: `heads` does not divide `dim`, a dropout outside [0, 1), `chunk` not positive, a
            padding mask that is not boolean; a `mask` is given, which cannot be applied because the
            weight of a pair is never formed.

    Source:
        Katharopoulos et al. 2020, arXiv:2006.16236, equations 4-7 and 9-12. The paper's causal
        kernel loops over the tokens; here chunks are compared as matrices, which is the same sum.
        Rotary positions: Su et al. 2021, arXiv:2104.09864, equation 19. Weights start as in
        `torch.nn.Linear`.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        causal: bool = False,
        projection_dropout: float = 0.0,
        bias: bool = True,
        project_bias: bool = True,
        rotary: nn.Module | None = None,
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
        self.project = nn.Linear(dim, dim, bias=project_bias)
        self.rotary = rotary

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
                code="unsupported",
            )
        q, k, v = self.project_heads(x.flatten(1, -2), padding_mask)
        above, below = self.sum_before(q, k, v) if self.causal else self.sum_all(q, k, v)
        below = below.masked_fill(below == 0, 1.0)  # nothing to attend to: 0 / 1
        out = self.project(merge_heads(above / below)).view(x.shape)
        out = F.dropout(out, self.projection_dropout, self.training)
        return (out, self.pairs(*self.turn(q, k)) / below) if self.return_weights else out

    def project_heads(
        self, x: Float[Tensor, "batch tokens dim"], padding_mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """φ(q), φ(k), 0 for padding, and v, each (batch, heads, tokens, head_dim)."""
        q, k, v = split_heads(self.qkv(x), self.head_dim).chunk(3, dim=1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        if padding_mask is not None:
            k = k.masked_fill(~key_mask(padding_mask).transpose(-2, -1), 0.0)
        return q, k, v

    def turn(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """φ(q) and φ(k) as the numerator has them."""
        return (q, k) if self.rotary is None else self.rotary(q, k)

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
                "weights over all pairs cannot be updated step by step", got="return_weights=true"
            )
        must_be_causal(self.causal)
        must_be_a_row(x)
        must_not_mask_pairs(mask)
        q, k, v = self.project_heads(x, padding_mask)
        q_turned, k_turned = self.turn(q, k)
        values, norm = k_turned.transpose(-2, -1) @ v, k.sum(-2).unsqueeze(-1)
        past_values, past_norm = memory.get("values"), memory.get("norm")
        if past_values is None or past_norm is None:
            past_values, past_norm = torch.zeros_like(values), torch.zeros_like(norm)
        memory.keep("values", past_values + values)
        memory.keep("norm", past_norm + norm)
        if x.shape[1] == 1:
            above, below = q_turned @ (past_values + values), q @ (past_norm + norm)
        else:
            above, below = self.sum_pieces(q, k, v, q_turned, k_turned)
            above, below = above + q_turned @ past_values, below + q @ past_norm
        return self.project(merge_heads(above / below.masked_fill(below == 0, 1.0)))

    def sum_all(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator over all tokens."""
        q_turned, k_turned = self.turn(q, k)
        return q_turned @ (k_turned.transpose(-2, -1) @ v), q @ k.sum(-2).unsqueeze(-1)

    def sum_before(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Numerator and denominator over the tokens up to each."""
        return self.sum_pieces(q, k, v, *self.turn(q, k))

    def sum_pieces(
        self, q: Tensor, k: Tensor, v: Tensor, q_turned: Tensor, k_turned: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The same of queries and keys that are turned: pairs inside a chunk, running sums of those
        before.
        """
        tokens = q.shape[2]
        short = -tokens % self.chunk
        q, k, v, q_turned, k_turned = (
            F.pad(part, (0, 0, 0, short)).unflatten(2, (-1, self.chunk))
            for part in (q, k, v, q_turned, k_turned)
        )
        pairs = (q_turned @ k_turned.transpose(-2, -1)).tril()
        sums = pairs if self.rotary is None else (q @ k.transpose(-2, -1)).tril()
        # The first chunk has nothing before it; no chunk follows the last sum.
        past = (k_turned.transpose(-2, -1) @ v).cumsum(2)[:, :, :-1]
        values = F.pad(past, (0, 0, 0, 0, 1, 0))
        norm = F.pad(k.sum(-2).cumsum(2)[:, :, :-1], (0, 0, 1, 0)).unsqueeze(-1)
        above = pairs @ v + q_turned @ values
        below = sums.sum(-1, keepdim=True) + q @ norm
        return above.flatten(2, 3)[:, :, :tokens], below.flatten(2, 3)[:, :, :tokens]
