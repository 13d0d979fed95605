"""What flows from node to node: a tensor on the meta device, its axes, and where it came from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from blocks.graph.errors import show
from blocks.graph.language.copies import alter

# the size of the batch axis on the meta device: a large prime, which no other axis has
BATCH = 7919
MOST = (
    2**40
)  # numbers of one input for one sample, 4 TB; torch counts the bytes of a batch in 63 bits
DTYPES = {
    "float": torch.float32,
    "float32": torch.float32,
    "int": torch.int64,
    "int64": torch.int64,
    "long": torch.int64,
    "bool": torch.bool,
}


@dataclass(frozen=True)
class Value:
    """What flows from one node to the next: a meta tensor, names of its axes, and its place in the
    generated code.

    An optional input that the data does not have is a wire without a tensor. A broken wire follows
    a mistake that has been reported already.
    """

    tensor: Tensor | None
    names: tuple[str | None, ...]
    node: fx.Node | None
    made_by: str
    vocab: int | None = None
    broken: bool = False
    grid: tuple[int, int] | None = None  # rows and columns that the tokens came from, if any
    idle: tuple[str, ...] = ()  # nodes that do nothing, which it passed since `node` made it

    def at(self, node: fx.Node, made_by: str) -> "Value":
        """The same value as another node of the generated code gives it."""
        return alter(self, node=node, made_by=made_by, idle=())

    @property
    def shape(self) -> tuple[int, ...]:
        return () if self.tensor is None else tuple(self.tensor.shape)

    @property
    def axes(self) -> dict[str, int]:
        """Sizes of the named axes, without the batch."""
        pairs = zip(self.names, self.shape, strict=False)
        return {name: size for name, size in pairs if name and name != "batch"}

    @property
    def cells(self) -> tuple[int, int] | None:
        """Rows and columns: those of its axes, or of the grid that its tokens came from."""
        axes = self.axes
        if "height" in axes and "width" in axes:
            return axes["height"], axes["width"]
        return self.grid

    def __str__(self) -> str:
        return show_shape(self.shape) if self.tensor is not None else "nothing"


def show_shape(shape: tuple[int, ...]) -> str:
    """(7919, 65, 192) -> "(batch, 65, 192)"."""
    return f"({', '.join(map(show_size, shape))})"


def show_size(size: int) -> str:
    if size and size % BATCH == 0:
        return "batch" if size == BATCH else f"{size // BATCH}*batch"
    return str(size)


def must_be_shape(sizes: tuple[Any, ...]) -> str | None:
    """What is wrong with sizes without the batch: not whole, not positive, or too many numbers for
    any memory.
    """
    if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
        return "sizes are whole numbers of 1 or more"
    if math.prod(sizes) > MOST:
        return f"{show(math.prod(sizes))} numbers for each sample"
    return None


def meta_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def axes_of(values: Sequence[Value]) -> dict[str, int]:
    """Sizes of the named axes of several values; the first value wins."""
    axes: dict[str, int] = {}
    for value in reversed(values):
        axes.update(value.axes)
    return axes
