"""A network that ends at one of its nodes, e.g. the encoder of a pre-training."""

import operator
from typing import Any

from torch import fx, nn

from blocks.graph import Graph, did_you_mean
from blocks.graph.record.module import WrappedGraph
from tasks.errors import ArgumentError

OUTPUT = "features"  # of the network that ends at a node


def cut_network(network: nn.Module, path: str) -> Graph:
    """Return a network that gives the first output of a node as "features", with the parts that it
    depends on and no others; the weights are those of the network, under their names.

    Args:
        network: composed in YAML.
        path: of a node, e.g. "pool" or "layers.2".

    Raises:
        ArgumentError: there is no such node, or it is inside a block or a scan.
    """
    if not isinstance(network, Graph):
        raise ArgumentError("node", "only a network of YAML has nodes", got=path)
    graph, modules = cut_graph(network, path, path)
    output = next(iter(graph.find_nodes(op="output")))
    output.args = ({OUTPUT: output.args[0]},)
    cut = assemble(network, graph, modules)
    cut.meta["outputs"] = (OUTPUT,)
    return cut.eval()


def cut_graph(network: Graph, path: str, whole: str) -> tuple[fx.Graph, dict[str, Any]]:
    """Return the calls that lead to a node of a body, and what they call by name.

    Args:
        network: the body.
        path: of the node, in this body.
        whole: the same in the network, for messages.
    """
    name, _, rest = path.partition(".")
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    modules: dict[str, Any] = {}
    for call in network.graph.nodes:
        if call.op == "output":
            raise unknown_node(network, name, whole)
        copies[call] = graph.node_copy(call, copies.__getitem__)
        if call.op in ("call_module", "get_attr"):
            modules[call.target] = operator.attrgetter(call.target)(network)
        record = call.meta.get("node")
        if call.op == "call_module" and record is not None and record.name == name:
            break
    value = copies[call]
    if rest:
        inner = modules[call.target]
        if not isinstance(inner, Graph) or isinstance(inner, WrappedGraph):
            raise ArgumentError(
                "node",
                "a node inside a block or a scan is no end of a network",
                got=whole,
                fits=whole.removesuffix(f".{rest}"),
            )
        modules[call.target] = assemble(inner, *cut_graph(inner, rest, whole))
    elif len(record.outputs) > 1:
        value = graph.call_function(operator.getitem, (value, 0))
    graph.output(value)
    for call in reversed(graph.nodes):
        if not call.users and call.op != "output":
            graph.erase_node(call)
    return graph, modules


def assemble(network: Graph, graph: fx.Graph, modules: dict[str, Any]) -> Graph:
    """Return the body of some calls of another body."""
    used = {call.target for call in graph.nodes if call.op in ("call_module", "get_attr")}
    held = {name: module for name, module in modules.items() if name in used}
    cut = Graph(held, graph, "Graph")
    cut.meta.update(network.meta)
    grids = network.meta.get("grids", {})
    cut.meta["grids"] = {name: grid for name, grid in grids.items() if name in held}
    return cut


def unknown_node(network: Graph, name: str, whole: str) -> ArgumentError:
    """Return the error for a node that a body does not have."""
    known = []
    for call in network.graph.nodes:
        record = call.meta.get("node")
        if record is not None and call.op == "call_module":
            known.append(record.path)
    return ArgumentError(
        "node",
        "the network has no such node",
        got=whole,
        fits=did_you_mean(whole, known),
        fix="--node PATH as `python -m blocks explain` prints it, e.g. layers.0",
        code="unknown-name",
    )
