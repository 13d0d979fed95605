"""Values in YAML -> arguments of constructors: the type of the parameter decides how a text is
read.
"""

import typing
from dataclasses import replace
from typing import Any, Literal

from blocks.graph.errors import did_you_mean
from blocks.graph.language.expression import LARGEST, ExpressionError, evaluate, to_whole
from blocks.graph.language.scope import MISSING, Text, read_word
from blocks.graph.language.types import (
    describe_type,
    fits_type,
    list_choices,
    list_literals,
    origin_of,
    show_example,
)

NUMBERS = (int, float, bool)


def read_argument(hint: Any, text: Text, name: str) -> Any:
    """Return the value of an argument for a parameter of type `hint`.

    Raises:
        ExpressionError: the value is missing, cannot be computed, or does not fit.
    """
    if text.raw == MISSING:
        raise ExpressionError(
            f"{name} is missing (???)",
            describe_type(hint),
            f"write {name}: ... here, or give it on the command line",
            code="missing-argument",
        )
    value = _settle_numbers(_read(hint, text), hint)
    if fits_type(value, hint):
        return value
    if isinstance(value, float) and int in list_choices(hint):
        raise ExpressionError(
            f"{name} takes a whole number",
            "4 or 4.0; in an expression // divides whole",
            code="wrong-type",
        )
    literals = list_literals(hint)
    if literals:
        fits: str | None = did_you_mean(str(value), literals)
    else:
        fits = show_example(hint, name)
    fix = None
    if not literals and isinstance(value, str) and value.isidentifier():
        fix = f"no name {value} is in scope here; params of the model are in scope everywhere"
    raise ExpressionError(f"{name} takes {describe_type(hint)}", fits, fix, code="wrong-type")


def _settle_numbers(value: Any, hint: Any) -> Any:
    """Convert exactly whole numbers to `int` where `hint` takes no other number.

    Raises:
        ExpressionError: a number is too large.
    """
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ExpressionError(
            "the number is too large", f"numbers up to {LARGEST:.0e}", code="too-large"
        )
    kinds = list_choices(hint)
    if isinstance(value, tuple | list):
        inner: tuple[Any, ...] = ()
        for kind in kinds:
            if origin_of(kind) in (tuple, list):
                inner = typing.get_args(kind)
                break
        return type(value)(map(_settle_numbers, value, _item_types(inner, len(value))))
    if int in kinds and float not in kinds:
        return to_whole(value)
    return value


def _item_types(inner: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """Return the type of each of `count` items, given the arguments of the type of a list."""
    found = tuple(kind for kind in inner if kind is not Ellipsis)
    if len(found) == count:
        return found
    return (found[:1] or (Any,)) * count


def _read(hint: Any, text: Text) -> Any:
    kinds = list_choices(hint)
    raw = text.raw
    if isinstance(raw, list | tuple):
        return _read_items(kinds, text)
    if isinstance(raw, dict):
        return _read_mapping(kinds, text)
    if not isinstance(raw, str):
        return raw
    numeric = any(kind in NUMBERS or origin_of(kind) in (tuple, list) for kind in kinds)
    textual = any(kind is str or origin_of(kind) is Literal for kind in kinds)
    if numeric and not textual:
        return _to_kind(kinds, evaluate(raw, text.scope))
    value = read_word(text)
    if value != raw or not numeric or raw.isidentifier() or not isinstance(value, str):
        return value
    try:
        return _to_kind(kinds, evaluate(raw, text.scope))
    except ExpressionError:
        return value


def _to_kind(kinds: tuple[Any, ...], value: Any) -> Any:
    """Convert an int to float, and a tuple to a list, where only the latter is wanted."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and float in kinds and int not in kinds:
        return float(value)
    if isinstance(value, tuple) and tuple not in map(origin_of, kinds):
        return list(value)
    return value


def _read_mapping(kinds: tuple[Any, ...], text: Text) -> dict[Any, Any]:
    hint: Any = Any
    for kind in kinds:
        if typing.get_origin(kind) is dict:
            hint = typing.get_args(kind)[-1]
            break
    return {key: _read(hint, replace(text, raw=item)) for key, item in text.raw.items()}


def _read_items(kinds: tuple[Any, ...], text: Text) -> Any:
    origin: Any = tuple
    hints: tuple[Any, ...] = (float | int | bool,) * len(text.raw)
    for kind in kinds:
        if origin_of(kind) in (tuple, list):
            origin = origin_of(kind)
            hints = _item_types(typing.get_args(kind), len(text.raw))
            break
    items = []
    for hint, item in zip(hints, text.raw, strict=True):
        items.append(_read(hint, replace(text, raw=item)))
    return origin(items)
