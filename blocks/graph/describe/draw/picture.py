"""The data of a drawing: nested bodies of nodes and edges, with equal repeats drawn once."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from blocks.graph.describe.draw.fold import join_paths
from blocks.graph.describe.draw.kinds import KINDS
from blocks.graph.record.value import BATCH, show_size


@dataclass(frozen=True)
class Edge:
    """An edge from an output of a vertex to an input of another.

    Args:
        source, target: vertices of the body, numbered through its inputs, nodes and outputs.
        port: the output of the source.
        into: the input of the target.
        shape: what flows, as text.
    """

    source: int
    port: str
    target: int
    into: str
    shape: str


@dataclass
class Body:
    """The inside of a node.

    Args:
        inputs, outputs: by name.
        left_out: nodes that do nothing and are therefore not drawn.
        states: what a scan carries from step to step.
        sequence: the output of a step that makes the sequence of a scan.
    """

    inputs: list[str]
    nodes: list["DrawnNode"]
    outputs: list[str]
    edges: list[Edge] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    states: tuple[str, ...] = ()
    sequence: str = ""

    def walk(self) -> Iterator["DrawnNode"]:
        """Every node inside, outer before inner."""
        for node in self.nodes:
            yield node
            if node.body is not None:
                yield from node.body.walk()

    @property
    def size(self) -> int:
        """The number of vertices."""
        return self.first_output + len(self.outputs)

    @property
    def first_output(self) -> int:
        """The first vertex that is an output."""
        return len(self.inputs) + len(self.nodes)

    def node(self, vertex: int) -> "DrawnNode | None":
        """The node at a vertex; None where an input or an output stands."""
        if len(self.inputs) <= vertex < self.first_output:
            return self.nodes[vertex - len(self.inputs)]
        return None

    def edges_into(self, vertex: int) -> list[Edge]:
        """The edges that end in a vertex."""
        return [edge for edge in self.edges if edge.target == vertex]

    def edges_from(self, vertex: int) -> list[Edge]:
        """The edges that begin in a vertex."""
        return [edge for edge in self.edges if edge.source == vertex]

    def entry(self, name: str) -> int:
        """The vertex of an input, by the port that it enters."""
        return self.inputs.index(name) if name in self.inputs else 0

    def exit(self, port: str) -> int:
        """The vertex of an output, by the port of the node around the body."""
        name = port
        if self.sequence and port not in self.states:
            name = self.sequence
        if name not in self.outputs:
            return self.first_output
        return self.first_output + self.outputs.index(name)


@dataclass
class DrawnNode:
    """One node of the drawing; it may stand for several equal nodes of the model (`paths`).

    Args:
        id: the path of the first of them.
        where: where it was written.
        times: how often it is repeated.
        share: its part of the model's parameters.
        gives, takes: shapes of its outputs by name, and of its inputs.
        structure: equal for nodes that are made of the same parts.
        kind: decides its colour.
        opened: whether its body is unfolded.
    """

    id: str
    name: str
    block: str
    paths: list[str]
    where: str
    times: int
    parameters: int
    share: float
    gives: dict[str, str]
    arguments: dict[str, str]
    structure: Any
    kind: str = "plain"
    takes: list[str] = field(default_factory=list)
    summary: str = ""
    formula: str = ""
    source: str = ""
    body: Body | None = None
    opened: bool = False

    @property
    def display(self) -> str:
        """Its paths as one text."""
        return join_paths(self.paths)


@dataclass
class Picture:
    """A model to draw."""

    title: str
    parameters: int
    body: Body

    def nodes(self) -> Iterator[DrawnNode]:
        """Every node, outer before inner."""
        return self.body.walk()

    def legend(self) -> Iterator[tuple[str, str, str]]:
        """The kinds that occur, each with its name and colour; a body needs no name."""
        used = {node.kind for node in self.nodes()}
        for kind, (name, colour) in KINDS.items():
            if kind in used and name:
                yield kind, name, colour


def show_sizes(shape: tuple[int, ...]) -> str:
    """(7919, 197, 768) -> "197 × 768"; the batch comes first everywhere and is left out."""
    if not shape:
        return ""
    sizes = shape
    if shape[0] == BATCH:
        sizes = shape[1:]
    return " × ".join(map(show_size, sizes)) or "scalar"


def unfold(picture: Picture, depth: int) -> Picture:
    """Open every body down to a depth and close those below; 0 shows the top level alone."""
    _unfold_body(picture.body, depth)
    return picture


def _unfold_body(body: Body, depth: int) -> None:
    for node in body.nodes:
        if node.body is not None:
            node.opened = depth > 0
            _unfold_body(node.body, depth - 1)
