"""One block: bind its inputs, read its arguments, infer its widths, make it on the meta device and
run it there.
"""

import inspect
import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from blocks.errors import BlockError
from blocks.graph.assemble.body_builder import Input, Wire, show_shape, show_size
from blocks.graph.errors import Origin, Problem, did_you_mean, show
from blocks.graph.language.arguments import coerce, describe
from blocks.graph.language.expression import ExpressionError
from blocks.graph.language.scope import Text
from blocks.graph.language.signature import (
    ANYTHING,
    Parameter,
    Port,
    Signature,
    axis_names,
    bind,
    is_module,
)
from blocks.graph.language.words import suggest_words


class Trouble(Exception):  # noqa: N818 - it is caught and told, no program ends with it
    """A node cannot be built. The assembler adds where it stands, and goes on with the other
    nodes.
    """

    def __init__(self, *problems: Problem):
        super().__init__(*problems)
        self.problems = problems


@dataclass(frozen=True)
class Recipe:
    """How a module is made: kept, so that the model is made again on a real device."""

    factory: Callable[..., nn.Module]
    arguments: Mapping[str, Any]

    def make(self) -> nn.Module:
        made = {
            name: value.make() if isinstance(value, Recipe) else value
            for name, value in self.arguments.items()
        }
        return self.factory(**made)


@dataclass(frozen=True)
class Atom:
    """A block made on the meta device, what it was made of, and what came out when it ran there."""

    module: nn.Module
    recipe: Recipe
    arguments: Mapping[str, Any]
    positional: tuple[Wire, ...]
    named: Mapping[str, Wire]
    outputs: Mapping[str, tuple[Tensor, tuple[str | None, ...]]]
    idle: bool


@dataclass
class Maker:
    """Makes atoms. Equal blocks with equal inputs run once on the meta device."""

    signature: Callable[[str, Origin], Signature]
    ran: dict[Any, Any] = field(default_factory=dict)

    def make(
        self,
        signature: Signature,
        texts: Mapping[str, Text],
        inputs: list[Input],
        previous: Wire | None,
    ) -> Atom:
        """Build one block; raises Trouble with every problem found."""
        texts = {
            word: replace(text, scope=replace(text.scope, trace=[])) for word, text in texts.items()
        }  # a trace of its own
        positional, named = assign(signature, inputs, previous)
        wires = (
            list(zip(signature.ports, positional, strict=False)) if not signature.variadic else []
        )
        if signature.variadic:
            wires = [(signature.ports[0], wire) for wire in positional]
        wires += [(port, named[port.name]) for port in signature.ports if port.name in named]
        sizes, stars = self._bind(signature, wires)
        flowing = {name: size for _, wire in reversed(wires) for name, size in wire.axes.items()}
        axes = {name: size for name, size in {**flowing, **sizes}.items() if name != "batch"}
        vocab = next((wire.vocab for _, wire in wires if wire.vocab is not None), None)
        known = {**sizes, **({"vocab": vocab} if vocab is not None else {})}
        arguments, recipe = self.recipe(signature, texts, known, axes, [wire for _, wire in wires])
        try:
            with torch.device("meta"), warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # what torch has to say, it says again when the parameters are made
                module = recipe.make()
                results = self._run(signature, module, recipe, positional, named)
            empty = next((tensor for tensor in results if not tensor.numel()), None)
            if empty is not None:
                raise BlockError(
                    "an axis of what comes out is empty",
                    got=show_shape(tuple(empty.shape)),
                    fits="axes of size 1 or more",
                )
        except BlockError as error:
            raise Trouble(
                _told_by_block(signature, error, texts, arguments, known, wires)
            ) from error
        # whatever a constructor or a forward raises is the user's to see, with the place
        except Exception as error:
            raise Trouble(_failed(signature, error, texts, arguments, wires)) from error
        names = getattr(module, "outputs", None) or ("out",)
        gives = {port.name: port for port in signature.gives}
        outputs = {}
        for index, (name, tensor) in enumerate(zip(names, results, strict=False)):
            port = gives.get(name) or (
                signature.gives[index] if index < len(signature.gives) else Port(name)
            )
            moved = getattr(
                module, "axis_names", None
            )  # a block that moves axes says where they go
            outputs[name] = (
                tensor,
                moved if moved is not None else axis_names(port, tensor.dim(), stars),
            )
        return Atom(module, recipe, arguments, positional, named, outputs, signature.idle(module))

    def recipe(
        self,
        signature: Signature,
        texts: Mapping[str, Text],
        known: Mapping[str, int],
        axes: Mapping[str, int],
        wires: list[Wire],
    ) -> tuple[dict[str, Any], Recipe]:
        """The arguments by their YAML words, and the recipe; written ones first, then what the
        inputs say.
        """
        problems = [
            _unknown(signature, word, text)
            for word, text in texts.items()
            if word not in signature.parameters
        ]
        values: dict[str, Any] = {}
        parts = {}
        for word, text in texts.items():
            parameter = signature.parameters.get(word)
            if parameter is None:
                continue
            if is_module(parameter.annotation) and isinstance(text.raw, Mapping):
                parts[word] = text
                continue
            here = text.at(axes, texts, word)
            here.scope.trace.clear()
            try:
                values[word] = coerce(parameter.annotation, here, word)
            except ExpressionError as error:
                got = f"{word}: {show(text.raw)}"
                source = here.sources()
                problems.append(
                    Problem(
                        f"{signature.name}: {error.problem}",
                        got=got,
                        source=source,
                        fits=error.fits,
                        fix=error.fix,
                    )
                )
        for word, axis in signature.infer.items():
            if axis not in known:
                continue
            if (
                word in values
                and values[word] is not None
                and values[word] != known[axis]
                and word != "vocab"
            ):
                made_by = ", ".join(f"{wire.made_by} {wire}" for wire in wires)
                problems.append(
                    Problem(
                        f"{signature.name}: {word} is {known[axis]} in what flows in, and "
                        f"{values[word]} is written",
                        got=f"{word}={values[word]!r}",
                        source=f"{texts[word].origin}\nthe input comes from {made_by}",
                        fits=f"{word}={known[axis]}",
                        fix=f"leave {word} out: it is inferred",
                    )
                )
            values.setdefault(word, known[axis])
        for word, text in parts.items():
            try:
                values[word] = self._part(text, {**known, **values}, axes, texts)
            except Trouble as trouble:
                problems += [
                    replace(p, problem=f"{signature.name}.{word}: {p.problem}")
                    for p in trouble.problems
                ]
        for word, parameter in signature.parameters.items():
            if parameter.required and word not in values and word not in texts:
                problems.append(_missing(signature, parameter, wires))
        if problems:
            raise Trouble(*problems)
        renamed = {signature.parameters[word].name: value for word, value in values.items()}
        return values, Recipe(signature.factory, renamed)

    def _part(
        self,
        text: Text,
        known: Mapping[str, Any],
        axes: Mapping[str, int],
        texts: Mapping[str, Text],
    ) -> Recipe:
        """A block inside a block (`rotary: {block: Rotary}`): it shares the names of the block
        around it.
        """
        raw = dict(text.raw)
        name = raw.pop("block", None)
        if not isinstance(name, str):
            raise Trouble(
                Problem("a part is {block: Name, ...}", got=show(text.raw), source=str(text.origin))
            )
        signature = self.signature(name, text.origin)
        inner = {word: replace(text.at(axes, texts, ""), raw=value) for word, value in raw.items()}
        shared = dict(known)
        if (
            isinstance(known.get("dim"), int)
            and isinstance(known.get("heads"), int)
            and known["heads"] > 0
        ):
            shared.setdefault("head_dim", known["dim"] // known["heads"])
        filled = replace(
            signature, infer={word: word for word in signature.parameters if word in shared}
        )
        return self.recipe(filled, inner, shared, axes, [])[1]

    def _bind(
        self, signature: Signature, wires: list[tuple[Port, Wire]]
    ) -> tuple[dict[str, int], dict[str, Any]]:
        sizes: dict[str, int] = {}
        stars: dict[str, tuple[str | None, ...]] = {}
        problems = []
        for port, wire in wires:
            if wire.tensor is None:
                if not port.optional:
                    problems.append(
                        Problem(
                            f"{signature.name} needs {port.name}, which the data does not have",
                            got=f"the optional input {wire.made_by}",
                            fix="leave this out, or choose data that has it",
                        )
                    )
                continue
            misfit = (
                bind(port, wire.shape, sizes)
                if not signature.variadic
                else bind(port, wire.shape, {})
            )
            misfit = misfit or _turned(port, wire)
            if misfit:
                problems.append(
                    Problem(
                        f"{signature.name}: {misfit}",
                        got=f"{wire} from {wire.made_by}",
                        fix=_reshape_hint(port, wire),
                    )
                )
            elif port.dtypes and str(wire.tensor.dtype).removeprefix("torch.") not in port.dtypes:
                problems.append(
                    Problem(
                        f"{signature.name}: {port.name} takes {_kind(port.dtypes)}",
                        got=f"{str(wire.tensor.dtype).removeprefix('torch.')} from {wire.made_by}",
                        fix="an input of whole numbers says so: {shape: [...], dtype: int}"
                        if "float32" not in port.dtypes
                        else "put a block before it that gives real numbers: Embedding, say",
                    )
                )
            for index, axis in enumerate(port.axes or ()):
                if (axis.startswith("*") or axis == ANYTHING) and not misfit:
                    end = len(wire.names) - (len(port.axes or ()) - index - 1)
                    stars[axis.lstrip("*#")] = wire.names[index:end]
            stars[f"={port.name}"] = wire.names
        if problems:
            raise Trouble(*problems)
        return sizes, stars

    def _run(
        self, signature: Signature, module: nn.Module, recipe: Recipe, positional: Any, named: Any
    ) -> tuple[Tensor, ...]:
        tensors = [wire.tensor for wire in positional]
        keywords = {name: wire.tensor for name, wire in named.items()}
        shapes = [
            (None if t is None else (tuple(t.shape), t.dtype))
            for t in (*tensors, *keywords.values())
        ]
        key = (signature.factory, repr(recipe.arguments), repr(shapes), tuple(keywords))
        if key not in self.ran:
            with torch.no_grad():
                self.ran[key] = module(*tensors, **keywords)
        result = self.ran[key]
        results = tuple(result) if isinstance(result, tuple | list) else (result,)
        if not all(isinstance(tensor, Tensor) for tensor in results):
            raise BlockError(
                "forward must return a tensor or a tuple of tensors",
                got=type(result).__name__,
                fix="end forward with return ...",
            )
        return results


def assign(
    signature: Signature, inputs: list[Input], previous: Wire | None
) -> tuple[tuple[Wire, ...], dict[str, Wire]]:
    """Inputs as positional wires and wires by port name; raises Trouble for ports that are unknown,
    taken or empty.
    """
    positional = [item.wire for item in inputs if item.port is None]
    named = {item.port: item.wire for item in inputs if item.port is not None}
    ports = signature.ports
    if signature.variadic:
        if named:
            raise Trouble(
                Problem(
                    f"{signature.name} takes a list of inputs",
                    got=f"in: {{{', '.join(named)}: ...}}",
                    fits="in: [a, b]",
                )
            )
        return tuple(positional), {}
    known = [port.name for port in ports]
    for name in named:
        if name not in known:
            fits = did_you_mean(name, known) if known else "in: [] (it takes no input)"
            raise Trouble(
                Problem(
                    f"{signature.name} has no input {name!r}", got=f"in: {{{name}: ...}}", fits=fits
                )
            )
    if (
        named
        and not positional
        and ports
        and not ports[0].optional
        and ports[0].name not in named
        and previous is not None
    ):
        positional = [previous]
    if len(positional) > len(ports):
        takes = f"{len(ports)} input{'s' * (len(ports) != 1)}" + f" ({', '.join(known)})" * bool(
            known
        )
        raise Trouble(
            Problem(
                f"{signature.name} takes {takes}",
                got=f"{len(positional)}: {', '.join(item.name for item in inputs)}",
                fits="in: NODE" if len(ports) == 1 else f"in: [{', '.join(known)}]",
            )
        )
    for port in ports[: len(positional)]:
        if port.name in named:
            raise Trouble(Problem(f"{signature.name}: the input {port.name!r} is given twice"))
    for port in ports[len(positional) :]:
        if port.name not in named and not port.optional:
            raise Trouble(
                Problem(
                    f"{signature.name} needs an input {port.name!r} {port}",
                    fix=f"in: {{{port.name}: NODE}}",
                )
            )
    if ports and not positional and ports[0].name in named:
        positional = [
            named.pop(ports[0].name)
        ]  # torch's layers call their first input something else than x
    return tuple(positional), named


def _unknown(signature: Signature, word: str, text: Text) -> Problem:
    return Problem(
        f"{signature.name} has no argument {word!r}",
        got=f"{word}: {show(text.raw)}",
        source=str(text.origin),
        fits=suggest_words(word, signature.parameters),
    )


def _missing(signature: Signature, parameter: Parameter, wires: list[Wire]) -> Problem:
    if parameter.word in signature.infer:
        came = ", ".join(map(str, wires)) or "nothing"
        return Problem(
            f"{signature.name}: {parameter.word} cannot be inferred",
            got=f"inputs {came}",
            fix=f"write {parameter.word}: ...",
        )
    return Problem(
        f"{signature.name} needs {parameter.word}",
        fits=f"{parameter.word}: {describe(parameter.annotation)}",
    )


def _told_by_block(
    signature: Signature, error: BlockError, texts: Any, arguments: Any, known: Any, wires: Any
) -> Problem:
    return Problem(
        f"{signature.name}: {_batch(error.problem)}",
        got=_batch(error.got),
        fits=_batch(error.fits),
        fix=_batch(error.fix),
        source=_sources(
            re.findall(r"(\w+)=", error.got or ""), texts, arguments, known, [w for _, w in wires]
        ),
    )


def _sources(
    names: list[str], texts: Mapping[str, Text], arguments: Any, known: Any, wires: list[Wire]
) -> str | None:
    """Where each value came from: file, command line, inferred, or the block's own default."""
    lines = []
    for name in dict.fromkeys(names or list(texts)):
        if name in texts:
            text = texts[name]
            lines.append(
                f"{name}  {text.origin}" + (f"  ({text.raw})" if isinstance(text.raw, str) else "")
            )
            lines += [f"  {line}" for line in dict.fromkeys(text.scope.trace)]
        elif name in known:
            lines.append(
                f"{name}  inferred from {', '.join(f'{wire.made_by} {wire}' for wire in wires)}"
            )
        elif name in arguments or name.isidentifier():
            lines.append(f"{name}  the block's default")
    return "\n".join(lines) or None


def _failed(
    signature: Signature, error: Exception, texts: Any, arguments: Any, wires: Any
) -> Problem:
    message = _batch((str(error).strip().splitlines() or [type(error).__name__])[0])
    came = ", ".join(f"{port.name} {wire}" for port, wire in wires) or "no input"
    written = ", ".join(
        f"{word}={value!r}" for word, value in arguments.items() if not isinstance(value, Recipe)
    )
    line = _line_in(signature.factory, error)
    usage = ", ".join(
        f"{word}: {describe(parameter.annotation)}"
        for word, parameter in signature.parameters.items()
    )
    message = f"{signature.name} fails: {message}"
    return Problem(
        message if len(message) <= 100 else f"{message[:97]}...",
        got="; ".join(part for part in (came, written) if part)[:90],
        source=_sources(list(texts), texts, arguments, {}, []),
        fits=None if line else usage[:90] or None,
        fix=f"look at {line}; DOUGONG_DEBUG=1 shows the traceback" if line else None,
    )


def _batch(message: str | None) -> str | None:
    """A message with "batch" in place of the number that stands for it."""
    for size in sorted({int(n) for n in re.findall(r"\d{4,}", message or "")}, reverse=True):
        message = (message or "").replace(str(size), show_size(size))
    return message


def _line_in(factory: Any, error: BaseException) -> str | None:
    """File and line in the user's own file at which an error was raised; None for a layer of
    torch.
    """
    file, line, trace = inspect.getsourcefile(factory), None, error.__traceback__
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == file else line
        trace = trace.tb_next
    return (
        str(Origin(file, line, 1))
        if line and file and not factory.__module__.startswith("torch.")
        else None
    )


def _turned(port: Port, wire: Wire) -> str | None:
    """Four axes are not enough: a grid (batch, height, width, dim) is no image (batch, channels,
    height, width).
    """
    axes = tuple(axis.lstrip("#") for axis in port.axes or ())
    sides = {"height", "width"}
    if not sides <= set(axes) or not sides <= set(wire.names) or len(axes) != len(wire.names):
        return None
    if all(axes.index(name) == wire.names.index(name) for name in sides):
        return None
    return f"{port.name} is {port}, and ({', '.join(name or '_' for name in wire.names)}) came"


def _reshape_hint(port: Port, wire: Wire) -> str | None:
    """What to put between a grid, an image and tokens."""
    have, want = tuple(n or "_" for n in wire.names), tuple(a.lstrip("*#") for a in port.axes or ())
    layouts = {
        ("batch", "tokens", "dim"): "b t d",
        ("batch", "height", "width", "dim"): "b h w d",
        ("batch", "channels", "height", "width"): "b c h w",
    }
    if have not in layouts or want not in layouts or have == want:
        return None
    left, right = layouts[have], layouts[want]
    left = left.replace("c", "d")
    if "t" not in left:
        right = "b (h w) d" if "t" in right else right.replace("c", "d")
        return f"put between: {{block: Rearrange, pattern: {left} -> {right}}}"
    side = math.isqrt(wire.shape[1])
    if side * side != wire.shape[1]:
        return (
            f"{wire.shape[1]} tokens are no grid: take a class token away, or keep the grid "
            "(layout: grid)"
        )
    return (
        f"put between: {{block: Rearrange, pattern: b (h w) d -> {right.replace('c', 'd')}, "
        f"sizes: {{h: {side}}}}}"
    )


def _kind(dtypes: tuple[str, ...]) -> str:
    if "bool" in dtypes:
        return "true or false values" + (" or numbers" if len(dtypes) > 1 else "")
    return "whole numbers" if not any("float" in d for d in dtypes) else "real numbers"
