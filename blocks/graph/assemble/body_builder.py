"""What stands in a body while it is put together: wires with shapes, and the names by which nodes
reach them.
"""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from blocks.graph.errors import ConfigError, show
from blocks.graph.language.words import check_word

# a large prime stands for the batch axis on the meta device, so that no real size is mistaken for
# it
BATCH = 7919
MOST = (
    2**40
)  # numbers of one input for one sample, 4 TB; torch counts the bytes of a batch in 63 bits


@dataclass(frozen=True)
class Wire:
    """What flows from one node to the next: a meta tensor, names of its axes, and its place in the
    generated code.

    An optional input that the data does not have is a wire without a tensor. A broken wire follows
    a mistake that has been told already.
    """

    tensor: Tensor | None
    names: tuple[str | None, ...]
    node: fx.Node | None
    made_by: str
    vocab: int | None = None
    broken: bool = False
    grid: tuple[int, int] | None = None  # rows and columns that the tokens came from, if any

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


@dataclass(frozen=True)
class Input:
    """One thing that flows into a node: the port it was given for, if any, the name it was read by,
    and the wire.
    """

    port: str | None
    name: str
    wire: Wire


@dataclass
class Row:
    """One node as `explain` shows it; the last three say why: what flows in and out, and what is
    written.
    """

    name: str
    path: str
    block: str
    origin: str
    inputs: tuple[tuple[int, ...], ...] = ()
    outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    children: list["Row"] = field(default_factory=list)
    repeat: int = 0
    flow: dict[str, Wire] = field(default_factory=dict)
    gives: dict[str, Wire] = field(default_factory=dict)
    texts: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Room:
    """A body under construction: its generated code, its modules, and what its names stand for."""

    path: str
    graph: fx.Graph = field(default_factory=fx.Graph)
    root: nn.Module = field(default_factory=nn.Module)
    inputs: dict[str, Wire] = field(default_factory=dict)
    results: dict[str, dict[str, Wire]] = field(default_factory=dict)
    arguments: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    previous: Wire | None = None
    rows: list[Row] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    grids: dict[str, tuple[int, int]] = field(
        default_factory=dict
    )  # of what flows into nodes with position tables
    spoilt: bool = False  # a node is broken: an unread wire is then no mistake
    left_out: list[str] = field(default_factory=list)  # nodes that `when` leaves out
    gone: set[str] = field(default_factory=set)  # those of them that have no input to stand for

    def below(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def add_input(self, name: str, wire: Wire, optional: bool = False) -> None:
        problem = check_word(name)
        # it is told with its place before; here no name of a stranger's gets into generated code
        if problem:
            raise ConfigError([problem])
        default = {"default_value": None} if optional else {}
        later = (
            None
            if optional
            else next((node for node in self.graph.nodes if node.args == (None,)), None)
        )
        with (
            self.graph.inserting_before(later) if later is not None else nullcontext()
        ):  # what is needed stands first
            placeholder = self.graph.placeholder(name, **default)
        self.inputs[name] = replace(wire, node=placeholder)
        self.results[name] = {"out": self.inputs[name]}

    def enter(self, inputs: list[Input], previous: Wire | None) -> dict[str, Wire]:
        """Take what flows into a body: the first is `x`, the others bear their own names.

        Where a mapping leaves `x` out, the sibling before is offered as `x`. Returns the outer
        wires by name.
        """
        given: dict[str, Wire] = {}
        positional = [item for item in inputs if item.port is None]
        named = sorted(
            (item for item in inputs if item.port is not None), key=lambda item: item.port != "x"
        )
        if positional:
            given["x"] = positional[0].wire
            given.update({item.name: item.wire for item in positional[1:]})
        elif named and named[0].port != "x" and previous is not None:
            given["x"] = previous
        given.update({item.name: item.wire for item in named})
        for name, wire in given.items():
            self.add_input(name, wire, optional=wire.tensor is None)
        self.previous = next(iter(self.inputs.values()), None)
        return given

    def read(self, reference: str) -> Wire | None:
        """The wire that `node` or `node.port` stands for; None where there is none."""
        name, _, port = reference.partition(".")
        outputs = self.results.get(name)
        if outputs is None:
            return None
        return outputs.get(port) if port else next(iter(outputs.values()))

    def references(self) -> list[str]:
        """All that `in:` may say here."""
        named = list(self.results)
        return named + [
            f"{name}.{port}"
            for name, ports in self.results.items()
            if len(ports) > 1
            for port in ports
        ]

    def view(self, name: str) -> Mapping[str, Any] | None:
        """A node for expressions: its shape, its axes, its arguments."""
        outputs = self.results.get(name)
        if outputs is None:
            return None
        wire = next(iter(outputs.values()))
        return {**self.arguments.get(name, {}), **wire.axes, "shape": wire.shape}


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
