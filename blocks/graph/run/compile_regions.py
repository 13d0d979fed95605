"""Compilation by torch.compile: of each repeated body once, not once for each repeat, or of the
whole network at once.

Every graph has a class of its own with its own generated `forward`, so that each layer of a network
would be new to the compiler. Graphs that run the same code are of one class first.
"""

from typing import Any

from torch import nn

from blocks.graph.record.module import Graph, Scan, WrappedGraph
from blocks.graph.run.activation_checkpoint import find_repeats
from blocks.graph.run.replace import convert, replace_modules

MAX_VARIANTS = 64  # of one body: sizes, shifts, training or not. The default of torch is 8.


def compile_network(network: nn.Module, whole: bool = False, **options: Any) -> int:
    """Compile every innermost repeated body in place; the whole network where nothing repeats.

    Args:
        network: the network.
        whole: the whole network in any case. It takes longer, and joins what lies between the
            bodies: the stem of a ResNet, the norms at the ends of layers.
        options: those of `torch.compile`.

    Returns:
        The number of bodies; 0 for the whole network.
    """
    from torch._dynamo import config  # takes seconds to import

    config.recompile_limit = max(config.recompile_limit, MAX_VARIANTS)
    share_code(network)
    found = [] if whole else list(find_repeats(network).values())
    for body in found or [network]:
        body.compile(dynamic=False, **options)
    return len(found)


def is_compiled(network: nn.Module) -> bool:
    """Return whether `compile_network` has compiled a network or a part of it."""
    return any(module._compiled_call_impl is not None for module in network.modules())


def share_code(network: nn.Module) -> None:
    """Replace graphs that run the same code by graphs of one generated class."""
    kinds: dict[tuple[str, str], list[type[Graph]]] = {}

    def share(module: nn.Module) -> nn.Module:
        if not isinstance(module, Graph) or isinstance(module, Scan):
            return module
        known = kinds.setdefault((module.code, type(module).__name__), [])
        for kind in known:
            if _globals_of(kind) == _globals_of(type(module)):
                return convert(module, kind)
        known.append(type(module))
        return module

    replace_modules(network, share)


def _globals_of(kind: type[Graph]) -> dict[str, int]:
    """Return the identity of each global that the generated code reads."""
    generated = kind.forward
    if issubclass(kind, WrappedGraph):
        generated = kind._generated
    namespace = generated.__globals__
    return {name: id(value) for name, value in namespace.items() if name != "__builtins__"}
