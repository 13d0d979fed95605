"""Normalisation and gate of what a recurrence reads: the part `gate` of `LinearRecurrence`."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import must_be_positive, must_divide


class GatedNorm(nn.Module):
    """RMSNorm of each head and a gate that the token itself opens.

    Formula:
        norm(y) · γ ⊙ silu(x W), or norm(y ⊙ silu(x W)) · γ with `first: gate`

    Args:
        dim: width of a token.
        heads: number of heads; those of the recurrence around it.
        value_dim: width of a head of values; None is `dim / heads`.
        norm_groups: in how many equal groups the heads are normalised; None is each by itself.
        first: what is applied first, `norm` or `gate`.
        weight: γ is one for each channel of a head, shared by the heads (`head`), one for each
            channel (`all`), or 1 (`none`).
        bias: the projection to the gate has a bias.
        epsilon: added to the mean square.

    Shape:
        y (batch, tokens, heads, value_dim), x (batch, tokens, dim)
        -> (batch, tokens, heads * value_dim)

    Raises:
        BlockError: `norm_groups` does not divide `heads`; a size is not positive.

    Source:
        Sun et al. 2023 (RetNet), arXiv:2307.08621, equation 8, by RMSNorm as in its code; Yang et
        al. 2023 (GLA), arXiv:2312.06635, section 4.4; Dao and Gu 2024 (Mamba-2), arXiv:2405.21060,
        section 7, with `first: gate`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        value_dim: int | None = None,
        *,
        norm_groups: int | None = None,
        first: Literal["norm", "gate"] = "norm",
        weight: Literal["head", "all", "none"] = "head",
        bias: bool = False,
        epsilon: float = 1e-5,
    ):
        super().__init__()
        must_be_positive("heads", heads)
        if value_dim is None:
            must_divide("heads", heads, "dim", dim)
            value_dim = dim // heads
        must_divide("norm_groups", norm_groups or heads, "heads", heads)
        self.groups = norm_groups
        self.first, self.epsilon = first, epsilon
        self.project = nn.Linear(dim, heads * value_dim, bias=bias)
        width = {"head": value_dim, "all": heads * value_dim, "none": 0}[weight]
        self.weight = nn.Parameter(torch.ones(width)) if width else None

    def is_shared(self) -> bool:
        """Whether heads share parameters, or the mean square."""
        return self.weight is not None or self.groups is not None

    def forward(
        self,
        y: Float[Tensor, "batch tokens heads value_dim"],
        x: Float[Tensor, "batch tokens dim"],
    ) -> Float[Tensor, "batch tokens out_dim"]:
        gate = F.silu(self.project(x))
        if self.first == "gate":
            y = y * gate.view(y.shape)
        groups = y
        if self.groups is not None:
            groups = y.flatten(2).unflatten(2, (self.groups, -1))
        scaled = F.rms_norm(groups, groups.shape[-1:], None, self.epsilon)
        if self.weight is not None:
            scaled = scaled.flatten(2).unflatten(2, (-1, self.weight.shape[0])) * self.weight
        scaled = scaled.flatten(2)
        if self.first == "norm":
            scaled = scaled * gate
        return scaled
