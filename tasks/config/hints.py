"""Reading signatures: which arguments a class takes, whether a value from YAML suits one, and how
to say so.
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


def parameters(target: Any) -> tuple[dict[str, tuple[Any, bool]], bool]:
    """name -> (annotation, whether it must be given), and whether any other argument is taken too.

    Our own classes hand `**options` to their base, so its arguments count as theirs.
    """
    ours = inspect.isclass(target) and target.__module__.startswith("tasks.")
    found: dict[str, tuple[Any, bool]] = {}
    for kind in target.__mro__ if ours else (target,):
        signature, known = inspect.signature(kind), annotations(kind)
        for name, parameter in signature.parameters.items():
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                required = parameter.default is parameter.empty
                found.setdefault(name, (known.get(name, Any), required))
        if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            return found, False
    return found, True


def annotations(target: Any) -> dict[str, Any]:
    """The annotations of a constructor, or of a function."""
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):
        return {}


def options(hint: Any) -> Iterator[Any]:
    """The members of a union, or the annotation itself."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        for option in typing.get_args(hint):
            yield from options(option)
    else:
        yield hint


def fits(value: Any, hint: Any) -> bool:
    """Whether a value as YAML has it suits an annotation."""
    return any(fits_one(value, option) for option in options(hint))


def fits_one(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
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
    """Whether YAML writes it as a list."""
    return kind is tuple or (kind is not object and issubclass(list, kind))


def fits_each(values: list, kind: type, arguments: tuple[Any, ...]) -> bool:
    """Whether the entries of a list suit the annotation of a list or a tuple."""
    if kind is tuple and arguments and ... not in arguments:
        return len(values) == len(arguments) and all(map(fits, values, arguments))
    return not arguments or all(fits(value, arguments[0]) for value in values)


def choices(hint: Any) -> list[str]:
    """The texts that an annotation lists."""
    listed = (option for option in options(hint) if typing.get_origin(option) is Literal)
    return [str(choice) for option in listed for choice in typing.get_args(option)]


def words(hint: Any) -> str:
    """An annotation in words."""
    listed = list(dict.fromkeys(choices(hint)))
    several = ["one of " + ", ".join(listed)] if listed else []
    rest = (
        words_one(option) for option in options(hint) if typing.get_origin(option) is not Literal
    )
    return " or ".join(dict.fromkeys([*several, *rest]))


def words_one(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    kind = origin or hint
    if isinstance(kind, type) and is_list(kind):
        inner = [argument for argument in arguments if argument is not ...]
        return f"{LIST} ({', '.join(words(argument) for argument in inner)})" if inner else LIST
    if kind is dict:
        return "a mapping"
    return NAMES.get(kind, getattr(kind, "__name__", str(kind)))
