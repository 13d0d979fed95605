"""How parameters start: the section `initialise` of a model, path pattern -> distribution."""

import inspect
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from blocks.graph.errors import Origin, Problem, did_you_mean, show
from blocks.graph.language.expression import ExpressionError
from blocks.graph.language.patterns import (
    NamedParameter,
    Pieces,
    find_matches,
    list_parameters,
    match_name,
    no_match_problem,
)
from blocks.graph.language.scope import Scope, Text
from blocks.graph.language.values import read_argument

Nonlinearity = Literal["linear", "relu", "leaky_relu", "tanh", "sigmoid", "selu"]
Mode = Literal["fan_in", "fan_out"]
Fill = Callable[..., None]


def normal(x: Tensor, std: float = 1.0, mean: float = 0.0) -> None:
    nn.init.normal_(x, mean, std)


def trunc_normal(
    x: Tensor, std: float = 1.0, mean: float = 0.0, low: float = -2.0, high: float = 2.0
) -> None:
    nn.init.trunc_normal_(x, mean, std, low, high)


def uniform(x: Tensor, high: float = 1.0, low: float | None = None) -> None:
    nn.init.uniform_(x, -high if low is None else low, high)


def xavier_uniform(x: Tensor, gain: float = 1.0) -> None:
    nn.init.xavier_uniform_(x, gain)


def xavier_normal(x: Tensor, gain: float = 1.0) -> None:
    nn.init.xavier_normal_(x, gain)


def kaiming_uniform(
    x: Tensor, mode: Mode = "fan_in", nonlinearity: Nonlinearity = "relu", slope: float = 0.0
) -> None:
    nn.init.kaiming_uniform_(x, slope, mode, nonlinearity)


def kaiming_normal(
    x: Tensor, mode: Mode = "fan_in", nonlinearity: Nonlinearity = "relu", slope: float = 0.0
) -> None:
    nn.init.kaiming_normal_(x, slope, mode, nonlinearity)


def orthogonal(x: Tensor, gain: float = 1.0) -> None:
    nn.init.orthogonal_(x, gain)


def constant(x: Tensor, value: float) -> None:
    nn.init.constant_(x, value)


def zeros(x: Tensor) -> None:
    nn.init.zeros_(x)


def ones(x: Tensor) -> None:
    nn.init.ones_(x)


DISTRIBUTIONS: dict[str, Fill] = {
    function.__name__: function
    for function in (
        normal,
        trunc_normal,
        uniform,
        xavier_uniform,
        xavier_normal,
        kaiming_uniform,
        kaiming_normal,
        orthogonal,
        constant,
        zeros,
        ones,
    )
}
OF_MATRICES = (xavier_uniform, xavier_normal, kaiming_uniform, kaiming_normal, orthogonal)
FITS = "zeros, {normal: 0.02}, {kaiming_normal: {mode: fan_out}}; null leaves it to the block"


@dataclass(frozen=True)
class Start:
    """How one parameter starts, or one part of it: the rows of q, k or v in their one
    projection.
    """

    path: str
    fill: Fill
    arguments: Mapping[str, Any]
    part: str = ""

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        for matrix in matrices_of(model, self.path, self.part):
            self.fill(matrix, **self.arguments)


@dataclass(frozen=True)
class PackedPart(NamedParameter):
    """One of the matrices that a block keeps in one parameter, named as if it were a layer:
    `SelfAttention.v.weight`.

    Args:
        whole: path of the parameter.
        name: of the part, v.
    """

    whole: str = ""
    name: str = ""


@dataclass(frozen=True)
class Section:
    """Lines of `initialise`: those of the model, or those of a template for what is inside one
    node.

    Args:
        prefix: path of the node in the model, with a dot behind it; empty for the model.
        where: path of the lines in the config.
        used: where the template is used; None for the model's own lines.
    """

    lines: Mapping[str, Any]
    scope: Scope
    where: tuple[Any, ...] = ("model", "initialise")
    prefix: str = ""
    used: str | None = None


@dataclass
class Reader:
    """Reads the lines of `initialise` for one model; problems are collected.

    Args:
        origin: path in the config -> where that was written.
        kinds: names of the blocks that there are: a line about one that this model has not is no
            mistake, so that an option serves many models.
        altered: the command line changed the model, so that a line of its file may lack its
            parameter.
    """

    origin: Callable[[tuple[Any, ...]], Origin]
    kinds: Iterable[str] = ()
    altered: bool = False
    problems: list[Problem] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)  # kinds that modules could have and have not
    parts: list[PackedPart] = field(default_factory=list)
    parameters: list[NamedParameter] = field(default_factory=list)
    # of the present line, by what they are computed from
    distributions: dict[Any, tuple[Fill, dict[str, Any]]] = field(default_factory=dict)

    def read(self, model: nn.Module, sections: Iterable[Section]) -> list[Start]:
        """The starts of the parameters that a line names, and of their parts.

        The last line that names a parameter wins.
        """
        self.absent, self.parts = _absent(model), parts_of(model)
        self.parameters = list_parameters(model)
        if any(hasattr(type(module), "stacks") for module in model.modules()):
            for index, each in enumerate(self.parameters):
                matrix = matrices_of(model, each.path)[0]
                self.parameters[index] = replace(each, value=matrix)
        starts: dict[str, dict[str, Start | None]] = {each.path: {} for each in self.parameters}
        for section, pattern, raw in self._lines(sections):
            where = (*section.where, pattern)
            try:
                self._read_line(starts, section, pattern, raw)
            except ExpressionError as error:
                problem = Problem(
                    error.problem,
                    self.origin(where),
                    "initialise",
                    got=f"{pattern}: {show(raw)}",
                    source=section.used,
                    fits=error.fits,
                    fix=error.fix,
                    code=error.code,
                )
                self.problems.append(problem)
        found: list[Start] = []
        for of_parameter in starts.values():
            found += filter(None, of_parameter.values())
        return found

    def _read_line(
        self,
        starts: dict[str, dict[str, Start | None]],
        section: Section,
        pattern: str,
        raw: Any,
    ) -> None:
        """Read one line; report a line that matches no parameter."""
        where = (*section.where, pattern)
        self.distributions.clear()
        inside = [each for each in self.parameters if each.path.startswith(section.prefix)]
        whole = set()
        for parameter, pieces in find_matches(inside, pattern):
            whole.add(parameter.path)
            starts[parameter.path] = {"": self._start(parameter, pieces, raw, section, where)}
        is_named = bool(whole)
        for part in self.parts:
            if part.whole in whole or not part.path.startswith(section.prefix):
                continue
            if match_name(pattern, part.kind) is not None:
                is_named = True
                starts[part.whole][part.name] = self._start(part, {}, raw, section, where)
        if is_named or any(match_name(pattern, kind) is not None for kind in self.absent):
            return
        if not self._harmless(pattern, inside, section):
            origin = self.origin(where)
            self.problems.append(no_match_problem(pattern, inside, origin, "initialise"))

    def _lines(self, sections: Iterable[Section]) -> list[tuple[Section, str, Any]]:
        """The lines of all sections, those of the command line last."""
        lines = []
        for section in sections:
            for pattern, raw in section.lines.items():
                lines.append((section, str(pattern), raw))
        return sorted(lines, key=lambda line: self.origin((*line[0].where, line[1])).file is None)

    def _harmless(self, pattern: str, parameters: list[NamedParameter], section: Section) -> bool:
        """Whether a line that matches nothing is no mistake: an option serves many models, and
        what a template holds differs from node to node.
        """
        kind, origin = pattern.partition(".")[0], self.origin((*section.where, pattern))
        if not section.prefix:
            for each in parameters:
                for name in filter(None, (each.kind, each.within)):
                    if match_name(kind, name.partition(".")[0]) is not None:
                        return False
        if any(match_name(kind, name) is not None for name in self.kinds):
            return True
        return self.altered and origin.file is not None

    def _start(
        self,
        parameter: NamedParameter,
        pieces: Mapping[str, str],
        raw: Any,
        section: Section,
        where: tuple[Any, ...],
    ) -> Start | None:
        if raw is None:
            return None
        key = tuple(parameter.value.shape), tuple(pieces.items())
        if key not in self.distributions:
            self.distributions[key] = self._read_arguments(parameter, pieces, raw, section, where)
        function, arguments = self.distributions[key]
        if isinstance(parameter, PackedPart):
            return Start(parameter.whole, function, arguments, parameter.name)
        return Start(parameter.path, function, arguments)

    def _read_arguments(
        self,
        parameter: NamedParameter,
        pieces: Mapping[str, str],
        raw: Any,
        section: Section,
        where: tuple[Any, ...],
    ) -> tuple[Fill, dict[str, Any]]:
        """The distribution of a line and its arguments, for a parameter of one shape."""
        function, given = _read_distribution(raw)
        shape = tuple(parameter.value.shape)
        if function in OF_MATRICES and len(shape) < 2:
            raise ExpressionError(
                f"{function.__name__} is for matrices, and {parameter.path} {shape} is none",
                "for example Linear.weight or Conv2d.weight",
            )
        scope = replace(
            section.scope,
            lexical={**section.scope.lexical, **_numbers(pieces)},
            axes=fans(shape),
            trace=[],
        )
        arguments = {}
        for name, value in given.items():
            text = Text(value, self.origin(where), scope)
            arguments[name] = read_argument(_hints(function)[name], text, name)
        _check_range(function, arguments)
        return function, arguments


def _read_distribution(raw: Any) -> tuple[Callable[..., None], Mapping[str, Any]]:
    """The distribution and its arguments; raises ExpressionError."""
    name: Any = raw
    given: Any = {}
    if isinstance(raw, Mapping) and len(raw) == 1:
        name, given = next(iter(raw.items()))
    if not isinstance(name, str) or name not in DISTRIBUTIONS:
        fits = did_you_mean(str(name), DISTRIBUTIONS)
        raise ExpressionError(f"no distribution {name!r}", fits, FITS, code="unknown-name")
    function = DISTRIBUTIONS[name]
    known = {each.name: each for each in _arguments(function)}
    if not isinstance(given, Mapping):
        if not known:
            raise ExpressionError(f"{name} takes no argument", name)
        given = {next(iter(known)): given}
    for argument in given:
        if argument not in known:
            fits = did_you_mean(str(argument), known)
            raise ExpressionError(
                f"{name} has no argument {argument!r}", fits, code="unknown-argument"
            )
    for each in known.values():
        if each.default is each.empty and each.name not in given:
            raise ExpressionError(
                f"{name} needs {each.name}", f"{{{name}: 0.1}}", code="missing-argument"
            )
    return function, given


def _check_range(function: Callable[..., None], arguments: Mapping[str, Any]) -> None:
    """Raise ExpressionError for arguments with which there is nothing to draw."""
    given = {each.name: each.default for each in _arguments(function)} | {**arguments}
    for name, value in arguments.items():
        if name != "value" and isinstance(value, float) and not math.isfinite(value):
            raise ExpressionError(f"{name} of {function.__name__} is {value}", "a finite number")
    if given.get("std", 0.0) < 0:
        raise ExpressionError(f"std of {function.__name__} is negative", "0 or more")
    high, low = given.get("high", 0.0), given.get("low", 0.0)
    if low is None:
        low = -high
    if low > high:
        raise ExpressionError(
            f"{function.__name__} has no number between {low:g} and {high:g}", "low below high"
        )


@cache
def _arguments(function: Callable[..., None]) -> list[inspect.Parameter]:
    """What a distribution takes beside the tensor."""
    return list(inspect.signature(function).parameters.values())[1:]


_hints = cache(typing.get_type_hints)


def matrices_of(model: nn.Module, path: str, part: str = "") -> list[Tensor]:
    """The matrices (out, in) of a parameter, or its part of that name: what a distribution fills
    one by one.
    """
    owner, _, name = path.rpartition(".")
    module = model.get_submodule(owner)
    if part:
        holder, _, layer = owner.rpartition(".")
        return [model.get_submodule(holder).parts()[f"{layer}.{name}"][part]]  # type: ignore[operator]
    stacks = module.stacks() if hasattr(module, "stacks") else {}  # type: ignore[operator]
    return stacks.get(name) or [model.get_parameter(path)]


def parts_of(model: nn.Module) -> list[PackedPart]:
    """Return the matrices in fused projections, as blocks declare them in `parts`."""
    found = []
    for path, module in model.named_modules():
        inside = module.parts() if hasattr(type(module), "parts") else {}
        for whole, views in inside.items():
            for name, view in views.items():
                place, kind = f"{path}.{name}.weight", f"{type(module).__name__}.{name}.weight"
                found.append(PackedPart(place, kind, view, whole=f"{path}.{whole}", name=name))
    return found


def fans(shape: tuple[int, ...]) -> dict[str, int]:
    """Numbers of inputs and outputs of one unit; none for a vector."""
    if len(shape) < 2:
        return {}
    field_size = math.prod(shape[2:])
    return {"fan_in": shape[1] * field_size, "fan_out": shape[0] * field_size}


def _numbers(pieces: Mapping[str, str]) -> dict[str, Any]:
    values = Pieces(pieces)
    return {name: values.value(name) for name in pieces}


def _absent(model: nn.Module) -> set[str]:
    """Kinds of parameters that modules could have and have not: `Linear.bias` where no layer has
    a bias.
    """
    kinds = set()
    for module in model.modules():
        for name, value in module._parameters.items():
            if value is None:
                kinds.add(f"{type(module).__name__}.{name}")
    return kinds
