"""The value of a param that meets a budget: the nearest legal one, found by building models on the
meta device.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from blocks.graph.build import plan
from blocks.graph.compose.compose import Composed, compose
from blocks.graph.describe.cost import multiply_adds
from blocks.graph.errors import ConfigError, Problem
from blocks.graph.read.loader import CachedLoader
from blocks.graph.record.module import Graph
from blocks.graph.record.record import Built, count_parameters
from blocks.graph.weights.width import Transfer, compare_widths

LARGEST = 2**20
START = 64  # where nothing says a number


@dataclass(frozen=True)
class Fit:
    """A model that meets the budget as nearly as its param allows.

    Args:
        overrides: the command line without the param.
        key: the param.
        value: what it should be.
        parameters, macs: what the model has then.
        off: share by which the budget is missed.
    """

    overrides: tuple[str, ...]
    key: str
    value: int
    parameters: int
    macs: int
    off: float


@dataclass(frozen=True)
class Rung:
    """A step of a ladder of widths.

    Args:
        fit: its model.
        model: on the meta device.
        params: of the model, as they are composed.
        base: the params in which the first step differs, and their values there.
        width: how many times as wide as the first step it is.
        rules: "hidden" and "output" -> factor of the learning rate, and standard deviation of the
            start as a multiple of that of the first step.
    """

    fit: Fit
    model: Graph
    params: Mapping[str, Any]
    base: Mapping[str, Any]
    width: float
    rules: Mapping[str, tuple[float, float]]


def make_rung(found: Fit, planned: Built, params: Mapping[str, Any], first: Rung | None) -> Rung:
    """Return a step of a ladder.

    Args:
        found: the model that meets the budget.
        planned: it on the meta device.
        params: of the model, as they are composed.
        first: the step from which starts and learning rates carry over; None for that step.

    Raises:
        ConfigError: they do not carry over, e.g. because the heads grow.
    """
    base, width = {}, 1.0
    if first is not None:
        compare_widths(planned.model, first.model)
        width = found.value / first.fit.value
        for name, value in first.params.items():
            if params.get(name) != value:
                base[name] = value
    rules = {}
    for role in ("hidden", "output"):
        transfer = Transfer(role, width)
        rules[role] = transfer.learning_rate, transfer.deviation
    return Rung(found, planned.model, params, base, width, rules)


class Search:
    """Sizes of one model by the value of a param; a value that is not legal has none."""

    def __init__(self, size: Callable[[int], int]):
        self.size = size
        self.known: dict[int, int | None] = {}
        self.legal: dict[int, int] = {}
        self.error: ConfigError | None = None

    def is_legal(self, value: int) -> bool:
        """Whether the param may have this value; its size is measured once."""
        if value not in self.known:
            try:
                self.known[value] = self.legal[value] = self.size(value)
            except ConfigError as error:
                self.known[value] = None
                self.error = self.error or error
        return value in self.legal

    def find_near(self, value: int, low: int, high: int, step: int) -> int | None:
        """A legal value between two (both excluded); those that share most factors with `step`
        are tried first.
        """
        first = max(low + 1, value - (value - low) // 2)
        last = min(high, value + (high - value) // 2 + 1)
        order = sorted(range(first, last), key=lambda each: (-gcd(each, step), abs(each - value)))
        return next(filter(self.is_legal, order), None)

    def nearest(self, budget: float, start: int) -> int:
        """The legal value whose size is nearest to the budget; sizes rise or fall with the value.

        Raises:
            ConfigError: no value is legal.
        """
        first = next(filter(self.is_legal, _around(start)), None)
        if first is None:
            assert self.error is not None
            raise self.error
        low, high = self._bracket(budget, first)
        while high - low > 1:
            middle = self.find_near((low + high) // 2, low, high, first)
            if middle is None:  # the middle holds nothing legal: try what is left, one by one
                middle = next(filter(self.is_legal, range(low + 1, high)), None)
            if middle is None:
                break
            if (self.legal[middle] > budget) == (self.legal[low] > budget):
                low = middle
            else:
                high = middle
        return min(self.legal, key=lambda value: (self._miss(value, budget), value))

    def _miss(self, value: int, budget: float) -> float:
        return abs(self.legal[value] - budget)

    def _bracket(self, budget: float, first: int) -> tuple[int, int]:
        """Two legal values with the budget between them, or one twice where no value reaches it."""
        for grows in (True, False):
            last, found = first, self._step(first, first, grows)
            while found is not None:
                if (self.legal[found] > budget) != (self.legal[first] > budget):
                    return min(last, found), max(last, found)
                if self._miss(found, budget) > self._miss(last, budget):
                    break  # the wrong way
                last, found = found, self._step(found, first, grows)
        return first, first

    def _step(self, last: int, first: int, grows: bool) -> int | None:
        """A legal value about twice or half as large; None beyond the limits."""
        if last >= LARGEST:
            return None
        if grows:
            return self.find_near(2 * last, last, 3 * last + 1, first)
        half = last // 2
        if not half:
            return None
        return self.find_near(half, half // 2, last, first)


def _around(start: int) -> Iterator[int]:
    """`start`, then the positive numbers around it, near ones first."""
    yield start
    for distance in range(1, START):
        yield start + distance
        if start > distance:
            yield start - distance


def fit(
    overrides: Sequence[str],
    key: str,
    budget: float,
    measure: str = "parameters",
    config_dir: str | None = None,
    loader: CachedLoader | None = None,
    build: Callable[[Composed], Built] | None = None,
    multiple: int = 1,
) -> Fit:
    """Solve one param of one model for a budget.

    Args:
        overrides: as on the command line, without the param.
        key: the param: "model.params.dim".
        budget: how many parameters, or multiply-adds for one sample.
        measure: "parameters" or "macs".
        build: makes the plan of a composed configuration; `blocks.graph.plan` when left out.
        multiple: values are multiples of this.

    Raises:
        ConfigError: no value of the param gives a model, or the param is no whole number.
    """
    loader, known = loader or CachedLoader(), dict[Any, Any]()
    sizes: dict[int, tuple[int, int]] = {}
    measured = ("parameters", "macs").index(measure)

    def size(value: int) -> int:
        if value % multiple:
            raise ConfigError([])
        composed = compose([*overrides, f"{key}={value}"], config_dir=config_dir, loader=loader)
        built = (build or plan)(composed)
        sizes[value] = count_parameters(built.model), multiply_adds(built, known)
        return sizes[value][measured]

    start = _start(overrides, key, config_dir, loader)
    value = Search(size).nearest(budget, max(multiple, start - start % multiple))
    parameters, macs = sizes[value]
    off = sizes[value][measured] / budget - 1
    return Fit(tuple(overrides), key, value, parameters, macs, off)


def _start(overrides: Sequence[str], key: str, config_dir: str | None, loader: CachedLoader) -> int:
    """The value that the files give, or one to begin with.

    Raises:
        ConfigError: the param is no whole number, or there is none of that name.
    """
    composed = compose(overrides, config_dir=config_dir, loader=loader)
    found: Any = composed.config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    problem = None
    if isinstance(found, list | dict | bool | float):
        problem = "this is no whole number"
    elif found is None and key.startswith("model.params."):
        problem = "there is no such param"
    if problem:
        fits = ", ".join(_whole_params(composed)) or None
        origin = composed.origin(key)
        raise ConfigError(
            Problem(problem, origin, key, got=f"{key}=?", fits=fits, code="bad-value")
        )
    if isinstance(found, int) and found > 0:
        return found
    return START


def _whole_params(composed: Composed) -> Iterator[str]:
    params = composed.config.get("model", {}).get("params") or {}
    for name, value in params.items():
        if isinstance(value, int) and not isinstance(value, bool):
            yield f"{name}=?"
