"""Convolutions, channel gates and sizes of images that `torch.nn` does not have.

What they can is not here: a depthwise convolution a `Conv2d` with `groups: channels`, a pointwise
one has kernel 1.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import must_be_positive, must_divide
from blocks.support.decode_cache import DecodeCache


class SqueezeExcite(nn.Module):
    """Scale each channel of an image by a gate computed from the means of all channels.

    Args:
        channels: number of channels; inferred from the input.
        reduction: how many times narrower the layer between is; divides `channels`.
        hidden: width of the layer between, in place of `reduction`.
        activation: of the layer between: relu, or silu as in EfficientNet.
        gate: what opens the channels: sigmoid, or hardsigmoid as in MobileNetV3.

    Shape:
        (batch, channels, height, width) -> the same

    Raises:
        BlockError: `reduction` does not divide `channels`.

    Source:
        Hu et al. 2018, arXiv:1709.01507, section 3; both projections have biases, as in the
        authors' code.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        hidden: int | None = None,
        activation: Literal["relu", "silu"] = "relu",
        gate: Literal["sigmoid", "hardsigmoid"] = "sigmoid",
    ):
        super().__init__()
        if hidden is None:
            must_divide("reduction", reduction, "channels", channels)
        hidden = channels // reduction if hidden is None else hidden
        must_be_positive("hidden", hidden)
        self.activation = F.silu if activation == "silu" else F.relu
        self.gate = F.hardsigmoid if gate == "hardsigmoid" else torch.sigmoid
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        gate = self.gate(self.excite(self.activation(self.squeeze(x.mean(dim=(2, 3))))))
        return x * gate[:, :, None, None]


class ResizeLike(nn.Module):
    """Interpolate an image bilinearly to the height and the width of another one.

    Shape:
        (batch, channels, height, width), like (batch, ..., like_height, like_width) -> (batch,
        channels, like_height, like_width)

    Source:
        The levels of Lin et al. 2017 (FPN), arXiv:1612.03144, section 3, bilinearly as in Xie et
        al. 2021 (SegFormer), arXiv:2105.15203, section 3.2. Corners are not aligned, as is the
        default of `torch.nn.functional.interpolate`.
    """

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        like: Float[Tensor, "batch like_channels like_height like_width"],
    ) -> Float[Tensor, "batch channels out_height out_width"]:
        return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class CausalConv1d(nn.Module):
    """Convolution along the tokens that sees the present and the past, never the future.

    Args:
        dim: width of a token; inferred from the input.
        features: width of a token that leaves.
        kernel: how many tokens it sees.
        dilation: how many tokens apart they stand.
        groups: into how many groups the channels fall; `dim` for a depthwise convolution.
        bias: whether it has a bias.

    Shape:
        (batch, tokens, dim) -> (batch, tokens, features)

    Raises:
        BlockError: `groups` does not divide `dim` and `features`; `kernel` or `dilation` is not
            positive.

    Source:
        van den Oord et al. 2016, arXiv:1609.03499 (WaveNet), section 2.1; Bai et al. 2018,
        arXiv:1803.01271 (TCN).
    """

    def __init__(
        self,
        dim: int,
        features: int,
        *,
        kernel: int,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        must_be_positive("kernel", kernel)
        must_be_positive("dilation", dilation)
        must_divide("groups", groups, "dim", dim)
        must_divide("groups", groups, "features", features)
        self.past = (kernel - 1) * dilation
        self.project = nn.Conv1d(dim, features, kernel, dilation=dilation, groups=groups, bias=bias)

    def forward(
        self, x: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch tokens out_dim"]:
        return self.project(F.pad(x.transpose(1, 2), (self.past, 0))).transpose(1, 2)

    def step(self, memory: DecodeCache, x: Tensor) -> Tensor:
        before = memory.get("before")
        if before is None:
            before = x.new_zeros(len(x), self.past, x.shape[2])
        x = torch.cat((before, x), dim=1)
        memory.keep("before", x[:, x.shape[1] - self.past :])
        return self.project(x.transpose(1, 2)).transpose(1, 2)


class WeightNormConv2d(nn.Module):
    """A convolution of images whose filters have a direction and a length that are learned apart.

    Formula:
        x ∗ W + b, with each filter of W = length · direction / |direction|

    Args:
        channels: of the input; inferred from it.
        features: channels of the output.
        kernel: height and width of a filter.
        stride: pixels from one place to the next.
        padding: zeros on each side.
        dilation: pixels between the values that a filter reads.
        groups: into how many groups the channels fall.
        bias: whether something is added.

    Shape:
        (batch, channels, height, width) -> (batch, features, height, width)

    Raises:
        BlockError: `groups` does not divide `channels` and `features`; `features`, `kernel`,
            `stride` or `dilation` is not positive.

    Source:
        Salimans and Kingma 2016, arXiv:1602.07868, equation 2. Equals
        `torch.nn.utils.parametrizations.weight_norm` of `torch.nn.Conv2d`, and starts as
        `torch.nn.Conv2d`.
    """

    def __init__(
        self,
        channels: int,
        features: int,
        *,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        must_be_positive("kernel", kernel)
        must_be_positive("stride", stride)
        must_be_positive("dilation", dilation)
        must_divide("groups", groups, "channels", channels)
        must_divide("groups", groups, "features", features)
        self.stride, self.padding = stride, padding
        self.dilation, self.groups = dilation, groups
        inputs = channels // groups
        self.direction = nn.Parameter(torch.empty(features, inputs, kernel, kernel))
        self.length = nn.Parameter(torch.empty(features))
        self.bias = nn.Parameter(torch.empty(features)) if bias else None
        bound = (inputs * kernel * kernel) ** -0.5
        nn.init.uniform_(self.direction, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)
        with torch.no_grad():
            self.length.copy_(torch.linalg.vector_norm(self.direction, dim=(1, 2, 3)))

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        size = torch.linalg.vector_norm(self.direction, dim=(1, 2, 3))
        weight = self.direction * (self.length / size)[:, None, None, None]
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
