"""A picture as text: Mermaid for a README, DOT for those who have Graphviz. What is folded is one
node.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from blocks.graph.describe.draw.faces import badge, count_text, pill_text, subtitle
from blocks.graph.describe.draw.kinds import ACCENTS, mix
from blocks.graph.describe.draw.picture import Body, DrawnNode, Picture
from blocks.support.palette import THEMES


@dataclass
class Flat:
    """Leaves and the edges between them, through all bodies; `names` gives every drawn vertex its
    id.
    """

    names: dict[tuple[int, int], str] = field(default_factory=dict)
    edges: list[tuple[str, str, str, bool]] = field(
        default_factory=list
    )  # from, to, shape, goes back


def flat(picture: Picture) -> Flat:
    """Edges from leaf to leaf: an edge to a body is an edge to what reads it inside."""
    found = Flat()
    _name(found, picture.body, top=True)
    _wire(found, picture.body, {})
    return found


def _name(found: Flat, body: Body, top: bool = False) -> None:
    for vertex in range(body.size):
        node = body.node(vertex)
        if node is not None or top or body.states:
            found.names[id(body), vertex] = f"n{len(found.names)}"
        if node is not None and node.body is not None and node.opened:
            _name(found, node.body)


def _wire(found: Flat, body: Body, outer: dict[int, str]) -> dict[int, str]:
    """Edges inside a body, given the leaves that feed its inputs; the leaves that feed its
    outputs.
    """
    gives: dict[tuple[int, str], str] = {}
    for vertex in range(len(body.inputs)):
        own = found.names.get((id(body), vertex))
        if own is not None and vertex in outer:
            found.edges.append((outer[vertex], own, "", False))
        source = own or outer.get(vertex)
        if source is not None:
            gives[vertex, "out"] = source
    ends: dict[int, str] = {}
    for vertex in range(len(body.inputs), body.size):
        node, name = body.node(vertex), found.names.get((id(body), vertex))
        into = [
            edge
            for edge in body.edges
            if edge.target == vertex and (edge.source, edge.port) in gives
        ]
        ports = {edge.port for edge in body.edges if edge.source == vertex}
        if node is not None and node.body is not None and node.opened:
            inside = _wire(
                found,
                node.body,
                {node.body.entry(edge.into): gives[edge.source, edge.port] for edge in into},
            )
            gives |= {
                (vertex, port): inside[node.body.exit(port)]
                for port in ports
                if node.body.exit(port) in inside
            }
            continue
        if name is None:
            ends.update((vertex, gives[edge.source, edge.port]) for edge in into)
            continue
        found.edges += [(gives[edge.source, edge.port], name, edge.shape, False) for edge in into]
        gives |= {(vertex, port): name for port in ports}
        if node is None:
            ends[vertex] = name
    for state in body.states:
        if state in body.inputs and state in body.outputs:
            back = (
                found.names[id(body), body.exit(state)],
                found.names[id(body), body.inputs.index(state)],
            )
            found.edges.append((*back, "", True))
    return ends


# ---------------------------------------------------------------- Mermaid


def mermaid(picture: Picture) -> str:
    """A flowchart that GitHub and many editors show as it is."""
    found = flat(picture)
    lines = ["flowchart TB", *_mermaid_body(found, picture.body, "  ", top=True)]
    for source, target, shape, back in found.edges:
        arrow = "-.->" if back else "-->"
        lines.append(f"  {source} {arrow}" + (f'|"{shape}"| ' if shape else " ") + target)
    return "\n".join([*lines, *_mermaid_classes(picture)]) + "\n"


def _mermaid_body(found: Flat, body: Body, indent: str, top: bool = False) -> Iterator[str]:
    for vertex in range(body.size):
        name, node = found.names.get((id(body), vertex)), body.node(vertex)
        if name is None:
            continue
        if node is None:
            yield f'{indent}{name}(["{_entities(pill_text(body, vertex, top))}"])'
        elif node.body is not None and node.opened:
            yield f'{indent}subgraph {name}["{_entities(", ".join(words(node)))}"]'
            yield from _mermaid_body(found, node.body, indent + "  ")
            yield f"{indent}end"
            yield f"{indent}class {name} body"
        else:
            yield f'{indent}{name}["{"<br>".join(map(_entities, words(node)))}"]:::{node.kind}'


def _mermaid_classes(picture: Picture) -> Iterator[str]:
    """Colours that read on light and on dark: light boxes with dark words."""
    paper, ink = THEMES["light"]["paper"], THEMES["light"]["ink"]
    for kind in sorted({node.kind for node in picture.nodes()} | {"body"}):
        fill = "#8791A114" if kind == "body" else mix(ACCENTS[kind], paper, 0.18)
        yield f"  classDef {kind} fill:{fill},stroke:{ACCENTS[kind]}" + (
            f",color:{ink}" if kind != "body" else ""
        )


def _entities(text: str) -> str:
    """What Mermaid would read as its own signs, as entities."""
    return re.sub(r"[#\"<>&{}`|;\\]", lambda found: f"#{ord(found[0])};", text)


# ---------------------------------------------------------------- DOT


def dot(picture: Picture) -> str:
    """A digraph for Graphviz."""
    found = flat(picture)
    lines = [
        f"digraph {_quoted(picture.title)} {{",
        '  graph [fontname="Helvetica", fontsize=11, rankdir=TB, compound=true];',
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9, color="#8791A1"];',
        *_dot_body(found, picture.body, "  ", top=True),
    ]
    for source, target, shape, back in found.edges:
        marks = [f"label={_quoted(shape)}"] * bool(shape) + [
            "style=dashed",
            "constraint=false",
        ] * back
        lines.append(f"  {source} -> {target}" + (f" [{', '.join(marks)}]" if marks else "") + ";")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_body(found: Flat, body: Body, indent: str, top: bool = False) -> Iterator[str]:
    paper = THEMES["light"]["paper"]
    for vertex in range(body.size):
        name, node = found.names.get((id(body), vertex)), body.node(vertex)
        if name is None:
            continue
        if node is None:
            label = _quoted(pill_text(body, vertex, top))
            yield (
                f'{indent}{name} [label={label}, shape=oval, fillcolor="#E8ECF2", color="#8791A1"];'
            )
        elif node.body is not None and node.opened:
            yield f"{indent}subgraph cluster_{name} {{"
            yield (
                f"{indent}  label={_quoted(', '.join(words(node)))}; style=rounded; "
                f'color="{ACCENTS[node.kind]}";'
            )
            yield from _dot_body(found, node.body, indent + "  ")
            yield f"{indent}}}"
        else:
            fill = mix(ACCENTS[node.kind], paper, 0.18)
            label = _quoted("\n".join(words(node)))
            yield (
                f'{indent}{name} [label={label}, fillcolor="{fill}", color="{ACCENTS[node.kind]}"];'
            )


def words(node: DrawnNode) -> list[str]:
    """What a node says of itself in text."""
    count = count_text(node.parameters)
    name = f"{node.name} {badge(node)}".strip()
    return [
        part
        for part in (
            name,
            subtitle(node) if not node.opened else node.block,
            f"{count} parameters" if count else "",
        )
        if part
    ]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
