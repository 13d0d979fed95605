"""The inputs, outputs and parameters of a block, read from its constructor and its `forward`: the
only definition of every shape.
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
        if self.axes is None:
            return "anything"
        return f"({', '.join(self.axes)})"


@dataclass(frozen=True)
class ArgumentSpec:
    """A constructor parameter: its key in YAML, its name in Python, its type and default."""

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
    parameters: Mapping[str, ArgumentSpec]
    ports: tuple[Port, ...]
    variadic: bool
    gives: tuple[Port, ...]
    infer: Mapping[str, str]
    idle: Callable[[Any], bool]
    documentation: str = ""

    def port(self, name: str) -> Port | None:
        for port in self.ports:
            if port.name == name:
                return port
        return None


@cache
def signature_of(name: str, entry: Any) -> Signature:
    """Read the signature of a catalog entry: an `nn.Module` class or a `Layer`."""
    if isinstance(entry, Layer):
        return _read_layer(name, entry)
    parameters = _read_parameters(entry, {})
    ports, variadic, gives = _read_forward(entry)
    axes = {"vocab"}
    for port in ports:
        axes.update(axis.lstrip("*#") for axis in port.axes or ())
    return Signature(
        name,
        factory=entry,
        parameters=parameters,
        ports=ports,
        variadic=variadic,
        gives=gives,
        infer={word: word for word in parameters if word in axes},
        idle=_is_idle,
        documentation=inspect.getdoc(entry) or "",
    )


def _read_layer(name: str, layer: Layer) -> Signature:
    """Read the signature of a layer of torch, whose `forward` is not annotated."""
    return Signature(
        name,
        factory=layer.factory,
        parameters=_read_parameters(layer.factory, layer.words),
        ports=(Port("x", _read_axes(layer.takes), DTYPES.get(layer.kind or "")),),
        variadic=False,
        gives=(Port("out", _read_axes(layer.gives or layer.takes)),),
        infer=dict(layer.infer),
        idle=layer.idle or _is_never_idle,
        documentation=inspect.getdoc(layer.factory) or "",
    )


def _is_idle(module: Any) -> bool:
    return bool(getattr(module, "idle", False))


def _is_never_idle(module: Any) -> bool:
    return False


DTYPES = {
    "int": ("int8", "int16", "int32", "int64", "uint8"),
    "float": ("float16", "bfloat16", "float32", "float64"),
    "bool": ("bool",),
}


def _read_parameters(factory: Any, words: Mapping[str, str]) -> dict[str, ArgumentSpec]:
    hints = typing.get_type_hints(factory.__init__)
    word_of = {name: word for word, name in words.items()}
    found = {}
    for parameter in list(inspect.signature(factory.__init__).parameters.values())[1:]:
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if variadic or parameter.name in ("device", "dtype"):
            continue
        word = word_of.get(parameter.name, parameter.name)
        found[word] = ArgumentSpec(
            word, parameter.name, hints.get(parameter.name, Any), parameter.default
        )
    return found


def _read_forward(factory: Any) -> tuple[tuple[Port, ...], bool, tuple[Port, ...]]:
    hints = typing.get_type_hints(factory.forward)
    ports, variadic = [], False
    for parameter in list(inspect.signature(factory.forward).parameters.values())[1:]:
        axes, dtypes = read_annotation(hints.get(parameter.name, Any))
        if parameter.kind is parameter.VAR_POSITIONAL:
            variadic = True
        ports.append(Port(parameter.name, axes, dtypes, parameter.default is not parameter.empty))
    result = hints.get("return", Any)
    names = getattr(factory, "outputs", None)
    results = (result,)
    if typing.get_origin(result) is tuple:
        results = typing.get_args(result)
    if names is None or isinstance(names, property):
        names = ["out"]
        if len(results) > 1:
            names = [f"out{index}" for index in range(len(results))]
    gives = []
    for name, hint in zip(names, results, strict=False):
        gives.append(Port(name, *read_annotation(hint)))
    return tuple(ports), variadic, tuple(gives)


def read_annotation(hint: Any) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Read the axes and dtypes of `Float[Tensor, "batch dim"]`, also inside `| None`; None where
    the annotation has none.
    """
    choices = [hint]
    if is_union(hint):
        choices = [choice for choice in typing.get_args(hint) if choice is not NoneType]
    dtypes: set[str] = set()
    axes = None
    for choice in choices:
        text = getattr(choice, "dim_str", None)
        if text is None:
            return None, None
        if axes is None:
            axes = _read_axes(text)
        if isinstance(choice.dtypes, list | tuple):
            dtypes.update(choice.dtypes)
    return axes, tuple(sorted(dtypes)) or None


def _read_axes(text: str) -> tuple[str, ...] | None:
    if text.strip() == ANYTHING:
        return None
    return tuple(text.split())


def is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, UnionType)


def bind(port: Port, shape: tuple[int, ...], known: dict[str, int]) -> str | None:
    """Match a shape against the axes of a port, and add the sizes to `known`.

    `*name` matches any number of axes, `#name` may be 1; `_`, numbers and sums name nothing.

    Returns:
        What does not fit, or None.
    """
    if port.axes is None:
        return None
    head = 0  # axes before a `*name`
    while head < len(port.axes) and not _is_star(port.axes[head]):
        head += 1
    tail = len(port.axes) - head - 1
    if tail < 0 and len(shape) != len(port.axes):
        return f"{port.name} has {len(port.axes)} axes {port}"
    if len(shape) < head + tail:
        return f"{port.name} has at least {len(port.axes) - 1} axes {port}"
    pairs = [*zip(port.axes[:head], shape[:head], strict=True)]
    if tail > 0:
        pairs += zip(port.axes[-tail:], shape[-tail:], strict=True)
    for axis, size in pairs:
        name = axis.lstrip("#")
        if name.isdigit() and int(name) != size:
            return f"{port.name} has {name} where {size} came"
        if not name.isidentifier() or name == "_":
            continue
        if known.setdefault(name, size) != size and not (axis.startswith("#") and size == 1):
            return f"{port.name} has {name}={known[name]}, as elsewhere in the same block"
    return None


def _is_star(axis: str) -> bool:
    return axis.startswith("*") or axis == ANYTHING


def axis_names(
    port: Port, rank: int, inputs: Mapping[str, tuple[str | None, ...]]
) -> tuple[str | None, ...]:
    """Return names for the axes of an output: its own without `out_`, and those of the inputs for a
    `*name`.
    """
    unnamed = (None,) * rank
    if port.axes is None:
        for carried in inputs.values():
            if len(carried) == rank:
                return carried
        return unnamed
    names: list[str | None] = []
    for axis in port.axes:
        if _is_star(axis):
            missing = rank - (len(port.axes) - 1)
            matched = inputs.get(axis.lstrip("*"), ())
            if len(matched) != missing:
                matched = _name_star(axis.lstrip("*").removeprefix("out_"), missing)
            names += matched
        else:
            bare = axis.lstrip("#").removeprefix("out_")
            named = bare.isidentifier() and bare != "_"
            names.append(bare if named else None)
    if len(names) != rank:
        return unnamed
    return tuple(names)


def _name_star(name: str, count: int) -> tuple[str | None, ...]:
    """Return names for the axes of a new `*tokens`: one is the tokens, two are a grid."""
    if name == "tokens" and count == 2:
        return ("height", "width")
    if count == 1 and name.isidentifier():
        return (name,)
    return (None,) * count


def is_module(hint: Any) -> bool:
    """Return whether a constructor parameter takes a module, which a hole of the node fills."""
    choices = typing.get_args(hint) if is_union(hint) else (hint,)
    return any(isinstance(choice, type) and issubclass(choice, nn.Module) for choice in choices)
