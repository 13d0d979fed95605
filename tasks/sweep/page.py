"""The end of a sweep as one page, `results.html`: its runs as a table and in charts, readable
without a network.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from tasks.report import page, plots
from tasks.report.report import read_metrics
from tasks.sweep import results

NAME = "sweep.html"
SMALL_IS_GOOD = (
    "loss",
    "error",
    "perplexity",
    "bits_per_character",
    "seconds",
    "parameters",
    "macs",
)
COSTS = ("parameters", "macs", "cpu seconds", "seconds")
FAR_APART = 30.0  # positive numbers that differ by this factor lie on a logarithmic axis
MOST = 4  # panels of learning curves
DEPENDS = """<p class="soft">A dot is a run; the deeper its colour, the better its rank. The share
is that of the differences between runs that one setting explains by itself. What is missing from
the whole comes from settings together, and from chance.</p>"""
CURVES = '<p class="soft">A line is a run; the deeper its colour, the better its rank.</p>'
FRONT = (
    '<p class="soft">No run beats those on the dashed line in both figures; they bear their '
    "numbers.</p>"
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
    """The runs of a sweep, with what they set, what they reached, and which of them is better.

    Args:
        rows: as `results.read` gives them.
        goal: figure -> max or min, as a search has it; else the first figure of the validation.
    """

    def __init__(self, rows: Sequence[Row], goal: Mapping[str, str] | None = None):
        self.rows = list(rows)
        self.finished = [row for row in rows if row["status"] == "finished"]
        self.settings = [
            key for key in results.settings(rows) if any(results.value_of(row, key) for row in rows)
        ]
        self.figures = list(
            dict.fromkeys(name for row in self.finished for name in row if results.is_measure(name))
        )
        # Of the validation, for the test must not choose.
        first = sorted(
            self.figures,
            key=lambda name: (not name.startswith("val/"), not name.endswith("accuracy")),
        )
        self.goal = dict(goal or {name: direction_of(name) for name in first[:1]})
        self.main = next(iter(self.goal), "")
        sign = -1 if self.goal.get(self.main) == "max" else 1
        known = [row for row in self.finished if is_known(row, self.main)]
        self.ranked = sorted(known, key=lambda row: sign * row[self.main])  # the best first

    def colour(self, row: Row) -> tuple[float, ...]:
        """Deep for the best, pale for the worst, by rank, so that one outlier hides nothing."""
        red, green, blue = (part / 255 for part in plots.BLUE)
        for place, other in enumerate(self.ranked):
            if other is row:
                return red, green, blue, 1 - 0.8 * place / max(len(self.ranked) - 1, 1)
        return red, green, blue, 0.1


def is_known(row: Row, name: str) -> bool:
    """Whether a run has a figure that can be compared: nothing beats one that is not a number."""
    return math.isfinite(row.get(name, math.nan))


def direction_of(name: str) -> str:
    """Whether a figure should be high or low."""
    return "min" if name.endswith(SMALL_IS_GOOD) else "max"


def plain(name: str) -> str:
    """A figure as people write it."""
    return name.replace("/", " ").replace("_", " ")


def write(
    place: Path,
    rows: Sequence[Row],
    goal: Mapping[str, str] | None = None,
    importance: Mapping[str, float] | None = None,
    picture: str = "",
) -> Path:
    """Write the page of the sweep in `place`; returns its path.

    Args:
        rows: as `results.read` gives them.
        goal: figure -> max or min, of a search.
        importance: setting -> share, of a search; else the page works it out.
        picture: the SVG that the section `picture` asked for.
    """
    view = View(rows, goal)
    main = plain(view.main)
    sections = [
        ("The picture of the experiment", page.fit(picture), picture),
        ("Runs", page.wide(table(view, place)) + SORT, view.rows),
        chart(
            f"What {main} depends on", DEPENDS, settings_panels(view, importance or explained(view))
        ),
        chart("Learning curves", CURVES, curve_panels(view, place)),
        chart(f"What {main} costs", FRONT, front_panels(view)),
        ("Failed", told := failures(view), told),
    ]
    shown = [(title, content) for title, content, there in sections if there]
    title = f"Sweep {place.name}"
    path = place / NAME
    content = page.html(title, head(view, title), shown)
    path.write_text(content, encoding="utf-8", errors="backslashreplace")
    return path


def chart(title: str, words: str, panels: Sequence[plots.Panel]) -> tuple[str, str, bool]:
    """A section of charts, and whether there are any."""
    return title, words + page.fit(plots.draw_panels(panels)) if panels else "", bool(panels)


def head(view: View, title: str) -> str:
    """How many runs ended well, and the best of them."""
    facts = [("finished", f"{len(view.finished)} of {len(view.rows)} runs")]
    score = None
    for best in view.ranked[:1]:
        score = (
            plots.format_number(best[view.main]),
            f"{plain(view.main)} of run {best['job']}, the best",
        )
        chosen = [key for key in view.settings if key != "seed"]  # no seed is better than another
        facts += [
            (f"best {key.rpartition('.')[2]}", short(results.value_of(best, key))) for key in chosen
        ]
    facts.append(
        ("time of all runs", f"{sum(row.get('seconds', 0) for row in view.finished):,.0f} s")
    )
    return page.headline(title, score, facts)


def table(view: View, place: Path) -> str:
    """A line for each run, the best first; its headings sort."""
    figures = [name for name in dict.fromkeys((*view.goal, *view.figures)) if name in view.figures]
    heads = ["run", "status", *view.settings, *map(plain, figures)]
    top = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in heads
    )
    order = [
        *view.ranked,
        *(row for row in view.rows if all(row is not other for other in view.ranked)),
    ]
    lines = "".join(line(view, row, figures, place) for row in order)
    return f'<table class="runs"><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>'


def line(view: View, row: Row, figures: Sequence[str], place: Path) -> str:
    """One run of the table; its number leads to its report."""
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
    """A setting as people read it: a number that a search drew, with four digits."""
    found = numbers([value]) if len(value) > 8 else None
    return f"{found[0]:.4g}" if found else value


def figure(value: float) -> str:
    """A number of the table: whole, or with four digits."""
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:.4f}"
        if abs(value) < 1000
        else f"{value:,.0f}"
    )


def numbers(texts: Sequence[Any]) -> list[float] | None:
    """The values as numbers, if all of them are."""
    try:
        found = [float(text) for text in texts]
    except (TypeError, ValueError):
        return None
    return found if all(map(math.isfinite, found)) else None


def explained(view: View) -> dict[str, float]:
    """The share of the variance of the main figure that lies between the values of one setting
    (eta squared).

    That is the main effect of an analysis of variance (Fisher, 1925), the first term of
    functional ANOVA. What is left comes from settings together and, where the seed is no
    setting, from chance.
    """
    rows = view.ranked
    values = [row[view.main] for row in rows]
    whole = statistics.pvariance(values) if len(values) > 1 else 0.0
    if not whole:
        return {}
    centre, found = statistics.fmean(values), {}
    for key in view.settings:
        groups: dict[str, list[float]] = {}
        for row in rows:
            groups.setdefault(results.value_of(row, key), []).append(row[view.main])
        if (
            1 < len(groups) < len(rows)
        ):  # where every run has a value of its own, all would be explained
            between = sum(
                len(group) * (statistics.fmean(group) - centre) ** 2 for group in groups.values()
            )
            found[key] = between / len(rows) / whole
    return found


def settings_panels(view: View, shares: Mapping[str, float]) -> list[plots.Panel]:
    """For each setting the runs by its value, what explains most first; none where there are
    fewer than two runs.
    """
    order = sorted(view.settings, key=lambda key: -shares.get(key, -1))
    rows = view.ranked[::-1]  # the best on top
    panels = []
    for key in order if len(rows) > 1 else []:
        values = [results.value_of(row, key) for row in rows]
        share = f": explains {shares[key]:.0%}" if key in shares else ""
        panels.append(
            dots(
                view,
                rows,
                (values, f"{key}{share}"),
                ([row[view.main] for row in rows], plain(view.main)),
            )
        )
    return panels


def dots(
    view: View,
    rows: Sequence[Row],
    along: tuple[Sequence[Any], str],
    up: tuple[Sequence[float], str],
    ends: Sequence[str] = (),
    **more: Any,
) -> plots.Panel:
    """A dot for each run; numbers lie where they belong, words beside each other."""
    values, log = numbers(along[0]), []
    ticks: dict[float, str] = {}
    if values is None:
        names = list(dict.fromkeys(map(str, along[0])))
        values, ticks = (
            [float(names.index(str(value))) for value in along[0]],
            dict(enumerate(names)),
        )
    elif min(values) > 0 and max(values) / min(values) >= FAR_APART:
        log = ["x"]
    if len(set(values)) <= 6 and all(
        isinstance(value, str) for value in along[0]
    ):  # values that somebody chose
        ticks = dict(zip(values, map(str, along[0]), strict=True))
    return plots.Panel(
        kind="dots",
        series={"": [plots.Point(x, y) for x, y in zip(values, up[0], strict=True)]},
        x=along[1],
        y=up[1],
        log=log,
        ticks=ticks,
        colours=[view.colour(row) for row in rows],
        ends=ends,
        **more,
    )


def curve_panels(view: View, place: Path) -> list[plots.Panel]:
    """A panel for each figure that is measured at every epoch, the best run on top."""
    order = [*(row for row in view.rows if row not in view.ranked), *reversed(view.ranked)]
    read = [
        read_metrics(place / row["folder"] / "metrics.csv") if row["folder"] else []
        for row in order
    ]
    named = {name for lines in read for line in lines for name in line if name.startswith("val/")}
    first = sorted(named, key=lambda name: (name not in view.goal, name))
    panels = []
    for name in [*first, "train/loss"][:MOST]:
        # of an epoch that has several values the last
        found = [
            {row["epoch"]: row[name] for row in lines if name in row and "epoch" in row}
            for lines in read
        ]
        if any(len(curve) > 1 for curve in found):
            series = {
                str(row["job"]): [plots.Point(x, y) for x, y in curve.items()]
                for row, curve in zip(order, found, strict=True)
                if curve
            }
            colours = [view.colour(row) for row in order if str(row["job"]) in series]
            panels.append(plots.Panel(series=series, x="epoch", y=plain(name), colours=colours))
    return panels


def front_panels(view: View) -> list[plots.Panel]:
    """The front of Pareto: two goals of a search, else what the main figure costs."""
    if len(view.goal) > 1:
        costs = [name for name in [*view.goal][:2] if view.goal[name] == "min"] or [[*view.goal][1]]
    else:
        costs = [
            name
            for name in COSTS
            if name != view.main and len({row.get(name) for row in view.finished}) > 1
        ]
    names = [*costs[:1], *(name for name in view.goal if name not in costs[:1])][:2]
    rows = [row for row in reversed(view.ranked) if all(is_known(row, name) for name in names)]
    if len(names) < 2 or len(rows) < 2:
        return []
    points = [(float(row[names[0]]), float(row[names[1]])) for row in rows]
    ways = [view.goal.get(name, direction_of(name)) for name in names]
    best = front(points, (ways[0], ways[1]))
    ends = [str(row["job"]) if number in best else "" for number, row in enumerate(rows)]
    along, up = zip(*points, strict=True)
    return [dots(view, rows, (along, plain(names[0])), (up, plain(names[1])), ends, wide=480)]


def front(points: Sequence[tuple[float, float]], ways: tuple[str, str]) -> list[int]:
    """The points that no other point beats: none is as good in both and better in one; by the
    first figure.
    """
    signs = [1 if way == "min" else -1 for way in ways]
    made = [(signs[0] * x, signs[1] * y) for x, y in points]

    def is_beaten(one: tuple[float, float]) -> bool:
        return any(other != one and other[0] <= one[0] and other[1] <= one[1] for other in made)

    return sorted(
        (number for number, one in enumerate(made) if not is_beaten(one)),
        key=lambda number: points[number],
    )


def failures(view: View) -> str:
    """Why runs did not finish."""
    told = []
    for row in view.rows:
        if row["status"] != "finished":
            words = f"run {row['job']} {row['status']}: {' '.join(row['overrides'])}"
            told.append(f"<h3>{escape(words)}</h3>{page.code(row['error'])}")
    return "".join(told)
