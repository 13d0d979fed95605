"""Reads signatures: which arguments a class takes, whether a value from YAML fits one, and what
fits it in plain English.
"""

import inspect
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, Union

NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    types.NoneType: "null",
}
LIST = "a list"


def read_parameters(target: Any) -> tuple[dict[str, tuple[Any, bool]], bool]:
    """Return (annotation, whether it is required) of each parameter by name, and whether a class or
    a function takes any other argument too.

    The project's own classes pass `**options` to their base, so its parameters count as theirs.
    """
    kinds: tuple[Any, ...] = (target,)
    if inspect.isclass(target) and target.__module__.startswith("tasks."):
        kinds = target.__mro__
    found: dict[str, tuple[Any, bool]] = {}
    for kind in kinds:
        known = read_annotations(kind)
        takes_any = False
        for name, parameter in inspect.signature(kind).parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                takes_any = True
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                required = parameter.default is parameter.empty
                found.setdefault(name, (known.get(name, Any), required))
        if not takes_any:
            return found, False
    return found, True


def read_annotations(target: Any) -> dict[str, Any]:
    """Return the annotations of a constructor or of a function; none where they cannot be read."""
    if inspect.isclass(target):
        target = target.__init__
    try:
        return typing.get_type_hints(target)
    except (NameError, TypeError):
        return {}


def split_union(hint: Any) -> Iterator[Any]:
    """Yield the members of a union, or the annotation itself."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        for member in typing.get_args(hint):
            yield from split_union(member)
    else:
        yield hint


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value read from YAML fits an annotation."""
    return any(fits_member(value, member) for member in split_union(hint))


def fits_member(value: Any, hint: Any) -> bool:
    """Return whether a value fits an annotation that is no union."""
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    kind = origin or hint
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in arguments)
    if not isinstance(kind, type):
        return False
    if kind is float or kind.__name__ == "Tensor":  # torch's optimisers take a number or a tensor
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind.__name__ in ("Path", "PathLike"):
        return isinstance(value, str)
    if is_list(kind):
        return isinstance(value, list) and fits_each(value, kind, arguments)
    return isinstance(value, kind)


def is_list(kind: type) -> bool:
    """Return whether YAML writes values of a type as a list."""
    return kind is tuple or (kind is not object and issubclass(list, kind))


def fits_each(values: list[Any], kind: type, arguments: tuple[Any, ...]) -> bool:
    """Return whether the items of a list fit the annotation of a list or a tuple."""
    if kind is tuple and arguments and ... not in arguments:
        return len(values) == len(arguments) and all(map(fits, values, arguments))
    return not arguments or all(fits(value, arguments[0]) for value in values)


def list_choices(hint: Any) -> list[str]:
    """Return the values that the `Literal`s of an annotation list, as texts."""
    listed: list[str] = []
    for member in split_union(hint):
        if typing.get_origin(member) is Literal:
            listed += map(str, typing.get_args(member))
    return listed


def describe_hint(hint: Any) -> str:
    """Describe in plain English what fits an annotation, e.g. "a whole number or null"."""
    described = []
    choices = dict.fromkeys(list_choices(hint))
    if choices:
        described.append("one of " + ", ".join(choices))
    for member in split_union(hint):
        if typing.get_origin(member) is not Literal:
            described.append(describe_member(member))
    return " or ".join(dict.fromkeys(described))


def describe_member(hint: Any) -> str:
    """Describe what fits an annotation that is no union."""
    kind = typing.get_origin(hint) or hint
    if isinstance(kind, type) and is_list(kind):
        items = [describe_hint(item) for item in typing.get_args(hint) if item is not ...]
        if items:
            return f"{LIST} ({', '.join(items)})"
        return LIST
    if kind is dict:
        return "a mapping"
    return NAMES.get(kind, getattr(kind, "__name__", str(kind)))
