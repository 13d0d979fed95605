"""Modules put in the place of others, which keep their parameters, buffers, hooks and children."""

from collections.abc import Callable
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def convert(module: nn.Module, kind: type[M]) -> M:
    """Return a module of class `kind` that shares everything with `module` but its `forward`."""
    converted = object.__new__(kind)  # fx.GraphModule.__new__ would make a class of its own
    vars(converted).update(vars(module))
    return converted


def replace_modules(root: nn.Module, replace: Callable[[nn.Module], nn.Module]) -> None:
    """Replace the modules below `root` in place.

    Args:
        root: the module whose descendants are replaced; it stays itself.
        replace: returns the replacement of a module, or the module. It is called once for a module
            that several parents share.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    for parent in list(root.modules()):
        for name, child in parent._modules.items():
            if child is None:
                continue
            if child not in replaced:
                replaced[child] = replace(child)
            parent._modules[name] = replaced[child]
