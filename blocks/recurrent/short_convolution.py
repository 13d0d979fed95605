"""The convolution over a few tokens in front of a recurrence."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def convolve_channels(
    conv: nn.Conv1d,
    x: Float[Tensor, "batch tokens width"],
    before: Float[Tensor, "batch past width"] | None,
) -> tuple[Float[Tensor, "batch tokens width"], Float[Tensor, "batch past width"]]:
    """SiLU of a causal convolution over each channel; and the tokens that the next ones see.

    Sums of shifted tokens: as fast as the kernel in float32, much faster in float64, and without
    turning the axes.

    Args:
        conv: a convolution of as many groups as channels.
        before: the tokens before x that the convolution sees; None is zeros.
    """
    past, tokens = conv.kernel_size[0] - 1, x.shape[1]
    if before is None:
        before = x.new_zeros(len(x), past, x.shape[2])
    seen = torch.cat((before, x), dim=1)
    taps = conv.weight[:, 0].t()
    out = seen[:, :tokens] * taps[0]
    for i in range(1, past + 1):
        out = torch.addcmul(out, seen[:, i : i + tokens], taps[i])
    if conv.bias is not None:
        out = out + conv.bias
    return F.silu(out), seen[:, tokens:]
