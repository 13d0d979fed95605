"""A model as it is written: blocks that do nothing are called too, so that repeats stay alike."""

import warnings
from collections.abc import Sequence

import torch
from torch import fx, nn

from blocks.graph.record.module import Graph, Scan
from blocks.graph.record.record import Built, Node, Recipe
from blocks.graph.record.value import Value


class Written:
    """A model made from its record, on the meta device.

    Args:
        built: the record. Its generated code leaves out what does nothing.

    Attributes:
        model: the composed module that calls every block.
        recipes: the identity of a module -> how it was made.
        idle: the identities of modules that do nothing.
    """

    def __init__(self, built: Built):
        self.recipes: dict[int, Recipe] = {}
        self.idle: set[int] = set()
        self.bodies: dict[int, Graph] = {}  # id of a body of the record -> the one made of it
        self.model = self._make_body(built.model, built.nodes)

    def _make_body(self, body: Graph, nodes: Sequence[Node]) -> Graph:
        for node in nodes:
            if isinstance(node.module, Graph) and node.children:
                self.bodies[id(node.module)] = self._make_body(node.module, node.children)
        writer = _BodyWriter(self, nodes)
        for call in body.graph.nodes:
            writer.add(call)
        kind = Scan if isinstance(body, Scan) else Graph
        made = kind(writer.root, writer.graph, kind.__name__)
        made.meta.update(body.meta)
        return made

    def module_of(self, node: Node) -> nn.Module:
        """The module of a node; that of a block that does nothing is made here."""
        module = node.module
        if module is None:
            assert node.recipe is not None
            with torch.device("meta"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = node.recipe.make()
            self.idle.add(id(module))
        if node.recipe is not None:
            self.recipes[id(module)] = node.recipe
            for body in node.recipe.bodies():
                self.recipes.update(body.recipes)
        return self.bodies.get(id(module), module)


class _BodyWriter:
    """The calls of one body."""

    def __init__(self, written: Written, nodes: Sequence[Node]):
        self.written = written
        self.nodes = {node.name: node for node in nodes}
        self.root, self.graph = nn.Module(), fx.Graph()
        self.copies: dict[fx.Node, fx.Node] = {}
        self.passed: dict[str, fx.Node] = {}  # name of a node that does nothing -> its call

    def add(self, call: fx.Node) -> None:
        """Add a call, and before it those of idle blocks that its inputs pass."""
        values = iter(call.meta.get("inputs", ()))

        def copy_of(source: fx.Node) -> fx.Node:
            value = next(values, None)
            return self.copies[source] if value is None else self._pass(value)

        self.copies[call] = self.graph.node_copy(call, copy_of)
        if call.op == "call_module" and call.target not in self.root._modules:
            module = self.written.module_of(call.meta["node"])
            self.root.add_module(str(call.target), module)

    def _pass(self, value: Value) -> fx.Node:
        """A value behind the idle blocks that it passes."""
        assert value.node is not None
        source = self.copies[value.node]
        for name in value.idle:
            if name not in self.passed:
                self.root.add_module(name, self.written.module_of(self.nodes[name]))
                self.passed[name] = self.graph.create_node(
                    "call_module", name, (source,), name=name
                )
            source = self.passed[name]
        return source
