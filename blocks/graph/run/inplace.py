"""Activations in place, where nobody needs what they are applied to."""

import torch.nn.functional as F
from torch import Tensor, fx, nn

from blocks.graph.record.module import Graph

# Layers whose backward pass needs what flows in, not what they give; a block says so with
# `keeps_output = False`.
FORGETFUL = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.BatchNorm1d, nn.BatchNorm2d, nn.Linear)


class ReLU(nn.ReLU):
    """`torch.nn.ReLU` that overwrites its input in training; elsewhere what was there may be looked
    at.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, inplace=self.training)


def overwrite(model: nn.Module) -> None:
    """Let a ReLU overwrite what a layer gives it, if nothing else reads that, wherever it
    stands.
    """
    uses: dict[nn.ReLU, list[bool]] = {}
    for graph in model.modules():
        if isinstance(graph, Graph):
            for node in graph.graph.nodes:
                module = _module(graph, node)
                if isinstance(module, nn.ReLU):
                    uses.setdefault(module, []).append(_alone(graph, node))
    for module, alone in uses.items():
        if type(module) is nn.ReLU and not module.inplace and all(alone):
            module.__class__ = ReLU


def _module(graph: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def _alone(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether one node makes what this one reads, makes it new, forgets it, and has no other
    reader.
    """
    makers = node.all_input_nodes
    if len(makers) != 1 or len(makers[0].users) != 1:
        return False
    maker = _module(graph, makers[0])
    if isinstance(maker, FORGETFUL):
        return True
    return getattr(maker, "keeps_output", True) is False and len(makers[0].all_input_nodes) > 1
