"""The edges of a body, read from the record: each value names the node that made it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from blocks.graph.describe.draw.picture import Body, Edge, show_sizes
from blocks.graph.record.module import Graph, Scan
from blocks.graph.record.record import Built, Node, maker_of
from blocks.graph.record.value import Value


@dataclass(frozen=True)
class Inside:
    """The body of a node or of the model.

    Args:
        module: its module.
        nodes: all its nodes.
        working: those that are called.
        outputs: what flows out, by name.
    """

    module: Graph
    nodes: Sequence[Node]
    working: Sequence[Node]
    outputs: Mapping[str, Value]


def inside_of(owner: Node | Built) -> Inside | None:
    """The body of a node or of the model; None where it has none."""
    if isinstance(owner, Built):
        return Inside(owner.model, owner.nodes, _working(owner.nodes), owner.outputs)
    if not owner.children or not isinstance(owner.module, Graph):
        return None
    outputs = owner.outputs
    if isinstance(owner.module, Scan):
        outputs = _outputs_of_step(owner, owner.module)
    return Inside(owner.module, owner.children, _working(owner.children), outputs)


def _working(nodes: Sequence[Node]) -> list[Node]:
    """Nodes that are called; one without a module does nothing, or calls that of a sibling."""
    return [node for node in nodes if node.module is not None or node.label.startswith("share: ")]


def _outputs_of_step(owner: Node, scan: Scan) -> dict[str, Value]:
    """What a step of a scan gives, by its names inside the body."""
    found = {}
    for name in scan.meta["step_outputs"]:
        if name in owner.outputs:
            found[name] = owner.outputs[name]
        elif name == scan.meta["sequence"]:
            found[name] = owner.outputs["out"]
    return found


def edges_of(inside: Inside, body: Body, vertices: Mapping[str, int]) -> list[Edge]:
    """The edges of a body, each once.

    Args:
        vertices: name of a node -> its vertex; equal repeats share one.
    """
    ends: list[tuple[Value, int, str]] = []
    for node in inside.working:
        for into, value in _inputs_of(node):
            ends.append((value, vertices[node.name], into))
    for vertex, value in enumerate(inside.outputs.values(), body.first_output):
        ends.append((value, vertex, ""))
    edges: dict[Edge, None] = {}
    for value, target, into in ends:
        maker = maker_of(value)
        if maker is None:
            assert value.node is not None
            source, port, shape = body.entry(str(value.node.target)), "out", value.shape
        else:
            port = value.made_by.partition(".")[2] or next(iter(maker.outputs))
            source, shape = vertices[maker.name], maker.shapes[port]
        if source != target:  # otherwise it stays in one vertex
            edges[Edge(source, port, target, into, show_sizes(shape))] = None
    return list(edges)


def _inputs_of(node: Node) -> Iterator[tuple[str, Value]]:
    """What flows into a node, by input; a body may leave some of it unread."""
    if not isinstance(node.module, Graph) or node.label.startswith("share: "):
        yield from node.flow.items()
        return
    for name in node.module.input_names:
        if name in node.flow:
            yield name, node.flow[name]
