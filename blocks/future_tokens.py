"""Heads that predict tokens further away than the next one."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from blocks.attention import SelfAttention
from blocks.errors import must_be_positive
from blocks.norm import RMSNorm
from blocks.support.decode_cache import DecodeCache


class _Head(nn.Module):
    """A layer of a transformer, norm before each branch, and the norm of the unembedding."""

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.attention_norm, self.mlp_norm, self.norm = RMSNorm(dim), RMSNorm(dim), RMSNorm(dim)
        self.attention = SelfAttention(
            dim, heads=heads, causal=True, bias=False, project_bias=False
        )
        self.expand = nn.Linear(dim, hidden, bias=False)
        self.project = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), padding_mask)
        x = x + self.project(F.gelu(self.expand(self.mlp_norm(x))))
        return self.norm(x)


class FutureTokens(nn.Module):
    """Multi-token prediction: beside the head of the model, further heads predict the tokens after
    the next one, in training only. What passes through is not changed.

    In training, forward leaves `auxiliary_loss`: `weight` times the sum over the heads of their
    mean cross-entropies. In evaluation it is None, and the heads do not run.

    Args:
        dim: width of a token; inferred from the input.
        vocab: number of different ids.
        heads: heads of the attention of each layer.
        count: how many further heads: the first predicts the second next token.
        hidden: width inside the MLP of each layer; None is `4 * dim`.
        weight: of the sum of the losses beside that of the next token.

    Shape:
        x (batch, tokens, dim): what the layers give, tokens (batch, tokens): the ids that the model
        reads, padding_mask (batch, tokens) -> x

    Raises:
        BlockError: a size that is not positive, `heads` does not divide `dim`.

    Source:
        Gloeckle et al. 2024, arXiv:2404.19737, section 2: each head is one layer of a transformer
        over the same trunk, and all share the unembedding, `unembed`, which is to be tied to that
        of the model. There the loss is the plain sum; a label beyond the last token that is read is
        left out, as the token after the last one is in the label of the model alone.
    """

    auxiliary_loss: Tensor | None

    def __init__(
        self,
        dim: int,
        vocab: int,
        *,
        heads: int,
        count: int = 3,
        hidden: int | None = None,
        weight: float = 1.0,
    ):
        super().__init__()
        must_be_positive("count", count)
        must_be_positive("vocab", vocab)
        hidden = 4 * dim if hidden is None else hidden
        must_be_positive("hidden", hidden)
        self.weight = weight
        self.layers = nn.ModuleList(_Head(dim, heads, hidden) for _ in range(count))
        self.unembed = nn.Linear(dim, vocab, bias=False)
        self.auxiliary_loss = None

    def __getstate__(self) -> dict[str, Any]:
        # The loss belongs to the autograd graph of one step: copies and pickles leave it out.
        return {**self.__dict__, "auxiliary_loss": None}

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        tokens: Int[Tensor, "batch tokens"],
        padding_mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        self.auxiliary_loss = None
        if not self.training:
            return x
        total = x.new_zeros((), dtype=torch.promote_types(x.dtype, torch.float32))
        for number, layer in enumerate(self.layers):
            away = number + 2
            if away >= tokens.shape[1]:
                break
            logits = self.unembed(layer(x, padding_mask)[:, :-away])
            label = tokens[:, away:].long()
            losses = F.cross_entropy(logits.to(total.dtype).mT, label, reduction="none")
            if padding_mask is None:
                total = total + losses.mean()
            else:
                real = padding_mask[:, away:].to(losses.dtype)
                total = total + (losses * real).sum() / real.sum().clamp(min=1)
        self.auxiliary_loss = self.weight * total
        return x

    def step(
        self,
        memory: DecodeCache,
        x: Tensor,
        tokens: Tensor,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        return x
