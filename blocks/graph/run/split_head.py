"""A network split before its head, the last linear layer."""

from dataclasses import dataclass

from torch import fx, nn

from blocks.graph.record.module import Graph
from blocks.graph.run.onednn import Linear


@dataclass(frozen=True)
class Headless:
    """A network without its head; its modules are shared, not copied.

    Args:
        body: returns the input of the head for the inputs of the network.
        head: the linear layer that computes the output.
    """

    body: Graph
    head: nn.Linear


def split_head(network: nn.Module, output: str = "logits") -> Headless | None:
    """Split a network whose named or only output comes from a linear layer.

    Returns:
        The two parts; None where the output comes from anything else, or the layer has hooks.
    """
    if not isinstance(network, Graph):
        return None
    last = network.graph.output_node().args[0]
    if isinstance(last, dict):
        last = last.get(output)
    if not isinstance(last, fx.Node) or last.op != "call_module" or len(last.all_input_nodes) != 1:
        return None
    head = network.get_submodule(str(last.target))
    if not isinstance(head, nn.Linear) or type(head) not in (nn.Linear, Linear):
        return None
    if head._forward_hooks or head._forward_pre_hooks:
        return None
    return Headless(Graph(network, _copy_up_to(network, last.all_input_nodes[0])), head)


def _copy_up_to(network: Graph, end: fx.Node) -> fx.Graph:
    """Copy the nodes that lead to `end`, and all inputs, so that it is called as the network is."""
    needed = {end}
    for node in reversed(list(network.graph.nodes)):
        if node in needed:
            needed.update(node.all_input_nodes)
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in network.graph.nodes:
        if node in needed or node.op == "placeholder":
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[end])
    return graph
