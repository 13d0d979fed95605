"""The front of Pareto: the runs that no other run beats in both of two figures."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from tasks import chart
from tasks.draw import text
from tasks.sweep_page.view import View, plain, scale, way

INNER = 480  # pixels between the axes


def axes(view: View) -> tuple[str, str] | None:
    """What is weighed: the cost along, the reward up. Two goals of a search, else parameters against the figure."""
    goals = list(view.goal)
    if len(goals) > 1:
        costs = [name for name in goals[:2] if view.goal[name] == "min"]
        along = costs[0] if costs else goals[1]
        return along, next(name for name in goals[:2] if name != along)
    costs = [name for name in view.costs if name != view.main]
    return (costs[0], view.main) if costs and view.main else None


def best(points: Sequence[tuple[float, float]], ways: tuple[str, str]) -> list[int]:
    """The points that no other point beats: none is as good in both and better in one; by the first figure."""
    signs = [1 if way == "min" else -1 for way in ways]
    made = [(signs[0] * x, signs[1] * y) for x, y in points]

    def beaten(one: tuple[float, float]) -> bool:
        return any(other != one and other[0] <= one[0] and other[1] <= one[1] for other in made)

    return sorted((number for number, one in enumerate(made) if not beaten(one)), key=lambda number: points[number])


def draw(view: View) -> str:
    """The picture; empty where the runs differ in one figure only."""
    named = axes(view)
    if named is None:
        return ""
    along, up = named
    rows = [row for row in reversed(view.ranked) if known(row, along) and known(row, up)]
    if len(rows) < 2:
        return ""
    points = [(float(row[along]), float(row[up])) for row in rows]
    across, _ = scale([x for x, _ in points], chart.LEFT, chart.LEFT + INNER)
    down, _ = scale([y for _, y in points], chart.TOP + chart.HIGH, chart.TOP)
    ways = tuple(view.goal.get(name, way(name)) for name in (along, up))
    chosen = best(points, (ways[0], ways[1]))
    out = chart.frame(across, down, plain(along), plain(up), {})
    out.append(stair([(across(points[n][0]), down(points[n][1])) for n in chosen]))
    for number, row in enumerate(rows):
        pixel = (across(points[number][0]), down(points[number][1]))
        out.append(dot(view, row, pixel, number in chosen))
    return chart.picture([(out, chart.LEFT + INNER + 40)], "")


def known(row: dict[str, Any], name: str) -> bool:
    """Whether a run has a figure that can be compared: nothing beats one that is not a number."""
    return math.isfinite(row.get(name, math.nan))


def stair(pixels: Sequence[tuple[float, float]]) -> str:
    """The line along the front: no run is on its better side."""
    path = [f"M{pixels[0][0]:.1f},{pixels[0][1]:.1f}"]
    path += [f"H{x:.1f}V{y:.1f}" for x, y in pixels[1:]]
    return f'<path class="front" d="{"".join(path)}"/>'


def dot(view: View, row: dict[str, Any], pixel: tuple[float, float], chosen: bool) -> str:
    """A run; with its number where it is on the front."""
    title = f"<title>{escape(view.told(row))}</title>"
    kind, size = ("on-front", 5) if chosen else ("", 4)
    circle = (
        f'<circle class="{kind}" data-run="{row["job"]}" cx="{pixel[0]:.1f}" cy="{pixel[1]:.1f}" r="{size}" '
        f'style="fill: {view.tint(row)}">{title}</circle>'
    )
    return circle + (text(pixel[0] + 8, pixel[1] - 6, row["job"], "soft tiny") if chosen else "")
