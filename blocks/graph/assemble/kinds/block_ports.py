"""Which input of a node flows into which port of a block, and whether it fits there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from blocks.graph.assemble.body_builder import Input
from blocks.graph.errors import NodeError, Problem, did_you_mean
from blocks.graph.language.signature import ANYTHING, Port, Signature, bind
from blocks.graph.record.value import Value

Names = tuple[str | None, ...]
IMAGE = ("batch", "channels", "height", "width")
VOLUME = ("batch", "channels", "depth", "height", "width")
LAYOUTS = {
    ("batch", "tokens", "dim"): "b t d",
    ("batch", "height", "width", "dim"): "b h w d",
    IMAGE: "b c h w",
}


@dataclass
class Bound:
    """What the inputs of a block say.

    Args:
        sizes: axis -> size.
        stars: axes that a port leaves open ("*tokens", "...") -> names of the axes that came.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    stars: dict[str, Names] = field(default_factory=dict)


def assign_ports(
    signature: Signature, inputs: Sequence[Input], previous: Value | None
) -> tuple[tuple[Value, ...], dict[str, Value]]:
    """Positional values, and values by the name of their port.

    Raises:
        NodeError: a port that is unknown, given twice, or empty.
    """
    positional: list[Value] = []
    named: dict[str, Value] = {}
    for item in inputs:
        if item.port is None:
            positional.append(item.value)
        else:
            named[item.port] = item.value
    if signature.variadic:
        if named:
            problem = f"{signature.name} takes a list of inputs"
            got = f"in: {{{', '.join(named)}: ...}}"
            raise NodeError(Problem(problem, got=got, fits="in: [a, b]", code="bad-node"))
        return tuple(positional), {}
    ports = signature.ports
    _check_names(signature, named)
    if named and not positional and previous is not None and _first_is_open(ports, named):
        positional = [previous]
    _check_count(signature, inputs, positional)
    _check_filled(signature, named, len(positional))
    if ports and not positional and ports[0].name in named:
        # torch's layers do not call their first input x
        positional = [named.pop(ports[0].name)]
    return tuple(positional), named


def _check_names(signature: Signature, named: dict[str, Value]) -> None:
    known = [port.name for port in signature.ports]
    for name in named:
        if name not in known:
            fits = "in: [] (it takes no input)"
            if known:
                fits = did_you_mean(name, known)
            problem = f"{signature.name} has no input {name!r}"
            raise NodeError(
                Problem(problem, got=f"in: {{{name}: ...}}", fits=fits, code="unknown-name")
            )


def _first_is_open(ports: Sequence[Port], named: dict[str, Value]) -> bool:
    return bool(ports) and not ports[0].optional and ports[0].name not in named


def _check_count(
    signature: Signature, inputs: Sequence[Input], positional: Sequence[Value]
) -> None:
    known = [port.name for port in signature.ports]
    if len(positional) <= len(known):
        return
    takes = f"{len(known)} inputs ({', '.join(known)})"
    fits = f"in: [{', '.join(known)}]"
    if not known:
        takes = "0 inputs"
    elif len(known) == 1:
        takes, fits = f"1 input ({known[0]})", "in: NODE"
    got = f"{len(positional)}: {', '.join(item.name for item in inputs)}"
    raise NodeError(
        Problem(f"{signature.name} takes {takes}", got=got, fits=fits, code="wrong-inputs")
    )


def _check_filled(signature: Signature, named: dict[str, Value], count: int) -> None:
    for index, port in enumerate(signature.ports):
        if index < count:
            if port.name in named:
                problem = f"{signature.name}: the input {port.name!r} is given twice"
                raise NodeError(Problem(problem, code="name-taken"))
        elif port.name not in named and not port.optional:
            problem = f"{signature.name} needs an input {port.name!r} {port}"
            raise NodeError(Problem(problem, fix=f"in: {{{port.name}: NODE}}", code="wrong-inputs"))


# Shapes -------------------------------------------------------------------------------------------


def bind_shapes(signature: Signature, wired: Sequence[tuple[Port, Value]]) -> Bound:
    """Sizes of the axes of what flows in.

    Raises:
        NodeError: shapes or types that do not fit, all of them.
    """
    bound, problems = Bound(), []
    for port, value in wired:
        sizes = {} if signature.variadic else bound.sizes
        if value.tensor is None:
            if not port.optional:
                problems.append(_absent(signature, port, value))
            continue
        misfit = bind(port, value.shape, sizes) or _explain_turned(port, value)
        if misfit:
            problem = f"{signature.name}: {misfit}"
            got = f"{value} from {value.made_by}"
            problems.append(
                Problem(problem, got=got, fix=_suggest_reshape(port, value), code="shape-mismatch")
            )
        else:
            _bind_stars(bound, port, value)
            problems += _check_dtype(signature, port, value)
        bound.stars[f"={port.name}"] = value.names
    if problems:
        raise NodeError(*problems)
    return bound


def _bind_stars(bound: Bound, port: Port, value: Value) -> None:
    axes = port.axes or ()
    for index, axis in enumerate(axes):
        if axis.startswith("*") or axis == ANYTHING:
            end = len(value.names) - (len(axes) - index - 1)
            bound.stars[axis.lstrip("*#")] = value.names[index:end]


def _absent(signature: Signature, port: Port, value: Value) -> Problem:
    return Problem(
        f"{signature.name} needs {port.name}, which the data does not have",
        got=f"the optional input {value.made_by}",
        fix="leave this out, or choose data that has it",
        code="wrong-inputs",
    )


def _check_dtype(signature: Signature, port: Port, value: Value) -> list[Problem]:
    assert value.tensor is not None
    dtype = str(value.tensor.dtype).removeprefix("torch.")
    if not port.dtypes or dtype in port.dtypes:
        return []
    fix = "an input of whole numbers says so: {shape: [...], dtype: int}"
    if "float32" in port.dtypes:
        fix = "put a block before it whose output has real numbers, e.g. Embedding"
    problem = f"{signature.name}: {port.name} takes {_name_kind(port.dtypes)}"
    return [Problem(problem, got=f"{dtype} from {value.made_by}", fix=fix, code="dtype-mismatch")]


def _name_kind(dtypes: tuple[str, ...]) -> str:
    if "bool" in dtypes:
        if len(dtypes) > 1:
            return "true or false values or numbers"
        return "true or false values"
    if any("float" in dtype for dtype in dtypes):
        return "real numbers"
    return "whole numbers"


def _explain_turned(port: Port, value: Value) -> str | None:
    """A grid (batch, height, width, dim) is no image (batch, channels, height, width), although
    both have four axes.
    """
    axes = tuple(axis.lstrip("#") for axis in port.axes or ())
    sides = {"height", "width"}
    if not sides <= set(axes) or not sides <= set(value.names) or len(axes) != len(value.names):
        return None
    if all(axes.index(name) == value.names.index(name) for name in sides):
        return None
    names = ", ".join(name or "_" for name in value.names)
    return f"{port.name} is {port}, and ({names}) came"


def _suggest_reshape(port: Port, value: Value) -> str | None:
    """What to put between a grid, an image and tokens."""
    have = tuple(name or "_" for name in value.names)
    want = tuple(axis.lstrip("*#") for axis in port.axes or ())
    if have == IMAGE and want == VOLUME:
        one = "{block: Rearrange, pattern: b c h w -> b c 1 h w}"
        return f"choose data of videos or volumes; for one frame put between: {one}"
    if have not in LAYOUTS or want not in LAYOUTS or have == want:
        return None
    left, right = LAYOUTS[have].replace("c", "d"), LAYOUTS[want]
    if "t" not in left:
        right = "b (h w) d" if "t" in right else right.replace("c", "d")
        return f"put between: {{block: Rearrange, pattern: {left} -> {right}}}"
    tokens = value.shape[1]
    side = math.isqrt(tokens)
    if side * side != tokens:
        return (
            f"{tokens} tokens are no grid: take a class token away, or keep the grid (layout: grid)"
        )
    pattern = f"b (h w) d -> {right.replace('c', 'd')}"
    return f"put between: {{block: Rearrange, pattern: {pattern}, sizes: {{h: {side}}}}}"
