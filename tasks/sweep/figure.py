"""The picture of a sweep, described by the section `picture`: its axes, series and measures."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from blocks.graph import Composed, Problem
from blocks.graph.errors import guess
from tasks.config import instantiate
from tasks.report import matrices, plots
from tasks.run import run_folder
from tasks.sweep.intervals import mean_interval
from tasks.sweep.results import MEASURES, Row, is_measure, value_of

NAME = "sweep.svg"
TICKED_VALUES = 9  # values of x up to which each gets a tick
BAR_WIDTH, BAR_GAP, LABEL_GAP = 14, 12, 10  # pixels

Names = str | list[str]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a sweep shows at its end.

    Runs that differ only in their seed are one point: their mean, with a whisker.

    Args:
        kind: lines, bars, or heat, a table of shaded cells.
        x: the horizontal axis: a setting (`data.lag`, `model/position`), several joined, or, for
            lines, a measure.
        y: the measure on the vertical axis, a panel for each of several (`test/accuracy`,
            `train/loss`, `train/step seconds`, `parameters`, `macs`, `seconds`). For heat: the
            setting on the vertical axis.
        series: the setting, or several joined, that makes a line or a colour.
        value: for heat: the measure that is the shade.
        log: the axes, of x and y, with a logarithmic scale.
        marks: horizontal lines, by their name: `{chance: 0.125}`.
        names: labels to write for settings, values or measures.
        whiskers: range, from the lowest run to the highest, or interval, the 95 % t-interval of
            the mean.
        title: the title.
    """

    kind: Literal["lines", "bars", "heat"]
    x: Names
    y: Names
    series: Names | None = None
    value: str | None = None
    log: list[str] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    whiskers: Literal["range", "interval"] = "range"
    title: str | None = None


def as_list(names: Names | None) -> list[str]:
    """Return one name, several or none as a list."""
    if names is None:
        return []
    if isinstance(names, str):
        return [names]
    return list(names)


def read_picture(composed: Composed) -> Picture | None:
    """Return the picture of a checked configuration; None if it has none."""
    section = composed.config.get("picture")
    return Picture(**section) if section else None


# Checks -------------------------------------------------------------------------------------------


def check_picture(composed: Composed) -> list[Problem]:
    """Return the problems of the section `picture`."""
    section = composed.config.get("picture")
    if section is None:
        return []
    if not isinstance(section, dict):
        text = "picture must be a mapping"
        return [
            instantiate.problem(
                composed, ("picture",), text, got=f"picture={section!r}", code="bad-value"
            )
        ]
    problems = list(instantiate.check(composed, ("picture",), Picture, section, set()))
    if problems:
        return problems
    picture = Picture(**section)
    return [*check_names(composed, picture), *check_keys(composed, picture)]


def check_names(composed: Composed, picture: Picture) -> Iterator[Problem]:
    """Yield problems with names that are no setting or no measure, where one is needed."""
    kinds = {"x": "setting", "y": "measure", "series": "setting", "value": "measure"}
    if picture.kind == "lines":
        kinds["x"] = "either"
    if picture.kind == "heat":
        kinds["y"] = "setting"
    for key, kind in kinds.items():
        for name in as_list(getattr(picture, key)):
            fits_measure = kind != "setting" and is_measure(name)
            fits_setting = kind != "measure" and is_setting(composed, name)
            if not fits_measure and not fits_setting:
                yield name_problem(composed, key, name, kind)


def name_problem(composed: Composed, key: str, name: str, kind: str) -> Problem:
    """Return the problem of a name that is no setting or no measure."""
    path = ("picture", key)
    if kind == "measure":
        fix = guess(name, MEASURES)
        fits = None
        if fix is None:
            fits = ", ".join([*MEASURES, "test/..."])
        return instantiate.problem(
            composed,
            path,
            f"{name} is no measure of a run",
            fits=fits,
            fix=fix,
            code="unknown-name",
        )
    fix = guess(name, list_settings(composed))
    return instantiate.problem(
        composed, path, f"{name} is no setting", fix=fix, code="unknown-name"
    )


def check_keys(composed: Composed, picture: Picture) -> Iterator[Problem]:
    """Yield problems with keys that contradict each other."""
    is_heat = picture.kind == "heat"
    if is_heat and picture.value is None:
        fits = "the measure that is the shade"
        yield instantiate.problem(
            composed, ("picture",), "picture.value is missing", fits=fits, code="missing-key"
        )
    if is_heat and picture.series is not None:
        names = [*as_list(picture.y), *as_list(picture.series)]
        fix = f"y: [{', '.join(names)}]"
        yield instantiate.problem(
            composed, ("picture", "series"), "heat has no series", fix=fix, code="missing-key"
        )
    if not is_heat and picture.value is not None:
        text = f"value belongs to heat; {picture.kind} show their measure as y"
        fix = f"y: {picture.value}"
        yield instantiate.problem(composed, ("picture", "value"), text, fix=fix, code="unknown-key")
    unknown = [name for name in picture.log if name not in ("x", "y")]
    if unknown:
        yield instantiate.problem(
            composed,
            ("picture", "log"),
            "log names axes",
            got=f"log={unknown}",
            fits="[x], [y] or [x, y]",
            code="bad-value",
        )


def list_settings(composed: Composed) -> list[str]:
    """Return the name of every setting: choices of files, and paths of values."""
    return [*composed.choices, *walk_paths(composed.config, "")]


def walk_paths(section: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Yield the path of every value."""
    for key, value in section.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from walk_paths(value, f"{prefix}{key}.")


def is_setting(composed: Composed, name: str) -> bool:
    """Return whether a name is a choice of a file or the path of a value."""
    return name in composed.choices or find_value(composed.config, name) is not None


def find_value(config: Any, path: str) -> Any:
    """Return the value at a path; None where there is none."""
    for key in path.split("."):
        if not isinstance(config, dict):
            return None
        config = config.get(key)
    return config


# Drawing ------------------------------------------------------------------------------------------


class SettingsTable:
    """The finished runs of a sweep, with their settings as labels.

    Args:
        rows: the rows of the sweep, from `tasks.sweep.plan.read_rows`.
        folder: of the sweep, where the runs keep their configuration.
        names: labels to write instead of names and values.
    """

    def __init__(self, rows: Sequence[Row], folder: Path, names: Mapping[str, str]):
        self.rows = [row for row in rows if row["status"] == "finished"]
        self.folder = folder
        self.names = names

    def rename(self, value: str) -> str:
        """Return the label of a value; Hydra writes True for true."""
        return self.names.get(value, self.names.get(value.lower(), value))

    def title(self, names: Names | None) -> str:
        """Return the label of an axis."""
        titles = []
        for name in as_list(names):
            separator = "/" if "/" in name else "."
            titles.append(self.names.get(name) or name.rpartition(separator)[2])
        return ", ".join(titles)

    def setting(self, row: Row, name: str) -> str:
        """Return a setting of a run, from its overrides or from what it wrote."""
        value = value_of(row, name)
        if value:
            return value
        folder = self.folder / row["folder"]
        choices = (run_folder.read_record(folder) or {}).get("choices", {})
        if name in choices:
            return choices[name]
        file = folder / run_folder.CONFIG
        if not file.is_file():
            return ""
        return str(find_value(yaml.safe_load(file.read_text(encoding="utf-8")), name))

    def label(self, row: Row, names: Names | None) -> str:
        """Return the settings of a run as a label; what is empty is left out."""
        labels = [self.rename(self.setting(row, name)) for name in as_list(names)]
        return ", ".join(filter(None, labels))

    def position(self, row: Row, names: Names) -> float | str:
        """Return where a run is on the horizontal axis: a number if it is one."""
        if is_measure(str(names)):
            return float(row[str(names)])
        if isinstance(names, str):
            try:
                return float(self.setting(row, names))
            except ValueError:
                pass
        return self.label(row, names)


def draw_picture(picture: Picture, rows: Sequence[Row], folder: Path) -> str:
    """Return the picture as SVG, or an SVG that says which measure no run has.

    Args:
        rows: the rows of the sweep.
        folder: of the sweep.
    """
    table = SettingsTable(rows, folder, picture.names)
    measures = as_list(picture.value if picture.kind == "heat" else picture.y)
    present = {name: None for row in table.rows for name in row if is_measure(name)}
    missing = [name for name in measures if name not in present]
    title = picture.title or ""
    if missing:
        others = f"; they have {', '.join(present)}" if present else ": none finished"
        text = f"{title} no run has {', '.join(missing)}{others}"
        return plots.draw_panels([], text.strip())
    if picture.kind == "heat":
        return draw_heat(picture, table)
    labels = list(dict.fromkeys(table.label(row, picture.series) for row in table.rows))
    legend: Sequence[str] = ()
    if picture.kind == "bars" and len(labels) > 1:
        legend = labels
    panels = [make_panel(picture, table, name) for name in measures]
    return plots.draw_panels(panels, title, legend)


def make_panel(picture: Picture, table: SettingsTable, measure: str) -> plots.Panel:
    """Return the panel of one measure."""
    positions, categories = place_runs(picture, table)
    series = collect_series(picture, table, positions, measure)
    ticks = {float(number): name for number, name in enumerate(categories)}
    values = {point.x for line in series.values() for point in line}
    is_measured = is_measure(str(picture.x))
    if not categories and not is_measured and len(values) <= TICKED_VALUES:
        ticks = {value: f"{value:g}" for value in values}
    wide: float = plots.WIDE
    if picture.kind == "bars":
        bars = BAR_WIDTH * len(series) + BAR_GAP
        for name in categories:
            group = max(bars, LABEL_GAP + plots.text_width(name))
            wide = max(wide, len(categories) * group)
    return plots.Panel(
        kind=picture.kind,
        series=series,
        x=table.title(picture.x),
        y=table.title(measure),
        log=picture.log,
        marks=picture.marks,
        ticks=ticks,
        ends=list(series) if len(series) > 1 else [],
        wide=wide,
    )


def place_runs(picture: Picture, table: SettingsTable) -> tuple[list[float], list[str]]:
    """Return the position of each run on the horizontal axis, and the names of the categories, none
    on an axis of numbers.
    """
    positions = [table.position(row, picture.x) for row in table.rows]
    if picture.kind != "bars" and not any(isinstance(x, str) for x in positions):
        return [float(x) for x in positions], []
    labels = [table.label(row, picture.x) for row in table.rows]
    categories = list(dict.fromkeys(labels))
    return [float(categories.index(label)) for label in labels], categories


def collect_series(
    picture: Picture, table: SettingsTable, positions: Sequence[float], measure: str
) -> dict[str, list[plots.Point]]:
    """Return the points of each series; runs that differ only in their seed are one point."""
    is_measured = is_measure(str(picture.x))
    runs: dict[str, dict[Any, list[tuple[float, float]]]] = {}
    for row, x in zip(table.rows, positions, strict=True):
        if measure not in row:
            continue
        # where x is measured, it differs between seeds
        key = settings_without_seed(row) if is_measured else x
        line = runs.setdefault(table.label(row, picture.series), {})
        line.setdefault(key, []).append((x, float(row[measure])))
    series = {}
    for name, line in runs.items():
        points = [average_runs(found, picture.whiskers) for found in line.values()]
        series[name] = sorted(points, key=lambda point: point.x)
    return series


def settings_without_seed(row: Row) -> tuple[str, ...]:
    """Return the overrides of a run but the seed."""
    return tuple(text for text in row["overrides"] if text.partition("=")[0] != "seed")


def average_runs(runs: Sequence[tuple[float, float]], whiskers: str) -> plots.Point:
    """Return one point for several runs, with its whisker."""
    positions, heights = zip(*runs, strict=True)
    x, mean = statistics.fmean(positions), statistics.fmean(heights)
    if len(runs) == 1:
        return plots.Point(x, mean)
    low, high = min(heights), max(heights)
    if whiskers == "interval":
        low, high = mean_interval(heights)
    return plots.Point(x, mean, low, high)


def draw_heat(picture: Picture, table: SettingsTable) -> str:
    """Return the table of shaded cells; each is the mean over the settings on no axis."""
    cells: dict[tuple[str, str], list[float]] = {}
    measure = str(picture.value)
    for row in table.rows:
        if measure in row:
            key = (table.label(row, picture.x), table.label(row, picture.y))
            cells.setdefault(key, []).append(float(row[measure]))
    means = {}
    for y in dict.fromkeys(y for _, y in cells):
        for x in dict.fromkeys(x for x, _ in cells):
            means[x, y] = statistics.fmean(cells.get((x, y), [math.nan]))
    title = table.title(measure)
    if picture.title:
        title = f"{picture.title}: {title}"
    return matrices.draw_heat(means, table.title(picture.x), table.title(picture.y), title)
