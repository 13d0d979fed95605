"""What the page of a sweep shows: its runs, what they set, what they reached, and which of it is better."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tasks import chart, sweep

Row = dict[str, Any]

SMALL_IS_GOOD = ("loss", "error", "perplexity", "bits_per_character", "seconds", "parameters", "macs")
COSTS = ("parameters", "macs", "cpu seconds", "seconds")
FAR_APART = 30.0  # positive numbers that differ by this factor lie on a logarithmic axis


class View:
    """The runs of a sweep, asked for places, colours and names.

    Args:
        rows: as `sweep.read` gives them.
        goal: figure -> max or min, as a search has it; else the first figure of the validation.
    """

    def __init__(self, rows: Sequence[Row], goal: Mapping[str, str] | None = None):
        self.rows = list(rows)
        self.finished = [row for row in rows if row["status"] == "finished"]
        self.settings = [key for key in sweep.settings(rows) if any(sweep.value_of(row, key) for row in rows)]
        self.figures = list(dict.fromkeys(name for row in self.finished for name in row if sweep.is_measure(name)))
        self.goal = dict(goal or {}) or self._first()
        self.main = next(iter(self.goal), "")

    def _first(self) -> dict[str, str]:
        """The figure that ranks the runs where nobody named one: of the validation, for the test must not choose."""
        named = sorted(self.figures, key=lambda name: (not name.startswith("val/"), not name.endswith("accuracy")))
        return {named[0]: way(named[0])} if named else {}

    @property
    def ranked(self) -> list[Row]:
        """Finished runs that have the main figure, the best first."""
        sign = -1 if self.goal.get(self.main) == "max" else 1
        known = [row for row in self.finished if math.isfinite(row.get(self.main, math.nan))]
        return sorted(known, key=lambda row: sign * row[self.main])

    @property
    def costs(self) -> list[str]:
        """What runs cost, where they differ in it."""
        return [name for name in COSTS if len({row.get(name) for row in self.finished}) > 1]

    def tint(self, row: Row) -> str:
        """The colour of a run: deep for the best, pale for the worst, by rank, so that one outlier hides nothing."""
        ranked = self.ranked
        place = next((number for number, other in enumerate(ranked) if other is row), len(ranked))
        share = 100 * (1 - place / max(len(ranked) - 1, 1)) if place < len(ranked) else 0
        return f"color-mix(in oklab, var(--first) {share:.0f}%, var(--pale))"

    def told(self, row: Row) -> str:
        """A run in words."""
        settings = ", ".join(f"{key}={sweep.value_of(row, key)}" for key in self.settings)
        figures = ", ".join(f"{plain(name)} {chart.short(row[name])}" for name in (*self.goal,) if name in row)
        return f"run {row['job']}: {settings}{'; ' if figures else ''}{figures}"


def way(name: str) -> str:
    """Whether a figure should be high or low."""
    return "min" if name.endswith(SMALL_IS_GOOD) else "max"


def plain(name: str) -> str:
    """A figure as people write it."""
    return name.replace("/", " ").replace("_", " ")


def numbers(texts: Sequence[Any]) -> list[float] | None:
    """The values as numbers, if all of them are."""
    try:
        found = [float(text) for text in texts]
    except (TypeError, ValueError):
        return None
    return found if all(map(math.isfinite, found)) else None


def scale(values: Sequence[Any], start: float, end: float) -> tuple[chart.Axis, dict[Any, float]]:
    """An axis for settings or figures, and the number of each value on it: itself, or its place among names."""
    found = numbers(values)
    if found is None:
        names = list(dict.fromkeys(map(str, values)))
        marked = tuple((float(place), name) for place, name in enumerate(names))
        axis = chart.Axis(-0.3, len(names) - 0.7, start, end, False, marked)
        return axis, {value: float(names.index(str(value))) for value in values}
    log = min(found) > 0 and max(found) / min(found) >= FAR_APART
    axis = chart.axis(found, start, end, log=log, room=0.04)
    if len(set(found)) <= 6 and all(isinstance(value, str) for value in values):  # values somebody chose, as written
        told = {float(value): value for value in values}
        axis = chart.Axis(axis.low, axis.high, start, end, log, tuple(sorted(told.items())))
    return axis, dict(zip(values, found, strict=True))
