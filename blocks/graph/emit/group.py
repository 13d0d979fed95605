"""What a class of the emitted file stands for, and how a repeat is written."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from blocks.graph.module import Graph, Scan


class Code(str):
    """An argument that is an expression, not a value."""


@dataclass(eq=False)
class Group:
    """Graphs that share a class."""

    key: Any
    members: list[Graph]
    name: str = ""
    parameters: dict[str, list[Any]] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)  # the expression that makes each child
    holes: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)  # the child that gets whatever else a member takes
    optional: set[str] = field(default_factory=set)  # children that some members are without
    silent: set[str] = field(default_factory=set)  # children that do nothing in any member


@dataclass
class Made:
    """How a module is made: by a class or a group, of which arguments; a list of such in a container."""

    callee: Any
    arguments: dict[str, Any]
    elements: list["Made"] = field(default_factory=list)


@dataclass
class Layer:
    """A layer of torch.nn that stands for a block.

    Args:
        kind: its class.
        arguments: of its constructor.
        outputs: each output of the block, of what the layer gives: "{}[0]".
        start: statements behind its own start: "nn.init.normal_({}.weight, std=0.02)".
    """

    kind: type[nn.Module]
    arguments: dict[str, Any]
    outputs: tuple[str, ...]
    start: tuple[str, ...] = ()


def mode(graph: nn.Module) -> str | None:
    """What a repeat is: "Sequential", "ModuleList" where the same inputs go to each, "list", or None: no repeat."""
    if not isinstance(graph, Graph) or isinstance(graph, Scan) or not all(name.isdigit() for name in graph._modules):
        return None
    nodes = list(graph.graph.nodes)
    calls = [node for node in nodes if node.op == "call_module"]
    inputs = [node for node in nodes if node.op == "placeholder"]
    result = nodes[-1].args[0]
    chain = [inputs[0] if inputs else None, *calls]
    straight = len(calls) + len(inputs) + 1 == len(nodes) and len(calls) == len(graph._modules) and result is calls[-1]
    straight &= all(node.args and node.args[0] is before for before, node in zip(chain, calls, strict=False))
    straight &= all(node.target == str(index) for index, node in enumerate(calls))
    if not straight:
        return "list"
    others = {(tuple(node.args[1:]), tuple(node.kwargs.items())) for node in calls}
    if len(others) > 1 or any(item.op != "placeholder" for item in (*calls[0].args[1:], *calls[0].kwargs.values())):
        return "list"
    return "Sequential" if len(inputs) == 1 and others == {((), ())} else "ModuleList"
