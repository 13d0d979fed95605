"""From a model on the meta device to its picture: rows of equal repeats become one node."""

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from blocks.catalog import FORMULAS
from blocks.graph.describe.draw.fold import merged, span, structure
from blocks.graph.describe.draw.kinds import kind_of, kind_of_body
from blocks.graph.describe.draw.picture import Body, DrawnNode, Picture, size_text
from blocks.graph.describe.draw.wires import (
    calls,
    edges_of,
    input_shapes,
    outputs_of,
    owners_of,
    submodule,
)
from blocks.graph.language.docstring import read_docstring
from blocks.graph.language.signature import signature_of
from blocks.graph.record.module import Graph, Scan
from blocks.graph.record.record import Built, Node, count_parameters, fold


def picture(plan: Built, title: str = "model") -> Picture:
    """The picture of a model on the meta device."""
    return _Painter(plan).paint(title)


class _Painter:
    def __init__(self, plan: Built):
        self.plan, self.model = plan, plan.model
        self.total = count_parameters(plan.model)
        self.catalog: Mapping[str, Any] = plan.catalog

    def paint(self, title: str) -> Picture:
        body = self.body([self.plan.nodes], [self.model])
        first = len(body.inputs) + len(body.nodes)
        for edge in body.edges:
            node = body.node(edge.source)
            if edge.target >= first and node is not None and node.kind in ("mlp", "conv"):
                node.kind = "head"
        seen: set[Any] = set()
        for node in body.nodes:
            _open_once(node, seen)
        return Picture(title, self.total, body)

    def body(self, instances: list[list[Node]], graphs: list[Graph]) -> Body:
        """A body that may stand for several equal ones; wired as the one in which most nodes are at
        work.
        """
        busiest = max(range(len(graphs)), key=lambda i: (len(list(calls(graphs[i]))), i))
        graph, rows = graphs[busiest], instances[busiest]
        owners = owners_of(graph, rows)
        live = {id(row) for row in owners.values()}
        places = [number for number, row in enumerate(rows) if id(row) in live]
        groups = fold([rows[number] for number in places])
        index = {id(row): number for number, group in enumerate(groups) for row in group}
        nodes, rest = [], iter(places)
        for group in groups:
            columns = [next(rest) for _ in group]
            nodes.append(
                self.node([[instance[column] for column in columns] for instance in instances])
            )
        body = Body(list(graph.input_names), nodes, outputs_of(graph), [])
        body.left_out = [f"{row.name} ({row.label})" for row in rows if id(row) not in live]
        shapes = {name: size_text(shape) for name, shape in input_shapes(graph, rows).items()}
        body.edges = list(
            edges_of(
                graph, body, {name: (index[id(row)], row) for name, row in owners.items()}, shapes
            )
        )
        for place, node in enumerate(nodes, len(body.inputs)):
            into = [
                edge.shape or "nothing, or what the data gives"
                for edge in body.edges
                if edge.target == place
            ]
            node.takes = list(dict.fromkeys(into))
        return body

    def node(self, instances: list[list[Node]]) -> DrawnNode:
        """One node for a run of equal rows, in each of the equal bodies around it."""
        run, rows = instances[0], [row for run in instances for row in run]
        first, times, paths = rows[0], len(run), [row.path for row in rows]
        parameters = sum(self.parameters(path) for path in paths)
        name = first.name
        if name.isdigit() and "." in first.path:
            name = f"{first.path.split('.')[-2]} {span([row.name for row in run])}"
        if (
            first.repeat and len(fold(first.children)) == 1
        ):  # all repeats are equal: draw the inside of one
            times, rows = first.repeat, [child for row in rows for child in row.children]
            paths += [row.path for row in rows]
        node = DrawnNode(
            id=first.path,
            name=name,
            block="" if rows[0].label == "body" else rows[0].label,
            paths=paths,
            where=first.origin,
            times=times,
            parameters=parameters,
            share=parameters / self.total if self.total else 0.0,
            gives={port: size_text(shape) for port, shape in run[-1].shapes.items()},
            arguments=merged([row.values for row in rows]),
            structure=structure(rows[0]),
        )
        self.fill(node, rows)
        return node

    def fill(self, node: DrawnNode, rows: list[Node]) -> None:
        """Give a node its inside, or, where it has none, what its block says of itself."""
        inner = [
            (row.children, graph)
            for row in rows
            if isinstance(graph := self.module(row.path), Graph)
        ]
        if not rows[0].children or not inner:
            self.describe(node)
            return
        node.body = self.body([children for children, _ in inner], [graph for _, graph in inner])
        node.kind = kind_of_body(child.kind for child in node.body.nodes)
        scan = inner[0][1]
        if isinstance(scan, Scan):
            node.kind = "recurrence"
            node.body.states, node.body.sequence = tuple(scan.meta["states"]), scan.meta["sequence"]

    def describe(self, node: DrawnNode) -> None:
        """Kind, first line and source of an atom, or of the module that a shared node calls."""
        block, _, shared = node.block.partition("share: ")
        if shared:
            beside = f"{node.id.rpartition('.')[0]}.{shared}".lstrip(".")
            places = (self.module(path) for path in (node.id, beside, shared))
            node.kind = kind_of(
                type(next((module for module in places if module is not None), None))
            )
            node.summary = f"The module of {shared} again, weights and all."
        elif block in self.catalog:
            signature = signature_of(block, self.catalog[block])
            node.kind = kind_of(signature.factory)
            read = read_docstring(signature.documentation)
            # without Sphinx's roles
            node.summary = _plain(re.sub(r":\w+:`~?([^`<]*?)\s*(?:<[^`]*>)?`", r"\1", read.summary))
            node.source = _first_sentence(_plain(read.sections.get("Source", "")))
            node.formula = _plain(read.sections.get("Formula", FORMULAS.get(block, "")))

    def module(self, path: str) -> nn.Module | None:
        return submodule(self.model, path)

    def parameters(self, path: str) -> int:
        module = self.module(path)
        return count_parameters(module) if module is not None else 0


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def _first_sentence(text: str) -> str:
    first = re.split(r"(?<=[a-z0-9)])\. (?=[A-Z])", text)[0].rstrip(".")
    return f"{first}." if first else ""


def _open_once(node: DrawnNode, seen: set[Any]) -> None:
    """Unfold each structure where it stands first: the next of its kind is read from that one."""
    if node.body is None or node.structure in seen:
        return
    seen.add(node.structure)
    node.opened = True
    for child in node.body.nodes:
        _open_once(child, seen)
