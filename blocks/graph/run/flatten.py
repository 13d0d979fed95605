"""A network without nested bodies: one sequence of calls of blocks.

For one token a call takes microseconds, and the nested bodies cost as much as what they call.
"""

import inspect
import operator
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from torch import fx, nn
from torch.fx.node import map_aggregate

from blocks.graph.record.module import Graph, Scan


class FlatGraph:
    """The calls of a network in order, whichever body they belong to.

    Hooks on blocks and on bodies are not called. A scan is one call.
    """

    def __init__(self, network: Graph):
        self.graph = fx.Graph()
        self.blocks: dict[str, nn.Module] = {}
        inputs = {
            node.target: self._add_input(node)
            for node in network.graph.nodes
            if node.op == "placeholder"
        }
        self.graph.output(self._add_body(network, inputs))
        code = self.graph.python_code("self")
        namespace = dict(code.globals)
        exec(code.src, namespace)  # as fx does for every module it generates
        self.forward: Callable[..., Any] = namespace["forward"]

    def bind(self, replaced: Mapping[nn.Module, nn.Module]) -> Callable[..., Any]:
        """Return the network as a function of its named inputs.

        Args:
            replaced: block -> the module called in its place.
        """
        # `forward` itself, since the lookups of `torch.nn.Module.__call__` cost more than many of
        # the calls.
        calls = {}
        for name, block in self.blocks.items():
            calls[name] = replaced.get(block, block).forward
        namespace, forward = SimpleNamespace(**calls), self.forward
        return lambda **inputs: forward(namespace, **inputs)

    def _add_input(self, node: fx.Node) -> fx.Node:
        default = node.args[0] if node.args else inspect.Signature.empty
        return self.graph.placeholder(str(node.target), default_value=default)

    def _add_body(self, body: Graph, inputs: Mapping[Any, Any]) -> Any:
        """Add the calls of a body, and return its outputs as nodes of the flat graph."""
        copies: dict[fx.Node, Any] = {}

        def copy_of(value: Any) -> Any:
            if isinstance(value, fx.Node):
                return copies[value]
            return value

        for node in body.graph.nodes:
            if node.op == "placeholder":
                if node.target in inputs:
                    copies[node] = inputs[node.target]
                else:
                    copies[node] = node.args[0]
            elif node.op == "output":
                return map_aggregate(node.args[0], copy_of)
            elif node.op == "call_module":
                block = body.get_submodule(str(node.target))
                arguments = map_aggregate(node.args, copy_of)
                keywords = map_aggregate(node.kwargs, copy_of)
                copies[node] = self._add_call(block, arguments, keywords)
            elif node.target is operator.getitem and isinstance(copies[node.args[0]], tuple):
                copies[node] = copies[node.args[0]][node.args[1]]
            else:
                copies[node] = self.graph.node_copy(node, copies.__getitem__)
        raise AssertionError("a body without an output")

    def _add_call(self, block: nn.Module, arguments: Any, keywords: Any) -> Any:
        if isinstance(block, Graph) and not isinstance(block, Scan):
            inputs = dict(zip(block.input_names, arguments, strict=False))
            return self._add_body(block, {**inputs, **keywords})
        name = f"block_{len(self.blocks)}"
        self.blocks[name] = block
        return self.graph.call_module(name, arguments, keywords)
