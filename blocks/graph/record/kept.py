"""What a process keeps between two models: equal blocks with equal inputs give equal results."""

from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Make = Callable[[], Tensor]
MOST = 1024  # results of a kind; a model of fifty layers has a few hundred
PLAIN = {int, float, bool, str, bytes, type(None), torch.dtype, torch.device, torch.Size}
COLLECTIONS = {list, set, dict, OrderedDict}
STATE = ("_parameters", "_buffers", "_modules")


class CannotCopyError(Exception):
    """A module holds more than numbers, words, tensors of its own and such modules."""


@dataclass
class Blueprint:
    """All that a module on the meta device holds.

    Args:
        kind: its class.
        shared: attributes that cannot change.
        collections: attributes that can, of what cannot.
        tensors: parameters and buffers: (where, name, how to make it).
        children: its modules.
    """

    kind: type[nn.Module]
    shared: dict[str, Any] = field(default_factory=dict)
    collections: dict[str, Any] = field(default_factory=dict)
    tensors: list[tuple[str, str, Make | None]] = field(default_factory=list)
    children: dict[str, "Blueprint | None"] = field(default_factory=dict)

    def make(self) -> nn.Module:
        """Return a module like the one that was drawn."""
        module: nn.Module = object.__new__(self.kind)
        held = vars(module)
        held.update(self.shared)
        for name, value in self.collections.items():
            held[name] = value.copy()
        held.update({"_parameters": {}, "_buffers": {}, "_modules": {}})
        for where, name, make in self.tensors:
            held[where][name] = None if make is None else make()
        for name, child in self.children.items():
            held["_modules"][name] = None if child is None else child.make()
        return module


def draw(module: nn.Module) -> Blueprint | None:
    """Return what makes modules like this one; None where they might not be what its constructor
    makes.
    """
    try:
        return _draw(module, set())
    except CannotCopyError:
        return None


def _draw(module: nn.Module, seen: set[int]) -> Blueprint:
    _see(id(module), seen)
    drawn = Blueprint(type(module))
    for name, value in vars(module).items():
        if name in STATE:
            continue
        if _is_plain(value):
            drawn.shared[name] = value
        elif type(value) in COLLECTIONS and all(map(_is_plain, _items_of(value))):
            drawn.collections[name] = value
        else:
            raise CannotCopyError
    for name, parameter in module._parameters.items():
        drawn.tensors.append(("_parameters", name, _draw_parameter(parameter, seen)))
    for name, buffer in module._buffers.items():
        drawn.tensors.append(("_buffers", name, _draw_tensor(buffer, seen)))
    for name, child in module._modules.items():
        drawn.children[name] = None if child is None else _draw(child, seen)
    return drawn


def _see(key: int, seen: set[int]) -> None:
    """Raise CannotCopyError for what stands at two places."""
    if key in seen:
        raise CannotCopyError
    seen.add(key)


def _is_plain(value: Any) -> bool:
    if type(value) in (tuple, frozenset):
        return all(map(_is_plain, value))
    return type(value) in PLAIN or isinstance(value, type)


def _items_of(collection: Any) -> Any:
    if isinstance(collection, dict):
        return collection.items()
    return collection


def _draw_parameter(parameter: nn.Parameter | None, seen: set[int]) -> Make | None:
    if parameter is None:
        return None
    if type(parameter) is not nn.Parameter:
        raise CannotCopyError
    make, needs_gradient = _draw_tensor(parameter.detach(), seen), parameter.requires_grad
    assert make is not None
    return lambda: nn.Parameter(make(), needs_gradient)


def _draw_tensor(tensor: Tensor | None, seen: set[int]) -> Make | None:
    if tensor is None:
        return None
    storage = tensor.untyped_storage()
    _see(storage._cdata, seen)
    whole = storage.nbytes() == tensor.numel() * tensor.element_size()
    if not tensor.is_meta or tensor.requires_grad or not whole:
        raise CannotCopyError
    shape, stride, dtype = tensor.shape, tensor.stride(), tensor.dtype
    return partial(torch.empty_strided, shape, stride, dtype=dtype, device="meta")


@dataclass
class Kept:
    """Results by what they depend on: classes, arguments and shapes, never a file.

    Args:
        made: how to make blocks on the meta device; None where their constructor alone can.
        ran: outputs of blocks.
        outcomes: what bodies cost.
        operations: what operations of torch gave.
    """

    made: dict[Any, Blueprint | None] = field(default_factory=dict)
    ran: dict[Any, Any] = field(default_factory=dict)
    outcomes: dict[Any, Any] = field(default_factory=dict)
    operations: dict[Any, Any] = field(default_factory=dict)

    def trim(self) -> None:
        """Forget the oldest results where they have become too many."""
        for results in (self.made, self.ran, self.outcomes, self.operations):
            for key in list(results)[: max(0, len(results) - MOST)]:
                del results[key]

    def copy(self, key: Any) -> nn.Module | None:
        """Return a block like one that was made; None where it must be made."""
        drawn = self.made.get(key)
        return None if drawn is None else drawn.make()


KEPT: ContextVar[Kept | None] = ContextVar("kept_results", default=None)


def open_kept() -> Kept:
    """Return what this process keeps (`blocks.watch`), or an empty one for one model."""
    return KEPT.get() or Kept()
