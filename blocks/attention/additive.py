"""Attention whose score is a small network, as in recurrent encoder-decoders.

Ports, masks and queries that may attend to nothing are as in `blocks.attention.dot_product`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.attention.mask import Mask, masked_softmax, merge_masks
from blocks.errors import must_be_positive, must_be_share
from blocks.support.decode_cache import DecodeCache, must_be_a_row, must_not_mask_pairs


class AdditiveAttention(nn.Module):
    """Attention whose score is a small network: vᵀ tanh(W x + U context). One head; the context
    itself is averaged.

    Args:
        dim: width of a query; inferred from the input.
        context_dim: width of a context token and of the output; inferred from `context`.
        hidden: width of the scoring network.
        causal: query i attends to context tokens 0..i only; for use with `context` = `x`.
        dropout: share of attention weights zeroed in training, in [0, 1).
        return_weights: a second output `weights`, the attention weights before dropout.

    Shape:
        x (batch, *tokens, dim), context (batch, *context_tokens, context_dim), padding_mask (batch,
        *context_tokens), mask broadcastable to (batch, 1, tokens, context_tokens)
        -> (batch, *tokens, context_dim), and weights (batch, 1, tokens, context_tokens) if asked

    Raises:
        BlockError: `hidden` is not positive, a dropout outside [0, 1), a padding mask that is not
            boolean.

    Source:
        Bahdanau et al. 2015, arXiv:1409.0473, section 3.1 and appendix A.1.2: no biases, W and U
        start normal with deviation 0.001 and v at zero (appendix B.1), so that attention is uniform
        at first. Memory is tokens x context_tokens x hidden. For self-attention wire the same value
        to `x` and `context`.
    """

    def __init__(
        self,
        dim: int,
        context_dim: int,
        *,
        hidden: int,
        causal: bool = False,
        dropout: float = 0.0,
        return_weights: bool = False,
    ):
        super().__init__()
        must_be_positive("hidden", hidden)
        must_be_share("dropout", dropout)
        self.causal, self.dropout = causal, dropout
        self.return_weights = return_weights
        if return_weights:
            self.outputs = ("tokens", "weights")
        self.query = nn.Linear(dim, hidden, bias=False)
        self.key = nn.Linear(context_dim, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        nn.init.normal_(self.query.weight, std=0.001)
        nn.init.normal_(self.key.weight, std=0.001)
        nn.init.zeros_(self.score.weight)

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        context: Float[Tensor, "batch *context_tokens context_dim"],
        padding_mask: Bool[Tensor, " batch *context_tokens"] | None = None,
        mask: Mask | None = None,
    ) -> (
        Float[Tensor, "batch *tokens context_dim"]
        | tuple[Float[Tensor, "batch *tokens context_dim"], Float[Tensor, "batch 1 queries keys"]]
    ):
        q, k = self.query(x.flatten(1, -2)), self.key(context.flatten(1, -2))
        scores = self.score(torch.tanh(q[:, :, None] + k[:, None])).squeeze(-1)[:, None]
        merged = merge_masks(
            (1, q.shape[1], k.shape[1]),
            like=scores,
            padding_mask=padding_mask,
            mask=mask,
            causal=self.causal,
        )
        weights = masked_softmax(scores, merged)
        kept = F.dropout(weights, self.dropout, self.training)
        out = (kept.squeeze(1) @ context.flatten(1, -2)).view(*x.shape[:-1], context.shape[-1])
        return (out, weights) if self.return_weights else out

    def step(
        self,
        memory: DecodeCache,
        x: Tensor,
        context: Tensor,
        padding_mask: Tensor | None = None,
        mask: Mask | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        must_not_mask_pairs(mask)
        if self.causal:  # the context comes token by token, as x does
            must_be_a_row(context)
            context = memory.append("context", context, 1)
            k = memory.append("keys", self.key(context[:, memory.seen :]), 1)
            if padding_mask is not None:
                padding_mask = memory.append("padding_mask", padding_mask, 1)
        else:
            k = memory.once("context", (context,), lambda: self.key(context.flatten(1, -2)))
        scores = self.score(
            torch.tanh(self.query(x.flatten(1, -2))[:, :, None] + k[:, None])
        ).squeeze(-1)[:, None]
        size = (1, scores.shape[2], k.shape[1])
        weights = masked_softmax(
            scores, merge_masks(size, like=scores, padding_mask=padding_mask, causal=self.causal)
        )
        out = (weights.squeeze(1) @ context.flatten(1, -2)).view(*x.shape[:-1], context.shape[-1])
        return (out, weights) if self.return_weights else out
