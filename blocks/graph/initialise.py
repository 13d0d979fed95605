"""How parameters start: the section `initialise` of a model, path pattern -> distribution."""

import inspect
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

from torch import Tensor, nn

from blocks.graph.arguments import coerce
from blocks.graph.errors import Origin, Problem, did_you_mean, show
from blocks.graph.expression import ExpressionError
from blocks.graph.pattern import Parameter, Pieces, match, matching, nothing_matches, parameters_of
from blocks.graph.scope import Scope, Text

Nonlinearity = Literal["linear", "relu", "leaky_relu", "tanh", "sigmoid", "selu"]
Mode = Literal["fan_in", "fan_out"]


def normal(x: Tensor, std: float = 1.0, mean: float = 0.0) -> None:
    nn.init.normal_(x, mean, std)


def trunc_normal(x: Tensor, std: float = 1.0, mean: float = 0.0, low: float = -2.0, high: float = 2.0) -> None:
    nn.init.trunc_normal_(x, mean, std, low, high)


def uniform(x: Tensor, high: float = 1.0, low: float | None = None) -> None:
    nn.init.uniform_(x, -high if low is None else low, high)


def xavier_uniform(x: Tensor, gain: float = 1.0) -> None:
    nn.init.xavier_uniform_(x, gain)


def xavier_normal(x: Tensor, gain: float = 1.0) -> None:
    nn.init.xavier_normal_(x, gain)


def kaiming_uniform(x: Tensor, mode: Mode = "fan_in", nonlinearity: Nonlinearity = "relu", slope: float = 0.0) -> None:
    nn.init.kaiming_uniform_(x, slope, mode, nonlinearity)


def kaiming_normal(x: Tensor, mode: Mode = "fan_in", nonlinearity: Nonlinearity = "relu", slope: float = 0.0) -> None:
    nn.init.kaiming_normal_(x, slope, mode, nonlinearity)


def orthogonal(x: Tensor, gain: float = 1.0) -> None:
    nn.init.orthogonal_(x, gain)


def constant(x: Tensor, value: float) -> None:
    nn.init.constant_(x, value)


def zeros(x: Tensor) -> None:
    nn.init.zeros_(x)


def ones(x: Tensor) -> None:
    nn.init.ones_(x)


DISTRIBUTIONS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        normal, trunc_normal, uniform, xavier_uniform, xavier_normal, kaiming_uniform, kaiming_normal, orthogonal,
        constant, zeros, ones,
    )
}  # fmt: skip
OF_MATRICES = (xavier_uniform, xavier_normal, kaiming_uniform, kaiming_normal, orthogonal)
FITS = "zeros, {normal: 0.02}, {kaiming_normal: {mode: fan_out}}; null leaves it to the block"


@dataclass(frozen=True)
class Start:
    """How one parameter starts."""

    path: str
    fill: Callable[..., None]
    arguments: Mapping[str, Any]

    def apply(self, model: nn.Module) -> None:
        self.fill(model.get_parameter(self.path), **self.arguments)


@dataclass
class Reader:
    """Reads the lines of `initialise` for one model; problems are collected.

    Args:
        origin: path in the config -> where that was written.
        scope: the names that an expression may use: the model's params and the data's facts.
        kinds: names of the blocks that there are: a line about one that this model has not is no mistake, so that an
            option serves many models.
        altered: the command line changed the model, so that a line of its file may lack its parameter.
    """

    origin: Callable[[tuple[Any, ...]], Origin]
    scope: Scope
    kinds: Iterable[str] = ()
    altered: bool = False
    problems: list[Problem] = field(default_factory=list)

    def read(self, model: nn.Module, lines: Mapping[str, Any]) -> list[Start]:
        """One start for each parameter that a line names; the last line that names it wins."""
        parameters, absent = parameters_of(model), _absent(model)
        starts: dict[str, Start | None] = {}
        for pattern, raw in lines.items():
            pattern = str(pattern)
            where = ("model", "initialise", pattern)
            try:
                found = matching(parameters, pattern)
                left_out = any(match(pattern, kind) is not None for kind in absent)
                if not found and not left_out and not self._harmless(pattern, parameters, self.origin(where)):
                    self.problems.append(nothing_matches(pattern, parameters, self.origin(where), "initialise"))
                for parameter, pieces in found:
                    starts[parameter.path] = self._start(parameter, pieces, raw, where)
            except ExpressionError as error:
                got = f"{pattern}: {show(raw)}"
                self.problems.append(
                    Problem(error.problem, self.origin(where), "initialise", got, None, error.fits, error.fix)
                )
        return [starts[each.path] for each in parameters if starts.get(each.path) is not None]  # type: ignore[misc]

    def _harmless(self, pattern: str, parameters: list[Parameter], origin: Origin) -> bool:
        """Whether a line that matches nothing is no mistake."""
        kind = pattern.partition(".")[0]
        present = {each.kind.partition(".")[0] for each in parameters}
        if any(match(kind, name) is not None for name in present):
            return False
        return any(match(kind, name) is not None for name in self.kinds) or (self.altered and origin.file is not None)

    def _start(self, parameter: Parameter, pieces: Mapping[str, str], raw: Any, where: tuple[Any, ...]) -> Start | None:
        if raw is None:
            return None
        if isinstance(raw, Mapping) and len(raw) == 1:
            name, given = next(iter(raw.items()))
        else:
            name, given = raw, {}
        if not isinstance(name, str) or name not in DISTRIBUTIONS:
            raise ExpressionError(f"no distribution {name!r}", did_you_mean(str(name), DISTRIBUTIONS), FITS)
        function = DISTRIBUTIONS[name]
        known = _arguments(function)
        if not isinstance(given, Mapping):
            if not known:
                raise ExpressionError(f"{name} takes no argument", name)
            given = {known[0].name: given}
        words = [each.name for each in known]
        unknown = [word for word in given if word not in words]
        if unknown:
            raise ExpressionError(f"{name} has no argument {unknown[0]!r}", did_you_mean(str(unknown[0]), words))
        missing = [each.name for each in known if each.default is each.empty and each.name not in given]
        if missing:
            raise ExpressionError(f"{name} needs {missing[0]}", f"{{{name}: 0.1}}")
        shape = tuple(parameter.value.shape)
        if function in OF_MATRICES and len(shape) < 2:
            raise ExpressionError(
                f"{name} is for matrices, and {parameter.path} {shape} is none", "Linear.weight or Conv2d.weight, say"
            )
        scope = replace(self.scope, lexical={**self.scope.lexical, **_numbers(pieces)}, axes=fans(shape))
        origin = self.origin(where)
        arguments = {
            word: coerce(_hints(function)[word], Text(value, origin, scope), word) for word, value in given.items()
        }
        return Start(parameter.path, function, arguments)


@cache
def _arguments(function: Callable[..., None]) -> list[inspect.Parameter]:
    """What a distribution takes beside the tensor."""
    return list(inspect.signature(function).parameters.values())[1:]


_hints = cache(typing.get_type_hints)


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
    """Kinds of parameters that modules could have and these have not: `Linear.bias` where no layer has a bias."""
    return {
        f"{type(m).__name__}.{name}" for m in model.modules() for name, value in m._parameters.items() if value is None
    }
