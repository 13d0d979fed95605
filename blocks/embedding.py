"""From raw inputs to tokens: images cut into patches, looked-up ids, and tokens that are learned
outright.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_positive


class PatchEmbedding(nn.Module):
    """Cut an image into patches and project each of them linearly, as one strided convolution.

    Formula:
        W · patch + b, for each patch

    Args:
        channels: channels of the image; inferred from the input.
        dim: width of a token.
        size: side of a patch in pixels, or (height, width).
        layout: "tokens" for a row of tokens, "grid" to keep rows and columns apart.
        bias: whether the projection has a bias.

    Shape:
        (batch, channels, height, width) -> (batch, tokens, dim), tokens row by row, or (batch,
        rows, columns, dim)

    Raises:
        BlockError: `dim` or `size` is not positive; the patches do not tile the image.

    Source:
        Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1. Weights start as those of
        `torch.nn.Conv2d`.
    """

    def __init__(
        self,
        channels: int,
        dim: int,
        *,
        size: int | tuple[int, int],
        layout: Literal["tokens", "grid"] = "tokens",
        bias: bool = True,
    ):
        super().__init__()
        height, width = (size, size) if isinstance(size, int) else size
        must_be_positive("dim", dim)
        must_be_positive("size", min(height, width))
        if layout not in ("tokens", "grid"):
            raise BlockError(
                "layout is not known", got=f"layout={layout}", fits="layout in tokens, grid"
            )
        self.size, self.layout = (height, width), layout
        self.project = nn.Conv2d(channels, dim, kernel_size=self.size, stride=self.size, bias=bias)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch *out_tokens out_dim"]:
        for side, length, patch in zip(("height", "width"), x.shape[2:], self.size, strict=True):
            if length % patch:
                below = length // patch * patch
                raise BlockError(
                    f"patches must tile the {side} of the image",
                    got=f"size={patch}, {side}={length}",
                    fits=f"{side}={below} or {below + patch}" if below else f"{side}={patch}",
                    code="shape-mismatch",
                )
        patches = self.project(x)
        if self.layout == "grid":
            return patches.permute(0, 2, 3, 1)
        return patches.flatten(2).transpose(1, 2)

    def patch_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches."""
        return height // self.size[0], width // self.size[1]


class ClassToken(nn.Module):
    """Put learned tokens before the first one.

    Args:
        dim: width of a token; inferred from the input.
        count: how many; 2 for a class and a distillation token.

    Shape:
        (batch, tokens, dim) -> (batch, count + tokens, dim)

    Raises:
        BlockError: `count` is not positive.

    Source:
        Devlin et al. 2019, arXiv:1810.04805, section 3; for images Dosovitskiy et al. 2021,
        arXiv:2010.11929, section
        3.1; the distillation token Touvron et al. 2021, arXiv:2012.12877. Truncated normal of
          deviation 0.02.
    """

    def __init__(self, dim: int, count: int = 1):
        super().__init__()
        must_be_positive("count", count)
        self.token = nn.Parameter(torch.empty(count, dim))
        nn.init.trunc_normal_(self.token, std=0.02)

    def forward(
        self, x: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch out_tokens dim"]:
        return torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1)


class TokenEmbedding(nn.Module):
    """Look up one learned vector per token id.

    Formula:
        the row of W that bears the token's number, times √dim where scaled

    Args:
        vocab: number of different ids.
        dim: width of a token.
        scale: multiply by the square root of `dim`.
        padding: id whose vector is zero at the start and learns nothing from being looked up.

    Shape:
        (batch, tokens) -> (batch, tokens, dim)

    Raises:
        BlockError: `vocab` or `dim` is not positive; `padding` is no id of the vocabulary.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.4. The paper names no initialisation:
        normal of deviation `dim ** -0.5` where scaled, so that what leaves has deviation 1, else
        0.02 as in BERT and GPT-2. Not the deviation 1 of `torch.nn.Embedding`, with which a tied
        output projection starts with logits of deviation `dim ** 0.5`.
    """

    def __init__(self, vocab: int, dim: int, *, scale: bool = False, padding: int | None = None):
        super().__init__()
        must_be_positive("vocab", vocab)
        must_be_positive("dim", dim)
        if padding is not None and not 0 <= padding < vocab:
            raise BlockError(
                "padding must be an id of the vocabulary",
                got=f"padding={padding}, vocab={vocab}",
                fits=f"padding in 0..{vocab - 1}",
            )
        self.padding = padding
        self.factor = math.sqrt(dim) if scale else 1.0
        self.weight = nn.Parameter(torch.empty(vocab, dim))
        nn.init.normal_(self.weight, std=dim**-0.5 if scale else 0.02)
        if padding is not None:
            nn.init.zeros_(self.weight[padding])

    def forward(self, x: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens out_dim"]:
        tokens = self.lookup(x)
        return tokens if self.factor == 1.0 else tokens * self.factor

    def lookup(self, x: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens out_dim"]:
        """The rows of the table; where it is tied to a head, the loss may look them up in its
        stead.
        """
        return F.embedding(x, self.weight, self.padding)


class LearnedTokens(nn.Module):
    """Learned tokens, the same for every example: latents, object queries, pooling queries.

    Args:
        tokens: how many.
        dim: width of a token.

    Shape:
        (batch, anything) -> (batch, tokens, dim); of the input only the batch size is used

    Raises:
        BlockError: `tokens` or `dim` is not positive.

    Source:
        The latent array of Jaegle et al. 2021, arXiv:2103.03206, with its truncated normal of
        deviation 0.02; the object queries of Carion et al. 2020, arXiv:2005.12872, are the same
        with another start.
    """

    def __init__(self, tokens: int, dim: int):
        super().__init__()
        must_be_positive("tokens", tokens)
        must_be_positive("dim", dim)
        self.token = nn.Parameter(torch.empty(tokens, dim))
        nn.init.trunc_normal_(self.token, std=0.02)

    def forward(self, x: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch out_tokens out_dim"]:
        return self.token.expand(x.shape[0], -1, -1)


class FeatureTokens(nn.Module):
    """A token for each number of a row: the number times a learned vector, plus another.

    Formula:
        x_j · W_j + b_j, for each feature j

    Args:
        features: how many numbers; inferred from the input.
        dim: width of a token.

    Shape:
        (batch, features) -> (batch, features, dim)

    Raises:
        BlockError: `dim` is not positive.

    Source:
        Gorishniy et al. 2021, arXiv:2106.11959 (FT-Transformer), section 3.3. Weights start as
        those of a linear layer with `dim` inputs.
    """

    def __init__(self, features: int, dim: int):
        super().__init__()
        must_be_positive("dim", dim)
        self.weight = nn.Parameter(torch.empty(features, dim))
        self.bias = nn.Parameter(torch.empty(features, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases uniformly from +- 1 / sqrt(dim)."""
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features dim"]:
        return x[..., None] * self.weight + self.bias
