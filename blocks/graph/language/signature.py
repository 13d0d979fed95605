"""What a block takes and gives, read from its constructor and its `forward`: the one definition of
every shape.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any

from torch import nn

from blocks.catalog import Layer

ANYTHING = "..."


@dataclass(frozen=True)
class Port:
    """One input or output: its name, axes (None: any), and the dtypes it takes (None: any)."""

    name: str
    axes: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] | None = None
    optional: bool = False

    def __str__(self) -> str:
        return "anything" if self.axes is None else f"({', '.join(self.axes)})"


@dataclass(frozen=True)
class Parameter:
    """A constructor parameter: its word in YAML, its name in Python, its type and default."""

    word: str
    name: str
    annotation: Any
    default: Any = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True)
class Signature:
    """A block as the assembler sees it."""

    name: str
    factory: Callable[..., nn.Module]
    parameters: Mapping[str, Parameter]
    ports: tuple[Port, ...]
    variadic: bool
    gives: tuple[Port, ...]
    infer: Mapping[str, str]
    idle: Callable[[Any], bool]
    documentation: str = ""

    def port(self, name: str) -> Port | None:
        return next((port for port in self.ports if port.name == name), None)


@cache
def signature_of(name: str, entry: Any) -> Signature:
    """The signature of a catalogue entry: an `nn.Module` class or a `Layer`."""
    layer = entry if isinstance(entry, Layer) else None
    factory = layer.factory if layer else entry
    parameters = _parameters(factory, {} if layer is None else layer.words)
    if layer:
        ports: tuple[Port, ...] = (Port("x", _axes(layer.takes), DTYPES.get(layer.kind or "")),)
        gives: tuple[Port, ...] = (Port("out", _axes(layer.gives or layer.takes)),)
        variadic = False
        idle = layer.idle or (lambda module: False)
    else:
        ports, variadic, gives = _forward(factory)
        idle = lambda module: bool(getattr(module, "idle", False))  # noqa: E731
    axes = {axis.lstrip("*#") for port in ports for axis in port.axes or ()} | {"vocab"}
    infer = dict(layer.infer) if layer else {word: word for word in parameters if word in axes}
    documentation = inspect.getdoc(factory) or ""
    return Signature(name, factory, parameters, ports, variadic, gives, infer, idle, documentation)


DTYPES = {
    "int": ("int8", "int16", "int32", "int64", "uint8"),
    "float": ("float16", "bfloat16", "float32", "float64"),
    "bool": ("bool",),
}


def _parameters(factory: Any, words: Mapping[str, str]) -> dict[str, Parameter]:
    hints = typing.get_type_hints(factory.__init__)
    word_of = {name: word for word, name in words.items()}
    found = {}
    for parameter in list(inspect.signature(factory.__init__).parameters.values())[1:]:
        if parameter.name in ("device", "dtype") or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            continue
        word = word_of.get(parameter.name, parameter.name)
        found[word] = Parameter(
            word, parameter.name, hints.get(parameter.name, Any), parameter.default
        )
    return found


def _forward(factory: Any) -> tuple[tuple[Port, ...], bool, tuple[Port, ...]]:
    hints = typing.get_type_hints(factory.forward)
    ports, variadic = [], False
    for parameter in list(inspect.signature(factory.forward).parameters.values())[1:]:
        axes, dtypes = read_annotation(hints.get(parameter.name, Any))
        if parameter.kind is parameter.VAR_POSITIONAL:
            variadic = True
        ports.append(Port(parameter.name, axes, dtypes, parameter.default is not parameter.empty))
    result = hints.get("return", Any)
    names = getattr(factory, "outputs", None)
    results = typing.get_args(result) if typing.get_origin(result) is tuple else (result,)
    if names is None or isinstance(names, property):
        names = ("out",) if len(results) == 1 else tuple(f"out{i}" for i in range(len(results)))
    gives = tuple(
        Port(name, *read_annotation(hint)) for name, hint in zip(names, results, strict=False)
    )
    return tuple(ports), variadic, gives


def read_annotation(hint: Any) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Axes and dtypes of `Float[Tensor, "batch dim"]`, also inside `| None`; None where it says
    nothing.
    """
    choices = [h for h in typing.get_args(hint) if h is not NoneType] if is_union(hint) else [hint]
    dtypes: set[str] = set()
    axes = None
    for choice in choices:
        text = getattr(choice, "dim_str", None)
        if text is None:
            return None, None
        axes = _axes(text) if axes is None else axes
        dtypes |= set(choice.dtypes) if isinstance(choice.dtypes, list | tuple) else set()
    return axes, tuple(sorted(dtypes)) or None


def _axes(text: str) -> tuple[str, ...] | None:
    return None if text.strip() == ANYTHING else tuple(text.split())


def is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, UnionType)


def bind(port: Port, shape: tuple[int, ...], known: dict[str, int]) -> str | None:
    """Match a shape against a port's axes and add the sizes to `known`; what does not fit, or None.

    `*name` stands for any number of axes, `#name` may be 1, `_` and numbers and sums name nothing.
    """
    if port.axes is None:
        return None
    star = next(
        (i for i, axis in enumerate(port.axes) if axis.startswith("*") or axis == ANYTHING), None
    )
    if star is None and len(shape) != len(port.axes):
        return f"{port.name} has {len(port.axes)} axes {port}"
    if star is not None and len(shape) < len(port.axes) - 1:
        return f"{port.name} has at least {len(port.axes) - 1} axes {port}"
    tail = 0 if star is None else len(port.axes) - star - 1
    head = len(port.axes) if star is None else star
    pairs = [*zip(port.axes[:head], shape[:head], strict=True)]
    pairs += (
        zip(port.axes[len(port.axes) - tail :], shape[len(shape) - tail :], strict=True)
        if tail
        else ()
    )
    for axis, size in pairs:
        name = axis.lstrip("#")
        if name.isdigit() and int(name) != size:
            return f"{port.name} has {name} where {size} came"
        if not name.isidentifier() or name == "_":
            continue
        if known.setdefault(name, size) != size and not (axis.startswith("#") and size == 1):
            return f"{port.name} has {name}={known[name]}, as elsewhere in the same block"
    return None


def axis_names(
    port: Port, rank: int, inputs: Mapping[str, tuple[str | None, ...]]
) -> tuple[str | None, ...]:
    """Names for the axes of an output: its own words without `out_`, and those of the inputs behind
    a `*name`.
    """
    if port.axes is None:
        carried = next((names for names in inputs.values() if len(names) == rank), None)
        return carried or (None,) * rank
    names: list[str | None] = []
    for axis in port.axes:
        if axis.startswith("*") or axis == ANYTHING:
            missing = rank - (len(port.axes) - 1)
            behind = inputs.get(axis.lstrip("*"), ())
            names += (
                behind
                if len(behind) == missing
                else _spread(axis.lstrip("*").removeprefix("out_"), missing)
            )
        else:
            bare = axis.lstrip("#").removeprefix("out_")
            names.append(bare if bare.isidentifier() and bare != "_" else None)
    return tuple(names) if len(names) == rank else (None,) * rank


def _spread(name: str, count: int) -> tuple[str | None, ...]:
    """Names for the axes of a new `*tokens`: one is the tokens themselves, two are a grid."""
    if name == "tokens" and count == 2:
        return ("height", "width")
    return (name,) if count == 1 and name.isidentifier() else (None,) * count


def is_module(hint: Any) -> bool:
    """Whether a constructor parameter takes a part that another YAML node fills."""
    choices = typing.get_args(hint) if is_union(hint) else (hint,)
    return any(isinstance(choice, type) and issubclass(choice, nn.Module) for choice in choices)
