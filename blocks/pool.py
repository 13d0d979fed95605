"""From many tokens or pixels to one vector an example.

A padding mask is True where a token is real.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.attention.dot_product import attend
from blocks.errors import BlockError, must_divide


class SelectToken(nn.Module):
    """One token, by its place.

    Args:
        index: place of the token, counted from the end where negative; 0 is the class token.

    Shape:
        (batch, tokens, dim) -> (batch, dim)

    Raises:
        BlockError: there is no such token.

    Source:
        The class token of Devlin et al. 2019, arXiv:1810.04805, and Dosovitskiy et al. 2021,
        arXiv:2010.11929.
    """

    def __init__(self, index: int = 0):
        super().__init__()
        self.index = index

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch dim"]:
        tokens = x.shape[1]
        if not -tokens <= self.index < tokens:
            raise BlockError(
                "there is no such token",
                got=f"index={self.index}, tokens={tokens}",
                fits=f"index in {-tokens}..{tokens - 1}",
            )
        return x[:, self.index]


class MeanTokens(nn.Module):
    """The mean of the tokens.

    Args:
        skip: tokens at the front that are left out: 1 for the patches behind a class token.

    Shape:
        (batch, ..., dim), padding_mask (batch, ...) -> (batch, dim); zeros where no token is real

    Raises:
        BlockError: `skip` is negative or leaves no token.

    Source:
        Lin et al. 2014, arXiv:1312.4400, section 3.2 (global average pooling).
    """

    def __init__(self, skip: int = 0):
        super().__init__()
        if skip < 0:
            raise BlockError("skip must not be negative", got=f"skip={skip}", fits="skip=0 or more")
        self.skip = skip

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        padding_mask: Bool[Tensor, " batch *tokens"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        x, real = _row_of_tokens(x, padding_mask, self.skip)
        if real is None:
            return x.mean(dim=1)
        return x.masked_fill(~real, 0).sum(dim=1) / real.sum(dim=1).clamp(min=1)


class MaxTokens(nn.Module):
    """The largest value of each channel over the tokens.

    Args:
        skip: tokens at the front that are left out.

    Shape:
        (batch, ..., dim), padding_mask (batch, ...) -> (batch, dim); zeros where no token is real

    Raises:
        BlockError: `skip` is negative or leaves no token.

    Source:
        Collobert et al. 2011, arXiv:1103.0398, the max over time.
    """

    def __init__(self, skip: int = 0):
        super().__init__()
        if skip < 0:
            raise BlockError("skip must not be negative", got=f"skip={skip}", fits="skip=0 or more")
        self.skip = skip

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        padding_mask: Bool[Tensor, " batch *tokens"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        x, real = _row_of_tokens(x, padding_mask, self.skip)
        if real is None:
            return x.amax(dim=1)
        largest = x.masked_fill(~real, torch.finfo(x.dtype).min).amax(dim=1)
        return largest.masked_fill(~real.any(dim=1), 0)


def _row_of_tokens(
    x: Tensor, padding_mask: Tensor | None, skip: int
) -> tuple[Tensor, Tensor | None]:
    """x as (batch, tokens, dim) and its mask as (batch, tokens, 1), both without the first `skip`
    tokens.
    """
    x = x.flatten(1, -2)
    tokens = x.shape[1]
    if tokens <= skip:
        raise BlockError(
            "skip must leave a token",
            got=f"skip={skip}, tokens={tokens}",
            fits=f"skip in 0..{tokens - 1}",
        )
    x = x[:, skip:]
    if padding_mask is None:
        return x, None
    return x, padding_mask.flatten(1)[:, skip:, None]


class LastToken(nn.Module):
    """The last real token: the one that has seen the others, after a causal or recurrent model.

    Shape:
        (batch, tokens, dim), padding_mask (batch, tokens) -> (batch, dim); zeros where no token is
        real

    Source:
        Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training", section
        3.2.
    """

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        padding_mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        if padding_mask is None:
            return x[:, -1]
        places = torch.arange(x.shape[1], device=x.device)
        last = torch.where(padding_mask, places, 0).amax(dim=1)  # whichever side is padded
        token = x.gather(1, last[:, None, None].expand(-1, 1, x.shape[2])).squeeze(1)
        return token.masked_fill(~padding_mask.any(dim=1, keepdim=True), 0)


class GlobalAverage(nn.Module):
    """The mean of each channel over the image.

    Shape:
        (batch, channels, ...) -> (batch, channels)

    Source:
        Lin et al. 2014, arXiv:1312.4400, section 3.2.
    """

    def forward(self, x: Float[Tensor, "batch channels *size"]) -> Float[Tensor, "batch channels"]:
        return x.mean(dim=tuple(range(2, x.ndim)))


class AttentionPool(nn.Module):
    """One learned query attends to all tokens; its output represents the example.

    Args:
        dim: width of a token; inferred from the input.
        heads: number of heads; divides `dim`.
        return_weights: a second output `weights`, what the query looks at. It costs the fused
            kernel.

    Shape:
        (batch, tokens, dim), padding_mask (batch, tokens) -> (batch, dim), and weights (batch,
        heads, 1, tokens) if asked

    Raises:
        BlockError: `heads` does not divide `dim`.

    Source:
        The attention of the "MAP" head of Zhai et al. 2022, arXiv:2106.04560, after Lee et al.
        2019,
        arXiv:1810.00825; its normalisation and MLP are further nodes. Xavier uniform weights and
            zero biases as in its
        code; equals `torch.nn.MultiheadAttention` with the same weights.
    """

    def __init__(self, dim: int, *, heads: int, return_weights: bool = False):
        super().__init__()
        must_divide("heads", heads, "dim", dim)
        self.heads = heads
        self.return_weights = return_weights
        if return_weights:
            self.outputs = ("pooled", "weights")
        self.token = nn.Parameter(torch.empty(1, dim))
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.project = nn.Linear(dim, dim)
        key, value = self.key_value.weight.chunk(2)
        for weight in (self.token, self.query.weight, key, value, self.project.weight):
            nn.init.xavier_uniform_(weight)
        for linear in (self.query, self.key_value, self.project):
            nn.init.zeros_(linear.bias)

    def parts(self) -> dict[str, dict[str, Tensor]]:
        return {"key_value.weight": dict(zip("kv", self.key_value.weight.chunk(2), strict=True))}

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        padding_mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> (
        Float[Tensor, "batch dim"]
        | tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch heads 1 keys"]]
    ):
        batch, tokens, dim = x.shape
        query = (
            self.query(self.token)
            .view(1, 1, self.heads, -1)
            .transpose(1, 2)
            .expand(batch, -1, -1, -1)
        )
        key, value = (
            self.key_value(x)
            .view(batch, tokens, 2, self.heads, -1)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        pooled, weights = attend(
            query, key, value, padding_mask=padding_mask, weights=self.return_weights
        )
        pooled = self.project(pooled.reshape(batch, dim))
        return pooled if weights is None else (pooled, weights)
