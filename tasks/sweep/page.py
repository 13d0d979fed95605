"""The results of a sweep as one HTML file, `sweep.html`: its runs as a table and in charts."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from tasks.report import page, plots
from tasks.run import run_folder
from tasks.sweep import results

NAME = "sweep.html"
SMALLER_IS_BETTER = (
    *("loss", "error", "perplexity", "bits_per_character"),
    *("seconds", "parameters", "macs"),
)
COSTS = ("parameters", "macs", "cpu seconds", "seconds")
LOG_RATIO = 30.0  # positive numbers that differ by this factor get a logarithmic axis
MAX_CURVES = 4  # panels of learning curves
DEPENDS = """<p class="soft">A dot is a run; the deeper its colour, the better its rank. The
percentage is the share of the variance between runs that one setting explains by itself. The rest
is explained by settings in combination, and by chance.</p>"""
CURVES = '<p class="soft">A line is a run; the deeper its colour, the better its rank.</p>'
FRONT = (
    '<p class="soft">The numbered runs on the dashed line are the Pareto front: no run is better '
    "in both figures.</p>"
)
SORT = """
<style>
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
a { color: var(--focus); }
</style>
<script>
for (const button of document.querySelectorAll("table.runs th button")) button.onclick = () => {
  const head = button.parentNode, row = head.parentNode, place = [...row.children].indexOf(head);
  const up = head.getAttribute("aria-sort") !== "ascending";
  const body = document.querySelector("table.runs tbody");
  for (const other of row.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = line => line.children[place].dataset.value ?? line.children[place].textContent;
  const compare = (a, b) => isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  const missing = (a, b) => (a === "") - (b === "");  // last, whichever the order
  const order = (a, b) => missing(a, b) || (up ? 1 : -1) * compare(a, b);
  body.append(...[...body.children].sort((a, b) => order(key(a), key(b))));
};
</script>"""

Row = dict[str, Any]


class View:
    """The runs of a sweep with their settings, figures and ranks.

    Args:
        rows: of `plan.read_rows`.
        goal: figure -> max or min, of a search; None for the first figure of the validation.
    """

    def __init__(self, rows: Sequence[Row], goal: Mapping[str, str] | None = None):
        self.rows = list(rows)
        self.finished = [row for row in rows if row["status"] == "finished"]
        self.settings = list(filter(self.values, results.list_settings(rows)))
        names = dict.fromkeys(itertools.chain.from_iterable(self.finished))
        self.figures = list(filter(results.is_measure, names))
        self.goal = dict(goal or {})
        if self.figures and not goal:
            main = min(self.figures, key=rank_figure)
            self.goal = {main: find_direction(main)}
        self.main = next(iter(self.goal), "")
        self.ranked = [row for row in self.finished if is_known(row, self.main)]  # the best first
        self.ranked.sort(key=self.reached, reverse=self.goal.get(self.main) == "max")

    def values(self, key: str) -> list[str]:
        """Return the values of a setting in the runs that have it."""
        return list(filter(None, (results.value_of(row, key) for row in self.rows)))

    def reached(self, row: Row) -> float:
        return row[self.main]

    def colour(self, row: Row) -> tuple[float, ...]:
        """Return the colour of a run, deep for the best and pale for the worst, by rank."""
        red, green, blue = (part / 255 for part in plots.BLUE)
        for place, other in enumerate(self.ranked):
            if other is row:
                return red, green, blue, 1 - 0.8 * place / max(len(self.ranked) - 1, 1)
        return red, green, blue, 0.1


def is_known(row: Row, name: str) -> bool:
    """Return whether a run has a finite figure of this name."""
    return math.isfinite(row.get(name, math.nan))


def find_direction(name: str) -> str:
    """Return whether the best value of a figure is its max or min."""
    return "min" if name.endswith(SMALLER_IS_BETTER) else "max"


def rank_figure(name: str) -> tuple[bool, bool]:
    """Return a sort key that puts the validation first: the test must not guide a choice."""
    return not name.startswith("val/"), not name.endswith("accuracy")


def format_name(name: str) -> str:
    """Return the name of a figure in plain words."""
    return name.replace("/", " ").replace("_", " ")


def write_page(
    place: Path,
    rows: Sequence[Row],
    goal: Mapping[str, str] | None = None,
    importance: Mapping[str, float] | None = None,
    picture: str = "",
) -> Path:
    """Write the page of the sweep in `place`, and return its path.

    Args:
        rows: of `plan.read_rows`.
        goal: figure -> max or min, of a search.
        importance: setting -> share, of a search; None to compute it here.
        picture: the SVG of the section `picture`.
    """
    view = View(rows, goal)
    main = format_name(view.main)
    sections = [
        ("The picture of the experiment", page.fit(picture), picture),
        ("Runs", page.wide(table(view, place)) + SORT, view.rows),
        chart(
            f"What {main} depends on", DEPENDS, settings_panels(view, importance or explained(view))
        ),
        chart("Learning curves", CURVES, curve_panels(view, place)),
        chart(f"What {main} costs", FRONT, front_panels(view)),
        ("Failed", failed := failures(view), failed),
    ]
    shown = [(title, content) for title, content, there in sections if there]
    title = f"Sweep {place.name}"
    path = place / NAME
    content = page.html(title, head(view, title), shown)
    path.write_text(content, encoding="utf-8", errors="backslashreplace")
    return path


def chart(title: str, words: str, panels: Sequence[plots.Panel]) -> tuple[str, str, bool]:
    """Return a section of charts, and whether there are any."""
    return title, words + page.fit(plots.draw_panels(panels)) if panels else "", bool(panels)


def head(view: View, title: str) -> str:
    """Return the number of finished runs, and the best of them."""
    facts = [("finished", f"{len(view.finished)} of {len(view.rows)} runs")]
    score = None
    for best in view.ranked[:1]:
        score = (
            plots.format_number(best[view.main]),
            f"{format_name(view.main)} of run {best['job']}, the best",
        )
        for key in view.settings:
            if key != "seed":  # no seed is better than another
                value = short(results.value_of(best, key))
                facts.append((f"best {key.rpartition('.')[2]}", value))
    seconds = sum(row.get("seconds", 0) for row in view.finished)
    facts.append(("time of all runs", f"{seconds:,.0f} s"))
    return page.headline(title, score, facts)


def table(view: View, place: Path) -> str:
    """Return a row for each run, the best first; a click on a heading sorts them."""
    figures = sorted(view.figures, key=lambda name: name not in view.goal)
    top, lines = "", ""
    for name in ("run", "status", *view.settings, *map(format_name, figures)):
        top += f'<th scope="col"><button type="button">{escape(name)}</button></th>'
    for row in (*view.ranked, *unranked(view)):
        lines += line(view, row, figures, place)
    return f'<table class="runs"><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>'


def unranked(view: View) -> list[Row]:
    """Return the runs without the figure that ranks them."""
    jobs = {row["job"] for row in view.ranked}
    return [row for row in view.rows if row["job"] not in jobs]


def line(view: View, row: Row, figures: Sequence[str], place: Path) -> str:
    """Return a row of the table; the number links to the report of the run."""
    number = str(row["job"])
    if row["folder"] and (place / row["folder"] / "report.html").is_file():
        number = f'<a href="{escape(row["folder"], True)}/report.html">{number}</a>'
    cells = [f'<td data-value="{row["job"]}">{number}</td>', f"<td>{escape(row['status'])}</td>"]
    for value in (results.value_of(row, key) for key in view.settings):
        cells.append(f'<td data-value="{escape(value, True)}">{escape(short(value))}</td>')
    for name in figures:
        value, words = (row[name], figure(row[name])) if is_known(row, name) else ("", "")
        cells.append(f'<td class="number" data-value="{value}">{words}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def short(value: str) -> str:
    """Return the value of a setting, a long number with four digits."""
    found = numbers([value]) if len(value) > 8 else None
    return f"{found[0]:.4g}" if found else value


def figure(value: float) -> str:
    """Return a number for the table: whole, or with four digits."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"


def numbers(texts: Sequence[Any]) -> list[float] | None:
    """Return texts as numbers; None unless all are finite numbers."""
    try:
        found = list(map(float, texts))
    except (TypeError, ValueError):
        return None
    return found if all(map(math.isfinite, found)) else None


def explained(view: View) -> dict[str, float]:
    """Return the share of the variance of the main figure between the values of each setting (eta
    squared).

    It is the main effect of an analysis of variance (Fisher, 1925), the first term of functional
    ANOVA. The rest is explained by settings in combination and, where the seed is no setting, by
    chance.
    """
    rows = view.ranked
    values = list(map(view.reached, rows))
    whole = statistics.pvariance(values) if len(values) > 1 else 0.0
    if not whole:
        return {}
    centre, found = statistics.fmean(values), {}
    for key in view.settings:
        groups: dict[str, list[float]] = {}
        for row in rows:
            groups.setdefault(results.value_of(row, key), []).append(row[view.main])
        if 1 < len(groups) < len(rows):  # a different value in each run would explain everything
            found[key] = 0.0
            for group in groups.values():
                between = len(group) * (statistics.fmean(group) - centre) ** 2
                found[key] += between / len(rows) / whole
    return found


def settings_panels(view: View, shares: Mapping[str, float]) -> list[plots.Panel]:
    """Return a panel for each setting, the most important first; none for fewer than two runs."""
    order = sorted(view.settings, key=lambda key: -shares.get(key, -1))
    rows = view.ranked[::-1]  # the best on top
    panels: list[plots.Panel] = []
    if len(rows) < 2:
        return panels
    reached = list(map(view.reached, rows))
    for key in order:
        values = [results.value_of(row, key) for row in rows]
        name = f"{key}: explains {shares[key]:.0%}" if key in shares else key
        panels.append(dots(view, rows, (values, name), (reached, format_name(view.main))))
    return panels


def dots(
    view: View,
    rows: Sequence[Row],
    along: tuple[Sequence[Any], str],
    up: tuple[Sequence[float], str],
    ends: Sequence[str] = (),
    **more: Any,
) -> plots.Panel:
    """Return a panel with a dot for each run, at its number or, for words, at its category."""
    words = list(map(str, along[0]))
    values, log = numbers(words), []
    # categories, and a few chosen numbers, are labelled as they are written
    chosen = isinstance(along[0][0], str) and len(set(words)) <= 6
    if values is None:
        names = list(dict.fromkeys(words))
        values, chosen = list(map(float, map(names.index, words))), True
    elif min(values) > 0 and max(values) / min(values) >= LOG_RATIO:
        log = ["x"]
    return plots.Panel(
        kind="dots",
        series={"": list(map(plots.Point, values, up[0]))},
        x=along[1],
        y=up[1],
        log=log,
        ticks=dict(zip(values, words, strict=True)) if chosen else {},
        colours=list(map(view.colour, rows)),
        ends=ends,
        **more,
    )


def curve_panels(view: View, place: Path) -> list[plots.Panel]:
    """Return a panel for each figure that is measured at every epoch, with the best run on top."""
    curves: dict[str, dict[str, dict[float, float]]] = {}  # figure -> run -> epoch -> value
    colours = {}
    for row in (*unranked(view), *view.ranked[::-1]):
        lines = run_folder.read_metrics(place / row["folder"]) if row["folder"] else []
        colours[str(row["job"])] = view.colour(row)
        for line in filter(lambda line: "epoch" in line, lines):
            for name, value in line.items():  # the last value of each epoch
                curves.setdefault(name, {}).setdefault(str(row["job"]), {})[line["epoch"]] = value
    names = sorted(filter(lambda name: name.startswith("val/"), curves))
    names.sort(key=lambda name: name not in view.goal)
    panels = []
    for name in [*names, "train/loss"][:MAX_CURVES]:
        series = {}
        for job, curve in curves.get(name, {}).items():
            series[job] = list(map(plots.Point, curve, curve.values()))
        if max(map(len, series.values()), default=0) > 1:
            tints = list(map(colours.__getitem__, series))
            panels.append(plots.Panel(series=series, x="epoch", y=format_name(name), colours=tints))
    return panels


def front_panels(view: View) -> list[plots.Panel]:
    """Return the Pareto front of two goals of a search, or of the main figure and a cost."""
    names = list(view.goal)[:2]
    if len(names) < 2:
        for cost in COSTS:
            if cost != view.main and len({row.get(cost) for row in view.finished}) > 1:
                names.append(cost)
        names = names[:2]
    if len(names) < 2:
        return []
    up, along = names  # a cost is on the horizontal axis
    if view.goal.get(up) == "min" and view.goal.get(along):
        up, along = along, up
    rows = [row for row in view.ranked[::-1] if is_known(row, along) and is_known(row, up)]
    if len(rows) < 2:
        return []
    points = [(float(row[along]), float(row[up])) for row in rows]
    ways = [view.goal.get(name, find_direction(name)) for name in (along, up)]
    ends = [""] * len(rows)
    for number in front(points, (ways[0], ways[1])):
        ends[number] = str(rows[number]["job"])
    across, height = zip(*points, strict=True)
    return [
        dots(view, rows, (across, format_name(along)), (height, format_name(up)), ends, wide=480)
    ]


def front(points: Sequence[tuple[float, float]], ways: tuple[str, str]) -> list[int]:
    """Return the points that no other point dominates, sorted by the first figure."""
    made = np.where(np.array(ways) == "min", 1, -1) * np.array(points)
    found = []
    for number, one in enumerate(made):
        as_good = (made <= one).all(1)
        if not (as_good & (made < one).any(1)).any():
            found.append(number)
    return sorted(found, key=lambda number: points[number])


def failures(view: View) -> str:
    """Return the errors of the runs that did not finish."""
    parts = []
    for row in view.rows:
        if row["status"] != "finished":
            words = f"run {row['job']} {row['status']}: {' '.join(row['overrides'])}"
            parts.append(f"<h3>{escape(words)}</h3>{page.code(row['error'])}")
    return "".join(parts)
