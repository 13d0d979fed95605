"""The value of a param that meets a budget: the nearest legal one, found by building models on the
meta device.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from blocks.graph.compose.compose import Composed, compose
from blocks.graph.describe.cost import multiply_adds
from blocks.graph.errors import ConfigError, Problem
from blocks.graph.read.loader import Remembering
from blocks.graph.record.record import Built, count_parameters

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


class Search:
    """Sizes of one model by the value of a param; a value that is not legal has none."""

    def __init__(self, size: Callable[[int], int]):
        self.size = size
        self.known: dict[int, int | None] = {}
        self.error: ConfigError | None = None

    def __call__(self, value: int) -> int | None:
        if value not in self.known:
            try:
                self.known[value] = self.size(value)
            except ConfigError as error:
                self.known[value], self.error = None, self.error or error
        return self.known[value]

    def near(self, value: int, low: int, high: int, step: int) -> int | None:
        """A legal value between two (both excluded), those first that share most factors with
        `step`.
        """
        middle = range(
            max(low + 1, value - (value - low) // 2), min(high, value + (high - value) // 2 + 1)
        )
        order = sorted(middle, key=lambda each: (-gcd(each, step), abs(each - value)))
        return next((each for each in order if self(each) is not None), None)

    def nearest(self, budget: float, start: int) -> int:
        """The legal value whose size is nearest to the budget; sizes rise or fall with the value.

        Raises:
            ConfigError: no value is legal.
        """
        first = (
            start if self(start) is not None else next(filter(self._legal, _around(start)), None)
        )
        if first is None:
            assert self.error is not None
            raise self.error
        low, high = self._bracket(budget, first)
        while (
            middle := self.near((low + high) // 2, low, high, first)
        ) is not None or high - low > 1:
            if middle is None:  # the middle holds nothing legal: try what is left, one by one
                middle = next(filter(self._legal, range(low + 1, high)), None)
                if middle is None:
                    break
            same = (self.known[middle] > budget) == (self.known[low] > budget)  # type: ignore[operator]
            low, high = (middle, high) if same else (low, middle)
        legal = {value: size for value, size in self.known.items() if size is not None}
        return min(legal, key=lambda value: (abs(legal[value] - budget), value))

    def _legal(self, value: int) -> bool:
        return self(value) is not None

    def _bracket(self, budget: float, first: int) -> tuple[int, int]:
        """Two legal values with the budget between them, or one twice where no value reaches it."""
        over = self.known[first] > budget  # type: ignore[operator]
        for grow in (True, False):
            last = first
            while 1 <= last < LARGEST:
                target = last * 2 if grow else last // 2
                low, high = (last, target + target // 2 + 1) if grow else (target // 2, last)
                value = self.near(target, low, high, first) if target else None
                if value is None:
                    break
                if (self.known[value] > budget) != over:  # type: ignore[operator]
                    return min(last, value), max(last, value)
                away = abs(self.known[value] - budget) > abs(self.known[last] - budget)  # type: ignore[operator]
                last = value
                if away:
                    break
        return first, first


def _around(start: int) -> Iterator[int]:
    for distance in range(1, START):
        yield from (each for each in (start + distance, start - distance) if each > 0)


def fit(
    overrides: Sequence[str],
    key: str,
    budget: float,
    measure: str = "parameters",
    config_dir: str | None = None,
    loader: Remembering | None = None,
    build: "Callable[[Composed], Built] | None" = None,
) -> Fit:
    """Solve one param of one model for a budget.

    Args:
        overrides: as on the command line, without the param.
        key: the param: "model.params.dim".
        budget: how many parameters, or multiply-adds for one sample.
        measure: "parameters" or "macs".
        build: makes the plan of a composed configuration; `blocks.graph.plan` when left out.

    Raises:
        ConfigError: no value of the param gives a model, or the param is no whole number.
    """
    from blocks.graph.build import plan

    loader, known = loader or Remembering(), dict[Any, Any]()

    def built(value: int) -> tuple[int, int]:
        planned = (build or plan)(
            compose([*overrides, f"{key}={value}"], config_dir=config_dir, loader=loader)
        )
        return count_parameters(planned.model), multiply_adds(planned, known)

    sizes: dict[int, tuple[int, int]] = {}

    def size(value: int) -> int:
        sizes[value] = built(value)
        return sizes[value][0 if measure == "parameters" else 1]

    value = Search(size).nearest(budget, _start(overrides, key, config_dir, loader))
    parameters, macs = sizes[value]
    return Fit(
        tuple(overrides),
        key,
        value,
        parameters,
        macs,
        size_of(parameters, macs, measure) / budget - 1,
    )


def size_of(parameters: int, macs: int, measure: str) -> int:
    """The one of the two that a budget is about."""
    return parameters if measure == "parameters" else macs


def _start(overrides: Sequence[str], key: str, config_dir: str | None, loader: Remembering) -> int:
    """The value that the files give, or one to begin with."""
    composed = compose(overrides, config_dir=config_dir, loader=loader)
    found: Any = composed.config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, list | dict | bool | float) or (
        found is None and key.startswith("model.params.")
    ):
        problem = "this is no whole number" if found is not None else "there is no such param"
        params = composed.config.get("model", {}).get("params") or {}
        whole = [
            f"{name}=?"
            for name, value in params.items()
            if isinstance(value, int) and not isinstance(value, bool)
        ]
        raise ConfigError(
            [
                Problem(
                    problem,
                    composed.origin(key),
                    key,
                    got=f"{key}=?",
                    fits=", ".join(whole) or None,
                )
            ]
        )
    return found if isinstance(found, int) and found > 0 else START
