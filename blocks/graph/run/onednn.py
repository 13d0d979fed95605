"""Linear layers by the faster of two libraries.

torch multiplies float32 matrices on a CPU with MKL. oneDNN, which comes with torch for its
convolutions, is 8 to 10 % faster on the forward product of a linear layer and 8 to 34 % on the
product that goes back to its input (AMD Zen 4, one core: 101 against 93 GFLOP/s for 1576 x 384 x
1536, 92 against 68 for 25088 x 384 x 96). For the product that goes back to the weight it has a
kernel in its convolutions, for several threads (two cores: 198 against 189 GFLOP/s for 1576 x 384 x
1536, 189 against 141 for 25088 x 384 x 96). The sums are the same but for the order of their terms.
"""

import platform
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

WORTH = (
    2**26
)  # multiply-adds; below, what Python costs (0.1 ms there and back) is more than what is won
LONG = 1536  # rows; with fewer the sum over them is too short to be shared by several threads
AVAILABLE = (
    platform.machine() in ("x86_64", "AMD64")
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
POINTWISE: Any = torch.ops.mkldnn._linear_pointwise.default if AVAILABLE else None


class Linear(nn.Linear):
    """`torch.nn.Linear` with the same parameters and the same values."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def quicken(model: nn.Module) -> None:
    """Let the linear layers of a model be of this kind. Subclasses of `torch.nn.Linear` stay
    what they are.
    """
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`: x (..., dim), weight (out_dim, dim), bias (out_dim) -> (...,
    out_dim).
    """
    # While a program is exported, sizes must not be asked for.
    if (
        torch.compiler.is_compiling()
        or x.numel() * weight.shape[0] < WORTH
        or not _plain(x, weight)
    ):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Linear.apply(x, weight, bias)
    return _product(x, weight, bias)


def at_hand(layer: nn.Linear, rows: int, copied: bool) -> Callable[[Tensor], Tensor] | None:
    """A linear layer to be asked many times for few rows while its weight stays what it is; None
    where it is no faster.

    A product of few rows is a walk through the weight, and how that lies in memory decides. One row
    through 19 MB of weights (AMD Zen 4, two cores) takes MKL 2.1 ms, and 0.6 ms where each thread
    walks through a part; 16 rows take it
    3.6 ms, oneDNN 2.0 ms, and 1.3 ms where the weight lies in the blocks that it works in.

    Args:
        rows: how many there are going to be; any other number works, too.
        copied: whether to hold a copy of the weight that lies in blocks.
    """
    weight, bias = layer.weight, layer.bias
    if type(layer) not in (Linear, nn.Linear) or not _plain(weight, weight):
        return None
    if rows == 1:
        return _row_at_hand(weight.detach(), bias)
    in_blocks = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows) if copied else weight

    def forward(x: Tensor) -> Tensor:
        return F.linear(x, weight, bias) if _is_other(x) else _product(x, in_blocks, bias)

    return forward


def _row_at_hand(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The layer for one row; its outputs are shared out among as many threads as divide them."""
    out_dim, dim = weight.shape
    parts = next(count for count in range(torch.get_num_threads(), 0, -1) if out_dim % count == 0)
    columns = weight.view(parts, -1, dim).transpose(1, 2)
    start = None if bias is None else bias.view(parts, 1, -1)

    def forward(x: Tensor) -> Tensor:
        if x.numel() != dim or _is_other(x):
            return linear(x, weight, bias)
        row = x.view(1, 1, dim).expand(parts, 1, dim)
        product = torch.bmm(row, columns) if start is None else torch.baddbmm(start, row, columns)
        return product.view(*x.shape[:-1], out_dim)

    return forward


def _is_other(x: Tensor) -> bool:
    return x.dtype is not torch.float32 or torch.is_autocast_enabled("cpu")


def _plain(x: Tensor, weight: Tensor) -> bool:
    """Whether these are plain matrices on a CPU, which nobody traces, transforms or wants in
    another precision.
    """
    return (
        AVAILABLE
        and x.device.type == "cpu"
        and x.dtype is weight.dtype is torch.float32
        and type(x) in (Tensor, nn.Parameter)
        and type(weight) in (Tensor, nn.Parameter)
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product: Tensor = POINTWISE(x, weight, bias, "none", [], "")
    return product


def _across(rows: Tensor, x: Tensor) -> Tensor:
    """rows (out_dim, n) times x (n, dim), n large: what a convolution of 1 x 1 does on the way back
    to its weight.
    """
    if torch.get_num_threads() == 1 or len(x) < LONG:
        return rows @ x
    upstream, image = rows.t()[None, None].permute(0, 3, 1, 2), x[None, None].permute(0, 3, 1, 2)
    weight = rows.new_empty(len(rows), x.shape[1], 1, 1)  # only its shape is asked for
    options = (
        [1, 1],
        [0, 0],
        [1, 1],
        False,
        [0, 0],
        1,
    )  # stride, padding, dilation, transposed, its padding, groups
    by_weight = torch.ops.aten.convolution_backward(
        upstream, image, weight, None, *options, [False, True, False]
    )[1]
    return by_weight.view(len(rows), -1)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        out = _product(x.reshape(-1, x.shape[-1]), weight, bias)
        # No view, so that an activation may overwrite it.
        return torch.ops.aten._unsafe_view(out, (*x.shape[:-1], out.shape[-1]))

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, upstream: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        needs = ctx.needs_input_grad  # type: ignore[attr-defined]
        rows = upstream.reshape(-1, upstream.shape[-1])
        # What was looked at on the way forward need not be looked at again: Python is slow after a
        # large product.
        again = torch.is_grad_enabled() or torch._C._are_functorch_transforms_active()
        by_x = (linear if again else _product)(rows, weight.t()).view(x.shape) if needs[0] else None
        by_weight = (
            (torch.mm if again else _across)(rows.t(), x.reshape(-1, x.shape[-1]))
            if needs[1]
            else None
        )
        return by_x, by_weight, rows.sum(0) if needs[2] else None
