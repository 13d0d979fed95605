"""The receptive field: how much of the input one place of an output sees, through convolutions and
pools alone.

It is followed from tensor to tensor. What looks everywhere (attention, an average over all places)
ends it, and so does what moves places into channels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from blocks.graph.record.value import BATCH

KEPT = (
    "native_batch_norm",
    "native_layer_norm",
    "native_group_norm",
    "_native_batch_norm_legit",
    "_fused_rms_norm",
    "clone",
    "cat",
    "copy",
    "copy_",
    "native_dropout",
    "pixel_shuffle",
)
PRODUCTS = {"mm": 0, "addmm": 1}
POOLS = ("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d")


@dataclass(frozen=True)
class Field:
    """For each axis of a picture or sequence.

    Args:
        size: places of the input that one place sees.
        jump: places of the input between two neighbours.
        places: how many there are.
    """

    size: tuple[float, ...]
    jump: tuple[float, ...]
    places: tuple[int, ...]

    def widest(self, other: "Field") -> "Field":
        """Where two paths meet, the one that sees more."""
        return self if sum(self.size) >= sum(other.size) else other

    def __str__(self) -> str:
        sizes = [f"{size:g}" for size in self.size]
        return sizes[0] if len(set(sizes)) == 1 else "x".join(sizes)


class Fields:
    """The fields of all tensors, by their storage: a view sees what it is a view of."""

    def __init__(self) -> None:
        self.known: dict[int, Field] = {}
        self.alive: list[Tensor] = []  # a storage that is freed gives its place to another

    def start(self, inputs: Iterable[Tensor]) -> None:
        """The model's inputs see themselves, where they are pictures or sequences."""
        for tensor in inputs:
            if tensor.dim() >= 3 and tensor.is_floating_point():
                ones = (1.0,) * (tensor.dim() - 2)
                self.give(tensor, Field(ones, ones, tuple(tensor.shape[2:])))

    def of(self, tensor: Tensor) -> Field | None:
        """The field of a tensor; None where it has none."""
        return self.known.get(storage_of(tensor))

    def follow(
        self, name: str, operation: Any, arguments: tuple[Any, ...], out: Any
    ) -> Field | None:
        """Give what comes out its field; the field, where a convolution or a pool made it."""
        first = out[0] if isinstance(out, tuple | list) and out else out
        if not isinstance(first, Tensor) or not self.known:
            return None
        window = _read_window(name, arguments)
        if window is not None:
            field = self.known.get(storage_of(arguments[0]))
            if field is None or field.places != tuple(arguments[0].shape[2:]):
                return None
            field = _see_through(field, window, tuple(first.shape[2:]))
            self.give(first, field)
            return field
        if (
            torch.Tag.pointwise in operation.tags
            or name in KEPT
            or name.startswith("upsample")
            or name in PRODUCTS
        ):
            self._pass_on(name, arguments, first)
        return None

    def _pass_on(self, name: str, arguments: tuple[Any, ...], out: Tensor) -> None:
        found = []
        for item in tree_leaves(arguments[PRODUCTS[name]] if name in PRODUCTS else arguments):
            if isinstance(item, Tensor) and storage_of(item) in self.known:
                found.append(self.known[storage_of(item)])
        if not found:
            return
        field = max(found, key=lambda field: sum(field.size))
        if name.startswith("upsample"):
            places = tuple(out.shape[2:])
            jump = []
            for before, old, new in zip(field.jump, field.places, places, strict=True):
                jump.append(before * old / new)
            field = Field(field.size, tuple(jump), places)
        rows = BATCH * prod(field.places)
        if name not in PRODUCTS or out.shape[0] == rows:
            self.give(out, field)

    def give(self, tensor: Tensor, field: Field) -> None:
        self.known[storage_of(tensor)] = field
        self.alive.append(tensor)


@dataclass(frozen=True)
class _Window:
    """What a convolution or a pool sees, for each axis; a transposed convolution widens."""

    kernel: Any
    stride: Any
    dilation: Any = (1,)
    widens: bool = False


def _read_window(name: str, arguments: tuple[Any, ...]) -> _Window | None:
    if name == "convolution":
        return _Window(arguments[1].shape[2:], arguments[3], arguments[5], arguments[6])
    if name not in POOLS:
        return None
    kernel = stride = arguments[1]
    if len(arguments) > 2 and arguments[2]:
        stride = arguments[2]
    if name.startswith("max") and len(arguments) > 4:
        return _Window(kernel, stride, arguments[4])
    return _Window(kernel, stride)


def _see_through(field: Field, window: _Window, places: tuple[int, ...]) -> Field:
    """The field behind a window."""
    sizes, jumps = [], []
    for axis, (size, jump) in enumerate(zip(field.size, field.jump, strict=True)):
        kernel, stride = _at(window.kernel, axis), _at(window.stride, axis)
        if window.widens:
            sizes.append(size + (-(-kernel // stride) - 1) * jump)
            jumps.append(jump / stride)
        else:
            sizes.append(size + (kernel - 1) * _at(window.dilation, axis) * jump)
            jumps.append(jump * stride)
    return Field(tuple(sizes), tuple(jumps), places)


def _at(values: Any, axis: int) -> int:
    """The value of an axis; one value stands for all."""
    if len(values) == 1:
        return values[0]
    return values[axis]


def storage_of(tensor: Tensor) -> int:
    """The identity of the memory that a tensor looks at."""
    return tensor.untyped_storage()._cdata
