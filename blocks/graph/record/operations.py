"""Operations of torch on the meta device: one that ran is not run again for equal arguments.

A tensor there has a shape and no numbers, so all that an operation gives follows from its
arguments. Many are written in Python there: a layer norm takes 1 ms.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from blocks.graph.record.kept import PLAIN
from blocks.graph.record.shape_rules import Layout, infer_layouts

WORDS = PLAIN | {torch.layout, torch.memory_format}


class CannotKeepError(Exception):
    """An argument or a result is more than a plain value or a tensor on the meta device."""


class Operations(TorchDispatchMode):
    """Runs what torch is asked for while it is on.

    Args:
        ran: what operations gave, by operation and arguments; None where it must run each time.
    """

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No wrapper for a compiler around each operation: nothing is compiled here."""
        return False

    def __init__(self, ran: dict[Any, list[Layout] | Layout | None]):
        super().__init__()
        self.ran = ran

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        return self.run(operation, arguments, keywords or {})

    def run(self, operation: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        """Return what an operation gives, in storages of its own."""
        if not _is_functional(operation):
            return operation(*arguments, **keywords)
        with torch._C.DisableTorchFunction():  # modes slow down every look at a tensor
            given = [*arguments, *keywords.values()]
            try:
                key = operation, tuple(keywords), torch.get_default_dtype(), *map(_describe, given)
            except CannotKeepError:
                return operation(*arguments, **keywords)
            layouts = self.ran.get(key)
            if layouts is not None:
                return _renew(layouts)
            if key not in self.ran:
                layouts = infer_layouts(operation, arguments, keywords)
                if layouts is not None:
                    self.ran[key] = layouts
                    return _renew(layouts)
            result = operation(*arguments, **keywords)
            if key not in self.ran:
                self.ran[key] = _find_layouts(result, given)
            return result


@cache
def _is_functional(operation: Any) -> bool:
    """Whether an operation changes none of its arguments and returns no view of them."""
    if not isinstance(operation, torch._ops.OpOverload):
        return False
    schema = operation._schema
    return all(each.alias_info is None for each in (*schema.arguments, *schema.returns))


def _describe(value: Any) -> Any:
    """Return all of an argument that a result depends on."""
    kind = type(value)
    if kind is Tensor or kind is nn.Parameter:
        if not value.is_meta or value.layout is not torch.strided or value.is_complex():
            raise CannotKeepError
        return value.shape, value.stride(), value.storage_offset(), value.dtype
    if kind is list or kind is tuple:
        return tuple(map(_describe, value))
    if kind not in WORDS:
        raise CannotKeepError
    return kind, value  # 1, 1.0 and True are equal


def _find_layouts(result: Any, given: Sequence[Any]) -> list[Layout] | Layout | None:
    """Return how to make what an operation gave; None for a view, and for what is no tensor."""
    storages = {each.untyped_storage()._cdata for each in given if isinstance(each, Tensor)}
    try:
        if isinstance(result, tuple):
            return [_find_layout(each, storages) for each in result]
        return _find_layout(result, storages)
    except CannotKeepError:
        return None


def _find_layout(tensor: Any, storages: set[int]) -> Layout:
    if type(tensor) is not Tensor or not tensor.is_meta:
        raise CannotKeepError
    storage = tensor.untyped_storage()
    whole = storage.nbytes() == tensor.numel() * tensor.element_size()
    if storage._cdata in storages or tensor.storage_offset() or not whole:
        raise CannotKeepError
    storages.add(storage._cdata)
    return tensor.shape, tensor.stride(), tensor.dtype


def _renew(layouts: list[Layout] | Layout) -> Any:
    if isinstance(layouts, list):
        return tuple(map(_make, layouts))
    return _make(layouts)


def _make(layout: Layout) -> Tensor:
    shape, stride, dtype = layout
    return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
