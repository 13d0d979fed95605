"""A network split before its head, the last linear layer."""

from dataclasses import dataclass

from torch import fx, nn

from blocks.graph.record.module import Graph
from blocks.graph.record.part import copy_calls
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
    end = last.all_input_nodes[0]
    inputs = network.graph.find_nodes(op="placeholder")  # all: it is called as the network is
    part, copies = copy_calls(network.graph, [end, *inputs], {})
    part.output(copies[end])
    return Headless(Graph(network, part), head)
