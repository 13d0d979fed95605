"""Parallel coordinates: an upright axis for each setting and figure, a line through all of them for each run.

Inselberg, "The Plane with Parallel Coordinates" (The Visual Computer 1985).
"""

from collections.abc import Sequence
from html import escape
from typing import Any

from tasks import chart, sweep
from tasks.draw import svg, text
from tasks.sweep_page.view import View, plain, scale

TOP, HIGH, LEFT, APART = 44, 260, 60, 150  # pixels
LONGEST = 18  # letters of a name beside an axis


def columns(view: View) -> list[str]:
    """What has an axis: settings, what runs cost, the goals; the one that ranks the runs stands last."""
    last = [name for name in reversed(view.goal) if any(name in row for row in view.ranked)]
    costs = [name for name in view.costs if name == "parameters" and name not in last]
    return [*view.settings, *costs, *last]


def value(row: dict[str, Any], name: str) -> Any:
    """What a run has on an axis; None where it has nothing."""
    return row.get(name) if sweep.is_measure(name) else sweep.value_of(row, name) or None


def draw(view: View) -> str:
    """The picture; empty where there are fewer than two axes or runs."""
    names = columns(view)
    rows = [row for row in reversed(view.ranked) if all(value(row, name) is not None for name in names)]
    if len(names) < 2 or len(rows) < 2:
        return ""
    places: list[list[float]] = [[] for _ in rows]
    body: list[str] = []
    for number, name in enumerate(names):
        across = LEFT + number * APART
        axis, at = scale([value(row, name) for row in rows], TOP + HIGH, TOP)
        for points, row in zip(places, rows, strict=True):
            points.append(axis(at[value(row, name)]))
        body += upright(name, across, axis)
    drawn = [line(view, row, points) for row, points in zip(rows, places, strict=True)]
    wide = LEFT + (len(names) - 1) * APART + 110
    return svg(wide, TOP + HIGH + 20, [*drawn, *body], "parallel coordinates of the runs")


def line(view: View, row: dict[str, Any], heights: Sequence[float]) -> str:
    """The line of one run."""
    points = " ".join(f"{LEFT + number * APART},{height:.1f}" for number, height in enumerate(heights))
    return (
        f'<polyline class="run-line" data-run="{row["job"]}" style="stroke: {view.tint(row)}" points="{points}">'
        f"<title>{escape(view.told(row))}</title></polyline>"
    )


def upright(name: str, across: float, axis: chart.Axis) -> list[str]:
    """One axis, its name above, its values beside, and the room in which a range of it is marked."""
    shown = plain(name) if sweep.is_measure(name) else name.rpartition(".")[2]
    out = [
        f'<g class="axis"><line x1="{across}" x2="{across}" y1="{TOP}" y2="{TOP + HIGH}"/>',
        text(across, TOP - 20, cut(shown), "bold mid"),
    ]
    out += [text(across + 8, axis(at) + 4, cut(told), "soft halo") for at, told in axis.marked]
    room = f'x="{across - 12}" y="{TOP - 8}" width="24" height="{HIGH + 16}"'
    out.append(f'<rect class="brush" data-axis="{escape(name, True)}" {room}><title>{escape(name)}</title></rect></g>')
    return out


def cut(words: str) -> str:
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
