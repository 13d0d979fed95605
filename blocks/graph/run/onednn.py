"""Linear layers by the faster of two libraries.

torch multiplies float32 matrices on a CPU with MKL. oneDNN, which torch ships for its convolutions,
is 8 to 10 % faster for the forward product of a linear layer, and 8 to 34 % for the gradient of its
input (AMD Zen 4, one core: 101 against 93 GFLOP/s for 1576 x 384 x 1536, 92 against 68 for 25088 x
384 x 96). For the gradient of the weight, the kernel of its convolutions is faster on several
threads (two cores: 198 against 189 GFLOP/s for 1576 x 384 x 1536, 189 against 141 for 25088 x 384 x
96). On a processor of Intel MKL is faster but where a side of the weight is short (two cores: the
gradients of 1576 x 384 x 1536 take 4.6 and 5.0 ms, 5.3 and 6.4 by oneDNN; the gradient of the input
of 25088 x 96 x 384 takes 6.2 ms, 4.6 by oneDNN). The results differ only by the order of summation.
"""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from blocks.graph.run.replace import convert, replace_modules

CPUINFO = Path("/proc/cpuinfo")  # Linux: there `platform.processor()` is often empty


def is_intel() -> bool:
    """Return whether the processor is made by Intel, the vendor of MKL."""
    vendor = platform.processor()
    if CPUINFO.is_file():
        vendor = CPUINFO.read_text(encoding="utf-8", errors="replace").partition("flags")[0]
    return "GenuineIntel" in vendor


INTEL = is_intel()
# Multiply-adds. Below, the overhead of Python (0.1 ms forward and backward) exceeds the gain.
MIN_PRODUCT = 2**26
# Numbers of the shorter side of a weight, above which MKL is the faster one.
MAX_SHORT_SIDE = 96 if INTEL else 2**62
# Rows. With fewer, the sum over the rows is too short to be split among threads.
MIN_ROWS = 2**62 if INTEL else 1536
# Numbers of a weight. Below, a call of oneDNN (11 us) takes longer than the product.
MIN_PACKED = 2**16
# For fewer rows oneDNN would keep the weight as it is, which is slower for one row, too.
PACKED_ROWS = 16
# Numbers of a weight from which its blocks are faster for several rows where vectors are short: MKL
# takes 201 us for 16 rows through 768 x 256, oneDNN 252 us; 3.9 and 2.4 ms through 8000 x 256.
MIN_PACKED_SHORT = 2**20
# Numbers of a weight and rows from which its blocks are faster on a processor of Intel: 4 rows take
# 440 us through 8000 x 256 and 6.4 ms through 50257 x 384, by columns 404 us and 9.3 ms; one row
# takes 5.9 and 4.8 ms through the latter, 64 rows 19.9 and 16.1 ms.
MIN_PACKED_INTEL = 2**22
PACKED_ROWS_INTEL = range(2, 64)
SHORT_VECTORS = "AVX512" not in torch.backends.cpu.get_cpu_capability()
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


class PackedLinear(nn.Linear):
    """A linear layer for few rows, whose weight is laid out as oneDNN works through it.

    The layout is a copy: it does not follow a change of the weight.
    """

    packed: Tensor

    def forward(self, input: Tensor) -> Tensor:
        if _needs_torch(input):
            return F.linear(input, self.weight, self.bias)
        return _multiply(input, self.packed, self.bias)


class ColumnLinear(nn.Linear):
    """A linear layer for few rows, whose weight is laid out by columns.

    The layout is a copy: it does not follow a change of the weight.
    """

    columns: Tensor  # (out_features, in_features), the second axis with the larger stride

    def forward(self, input: Tensor) -> Tensor:
        if _needs_torch(input):
            return F.linear(input, self.weight, self.bias)
        return F.linear(input, self.columns, self.bias)


def use_onednn(model: nn.Module) -> None:
    """Replace the linear layers below `model` by those of this file.

    Subclasses of `torch.nn.Linear` stay as they are.
    """

    def replace(module: nn.Module) -> nn.Module:
        if type(module) is nn.Linear:
            return convert(module, Linear)
        return module

    replace_modules(model, replace)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute `torch.nn.functional.linear`.

    Args:
        x: (..., dim).
        weight: (out_dim, dim).
        bias: (out_dim).

    Returns:
        (..., out_dim).
    """
    # During export, sizes are symbolic and must not be compared.
    if torch.compiler.is_compiling() or x.numel() * weight.shape[0] < MIN_PRODUCT:
        return F.linear(x, weight, bias)
    if min(weight.shape) > MAX_SHORT_SIDE or not _is_plain(x, weight):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Linear.apply(x, weight, bias)
    return _multiply(x, weight, bias)


def prepare_linear(layer: nn.Linear, rows: int, copied: bool) -> nn.Linear | None:
    """Return a layer for many calls with few rows and a constant weight, or None where none is
    faster.

    A product of few rows is limited by reading the weight, so its layout in memory decides. Through
    a weight of 8000 x 256 (AMD Zen 5, one thread), one row takes torch 671 us, oneDNN 443 us, and
    346 us with the weight in the blocks that oneDNN uses for `PACKED_ROWS` rows; 16 rows take
    1304 us by torch and 613 us in blocks. With vectors of 256 bits only (AVX2, one thread), a
    weight by columns is the fastest for one row: 631 us, 1170 us by torch, 1245 us in blocks. On a
    processor of Intel it is so for any number of rows but through large weights, and a call of
    oneDNN takes 12 us: 16 rows through weights of 768 x 256 that are not in the cache take torch
    72 us, 62 us in blocks and 48 us by columns, one row 31, 42 and 31 us.

    Args:
        rows: the expected number of rows; any other number works, too.
        copied: whether to keep a copy of the weight in blocks.
    """
    weight = layer.weight
    if type(layer) not in (Linear, nn.Linear) or not _is_plain(weight, weight):
        return None
    if weight.numel() < MIN_PACKED:
        return None
    if INTEL and not copied:
        return None
    if copied and _prefers_columns(weight, rows):
        by_columns = convert(layer, ColumnLinear)
        vars(by_columns)["columns"] = weight.detach().t().contiguous().t()
        return by_columns
    if SHORT_VECTORS and weight.numel() < MIN_PACKED_SHORT:
        return None
    prepared = convert(layer, PackedLinear)
    packed = weight
    if copied:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), max(rows, PACKED_ROWS))
    vars(prepared)["packed"] = packed
    return prepared


def _prefers_columns(weight: Tensor, rows: int) -> bool:
    """Return whether a product of so many rows is faster with the weight by columns."""
    if INTEL:
        return weight.numel() < MIN_PACKED_INTEL or rows not in PACKED_ROWS_INTEL
    return SHORT_VECTORS and rows == 1


def _needs_torch(x: Tensor) -> bool:
    """Return whether the input is in another precision than the prepared weight."""
    return x.dtype is not torch.float32 or torch.is_autocast_enabled("cpu")


def _is_plain(x: Tensor, weight: Tensor) -> bool:
    """Return whether both are plain float32 matrices on a CPU, outside of tracing, function
    transforms and autocast.
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


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product: Tensor = POINTWISE(x, weight, bias, "none", [], "")
    return product


def _multiply_long(rows: Tensor, x: Tensor) -> Tensor:
    """Multiply rows (out_dim, n) by x (n, dim) for a large n, as a convolution of 1 x 1 computes
    the gradient of its weight.
    """
    if torch.get_num_threads() == 1 or len(x) < MIN_ROWS:
        return rows @ x
    upstream = rows.t()[None, None].permute(0, 3, 1, 2)
    image = x[None, None].permute(0, 3, 1, 2)
    weight = rows.new_empty(len(rows), x.shape[1], 1, 1)  # only its shape is read
    _, gradient, _ = torch.ops.aten.convolution_backward(
        upstream,
        image,
        weight,
        bias_sizes=None,
        stride=[1, 1],
        padding=[0, 0],
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=1,
        output_mask=[False, True, False],
    )
    return gradient.view(len(rows), -1)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        out = _multiply(x.reshape(-1, x.shape[-1]), weight, bias)
        # Not a view, so that an activation may overwrite it.
        return torch.ops.aten._unsafe_view(out, (*x.shape[:-1], out.shape[-1]))

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, upstream: Tensor
    ) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        x_needed, weight_needed, bias_needed = ctx.needs_input_grad  # type: ignore[attr-defined]
        rows = upstream.reshape(-1, upstream.shape[-1])
        # The forward pass has checked the operands; checks are slow after a large product.
        multiply: Callable[..., Tensor] = _multiply
        multiply_long: Callable[..., Tensor] = _multiply_long
        if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
            multiply, multiply_long = linear, torch.mm
        by_x = by_weight = by_bias = None
        if x_needed:
            by_x = multiply(rows, weight.t()).view(x.shape)
        if weight_needed:
            by_weight = multiply_long(rows.t(), x.reshape(-1, x.shape[-1]))
        if bias_needed:
            by_bias = rows.sum(0)
        return by_x, by_weight, by_bias
