"""torch.compile by regions: a body that is repeated is compiled once, not once for each repeat.

Every graph has a class of its own with its own generated `forward`, which for the compiler is as if
each layer of a network were new. Here graphs that run the same code get the same class first.
"""

from typing import Any

from torch import nn

from blocks.graph.record.module import Graph, Scan
from blocks.graph.run.activation_checkpoint import repeats

VARIANTS = 64  # of one body: sizes, shifts, training or not. torch gives up at 8.


def compile_network(network: nn.Module, **options: Any) -> int:
    """Compile every innermost repeated body in place; where nothing repeats, the network as a
    whole.

    Args:
        options: those of `torch.compile`.

    Returns:
        How many bodies there are; 0 for the network as a whole.
    """
    from torch._dynamo import config  # takes seconds to import

    config.recompile_limit = max(config.recompile_limit, VARIANTS)
    share_code(network)
    found = list(repeats(network).values())
    for body in found or [network]:
        body.compile(dynamic=False, **options)
    return len(found)


def share_code(network: nn.Module) -> None:
    """Give graphs that run the same code one class."""
    first: dict[tuple[str, str], list[Graph]] = {}
    for module in network.modules():
        if isinstance(module, Graph) and not isinstance(module, Scan):
            known = first.setdefault((module.code, type(module).__name__), [])
            twin = next((other for other in known if _globals(other) == _globals(module)), None)
            if twin is None:
                known.append(module)
            else:
                module.__class__ = type(twin)


def _globals(graph: Graph) -> dict[str, int]:
    """What the names of the generated code stand for."""
    space = type(graph).forward.__globals__
    return {name: id(value) for name, value in space.items() if name != "__builtins__"}
