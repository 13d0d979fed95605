"""Normalisation that `torch.nn` does not have for the layouts used here."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import must_be_positive


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


class QKCosine(nn.Module):
    """Divides each head of queries and of keys by its length, and the queries by a temperature that
    each head learns: scores are scaled cosines.

    Formula:
        q / |q| · min(exp(s), most) and k / |k|

    Args:
        heads: number of heads; the attention's own.
        initial: factor of the cosines at the start.
        most: the largest factor.

    Shape:
        q (..., heads, tokens, head_dim), k (..., heads, tokens, head_dim) -> both

    Raises:
        BlockError: `heads`, `initial` or `most` is not positive.

    Source:
        Liu et al. 2022 (Swin V2), arXiv:2111.09883, section 3.2, where the temperature is at least
        0.01; `initial` 10 is that of the authors' code. The attention around it has `scale: 1.0`.
    """

    outputs = ("q", "k")

    def __init__(self, heads: int, *, initial: float = 10.0, most: float = 100.0):
        super().__init__()
        must_be_positive("heads", heads)
        must_be_positive("initial", initial)
        must_be_positive("most", most)
        self.log_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(initial)))
        self.log_most = math.log(most)

    def forward(
        self,
        q: Float[Tensor, "*batch heads tokens head_dim"],
        k: Float[Tensor, "*batch heads tokens head_dim"],
    ) -> tuple[
        Float[Tensor, "*batch heads tokens head_dim"],
        Float[Tensor, "*batch heads tokens head_dim"],
    ]:
        factor = self.log_scale.clamp(max=self.log_most).exp()
        return F.normalize(q, dim=-1) * factor, F.normalize(k, dim=-1)


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


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics, weight and bias never change: buffers, read from the file of a
    trained network.

    Formula:
        (x - mean) / √(variance + ε) · γ + β for each channel

    Args:
        channels: number of channels; inferred from the input.
        epsilon: added to the variance.

    Shape:
        (batch, channels, height, width) -> the same

    Source:
        He et al. 2016, arXiv:1512.03385, section 4.3: in detection the layers are fixed, as a batch
        holds few images. DETR, arXiv:2005.12872, section 4.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, epsilon: float = 1e-5):
        super().__init__()
        self.epsilon = epsilon
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        factor = self.weight * (self.running_var + self.epsilon).rsqrt()
        shift = self.bias - self.running_mean * factor
        return x * factor[:, None, None].to(x.dtype) + shift[:, None, None].to(x.dtype)


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


class WeightNormLinear(nn.Module):
    """A linear layer whose rows have a direction and a length that are learned apart.

    Formula:
        x Wᵀ + b, with each row of W = length · direction / |direction|

    Args:
        dim: width of the input; inferred from it.
        features: width of the output.
        bias: whether something is added.

    Shape:
        (batch, ..., dim) -> (batch, ..., features)

    Raises:
        BlockError: `features` is not positive.

    Source:
        Salimans and Kingma 2016, arXiv:1602.07868, equation 2. Equals
        `torch.nn.utils.parametrizations.weight_norm` of `torch.nn.Linear`, and starts as
        `torch.nn.Linear`.
    """

    def __init__(self, dim: int, features: int, *, bias: bool = True):
        super().__init__()
        must_be_positive("features", features)
        self.direction = nn.Parameter(torch.empty(features, dim))
        self.length = nn.Parameter(torch.empty(features))
        self.bias = nn.Parameter(torch.empty(features)) if bias else None
        bound = dim**-0.5
        nn.init.uniform_(self.direction, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)
        with torch.no_grad():
            self.length.copy_(torch.linalg.vector_norm(self.direction, dim=1))

    def forward(self, x: Float[Tensor, "batch *axes dim"]) -> Float[Tensor, "batch *axes out_dim"]:
        size = torch.linalg.vector_norm(self.direction, dim=1)
        weight = self.direction * (self.length / size).unsqueeze(1)
        return F.linear(x, weight, self.bias)
