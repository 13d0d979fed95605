"""The picture of a sweep, as the section `picture` describes it: which setting goes where, which
measure is shown.
"""

import functools
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from blocks.graph import Problem
from blocks.graph.errors import guess
from tasks.config import instantiate
from tasks.report import matrices, plots
from tasks.run import run_folder
from tasks.sweep import results

NAME = "sweep.svg"

Names = str | list[str]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a sweep shows at its end.

    Runs that differ only in their seed are one point: their mean, with a whisker from the lowest
    to the highest.

    Args:
        kind: lines, bars, or heat, a table of shaded cells.
        x: what lies along the horizontal axis: a setting (`data.lag`, `model/position`), several
            joined, or, for lines, a measure.
        y: the measure that is the height, a panel for each of several (`test/accuracy`,
            `train/loss`, `train/step seconds`, `parameters`, `macs`, `seconds`). For heat: the
            setting that goes down.
        series: the setting, or several joined, that makes a line or a colour.
        value: for heat: the measure that is the shade.
        log: the axes, of x and y, on which equal factors are equally far apart.
        marks: lines across, by their name: `{chance: 0.125}`.
        names: what to write for a setting, a value or a measure.
        title: the line above.
    """

    kind: Literal["lines", "bars", "heat"]
    x: Names
    y: Names
    series: Names | None = None
    value: str | None = None
    log: list[str] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    title: str | None = None


def listed(names: Names | None) -> list[str]:
    return [] if names is None else [names] if isinstance(names, str) else list(names)


def read(composed: Any) -> Picture | None:
    """The picture that a configuration wants, checked already; None if it wants none."""
    found = composed.config.get("picture")
    return Picture(**found) if found else None


def check(composed: Any) -> list[Problem]:
    """What is wrong with the section `picture`."""
    section = composed.config.get("picture")
    if section is None:
        return []
    if not isinstance(section, dict):
        return [
            instantiate.problem(
                composed, ("picture",), "picture must be a mapping", got=f"picture={section!r}"
            )
        ]
    problems = list(instantiate.check(composed, ("picture",), Picture, section, set()))
    return problems or [
        *names_of(composed, Picture(**section)),
        *the_rest(composed, Picture(**section)),
    ]


def names_of(composed: Any, wanted: Picture) -> Iterator[Problem]:
    """Problems with names that are neither a setting nor a measure, or stand where the other
    belongs.
    """
    heat = wanted.kind == "heat"
    fits = {
        "x": "either" if wanted.kind == "lines" else "setting",
        "y": "setting" if heat else "measure",
        "series": "setting",
        "value": "measure",
    }
    for key, kind in fits.items():
        for name in listed(getattr(wanted, key)):
            is_one = {"measure": results.is_measure(name), "setting": is_setting(composed, name)}
            if (kind in is_one and not is_one[kind]) or not any(is_one.values()):
                known = results.MEASURES if kind == "measure" else settings_of(composed)
                what = "measure of a run" if kind == "measure" else "setting"
                fix = guess(name, known)
                shown = None
                if fix is None and kind == "measure":
                    shown = ", ".join([*results.MEASURES, "test/..."])
                yield instantiate.problem(
                    composed, ("picture", key), f"{name} is no {what}", fits=shown, fix=fix
                )


def the_rest(composed: Any, wanted: Picture) -> Iterator[Problem]:
    """Problems of one key with another."""
    heat = wanted.kind == "heat"
    if heat and wanted.value is None:
        yield instantiate.problem(
            composed, ("picture",), "picture.value is missing", fits="the measure that is the shade"
        )
    if heat and wanted.series is not None:
        fix = f"y: [{', '.join([*listed(wanted.y), *listed(wanted.series)])}]"
        yield instantiate.problem(composed, ("picture", "series"), "heat has no series", fix=fix)
    if not heat and wanted.value is not None:
        text = f"value belongs to heat; {wanted.kind} show their measure as y"
        yield instantiate.problem(composed, ("picture", "value"), text, fix=f"y: {wanted.value}")
    if bad := [name for name in wanted.log if name not in ("x", "y")]:
        yield instantiate.problem(
            composed,
            ("picture", "log"),
            "log names axes",
            got=f"log={bad}",
            fits="[x], [y] or [x, y]",
        )


def settings_of(composed: Any) -> list[str]:
    """Every setting by name: choices of files, and paths of values."""

    def paths(section: Mapping[str, Any], prefix: str) -> Iterator[str]:
        for key, value in section.items():
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from paths(value, f"{prefix}{key}.")

    return [*composed.choices, *paths(composed.config, "")]


def is_setting(composed: Any, name: str) -> bool:
    return name in composed.choices or look(composed.config, name) is not None


def look(values: Any, path: str) -> Any:
    """The value at a path, None where there is none."""
    step = lambda found, key: found.get(key) if isinstance(found, dict) else None  # noqa: E731
    return functools.reduce(step, path.split("."), values)


# --------------------------------------------------------------------------------------------------
# drawing


class Table:
    """Rows of a sweep, asked for settings and measures.

    Args:
        rows: as `results.read` gives them.
        place: the folder of the sweep, where runs keep their configuration.
        names: what to write instead of a name or a value.
    """

    def __init__(self, rows: Sequence[Row], place: Path, names: Mapping[str, str]):
        self.rows, self.place, self.names = (
            [row for row in rows if row["status"] == "finished"],
            place,
            names,
        )

    def shown(self, word: str) -> str:
        return self.names.get(
            word, self.names.get(word.lower(), word)
        )  # Hydra writes True for true

    def title(self, names: Names | None) -> str:
        """What an axis is called."""
        return ", ".join(
            self.names.get(name) or name.rpartition("/" if "/" in name else ".")[2]
            for name in listed(names)
        )

    def setting(self, row: Row, name: str) -> str:
        """What a run had there: from its overrides, else from what it kept."""
        found = results.value_of(row, name)
        if found:
            return found
        kept = run_folder.read(self.place / row["folder"]) or {}
        if name in kept.get("choices", {}):
            return kept["choices"][name]
        file = self.place / row["folder"] / "config.yaml"
        return (
            str(look(yaml.safe_load(file.read_text(encoding="utf-8")), name))
            if file.is_file()
            else ""
        )

    def label(self, row: Row, names: Names | None) -> str:
        """The settings of a run in words."""
        return ", ".join(self.shown(self.setting(row, name)) for name in listed(names))

    def across(self, row: Row, names: Names) -> float | str:
        """Where a run lies on the horizontal axis: a number if it is one."""
        if results.is_measure(str(names)):
            return float(row[str(names)])
        try:
            return (
                float(self.setting(row, names))
                if isinstance(names, str)
                else self.label(row, names)
            )
        except ValueError:
            return self.label(row, names)


def draw(wanted: Picture, rows: Sequence[Row], place: Path) -> str:
    """The picture as SVG; where no run has a measure, the words that say so."""
    table = Table(rows, place, wanted.names)
    title = wanted.title or ""
    measures = [wanted.value] if wanted.kind == "heat" else listed(wanted.y)
    missing = [str(name) for name in measures if not any(name in row for row in table.rows)]
    if missing:
        known = dict.fromkeys(
            name for row in table.rows for name in row if results.is_measure(name)
        )
        found = f"; they have {', '.join(known)}" if known else ": none finished"
        return plots.draw_panels([], f"{title} no run has {', '.join(missing)}{found}".strip())
    if wanted.kind == "heat":
        return draw_heat(wanted, table)
    labels = list(dict.fromkeys(table.label(row, wanted.series) for row in table.rows))
    legend = labels if wanted.kind == "bars" and len(labels) > 1 else ()
    return plots.draw_panels([panel(wanted, table, str(name)) for name in measures], title, legend)


def panel(wanted: Picture, table: Table, measure: str) -> plots.Panel:
    """The axes of one measure."""
    places = [table.across(row, wanted.x) for row in table.rows]
    measured = results.is_measure(str(wanted.x))
    categories: list[str] = []
    if wanted.kind == "bars" or any(isinstance(x, str) for x in places):
        places = [table.label(row, wanted.x) for row in table.rows]
        categories = list(dict.fromkeys(map(str, places)))
    found: dict[str, dict[Any, list[tuple[float, float]]]] = {}
    for row, x in zip(table.rows, places, strict=True):
        if measure in row:
            at = float(categories.index(str(x))) if categories else float(x)
            # where x is measured, runs that differ in their seed alone are one point
            key = settings_without_seed(row) if measured else at
            line = found.setdefault(table.label(row, wanted.series), {})
            line.setdefault(key, []).append((at, float(row[measure])))
    series = {
        name: sorted(map(mean_of, line.values()), key=lambda point: point.x)
        for name, line in found.items()
    }
    ticks = {float(number): name for number, name in enumerate(categories)}
    values = {point.x for line in series.values() for point in line}
    if not categories and not measured and len(values) <= 9:
        ticks = {value: f"{value:g}" for value in values}
    widths = [max(14 * len(series) + 12, 10 + plots.text_width(name)) for name in categories]
    return plots.Panel(
        kind=wanted.kind,
        series=series,
        x=table.title(wanted.x),
        y=table.title(measure),
        log=wanted.log,
        marks=wanted.marks,
        ticks=ticks,
        ends=list(series) if len(series) > 1 else [],
        wide=max([plots.WIDE, *(len(widths) * wide for wide in widths if wanted.kind == "bars")]),
    )


def settings_without_seed(row: Row) -> tuple[str, ...]:
    return tuple(text for text in row["overrides"] if text.partition("=")[0] != "seed")


def mean_of(runs: Sequence[tuple[float, float]]) -> plots.Point:
    """One point of several runs."""
    x, heights = statistics.fmean(x for x, _ in runs), [y for _, y in runs]
    if len(runs) == 1:
        return plots.Point(x, heights[0])
    return plots.Point(x, statistics.fmean(heights), min(heights), max(heights))


def draw_heat(wanted: Picture, table: Table) -> str:
    """The cells: the mean over what is not on an axis."""
    cells: dict[tuple[str, str], list[float]] = {}
    measure = str(wanted.value)
    for row in table.rows:
        if measure in row:
            key = (table.label(row, wanted.x), table.label(row, wanted.y))
            cells.setdefault(key, []).append(float(row[measure]))
    columns, downs = (dict.fromkeys(key[part] for key in cells) for part in (0, 1))
    means = {
        (x, y): statistics.fmean(cells.get((x, y), [math.nan])) for y in downs for x in columns
    }
    title = ": ".join(filter(None, (wanted.title, table.title(measure))))
    return matrices.draw_heat(means, table.title(wanted.x), table.title(wanted.y), title)
