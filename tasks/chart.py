"""Charts of a sweep as SVG: lines, bars and heat maps, in the hand of `tasks.draw`, for light and dark pages.

Drawn here and not by a plotting library, because the pictures of a run are: the same fonts and colours, a few
kilobytes, text that stays text, and one file that follows the reader's light or dark mode.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tasks.draw import svg, text, ticks, turned

COLOURS = ("#2f6fdb", "#d9730d", "#14866d", "#b5379f", "#8a6d1c", "#5b6472", "#c8372d", "#0e7c9c")
DARK = ("#7aa8f5", "#f0a45d", "#5fd0a8", "#e58ad6", "#d8bd66", "#a5afbf", "#f0766d", "#62c4e0")
STYLE = (
    "<style>svg.run {" + " ".join(f"--c{i}: {c};" for i, c in enumerate(COLOURS)) + "} "
    "@media (prefers-color-scheme: dark) { svg.run {" + " ".join(f"--c{i}: {c};" for i, c in enumerate(DARK)) + "} } "
    "svg.run .whisker { stroke-width: 1.2; }</style>"
)
LEFT, TOP, HIGH, BOTTOM, INNER = 58, 40, 210, 48, 270  # of a panel, in pixels; INNER: between its axes
LETTER = 6.6  # pixels of a letter, about


@dataclass(frozen=True)
class Point:
    """The mean of some runs, and the lowest and highest of them.

    Args:
        x: the place on the axis: a number, or the number of a category.
        count: how many runs.
    """

    x: float
    mean: float
    low: float
    high: float
    count: int = 1


@dataclass(frozen=True)
class Axis:
    """From values to pixels.

    Args:
        low: the value at `start`.
        high: the value at `end`.
        start: a pixel.
        end: a pixel.
        log: equal factors are equally far apart.
        marked: the values that get a tick, and what is written there.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    marked: tuple[tuple[float, str], ...] = ()

    def __call__(self, value: float) -> float:
        low, high, value = (map(math.log10, (self.low, self.high, value)) if self.log
                            else (self.low, self.high, value))  # fmt: skip
        return self.start + (self.end - self.start) * ((value - low) / (high - low) if high > low else 0.5)


Lines = Mapping[str, Sequence[Point]]


def short(value: float) -> str:
    """A number for an axis: 0.25, 3, 1.5k, 40M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * (10 if letter == "k" else 1):
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def axis(
    values: Sequence[float], start: float, end: float, *, log: bool, zero: bool = False, room: float = 0.06
) -> Axis:
    """An axis that holds all values, with round numbers on it."""
    low, high = min(values), max(values)
    if log:
        spare = (high / low) ** room if high > low else 2.0
        low, high = low / spare, high * spare
        marks = [mark for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
                 for factor in (1, 2, 5) if low <= (mark := factor * 10.0**power) <= high]  # fmt: skip
        marks = marks if len(marks) <= 7 else [mark for mark in marks if f"{mark:e}"[0] == "1"]
    else:
        low = min(low, 0.0) if zero else low
        spare = room * (high - low) or abs(high) * 0.1 or 0.5
        low, high = (low if zero and low == 0 else low - spare), high + spare
        marks = ticks(low, high)
    shown = [short(mark) for mark in marks]
    if len(set(shown)) < len(shown):  # values that lie close together
        shown = [f"{mark:.7g}" for mark in marks]
    return Axis(low, high, start, end, log, tuple(zip(marks, shown, strict=True)))


def picture(panels: Sequence[tuple[list[str], float]], title: str, legend: Sequence[str] = ()) -> str:
    """A whole picture of panels side by side, under a title and a legend."""
    body, across, head = [STYLE], 0.0, 24 if title else 6
    body += [text(12, 18, title, "bold")] if title else []
    place = 12.0
    for number, name in enumerate(legend):
        body.append(
            f'<rect x="{place:.1f}" y="{head + 7}" width="10" height="10" rx="2" style="fill: {colour(number)}"/>'
        )
        body.append(text(place + 15, head + 16, name))
        place += 34 + LETTER * len(name)
    head += 20 if legend else 0
    for lines, wide in panels:
        body.append(f'<g transform="translate({across:.1f} {head})">{"".join(lines)}</g>')
        across += wide
    return svg(max(across, place, 24 + LETTER * 1.1 * len(title)), head + TOP + HIGH + BOTTOM, body, title or "a sweep")


def colour(number: int) -> str:
    return f"var(--c{number % len(COLOURS)})"


def frame(across: Axis, down: Axis, x: str, y: str, marks: Mapping[str, float]) -> list[str]:
    """Grid, ticks, the names of the axes, and lines that mark a value."""
    left, right, bottom = across.start, across.end, down.start
    out = [text(left - LEFT + 12, TOP - 16, y, "soft")]
    for value, shown in down.marked:
        out.append(
            f'<line class="grid" x1="{left:.1f}" x2="{right:.1f}" y1="{down(value):.1f}" y2="{down(value):.1f}"/>'
        )
        out.append(text(left - 8, down(value) + 4, shown, "soft end"))
    last = -math.inf
    for value, shown in across.marked:
        half = LETTER * len(shown) / 2
        if across(value) - half > last:  # what would run into its neighbour is left out
            out.append(text(across(value), bottom + 18, shown, "soft mid"))
            last = across(value) + half + 2
    out.append(text((left + right) / 2, bottom + 38, x, "soft mid"))
    for name, value in marks.items():
        if min(down.low, down.high) <= value <= max(down.low, down.high):
            out.append(
                f'<line class="mark" x1="{left:.1f}" x2="{right:.1f}" y1="{down(value):.1f}" y2="{down(value):.1f}"/>'
            )
            out.append(text(left + 4, down(value) - 4, name, "soft tiny"))
    return out


def lines(found: Lines, x: str, y: str, *, log: Sequence[str], categories: Sequence[str], marks: Mapping[str, float],
          measured: bool) -> tuple[list[str], float]:  # fmt: skip
    """A panel with a line for each series, named at its end, and a whisker where several runs differ.

    Args:
        x: what the horizontal axis is called.
        y: the same for the other.
        log: the axes, of "x" and "y", on which equal factors are equally far apart.
        categories: what x values are called, where they are numbers of categories; else empty.
        measured: x was measured, so its values are no round numbers to be written under the axis.
    """
    points = [point for line in found.values() for point in line]
    heights = [value for point in points for value in (point.low, point.high)] + list(marks.values())
    across = axis([point.x for point in points], LEFT, LEFT + INNER, log="x" in log, room=0.03)
    down = axis(heights, TOP + HIGH, TOP, log="y" in log)
    named = sorted({point.x for point in points})
    if categories or (not measured and len(named) <= 9):
        told = tuple((value, categories[int(value)] if categories else f"{value:g}") for value in named)
        across = Axis(across.low, across.high, across.start, across.end, across.log, told)
    out = frame(across, down, x, y, marks)
    for number, line in enumerate(found.values()):
        out += curve(line, across, down, colour(number))
    ends = {name: down(line[-1].mean) for name, line in found.items()}
    for (name, line), height in zip(found.items(), apart(list(ends.values()), TOP + HIGH), strict=True):
        tint = f"fill: {colour(list(found).index(name))}"
        if len(found) > 1:
            out.append(
                f'<text x="{across(line[-1].x) + 9:.1f}" y="{height + 4:.1f}" style="{tint}">{escape(name)}</text>'
            )
    reach = max([across(line[-1].x) + LETTER * len(name) for name, line in found.items()] if len(found) > 1 else [0])
    return out, max(LEFT + INNER + 16, reach + 24)


def curve(line: Sequence[Point], across: Axis, down: Axis, tint: str) -> list[str]:
    """One line, its points and their whiskers."""
    path = " ".join(f"{across(point.x):.1f},{down(point.mean):.1f}" for point in line)
    out = [f'<polyline class="curve" style="stroke: {tint}" points="{path}"/>'] if len(line) > 1 else []
    for point in line:
        middle = across(point.x)
        hint = f"{short(point.x)}: {point.mean:.4g}" + (
            f" ({point.low:.4g} to {point.high:.4g})" if point.count > 1 else ""
        )
        out += whisker(middle, down(point.low), down(point.high), tint) if point.count > 1 else []
        out.append(f'<circle cx="{middle:.1f}" cy="{down(point.mean):.1f}" r="3" style="fill: {tint}">'
                   f"<title>{escape(hint)}</title></circle>")  # fmt: skip
    return out


def whisker(x: float, low: float, high: float, tint: str) -> list[str]:
    return [f'<line class="whisker" style="stroke: {tint}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>']


def apart(heights: Sequence[float], bottom: float, distance: float = 14) -> list[float]:
    """The heights moved so that labels there do not lie on each other, and none is below `bottom`."""
    order = sorted(range(len(heights)), key=lambda number: heights[number])
    placed = [0.0] * len(heights)
    last = -math.inf
    for number in order:
        last = placed[number] = max(heights[number], last + distance)
    last = bottom + distance
    for number in reversed(order):
        last = placed[number] = min(placed[number], last - distance)
    return placed


def bars(found: Lines, x: str, y: str, *, log: Sequence[str], categories: Sequence[str],
         marks: Mapping[str, float]) -> tuple[list[str], float]:  # fmt: skip
    """A panel with a group of bars for each category, a bar for each series; from zero unless logarithmic."""
    points = [point for line in found.values() for point in line]
    heights = [value for point in points for value in (point.low, point.high)] + list(marks.values())
    width = max(INNER * 0.6, len(categories) * max(len(found) * 14 + 12, 10 + LETTER * max(map(len, categories))))
    across = Axis(-0.5, len(categories) - 0.5, LEFT, LEFT + width, False, tuple(enumerate(categories)))
    down = axis(heights, TOP + HIGH, TOP, log="y" in log, zero=True)
    out = frame(across, down, x, y, marks)
    wide = min(44.0, (width / len(categories) - 10) / len(found))
    for number, line in enumerate(found.values()):
        for point in line:
            left = across(point.x) + (number - len(found) / 2) * wide
            top, foot = down(point.mean), down(down.low if down.log else 0.0)
            out.append(f'<rect x="{left + 1:.1f}" y="{min(top, foot):.1f}" width="{wide - 2:.1f}" rx="2" '
                       f'height="{max(abs(foot - top), 1):.1f}" style="fill: {colour(number)}"/>')  # fmt: skip
            out += whisker(left + wide / 2, down(point.low), down(point.high), "var(--ink)") if point.count > 1 else []
            if wide >= 26:
                out.append(text(left + wide / 2, min(top, down(point.high)) - 4, short_share(point.mean), "mid tiny"))
    return out, LEFT + width + 16


def short_share(value: float) -> str:
    """A number above a bar or in a cell."""
    return f"{value:.3f}".removeprefix("0") if 0 < abs(value) < 1 and abs(value) >= 0.001 else short(value)


def heat(cells: Mapping[tuple[str, str], float], x: str, y: str, value: str) -> tuple[list[str], float]:
    """A panel with a cell for each pair (x, y); the deeper its shade, the higher its value; not a number: failed."""
    columns, rows = (list(dict.fromkeys(key[part] for key in cells)) for part in (0, 1))
    left = 20 + LETTER * max(map(len, rows))
    wide = max(46.0, 12 + LETTER * max(map(len, columns)))
    high = min(36.0, (HIGH - 6) / len(rows))
    known = [number for number in cells.values() if math.isfinite(number)]
    low, span = (min(known), (max(known) - min(known)) or 1.0) if known else (0.0, 1.0)
    out = [text(12, TOP - 16, y, "soft")]
    for row, name in enumerate(rows):
        out.append(text(left - 8, TOP + (row + 0.5) * high + 4, name, "end"))
    for column, name in enumerate(columns):
        out.append(text(left + (column + 0.5) * wide, TOP + len(rows) * high + 16, name, "mid"))
    for (across, down), number in cells.items():
        place, depth = left + columns.index(across) * wide, TOP + rows.index(down) * high
        shade = 0.1 + 0.75 * (number - low) / span if math.isfinite(number) else 0.02
        dark = shade > 0.55
        out.append(f'<rect x="{place:.1f}" y="{depth:.1f}" width="{wide - 2:.1f}" height="{high - 2:.1f}" rx="3" '
                   f'style="fill: var(--c0); fill-opacity: {shade:.2f}"/>')  # fmt: skip
        fill = ' style="fill: var(--paper)"' if dark else ""
        shown = short_share(number) if math.isfinite(number) else "failed"
        out.append(
            f'<text x="{place + wide / 2 - 1:.1f}" y="{depth + high / 2 + 3:.1f}" class="mid"{fill}>{shown}</text>'
        )
    out.append(text(left + len(columns) * wide / 2, TOP + len(rows) * high + 36, x, "soft mid"))
    out.append(turned(left + len(columns) * wide + 12, TOP + len(rows) * high / 2, value, 90, "soft mid"))
    return out, left + len(columns) * wide + 28


Panel = Callable[..., tuple[list[str], float]]
