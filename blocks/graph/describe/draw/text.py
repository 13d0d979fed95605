"""A drawing as text: Mermaid for a README, DOT for Graphviz. A folded body is one node."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from blocks.graph.describe.draw.faces import badge, count_text, pill_text, subtitle
from blocks.graph.describe.draw.kinds import KINDS, mix
from blocks.graph.describe.draw.picture import Body, DrawnNode, Edge, Picture
from blocks.support.palette import THEMES

PAPER, INK = THEMES["light"]["paper"], THEMES["light"]["ink"]


@dataclass(frozen=True)
class FlatEdge:
    """An edge between two vertices, through all bodies; `back` for a state of a scan."""

    source: str
    target: str
    shape: str = ""
    back: bool = False


@dataclass
class FlatGraph:
    """All bodies as one graph.

    Args:
        names: body and vertex -> the id of a vertex that is drawn.
        edges: from leaf to leaf; an edge to a body is an edge to what reads it inside.
    """

    names: dict[tuple[int, int], str] = field(default_factory=dict)
    edges: list[FlatEdge] = field(default_factory=list)

    def name_of(self, body: Body, vertex: int) -> str | None:
        return self.names.get((id(body), vertex))


def flatten(picture: Picture) -> FlatGraph:
    """The vertices and edges of a drawing through all bodies."""
    found = FlatGraph()
    _name_vertices(found, picture.body, top=True)
    _connect(found, picture.body, {})
    return found


def _name_vertices(found: FlatGraph, body: Body, top: bool = False) -> None:
    for vertex in range(body.size):
        node = body.node(vertex)
        if node is not None or top or body.states:
            found.names[id(body), vertex] = f"n{len(found.names)}"
        if node is not None and node.body is not None and node.opened:
            _name_vertices(found, node.body)


def _connect(found: FlatGraph, body: Body, outer: dict[int, str]) -> dict[int, str]:
    """Add the edges inside a body.

    Args:
        outer: input -> the leaf that feeds it.

    Returns the leaves that feed its outputs.
    """
    gives = _connect_inputs(found, body, outer)
    ends: dict[int, str] = {}
    for vertex in range(len(body.inputs), body.size):
        node, name = body.node(vertex), found.name_of(body, vertex)
        entering = _find_entering(body, vertex, gives)
        if node is not None and node.body is not None and node.opened:
            inputs = {node.body.entry(edge.into): leaf for edge, leaf in entering}
            inside = _connect(found, node.body, inputs)
            for edge in body.edges_from(vertex):
                if node.body.exit(edge.port) in inside:
                    gives[vertex, edge.port] = inside[node.body.exit(edge.port)]
            continue
        for edge, leaf in entering:
            ends[vertex] = name or leaf
            if name is not None:
                found.edges.append(FlatEdge(leaf, name, edge.shape))
        if name is not None:
            for edge in body.edges_from(vertex):
                gives[vertex, edge.port] = name
    _connect_states(found, body)
    return ends


def _connect_inputs(
    found: FlatGraph, body: Body, outer: dict[int, str]
) -> dict[tuple[int, str], str]:
    """Add the edges to the inputs that are drawn; input and port -> the leaf that gives it."""
    gives = {}
    for vertex in range(len(body.inputs)):
        leaf, name = outer.get(vertex), found.name_of(body, vertex)
        if name is not None and leaf is not None:
            found.edges.append(FlatEdge(leaf, name))
        source = name or leaf
        if source is not None:
            gives[vertex, "out"] = source
    return gives


def _find_entering(
    body: Body, vertex: int, gives: dict[tuple[int, str], str]
) -> list[tuple[Edge, str]]:
    """The edges into a vertex, each with the leaf that feeds it."""
    found = []
    for edge in body.edges_into(vertex):
        if (edge.source, edge.port) in gives:
            found.append((edge, gives[edge.source, edge.port]))
    return found


def _connect_states(found: FlatGraph, body: Body) -> None:
    """Add the edges from each state of a scan to the next step."""
    for state in body.states:
        if state in body.inputs and state in body.outputs:
            source = found.names[id(body), body.exit(state)]
            target = found.names[id(body), body.entry(state)]
            found.edges.append(FlatEdge(source, target, back=True))


# Mermaid ------------------------------------------------------------------------------------------


def write_mermaid(picture: Picture) -> str:
    """A flowchart that GitHub and many editors show as it is."""
    found = flatten(picture)
    lines = ["flowchart TB", *_mermaid_body(found, picture.body, "  ", top=True)]
    for edge in found.edges:
        arrow = "-.->" if edge.back else "-->"
        if edge.shape:
            arrow += f'|"{edge.shape}"|'
        lines.append(f"  {edge.source} {arrow} {edge.target}")
    return "\n".join([*lines, *_mermaid_classes(picture)]) + "\n"


def _mermaid_body(found: FlatGraph, body: Body, indent: str, top: bool = False) -> Iterator[str]:
    for vertex in range(body.size):
        name, node = found.name_of(body, vertex), body.node(vertex)
        if name is None:
            continue
        if node is None:
            yield f'{indent}{name}(["{_escape_mermaid(pill_text(body, vertex, top))}"])'
        elif node.body is not None and node.opened:
            yield f'{indent}subgraph {name}["{_escape_mermaid(", ".join(_label(node)))}"]'
            yield from _mermaid_body(found, node.body, indent + "  ")
            yield f"{indent}end"
            yield f"{indent}class {name} body"
        else:
            label = "<br>".join(map(_escape_mermaid, _label(node)))
            yield f'{indent}{name}["{label}"]:::{node.kind}'


def _mermaid_classes(picture: Picture) -> Iterator[str]:
    """Colours that read on light and on dark: light boxes with dark text."""
    for kind in sorted({node.kind for node in picture.nodes()} | {"body"}):
        colour = KINDS[kind][1]
        colours = f"fill:{mix(colour, PAPER, 0.18)},stroke:{colour},color:{INK}"
        if kind == "body":
            colours = f"fill:#8791A114,stroke:{colour}"
        yield f"  classDef {kind} {colours}"


def _escape_mermaid(text: str) -> str:
    """Characters that Mermaid would read as its own, as entities."""
    return re.sub(r"[#\"<>&{}`|;\\]", lambda found: f"#{ord(found[0])};", text)


# DOT ----------------------------------------------------------------------------------------------


def write_dot(picture: Picture) -> str:
    """A digraph for Graphviz."""
    found = flatten(picture)
    lines = [
        f"digraph {_quote(picture.title)} {{",
        '  graph [fontname="Helvetica", fontsize=11, rankdir=TB, compound=true];',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9, color="#8791A1"];',
        *_dot_body(found, picture.body, "  ", top=True),
    ]
    for edge in found.edges:
        attributes = []
        if edge.shape:
            attributes.append(f"label={_quote(edge.shape)}")
        if edge.back:
            attributes += ["style=dashed", "constraint=false"]
        listed = f" [{', '.join(attributes)}]" if attributes else ""
        lines.append(f"  {edge.source} -> {edge.target}{listed};")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_body(found: FlatGraph, body: Body, indent: str, top: bool = False) -> Iterator[str]:
    for vertex in range(body.size):
        name, node = found.name_of(body, vertex), body.node(vertex)
        if name is None:
            continue
        if node is None:
            label = _quote(pill_text(body, vertex, top))
            colours = 'shape=oval, fillcolor="#E8ECF2", color="#8791A1"'
            yield f"{indent}{name} [label={label}, {colours}];"
        elif node.body is not None and node.opened:
            label, colour = _quote(", ".join(_label(node))), KINDS[node.kind][1]
            yield f"{indent}subgraph cluster_{name} {{"
            yield f'{indent}  label={label}; style=rounded; color="{colour}";'
            yield from _dot_body(found, node.body, indent + "  ")
            yield f"{indent}}}"
        else:
            label, colour = _quote("\n".join(_label(node))), KINDS[node.kind][1]
            fill = mix(colour, PAPER, 0.18)
            yield f'{indent}{name} [label={label}, fillcolor="{fill}", color="{colour}"];'


def _label(node: DrawnNode) -> list[str]:
    """The lines of a node's label."""
    lines = [f"{node.name} {badge(node)}".strip()]
    lines.append(node.block if node.opened else subtitle(node))
    if count := count_text(node.parameters):
        lines.append(f"{count} parameters")
    return list(filter(None, lines))


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
