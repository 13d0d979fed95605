"""A network cut before its head: what flows into the last linear layer, and the layer."""

from dataclasses import dataclass

from torch import fx, nn

from blocks.graph.record.module import Graph
from blocks.graph.run.onednn import Linear


@dataclass(frozen=True)
class Headless:
    """A network without its head; its modules are shared, not copied.

    Args:
        body: gives what flows into the head, from the inputs of the network.
        head: the linear layer that makes the output of it.
    """

    body: Graph
    head: nn.Linear


def split_head(network: nn.Module, output: str = "logits") -> Headless | None:
    """The two parts of a network whose output of that name, or whose only one, is a linear layer
    and nothing behind it.

    None where it is something else: whoever asks goes on with the whole network then.
    """
    if not isinstance(network, Graph):
        return None
    given = network.graph.output_node().args[0]
    last = given.get(output) if isinstance(given, dict) else given
    if not isinstance(last, fx.Node) or last.op != "call_module" or len(last.all_input_nodes) != 1:
        return None
    head = network.get_submodule(str(last.target))
    if not isinstance(head, nn.Linear) or type(head) not in (nn.Linear, Linear):
        return None
    if head._forward_hooks or head._forward_pre_hooks:
        return None
    return Headless(Graph(network, _up_to(network, last.all_input_nodes[0])), head)


def _up_to(network: Graph, end: fx.Node) -> fx.Graph:
    """The nodes that lead to one of them, which is given. All inputs stay, so that it is called
    as the network is.
    """
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
