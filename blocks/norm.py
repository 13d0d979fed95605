"""Normalisation that `torch.nn` does not have for the layouts used here."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Divide each token by the root of its mean square and scale its channels.

    Formula:
        x / √(mean(x²) + ε) · γ

    Args:
        dim: width of a token; inferred from the input.
        epsilon: added to the mean square.

    Shape:
        (batch, ..., dim) -> the same

    Source:
        Zhang and Sennrich 2019, arXiv:1910.07467, equation 4. Equals `torch.nn.RMSNorm` with the
            same `eps`, whose own
        default depends on the dtype; 1e-6 is that of T5 and LLaMA.
    """

    def __init__(self, dim: int, epsilon: float = 1e-6):
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "batch *tokens dim"]) -> Float[Tensor, "batch *tokens dim"]:
        # of one dtype, also under autocast, or there is no fused kernel
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.epsilon)


class QKNorm(nn.Module):
    """RMSNorm of each head of queries and of keys, so that scores stay small whatever the weights.

    Formula:
        q / √(mean(q²) + ε) · γ_q and k / √(mean(k²) + ε) · γ_k

    Args:
        head_dim: width of a head; `dim / heads` of the attention around it.
        epsilon: added to the mean square.

    Shape:
        q (batch, heads, tokens, head_dim), k (batch, kv_heads, tokens, head_dim) -> both,
        normalised

    Source:
        Henry et al. 2020, arXiv:2010.04245, section 3, there by the length; Dehghani et al. 2023
        (ViT-22B), arXiv:2302.05442, section 2, by LayerNorm; by RMSNorm as in Qwen3, Yang et al.
        2025, arXiv:2505.09388, section 2.
    """

    outputs = ("q", "k")

    def __init__(self, head_dim: int, *, epsilon: float = 1e-6):
        super().__init__()
        self.q, self.k = RMSNorm(head_dim, epsilon), RMSNorm(head_dim, epsilon)

    def forward(
        self,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch kv_heads tokens head_dim"],
    ) -> tuple[
        Float[Tensor, "batch heads tokens head_dim"],
        Float[Tensor, "batch kv_heads tokens head_dim"],
    ]:
        return self.q(q), self.k(k)


class QKUnitNorm(nn.Module):
    """Divides each head of queries and of keys by its length.

    Formula:
        q / √(Σ q² + ε) and k / √(Σ k² + ε)

    Args:
        epsilon: added to the square of the length.

    Shape:
        q (batch, heads, tokens, head_dim), k (batch, kv_heads, tokens, head_dim) -> both,
        normalised

    Source:
        Yang et al. 2024 (DeltaNet), arXiv:2406.06484, section 3.3: with keys of length 1 the delta
        rule replaces one direction of the state.
    """

    outputs = ("q", "k")

    def __init__(self, epsilon: float = 1e-6):
        super().__init__()
        self.epsilon = epsilon

    def forward(
        self,
        q: Float[Tensor, "batch heads tokens head_dim"],
        k: Float[Tensor, "batch kv_heads tokens head_dim"],
    ) -> tuple[
        Float[Tensor, "batch heads tokens head_dim"],
        Float[Tensor, "batch kv_heads tokens head_dim"],
    ]:
        return self.divide(q), self.divide(k)

    def divide(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x * (x.square().sum(dim=-1, keepdim=True) + self.epsilon).rsqrt()


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of an image, at each pixel on its own.

    Formula:
        (x - mean) / √(var + ε) · γ + β over the channels

    Args:
        channels: number of channels; inferred from the input.
        epsilon: added to the variance.

    Shape:
        (batch, channels, height, width) -> the same, stored channels-last

    Source:
        Liu et al. 2022, arXiv:2201.03545 (ConvNeXt), section 2.6; epsilon 1e-6 as in its code.
    """

    def __init__(self, channels: int, epsilon: float = 1e-6):
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        # The kernel needs channels last, which convolutions prefer, too.
        pixels = F.layer_norm(
            x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.epsilon
        )
        return pixels.permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """Global response normalisation: channels compete by the strength of their response over the
    whole grid.

    Args:
        dim: number of channels; inferred from the input.
        epsilon: added to the mean strength.

    Shape:
        (batch, height, width, dim) -> the same

    Source:
        Woo et al. 2023, arXiv:2301.00808 (ConvNeXt V2), section 4, algorithm 1. Weight and bias
        start at zero, with which it is the identity.
    """

    def __init__(self, dim: int, epsilon: float = 1e-6):
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(
        self, x: Float[Tensor, "batch height width dim"]
    ) -> Float[Tensor, "batch height width dim"]:
        strength = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        share = strength / (strength.mean(dim=-1, keepdim=True) + self.epsilon)
        # weight * (x * share) + bias + x, with the two factors of x put together first: they are
        # small, x is not.
        return torch.addcmul(self.bias, x, 1 + self.weight * share)
