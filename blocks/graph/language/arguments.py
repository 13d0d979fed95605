"""From what YAML has to what a constructor parameter takes: the type of the parameter decides how a
text is read.
"""

import types
import typing
from dataclasses import replace
from typing import Any, Literal

from blocks.graph.errors import did_you_mean
from blocks.graph.language.expression import LARGEST, ExpressionError, evaluate, whole
from blocks.graph.language.scope import MISSING, Text, word
from blocks.graph.language.signature import is_union

NUMBERS = (int, float, bool)


def coerce(hint: Any, text: Text, name: str) -> Any:
    """The value of an argument for a parameter of type `hint`; raises ExpressionError."""
    if text.raw == MISSING:
        raise ExpressionError(
            f"{name} is missing (???)",
            describe(hint),
            f"write {name}: ... here, or give it on the command line",
        )
    value = _settle(_read(hint, text), hint)
    if not fits(value, hint):
        if isinstance(value, float) and int in choices(hint):
            raise ExpressionError(
                f"{name} takes a whole number", "4 or 4.0; in an expression // divides whole"
            )
        raise ExpressionError(
            f"{name} takes {describe(hint)}", _nearest(hint, value) or example(hint, name)
        )
    return value


def _settle(value: Any, hint: Any) -> Any:
    """Turn exactly whole numbers into `int` where no other number is taken; raises ExpressionError
    for a huge one.
    """
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ExpressionError("the number is too large", f"numbers up to {LARGEST:.0e}")
    if isinstance(value, tuple | list):
        return type(value)(
            _settle(item, inner)
            for item, inner in zip(value, _inner(hint, len(value)), strict=True)
        )
    kinds = choices(hint)
    return whole(value) if int in kinds and float not in kinds else value


def _inner(hint: Any, count: int) -> tuple[Any, ...]:
    """The type of each item of a list or tuple of type `hint`."""
    lists = (
        typing.get_args(kind)
        for kind in choices(hint)
        if (typing.get_origin(kind) or kind) in (tuple, list)
    )
    found = tuple(kind for kind in next(lists, ()) if kind is not Ellipsis)
    if len(found) == count:
        return found
    return (found[:1] or (Any,)) * count


def _read(hint: Any, text: Text) -> Any:
    kinds = choices(hint)
    textual = any(kind is str or typing.get_origin(kind) is Literal for kind in kinds)
    numeric = any(
        kind in NUMBERS or typing.get_origin(kind) in (tuple, list) or kind in (tuple, list)
        for kind in kinds
    )
    raw = text.raw
    if isinstance(raw, list | tuple):
        return _sequence(kinds, text)
    if isinstance(raw, dict):
        value_hint = next(
            (typing.get_args(kind)[-1] for kind in kinds if typing.get_origin(kind) is dict), Any
        )
        return {key: _read(value_hint, replace(text, raw=item)) for key, item in raw.items()}
    if not isinstance(raw, str):
        return raw
    if textual or not numeric:
        value = word(text)
        if value != raw or not numeric or raw.isidentifier() or not isinstance(value, str):
            return value
        try:
            return _whole(kinds, evaluate(raw, text.scope))
        except ExpressionError:
            return value
    return _whole(kinds, evaluate(raw, text.scope))


def _whole(kinds: tuple[Any, ...], value: Any) -> Any:
    """An int where only a float is wanted is that float; a tuple where a list is wanted is that
    list.
    """
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and float in kinds
        and int not in kinds
    ):
        return float(value)
    if isinstance(value, tuple) and not any(
        kind is tuple or typing.get_origin(kind) is tuple for kind in kinds
    ):
        return list(value)
    return value


def _sequence(kinds: tuple[Any, ...], text: Text) -> Any:
    for kind in kinds:
        origin, inner = (
            typing.get_origin(kind) or kind,
            [h for h in typing.get_args(kind) if h is not Ellipsis],
        )
        if origin in (tuple, list):
            hints = inner if len(inner) == len(text.raw) else (inner[:1] or [Any]) * len(text.raw)
            items = (
                _read(h, replace(text, raw=item)) for h, item in zip(hints, text.raw, strict=True)
            )
            return origin(items)
    return tuple(_read(float | int | bool, replace(text, raw=item)) for item in text.raw)


def choices(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union, or the one type."""
    return typing.get_args(hint) if is_union(hint) else (hint,)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, strictly: True is no int, 1 is no bool; an int is a float."""
    if hint is Any or isinstance(hint, typing.TypeVar | str):
        return True
    if is_union(hint):
        return any(fits(value, choice) for choice in typing.get_args(hint))
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is types.NoneType:
        return value is None
    if origin is Literal:
        return value in inner
    if origin in (tuple, list) or hint in (tuple, list):
        if not isinstance(value, origin or hint):
            return False
        if not inner or Ellipsis in inner or origin is list:
            return all(fits(item, inner[0]) for item in value) if inner else True
        return len(value) == len(inner) and all(map(fits, value, inner))
    if origin is dict or hint is dict:
        return isinstance(value, dict) and all(
            fits(item, inner[1]) for item in value.values() if inner
        )
    if hint is bool or isinstance(value, bool):
        return isinstance(value, bool) and hint in (bool, object)
    if hint is float:
        return isinstance(value, int | float)
    return isinstance(value, hint) if isinstance(hint, type) else True


NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    types.NoneType: "null",
}


def describe(hint: Any) -> str:
    """A type in words."""
    kinds = choices(hint)
    if len(kinds) > 1:
        return " or ".join(dict.fromkeys(describe(kind) for kind in kinds))
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin in (tuple, list):
        if inner and Ellipsis not in inner and origin is tuple:
            return f"{len(inner)} values [{', '.join(describe(h) for h in inner)}]"
        return "a list"
    return NAMES.get(hint, getattr(hint, "__name__", "any value"))


EXAMPLES = {
    int: "{name}: 4, or an expression: 2 * dim",
    float: "{name}: 0.1, or an expression: 0.1 * layer.fraction",
    bool: "{name}: true, or a comparison: layer.index > 0",
    str: "{name}: a word",
}


def example(hint: Any, name: str) -> str | None:
    """What a value of a type looks like in YAML."""
    found = next((EXAMPLES[kind] for kind in choices(hint) if kind in EXAMPLES), None)
    return found.format(name=name) if found else None


def _nearest(hint: Any, value: Any) -> str | None:
    literals = [
        str(a)
        for kind in choices(hint)
        if typing.get_origin(kind) is Literal
        for a in typing.get_args(kind)
    ]
    return did_you_mean(str(value), literals) if literals else None
