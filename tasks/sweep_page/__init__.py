"""The end of a sweep as one page, `sweep.html`: its runs as a table and in pictures, readable without a network."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from tasks import chart, page, sweep
from tasks.sweep_page import curves, front, parallel, shares
from tasks.sweep_page.view import View, numbers, plain

NAME = "sweep.html"

Row = dict[str, Any]


def write(
    place: Path,
    rows: Sequence[Row],
    goal: Mapping[str, str] | None = None,
    importance: Mapping[str, float] | None = None,
    picture: str = "",
) -> Path:
    """Write the page of the sweep in `place`; returns its path.

    Args:
        rows: as `sweep.read` gives them.
        goal: figure -> max or min, of a search.
        importance: setting -> share, of a search; else the page works it out.
        picture: the SVG that the section `picture` asked for.
    """
    view = View(rows, goal)
    path = place / NAME
    shown = html(view, place, importance or shares.explained(view), picture)
    path.write_text(shown, encoding="utf-8", errors="backslashreplace")
    return path


def html(view: View, place: Path, importance: Mapping[str, float], picture: str) -> str:
    """The whole page."""
    title = f"Sweep {place.name}"
    depends, costs = f"What {plain(view.main)} depends on", f"What {plain(view.main)} costs"
    sections = [
        section("The picture of the experiment", page.fit(picture), picture),
        section("Runs", page.wide(table(view, place)), view.rows),
        section("Settings and what they reach", BRUSH + page.wide(drawn := parallel.draw(view)), drawn),
        section(depends, SHARE + page.fit(drawn := shares.draw(importance)), drawn),
        section("Learning curves", page.fit(drawn := curves.draw(view, place)), drawn),
        section(costs, FRONT + page.fit(drawn := front.draw(view)), drawn),
        section("Failed", told := failures(view), told),
    ]
    made = page.html(title, head(view, title), [each for each in sections if each is not None])
    runs = json.dumps([row["job"] for row in view.rows])
    tail = f'<script type="application/json" id="runs">{runs}</script><script>{_file("page.js")}</script></body>'
    return made.replace("</style></head>", f"{_file('page.css')}</style></head>", 1).replace("</body>", tail, 1)


BRUSH = """<p class="soft">A line is a run; the deeper its colour, the better its rank. Point at a run to find it in
every picture and in the table; drag along an axis to keep the runs in that range, Esc shows all again.
<b id="left" role="status"></b></p>"""
SHARE = """<p class="soft">The share of the differences between runs that one setting explains by itself. What is
missing from the whole comes from settings together, and from chance.</p>"""
FRONT = """<p class="soft">No run beats those on the dashed line in both figures; they bear their numbers.</p>"""


def section(title: str, content: str, drawn: Any) -> tuple[str, str] | None:
    """A section, unless there is nothing to show in it."""
    return (title, content) if drawn else None


def head(view: View, title: str) -> str:
    """How many runs ended well, and the best of them."""
    best = next(iter(view.ranked), None)
    score = (chart.short(best[view.main]), f"{plain(view.main)} of run {best['job']}, the best") if best else None
    chosen = [key for key in view.settings if key != "seed"]  # no seed is better than another
    facts = [
        ("finished", f"{len(view.finished)} of {len(view.rows)} runs"),
        *((f"best {key.rpartition('.')[2]}", short(sweep.value_of(best, key))) for key in chosen if best),
        ("time of all runs", f"{sum(row.get('seconds', 0) for row in view.finished):,.0f} s"),
    ]
    return page.headline(title, score, facts)


def table(view: View, place: Path) -> str:
    """A line for each run, the best first; its headings sort."""
    figures = [name for name in dict.fromkeys((*view.goal, *view.figures)) if name in view.figures]
    heads = ["run", "status", *view.settings, *map(plain, figures)]
    top = "".join(f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in heads)
    ranked = view.ranked
    order = [*ranked, *(row for row in view.rows if all(row is not other for other in ranked))]
    lines = "".join(line(view, row, figures, place) for row in order)
    return f'<table class="runs"><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>'


def line(view: View, row: Row, figures: Sequence[str], place: Path) -> str:
    """One run of the table; its number leads to its report."""
    number = f'<i style="background: {view.tint(row)}"></i>{row["job"]}'
    if row["folder"] and (place / row["folder"] / "report.html").is_file():
        number = f'<a href="{escape(row["folder"], True)}/report.html">{number}</a>'
    cells = [f'<td data-value="{row["job"]}">{number}</td>', f"<td>{escape(row['status'])}</td>"]
    for value in (sweep.value_of(row, key) for key in view.settings):
        cells.append(f'<td data-value="{escape(value, True)}">{escape(short(value))}</td>')
    for name in figures:
        known = math.isfinite(row.get(name, math.nan))
        cells.append(
            f'<td class="number" data-value="{row[name]}">{figure(row[name])}</td>'
            if known
            else '<td data-value=""></td>'
        )
    return f'<tr data-run="{row["job"]}" tabindex="0">{"".join(cells)}</tr>'


def short(value: str) -> str:
    """A setting as people read it: a number that a search drew, with four digits."""
    found = numbers([value]) if len(value) > 8 else None
    return f"{found[0]:.4g}" if found else value


def figure(value: float) -> str:
    """A number of the table: whole, or with four digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"


def failures(view: View) -> str:
    """Why runs did not finish."""
    told = []
    for row in view.rows:
        if row["status"] != "finished":
            words = f"run {row['job']} {row['status']}: {' '.join(row['overrides'])}"
            told.append(f"<h3>{escape(words)}</h3>{page.code(row['error'])}")
    return "".join(told)


@cache
def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


__all__ = ["NAME", "View", "write"]
