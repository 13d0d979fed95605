"""From the record of a model to its drawing: equal repeats become one node."""

import re
from collections.abc import Sequence
from typing import Any

from blocks.catalog import FORMULAS
from blocks.graph.describe.draw.fold import join_names, merge_arguments, structure_of
from blocks.graph.describe.draw.kinds import kind_of, kind_of_body
from blocks.graph.describe.draw.picture import Body, DrawnNode, Picture, show_sizes
from blocks.graph.describe.draw.wires import Inside, edges_of, inside_of
from blocks.graph.language.docstring import read_docstring, without_roles
from blocks.graph.language.signature import signature_of
from blocks.graph.record.module import Scan
from blocks.graph.record.record import (
    Built,
    Node,
    count_parameters,
    fold,
    list_differences,
)

UNKNOWN = "nothing, or what the data gives"


def picture(built: Built, title: str = "model") -> Picture:
    """The drawing of a model on the meta device."""
    painter = _Painter(built)
    inside = inside_of(built)
    assert inside is not None
    body = painter.draw_body([inside])
    for edge in body.edges:
        node = body.node(edge.source)
        if edge.target >= body.first_output and node is not None and node.kind in ("mlp", "conv"):
            node.kind = "head"
    seen: set[Any] = set()
    for node in body.nodes:
        _open_once(node, seen)
    return Picture(title, painter.total, body)


def _open_once(node: DrawnNode, seen: set[Any]) -> None:
    """Unfold each structure where it stands first; the next of its kind looks like that one."""
    if node.body is None or node.structure in seen:
        return
    seen.add(node.structure)
    node.opened = True
    for child in node.body.nodes:
        _open_once(child, seen)


class _Painter:
    def __init__(self, built: Built):
        self.built = built
        self.total = count_parameters(built.model)

    def draw_body(self, insides: list[Inside]) -> Body:
        """A body that may stand for several equal ones, wired as the one with most calls."""
        busiest = insides[0]
        for inside in insides:
            if len(inside.working) >= len(busiest.working):
                busiest = inside
        indices = {id(node): index for index, node in enumerate(busiest.nodes)}
        body = Body(list(busiest.module.input_names), [], list(busiest.outputs))
        vertices = {}
        for group in fold(busiest.working):
            vertices.update(dict.fromkeys([node.name for node in group], body.first_output))
            runs = []
            for inside in insides:
                runs.append([inside.nodes[indices[id(node)]] for node in group])
            body.nodes.append(self.draw_node(runs))
        for node in busiest.nodes:
            if node.name not in vertices:
                body.left_out.append(f"{node.name} ({node.label})")
        body.edges = edges_of(busiest, body, vertices)
        for edge in body.edges:
            target = body.node(edge.target)
            shape = edge.shape or UNKNOWN
            if target is not None and shape not in target.takes:
                target.takes.append(shape)
        return body

    def draw_node(self, runs: list[list[Node]]) -> DrawnNode:
        """One node for a run of equal repeats, in each of the equal bodies around it."""
        run = runs[0]
        nodes = [node for each in runs for node in each]
        first, times, paths = run[0], len(run), [node.path for node in nodes]
        name = first.name
        if name.isdigit() and "." in first.path:
            outer = first.path.split(".")[-2]
            name = f"{outer} {join_names([node.name for node in run])}"
        parameters = sum(node.parameters for node in nodes)
        if first.repeat and len(fold(first.children)) == 1:
            # all repeats are equal: draw the inside of one
            times = first.repeat
            nodes = [child for node in nodes for child in node.children]
            paths += [node.path for node in nodes]
        drawn = DrawnNode(
            id=first.path,
            name=name,
            block=_title(nodes),
            paths=paths,
            where=first.origin,
            times=times,
            parameters=parameters,
            share=parameters / self.total if self.total else 0.0,
            gives={port: show_sizes(shape) for port, shape in run[-1].shapes.items()},
            arguments=merge_arguments(nodes),
            structure=structure_of(nodes[0]),
        )
        if drawn.block == "body":
            drawn.block = ""
        self.fill(drawn, nodes)
        return drawn

    def fill(self, drawn: DrawnNode, nodes: Sequence[Node]) -> None:
        """Give a node its body or, where it has none, the description of its block."""
        insides = list(filter(None, map(inside_of, nodes)))
        if not insides:
            self.describe(drawn, nodes[0])
            return
        drawn.body = self.draw_body(insides)
        drawn.kind = kind_of_body(child.kind for child in drawn.body.nodes)
        scan = insides[0].module
        if isinstance(scan, Scan):
            drawn.kind = "recurrence"
            drawn.body.states = tuple(scan.meta["states"])
            drawn.body.sequence = scan.meta["sequence"]

    def describe(self, drawn: DrawnNode, node: Node) -> None:
        """Kind and description of a block, or of the module that a shared node calls."""
        block, _, shared = node.label.partition("share: ")
        if shared:
            drawn.kind = kind_of(type(self._find_shared(node, shared)))
            drawn.summary = f"The module of {shared} again, weights and all."
        elif block in self.built.catalog:
            signature = signature_of(block, self.built.catalog[block])
            drawn.kind = kind_of(signature.factory)
            read = read_docstring(signature.documentation)
            drawn.summary = _plain(without_roles(read.summary))
            drawn.source = _first_sentence(_plain(read.sections.get("Source", "")))
            drawn.formula = _plain(read.sections.get("Formula", FORMULAS.get(block, "")))

    def _find_shared(self, node: Node, shared: str) -> Any:
        """The module that `share` names, beside the node or from the top of the model."""
        if node.module is not None:
            return node.module
        beside = f"{node.path.rpartition('.')[0]}.{shared}".lstrip(".")
        found = self.built.find(beside) or self.built.find(shared)
        return found.module if found is not None else None


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def _first_sentence(text: str) -> str:
    first = re.split(r"(?<=[a-z0-9)])\. (?=[A-Z])", text)[0].rstrip(".")
    return f"{first}." if first else ""


def _title(nodes: Sequence[Node]) -> str:
    """The label of equal nodes, the parts that all of them have, and what differs."""
    differences = list_differences(nodes)
    title = nodes[0].label
    for name, part in nodes[0].parts.items():
        if name not in differences:
            title += f" +{part.name}"
    if differences:
        title += f" ({', '.join(differences)} by layer)"
    return title
