"""Activations computed in place, where nothing else needs their input."""

import torch.nn.functional as F
from torch import Tensor, fx, nn

from blocks.graph.record.module import Graph
from blocks.graph.run.replace import convert, replace_modules

# Layers whose backward pass needs their input, not their output. A block declares the same by
# `keeps_output = False`.
OUTPUT_NOT_KEPT = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Linear)


class ReLU(nn.ReLU):
    """`torch.nn.ReLU` that overwrites its input in training only; in evaluation a hook may have
    kept the input.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, inplace=self.training)


def use_inplace(model: nn.Module) -> None:
    """Replace each ReLU that may overwrite its input, at every place where it is called."""
    uses: dict[nn.Module, list[bool]] = {}
    for graph in model.modules():
        if isinstance(graph, Graph):
            _collect_uses(graph, uses)

    def replace(module: nn.Module) -> nn.Module:
        if type(module) is nn.ReLU and not module.inplace and all(uses.get(module, [False])):
            return convert(module, ReLU)
        return module

    replace_modules(model, replace)


def _collect_uses(graph: Graph, uses: dict[nn.Module, list[bool]]) -> None:
    """Append, for each call of a ReLU, whether it may overwrite its input."""
    for node in graph.graph.nodes:
        module = _called_module(graph, node)
        if isinstance(module, nn.ReLU):
            uses.setdefault(module, []).append(_may_overwrite_input(graph, node))


def _called_module(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    if node.op != "call_module":
        return None
    return graph.get_submodule(str(node.target))


def _may_overwrite_input(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Return whether the node's only input is a new tensor that nothing else reads or keeps."""
    producers = node.all_input_nodes
    if len(producers) != 1 or len(producers[0].users) != 1:
        return False
    producer = _called_module(graph, producers[0])
    if isinstance(producer, OUTPUT_NOT_KEPT):
        return True
    output_not_kept = getattr(producer, "keeps_output", True) is False
    return output_not_kept and len(producers[0].all_input_nodes) > 1
