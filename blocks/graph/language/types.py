"""Types of constructor parameters: which values fit, and how messages describe them."""

import types
import typing
from collections.abc import Iterable
from typing import Any, Literal

from blocks.graph.language.signature import is_union

TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    types.NoneType: "null",
}
EXAMPLES = {
    int: "{name}: 4, or an expression: 2 * dim",
    float: "{name}: 0.1, or an expression: 0.1 * layer.fraction",
    bool: "{name}: true, or a comparison: layer.index > 0",
    str: "{name}: a word",
}


def list_choices(hint: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union, or the one type."""
    return typing.get_args(hint) if is_union(hint) else (hint,)


def origin_of(hint: Any) -> Any:
    """Return `tuple` for `tuple[int, int]`, and a plain type unchanged."""
    return typing.get_origin(hint) or hint


def list_literals(hint: Any) -> list[str]:
    """Return the values of all `Literal` alternatives as texts."""
    found: list[str] = []
    for kind in list_choices(hint):
        if typing.get_origin(kind) is Literal:
            found += map(str, typing.get_args(kind))
    return found


def fits_type(value: Any, hint: Any) -> bool:
    """Return whether a value is of a type, strictly: True is no int, 1 is no bool; an int is a
    float.
    """
    if hint is Any or isinstance(hint, typing.TypeVar | str):
        return True
    if is_union(hint):
        return any(fits_type(value, choice) for choice in typing.get_args(hint))
    origin, inner = origin_of(hint), typing.get_args(hint)
    if hint is None or hint is types.NoneType:
        return value is None
    if origin is Literal:
        return value in inner
    if origin in (tuple, list):
        return isinstance(value, origin) and _items_fit(value, origin, inner)
    if origin is dict:
        return isinstance(value, dict) and (not inner or _all_fit(value.values(), inner[1]))
    return _fits_plain_type(value, hint)


def _items_fit(items: tuple | list, origin: type, inner: tuple[Any, ...]) -> bool:
    if not inner:
        return True
    if Ellipsis in inner or origin is list:
        return _all_fit(items, inner[0])
    return len(items) == len(inner) and all(map(fits_type, items, inner))


def _all_fit(items: Iterable[Any], hint: Any) -> bool:
    return all(fits_type(item, hint) for item in items)


def _fits_plain_type(value: Any, hint: Any) -> bool:
    if hint is bool or isinstance(value, bool):
        return isinstance(value, bool) and hint in (bool, object)
    if hint is float:
        return isinstance(value, int | float)
    return not isinstance(hint, type) or isinstance(value, hint)


def describe_type(hint: Any) -> str:
    """Describe a type for a message, e.g. "a whole number or null"."""
    kinds = list_choices(hint)
    if len(kinds) > 1:
        return " or ".join(dict.fromkeys(map(describe_type, kinds)))
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (tuple, list):
        if inner and Ellipsis not in inner and origin is tuple:
            return f"{len(inner)} values [{', '.join(map(describe_type, inner))}]"
        return "a list"
    return TYPE_NAMES.get(hint, getattr(hint, "__name__", "any value"))


def show_example(hint: Any, name: str) -> str | None:
    """Return what a value of a type looks like in YAML, or None."""
    for kind in list_choices(hint):
        if kind in EXAMPLES:
            return EXAMPLES[kind].format(name=name)
    return None
