"""What is drawn: a composed model as nested bodies of nodes and edges, with equal repeats drawn once."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import fx, nn

from blocks.graph.draw.fold import merged, pattern, runs, span
from blocks.graph.draw.kinds import kind_of, kind_of_body
from blocks.graph.explain import count_parameters
from blocks.graph.module import Graph, Scan
from blocks.graph.room import BATCH, Row, show_size
from blocks.graph.signature import signature_of

if TYPE_CHECKING:
    from blocks.graph import Plan


@dataclass(frozen=True)
class Edge:
    """From an output of a vertex to an input of another, with what flows. Vertices of a body: inputs, nodes, outputs."""

    source: int
    port: str
    target: int
    into: str
    shape: str


@dataclass
class Body:
    """What stands inside a node: inputs by name, nodes, outputs by name, and the edges between them."""

    inputs: list[str]
    nodes: list["Node"]
    outputs: list[str]
    edges: list[Edge]
    left_out: list[str] = field(default_factory=list)  # nodes that do nothing and are not in the code
    states: tuple[str, ...] = ()  # what a scan carries from step to step
    sequence: str = ""  # the output of a step that makes the sequence of a scan

    @property
    def size(self) -> int:
        return len(self.inputs) + len(self.nodes) + len(self.outputs)

    def node(self, vertex: int) -> "Node | None":
        place = vertex - len(self.inputs)
        return self.nodes[place] if 0 <= place < len(self.nodes) else None

    def entry(self, name: str) -> int:
        """The vertex at which what flows into a port comes in."""
        return self.inputs.index(name) if name in self.inputs else 0

    def exit(self, port: str) -> int:
        """The vertex at which what an output gives goes out."""
        name = self.sequence if self.sequence and port not in self.states else port
        return len(self.inputs) + len(self.nodes) + (self.outputs.index(name) if name in self.outputs else 0)


@dataclass
class Node:
    """One node of the picture; it may stand for several equal nodes of the model (`paths`)."""

    id: str
    name: str
    block: str
    kind: str
    paths: list[str]
    where: str
    times: int
    parameters: int
    share: float
    takes: list[str]
    gives: dict[str, str]
    arguments: dict[str, str] = field(default_factory=dict)
    summary: str = ""
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

    def nodes(self) -> Iterator[Node]:
        """Every node, outer before inner."""
        return walk(self.body)


def walk(body: Body) -> Iterator[Node]:
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


def picture(plan: "Plan", title: str = "model") -> Picture:
    """The picture of a model on the meta device."""
    return _Painter(plan).paint(title)


class _Painter:
    def __init__(self, plan: "Plan"):
        self.plan, self.model = plan, plan.model
        self.total = count_parameters(plan.model)
        self.catalog: Mapping[str, Any] = plan.assembler.catalog

    def paint(self, title: str) -> Picture:
        body = self.body(self.plan.rows, [self.plan.rows], [self.model])
        first = len(body.inputs) + len(body.nodes)
        for edge in body.edges:
            node = body.node(edge.source)
            if edge.target >= first and node is not None and node.kind in ("mlp", "conv"):
                node.kind = "head"
        seen: set[Any] = set()
        for node in body.nodes:
            _open_once(node, seen)
        return Picture(title, self.total, body)

    def body(self, rows: list[Row], instances: list[list[Row]], graphs: list[nn.Module]) -> Body:
        """A body that may stand for several equal ones; wired as the one in which most nodes are at work."""
        place = max(range(len(graphs)), key=lambda i: (len(list(_calls(graphs[i]))), i))
        graph, rows = graphs[place], instances[place]
        owners = _owners(graph, rows)
        live = {id(row) for row in owners.values()}
        places = [number for number, row in enumerate(rows) if id(row) in live]
        groups = runs([rows[number] for number in places])
        index = {id(row): number for number, group in enumerate(groups) for row in group}
        nodes, rest = [], iter(places)
        for group in groups:
            columns = [next(rest) for _ in group]
            nodes.append(self.node([[instance[column] for column in columns] for instance in instances]))
        body = Body(list(_inputs(graph)), nodes, list(_outputs(graph)), [])
        body.left_out = [f"{row.name} ({row.block})" for row in rows if id(row) not in live]
        shapes = {name: size_text(shape) for name, shape in _input_shapes(graph, rows).items()}
        body.edges = list(_edges(graph, body, {name: (index[id(row)], row) for name, row in owners.items()}, shapes))
        for place, node in enumerate(nodes, len(body.inputs)):
            node.takes = list(dict.fromkeys(edge.shape or "nothing, or what the data gives" for edge in body.edges if edge.target == place))
        return body

    def node(self, instances: list[list[Row]]) -> Node:
        """One node for a run of equal rows, in each of the equal bodies around it."""
        rows = [row for run in instances for row in run]
        first, run = rows[0], instances[0]
        paths, times, name = [row.path for row in rows], len(run), first.name
        if len(run) > 1 or (first.name.isdigit() and "." in first.path):
            name = f"{first.path.split('.')[-2]} {span([row.name for row in run])}"
        counted = paths
        block, repeat = first.block, first.repeat
        if repeat and len(runs(first.children)) == 1:  # all repeats are equal: draw the inside of one
            times, rows = repeat, [child for row in rows for child in row.children]
            paths = paths + [row.path for row in rows]
            block = rows[0].block
        parameters = sum(self.parameters(path) for path in counted)
        node = Node(
            first.path, name, "" if block == "body" else block, "plain", paths, first.origin, times, parameters,
            parameters / self.total if self.total else 0.0,
            [],
            {port: size_text(shape) for port, shape in (instances[0][-1]).outputs.items()},
            merged([row.arguments for row in rows]),
        )  # fmt: skip
        if rows[0].children:
            inner = [(row, graph) for row in rows if isinstance(graph := self.module(row.path), Graph)]
            if inner:
                node.body = self.body(inner[0][0].children, [row.children for row, _ in inner], [graph for _, graph in inner])
                node.kind = kind_of_body(child.kind for child in node.body.nodes)
                if isinstance(inner[0][1], Scan):
                    node.kind, meta = "recurrence", inner[0][1].meta
                    node.body.states, node.body.sequence = tuple(meta["states"]), meta["sequence"]
        else:
            self.describe(node)
        return node

    def describe(self, node: Node) -> None:
        """Kind, first line and source of an atom, or of the module that a shared node calls."""
        block = node.block
        if block.startswith("share: "):
            module = self.module(node.id) or self.module(f"{node.id.rpartition('.')[0]}.{block[7:]}".lstrip(".")) or self.module(block[7:])
            node.kind = kind_of(type(module))
            node.summary = f"The module of {block[7:]} again, weights and all."
            return
        if block in self.catalog:
            signature = signature_of(block, self.catalog[block])
            node.kind = kind_of(signature.factory)
            node.summary, node.source = documentation(signature.documentation)

    def module(self, path: str) -> nn.Module | None:
        return submodule(self.model, path)

    def parameters(self, path: str) -> int:
        module = self.module(path)
        return count_parameters(module) if module is not None else 0


def documentation(text: str) -> tuple[str, str]:
    """The first paragraph of a docstring, and its source, as plain text."""
    source = re.search(r"\nSource:\n(.*?)(?:\n\n|\n\w|\Z)", text, re.DOTALL)
    first = " ".join(re.sub(r":\w+:`~?([^`<]*?)\s*(?:<[^`]*>)?`", r"\1", text.split("\n\n")[0]).replace("`", "").split())
    return first, _first_sentence(" ".join(source[1].replace("`", "").split())) if source else ""



def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[a-z0-9)])\. (?=[A-Z])", text)[0].rstrip(".") + "."


def submodule(module: nn.Module | None, path: str) -> nn.Module | None:
    """The module below a path, None where there is none; a method of the same name (`step`) does not hide it."""
    for name in path.split("."):
        module = module._modules.get(name) if module is not None else None
    return module


def _calls(graph: nn.Module) -> Iterator[fx.Node]:
    return (node for node in graph.graph.nodes if node.op == "call_module")  # type: ignore[union-attr]


def _owners(graph: nn.Module, rows: list[Row]) -> dict[str, Row]:
    """fx call -> its row. Both come in the order of building; a row without a call does nothing and was left out."""
    owners: dict[str, Row] = {}
    by_target: dict[str, Row] = {}
    rest = list(rows)
    for call in _calls(graph):
        target = str(call.target)
        place = next((i for i, row in enumerate(rest) if row.name == target or row.block == f"share: {target}"), None)
        if place is not None:
            by_target.setdefault(target, rest[place])
            owners[call.name], rest = rest[place], rest[place + 1 :]
        else:
            owners[call.name] = by_target[target]  # `share: true` beside `repeat`: one row, called again
    return owners


def _inputs(graph: nn.Module) -> Iterator[str]:
    return (str(node.target) for node in graph.graph.nodes if node.op == "placeholder")  # type: ignore[union-attr]


def _outputs(graph: nn.Module) -> tuple[str, ...]:
    return graph.meta["step_outputs"] if isinstance(graph, Scan) else graph.meta["outputs"]  # type: ignore[return-value]


def _edges(graph: nn.Module, body: Body, owners: Mapping[str, tuple[int, Row]], shapes: Mapping[str, str]) -> Iterator[Edge]:
    """The edges of the generated code, each once."""
    sources: dict[str, tuple[int, str, str]] = {}
    seen: set[tuple[int, str, int, str]] = set()
    first = len(body.inputs)
    for call in graph.graph.nodes:  # type: ignore[union-attr]
        if call.op == "placeholder":
            name = str(call.target)
            sources[call.name] = (body.inputs.index(name), "out", shapes.get(name, ""))
            continue
        if call.op == "call_function":  # one of several outputs
            of, number = call.args
            place, row = owners[of.name]
            port = list(row.outputs)[number]
            sources[call.name] = (first + place, port, size_text(row.outputs[port]))
            continue
        if call.op == "output":
            value = call.args[0]
            given = list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, tuple | list) else [value]
            targets = [(first + len(body.nodes) + i, "", item) for i, item in enumerate(given)]
        else:
            place, row = owners[call.name]
            port, shape = next(iter(row.outputs.items()), ("out", ()))
            sources[call.name] = (first + place, port, size_text(shape))
            targets = [(first + place, into, item) for into, item in arguments_by_port(call, graph)]
        for target, into, item in targets:
            source, port, shape = sources[item.name]
            if source != target and (source, port, target, into) not in seen:
                seen.add((source, port, target, into))
                yield Edge(source, port, target, into, shape)


def arguments_by_port(call: fx.Node, graph: nn.Module) -> Iterator[tuple[str, fx.Node]]:
    """What flows into a call, by the name that a body inside gives it; an atom's ports are numbered."""
    module = submodule(graph, str(call.target))
    names = list(_inputs(module)) if isinstance(module, Graph) else []
    for number, item in enumerate(call.args):
        if isinstance(item, fx.Node):
            yield (names[number] if number < len(names) else str(number)), item
    for name, item in call.kwargs.items():
        if isinstance(item, fx.Node):
            yield name, item


def _input_shapes(graph: nn.Module, rows: list[Row]) -> dict[str, tuple[int, ...]]:
    """Shapes of the inputs of a body, as the first atom that reads each was given it."""
    found: dict[str, tuple[int, ...]] = {}
    owners = _owners(graph, rows)
    for call in _calls(graph):
        row, module = owners[call.name], submodule(graph, str(call.target))
        inner = _input_shapes(module, row.children) if isinstance(module, Graph) and row.children else None
        for number, (port, item) in enumerate(arguments_by_port(call, graph)):
            shape = row.inputs[number] if inner is None and number < len(row.inputs) else (inner or {}).get(port)
            if item.op == "placeholder" and shape:
                found.setdefault(str(item.target), shape)
    return found


def unfold(drawn: Picture, depth: int) -> Picture:
    """Open every body down to a depth, and close those below: 0 shows the top level alone."""

    def down(body: Body, left: int) -> None:
        for node in body.nodes:
            if node.body is not None:
                node.opened = left > 0
                down(node.body, left - 1)

    down(drawn.body, depth)
    return drawn


def structure(node: Node) -> Any:
    """What a node is made of, whatever its sizes and names."""
    if node.body is None:
        return node.block
    edges = tuple((edge.source, edge.target) for edge in node.body.edges)
    return re.sub(r"^(scan x)?\d+( times)?$", "repeat", node.block), tuple(map(structure, node.body.nodes)), edges


def _open_once(node: Node, seen: set[Any]) -> None:
    """Unfold each structure where it stands first: the next of its kind is read from that one."""
    if node.body is None or structure(node) in seen:
        return
    seen.add(structure(node))
    node.opened = True
    for child in node.body.nodes:
        _open_once(child, seen)
