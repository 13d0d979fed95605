"""Hide tokens at random, and put learned ones in their place again."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from blocks.errors import BlockError


def must_not_be_negative(name: str, value: int) -> None:
    """Raise a BlockError if `value` is negative."""
    if value < 0:
        raise BlockError(
            f"{name} must not be negative", got=f"{name}={value}", fits=f"{name}=0 or more"
        )


class RandomMask(nn.Module):
    """Leave out a share of the tokens, drawn for each example.

    Formula:
        the (1 - ratio) · patches tokens with the least noise, in their order

    Args:
        ratio: of the tokens that are left out, from 0 to below 1.
        class_tokens: leading tokens that always stay.

    Shape:
        (batch, class_tokens + patches, dim), noise (batch, patches) -> visible (batch, class_tokens
        + kept, dim), kept (batch, kept): which patches stay, mask (batch, patches): True where one
        is left out. Without noise it is drawn from torch's generator in training, and every token
        stays otherwise.

    Raises:
        BlockError: `ratio` is not in [0, 1), `class_tokens` is negative; in forward: no token
            stays, the noise has another number of tokens.

    Source:
        He et al. 2022 (MAE), arXiv:2111.06377, section 3: uniform, without replacement. The number
        that stays is rounded down, as in the authors' code; there the tokens that stay are in
        random order.
    """

    outputs = ("visible", "kept", "mask")

    def __init__(self, *, ratio: float = 0.75, class_tokens: int = 0):
        super().__init__()
        if not 0 <= ratio < 1:
            raise BlockError(
                "ratio must be at least 0 and less than 1", got=f"ratio={ratio}", fits="ratio=0.75"
            )
        must_not_be_negative("class_tokens", class_tokens)
        self.ratio, self.class_tokens = ratio, class_tokens

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        noise: Float[Tensor, "batch patches"] | None = None,
    ) -> tuple[
        Float[Tensor, "batch out_tokens dim"],
        Int[Tensor, "batch out_kept"],
        Bool[Tensor, "batch out_patches"],
    ]:
        batch, tokens, dim = x.shape
        patches = tokens - self.class_tokens
        if noise is not None and noise.shape[1] != patches:
            raise BlockError(
                "the noise has a number for each token",
                got=f"noise (batch, {noise.shape[1]}), {patches} tokens",
                fits=f"(batch, {patches})",
                code="shape-mismatch",
            )
        count = patches
        if noise is not None or self.training:
            # the least error of rounding in `ratio` must not leave out one more
            count = int(patches * (1 - self.ratio) + 1e-6)
        if count < 1:
            raise BlockError(
                "no token stays",
                got=f"ratio={self.ratio}, {patches} tokens",
                fits=f"ratio={1 - 1 / max(patches, 1):.3g} or less",
                code="shape-mismatch",
            )
        if noise is None and not self.training:
            kept = torch.arange(patches, device=x.device).expand(batch, -1)
            return x, kept, torch.zeros(batch, patches, dtype=torch.bool, device=x.device)
        if noise is None:
            noise = torch.rand(batch, patches, device=x.device)
        kept = noise.argsort(dim=1, stable=True)[:, :count].sort(dim=1).values
        mask = torch.ones_like(noise, dtype=torch.bool).scatter(1, kept, False)
        front, rest = x[:, : self.class_tokens], x[:, self.class_tokens :]
        visible = rest.gather(1, kept[..., None].expand(-1, -1, dim))
        return torch.cat((front, visible), dim=1), kept, mask


class RestoreTokens(nn.Module):
    """Put a learned token where one was left out, so that all stand in their order again.

    Args:
        dim: width of a token; inferred from the input.
        class_tokens: leading tokens that were never left out.

    Shape:
        (batch, class_tokens + kept, dim), kept (batch, kept), mask (batch, patches) -> (batch,
        class_tokens + patches, dim)

    Raises:
        BlockError: `class_tokens` is negative; in forward: the tokens are not those of `kept`.

    Source:
        He et al. 2022 (MAE), arXiv:2111.06377, section 3 (mask tokens). Normal of deviation 0.02.
    """

    def __init__(self, dim: int, *, class_tokens: int = 0):
        super().__init__()
        must_not_be_negative("class_tokens", class_tokens)
        self.class_tokens = class_tokens
        self.token = nn.Parameter(torch.empty(dim))
        nn.init.normal_(self.token, std=0.02)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        kept: Int[Tensor, "batch kept"],
        mask: Bool[Tensor, "batch patches"],
    ) -> Float[Tensor, "batch out_tokens dim"]:
        dim = x.shape[2]
        if x.shape[1] != self.class_tokens + kept.shape[1]:
            raise BlockError(
                "the tokens are not those that were kept",
                got=f"{x.shape[1]} tokens, {kept.shape[1]} kept, class_tokens={self.class_tokens}",
                fits=f"{self.class_tokens + kept.shape[1]} tokens",
                code="shape-mismatch",
            )
        front, rest = x[:, : self.class_tokens], x[:, self.class_tokens :]
        hidden = self.token.to(x.dtype).expand(mask.shape[0], mask.shape[1], dim)
        restored = hidden.scatter(1, kept[..., None].expand(-1, -1, dim), rest)
        return torch.cat((front, restored), dim=1)
