"""A network without its levels: one row of calls of blocks.

Where a call takes microseconds, as for one token, the levels of a graph cost as much as what they
call.
"""

import inspect
import operator
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from torch import fx, nn
from torch.fx.node import map_aggregate

from blocks.graph.record.module import Graph, Scan


class Flat:
    """The calls of a network in their order, whatever body they stand in.

    Args:
        network: its bodies are left out, and hooks on blocks or bodies; a scan is one call.
    """

    def __init__(self, network: Graph):
        self.graph, self.blocks = fx.Graph(), dict[str, nn.Module]()
        inputs = {
            node.target: self._input(node)
            for node in network.graph.nodes
            if node.op == "placeholder"
        }
        self.graph.output(self._body(network, inputs))
        code = self.graph.python_code("self")
        known = dict(code.globals)
        exec(code.src, known)  # as fx does for every module it generates
        self.forward: Callable[..., Any] = known["forward"]

    def bind(self, instead: Mapping[nn.Module, Callable[..., Any]]) -> Callable[..., Any]:
        """The network as a function of its inputs.

        Args:
            instead: what is called in place of a block.
        """
        # Not the block itself: what `torch.nn.Module` looks up at every call costs more than many a
        # call.
        calls = {name: instead.get(block, block.forward) for name, block in self.blocks.items()}
        names, forward = SimpleNamespace(**calls), self.forward
        return lambda **inputs: forward(names, **inputs)

    def _input(self, node: fx.Node) -> fx.Node:
        default = node.args[0] if node.args else inspect.Signature.empty
        return self.graph.placeholder(str(node.target), default_value=default)

    def _body(self, body: Graph, given: Mapping[Any, Any]) -> Any:
        """Add the calls of a body; what it gives, of the nodes here."""
        made: dict[fx.Node, Any] = {}

        def here(value: Any) -> Any:
            return map_aggregate(
                value, lambda each: made[each] if isinstance(each, fx.Node) else each
            )

        for node in body.graph.nodes:
            if node.op == "placeholder":
                made[node] = given[node.target] if node.target in given else node.args[0]
            elif node.op == "output":
                return here(node.args[0])
            elif node.op == "call_module":
                made[node] = self._call(
                    body.get_submodule(str(node.target)), here(node.args), here(node.kwargs)
                )
            elif node.target is operator.getitem and isinstance(made[node.args[0]], tuple):
                made[node] = made[node.args[0]][node.args[1]]
            else:
                made[node] = self.graph.node_copy(node, made.__getitem__)
        raise AssertionError("a body without an output")

    def _call(self, block: nn.Module, positional: Any, named: Any) -> Any:
        if isinstance(block, Graph) and not isinstance(block, Scan):
            return self._body(
                block, {**dict(zip(block.input_names, positional, strict=False)), **named}
            )
        name = f"block_{len(self.blocks)}"
        self.blocks[name] = block
        return self.graph.call_module(name, positional, named)
