"""What is drawn: a composed model as nested bodies of nodes and edges, with equal repeats drawn
once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from blocks.graph.describe.draw.fold import pattern
from blocks.graph.record.value import BATCH, show_size


@dataclass(frozen=True)
class Edge:
    """From an output of a vertex to an input of another, with what flows. Vertices are inputs,
    nodes, outputs.
    """

    source: int
    port: str
    target: int
    into: str
    shape: str


@dataclass
class Body:
    """What stands inside a node: inputs by name, nodes, outputs by name, and the edges between
    them.
    """

    inputs: list[str]
    nodes: list["DrawnNode"]
    outputs: list[str]
    edges: list[Edge]
    left_out: list[str] = field(
        default_factory=list
    )  # nodes that do nothing and are not in the code
    states: tuple[str, ...] = ()  # what a scan carries from step to step
    sequence: str = ""  # the output of a step that makes the sequence of a scan

    @property
    def size(self) -> int:
        return len(self.inputs) + len(self.nodes) + len(self.outputs)

    def node(self, vertex: int) -> "DrawnNode | None":
        place = vertex - len(self.inputs)
        return self.nodes[place] if 0 <= place < len(self.nodes) else None

    def entry(self, name: str) -> int:
        """The vertex at which what flows into a port comes in."""
        return self.inputs.index(name) if name in self.inputs else 0

    def exit(self, port: str) -> int:
        """The vertex at which what an output gives goes out."""
        name = self.sequence if self.sequence and port not in self.states else port
        return (
            len(self.inputs)
            + len(self.nodes)
            + (self.outputs.index(name) if name in self.outputs else 0)
        )


@dataclass
class DrawnNode:
    """One node of the picture; it may stand for several equal nodes of the model (`paths`)."""

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
        return pattern(self.paths)


@dataclass
class Picture:
    """A model to draw."""

    title: str
    parameters: int
    body: Body

    def nodes(self) -> Iterator[DrawnNode]:
        """Every node, outer before inner."""
        return walk(self.body)


def walk(body: Body) -> Iterator[DrawnNode]:
    for node in body.nodes:
        yield node
        if node.body is not None:
            yield from walk(node.body)


def size_text(shape: tuple[int, ...]) -> str:
    """(7919, 197, 768) -> "197 × 768": the batch comes first everywhere and goes without saying."""
    if not shape:
        return ""
    parts = [show_size(size) for size in (shape[1:] if shape[0] == BATCH else shape)]
    return " × ".join(parts) if parts else "scalar"


def unfold(drawn: Picture, depth: int) -> Picture:
    """Open every body down to a depth, and close those below: 0 shows the top level alone."""

    def down(body: Body, left: int) -> None:
        for node in body.nodes:
            if node.body is not None:
                node.opened = left > 0
                down(node.body, left - 1)

    down(drawn.body, depth)
    return drawn
