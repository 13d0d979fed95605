"""Charts as SVG by matplotlib: text stays text, and colours follow light and dark mode.

Equal figures give equal bytes: no date, no random id, no settings of the user's own. matplotlib is
imported when the first chart is drawn.
"""

import io
import itertools
import logging
import math
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

import numpy as np

from blocks.support.palette import THEMES
from tasks.report.samples import Numbers

GREYS = ("ink", "soft", "rule", "paper")
INK, SOFT, RULE, PAPER = (THEMES["light"][name] for name in GREYS)
COLOURS = ("#2F6FDB", "#D9730D", "#14866D", "#B5379F", "#8A6D1C", "#5B6472", "#C8372D", "#0E7C9C")
DARK = ("#7AA8F5", "#F0A45D", "#5FD0A8", "#E58AD6", "#D8BD66", "#A5AFBF", "#F0766D", "#62C4E0")
# each colour of a chart and what takes its place in dark mode
PAIRS = dict(zip(COLOURS, DARK, strict=True)) | {
    THEMES["light"][name]: THEMES["dark"][name] for name in GREYS
}
BLUE = (59, 125, 232)  # in both themes, with more or less opacity
SWAP = 'svg.run [style*="{0}: {1}"] {{ {0}: {2} !important; }}'
STYLE = (
    'svg.run * { stroke-linejoin: round; } svg.run text { font-family: system-ui, "Segoe UI", '
    '"Noto Sans", "Noto Sans CJK SC", sans-serif !important; } @media (prefers-color-scheme: '
    "dark) { "
    + " ".join(
        SWAP.format(part, light.lower(), dark)
        for light, dark in PAIRS.items()
        for part in ("fill", "stroke")
    )
    + " }"
)
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dougong",
    "figure.dpi": 72,
    "savefig.dpi": 72,
    "font.family": ["DejaVu Sans"],
    "font.size": 12,
    "text.parse_math": False,
    "text.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "axes.linewidth": 0,
    "axes.titlesize": 12,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 1,
    "lines.linewidth": 2,
    "image.interpolation": "none",
}
LEFT, TOP, WIDE, HIGH, BOTTOM = 58, 34, 270, 200, 48  # of a panel, in pixels
DASHED: dict[str, Any] = {"color": SOFT, "linewidth": 1, "linestyle": (0, (3, 3))}


class Point(NamedTuple):
    """The mean of some runs, and the lowest and highest of them."""

    x: float
    mean: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Axes with a line or a group of bars for each series, or with dots.

    Args:
        series: points by the name of their series.
        x: the name of the horizontal axis.
        y: the name of the other, above it.
        kind: lines, bars or dots.
        log: the axes, of "x" and "y", on which equal factors are equally far apart.
        ticks: what to write under values of x; else round numbers.
        marks: horizontal lines by their name.
        best: a vertical line.
        colours: one for each series, or for each dot.
        ends: what to write at the end of each line, or beside each dot.
        wide: pixels between the axes.
        diagonal: whether a line shows where both axes have one value, for dots.
    """

    series: Mapping[str, Sequence[Point]]
    x: str
    y: str
    kind: str = "lines"
    log: Sequence[str] = ()
    ticks: Mapping[float, str] = field(default_factory=dict)
    marks: Mapping[str, float] = field(default_factory=dict)
    best: float | None = None
    colours: Sequence[Any] = COLOURS
    ends: Sequence[str] = ()
    wide: float = WIDE
    diagonal: bool = False


@contextmanager
def styled() -> Iterator[None]:
    """Draw in this module's style, whatever the user's own settings are."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # a read-only home is no news here
    import matplotlib

    settings = {**matplotlib.rcParamsDefault, **SETTINGS}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # the reader's fonts have it
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def new_figure(width: float, height: float) -> Any:
    """A figure of so many pixels."""
    from matplotlib.figure import Figure

    return Figure((width / 72, height / 72))


def add_axes(figure: Any, left: float, top: float, width: float, height: float) -> Any:
    """Axes at a place in pixels from the upper left corner."""
    across, down = figure.get_size_inches() * 72
    return figure.add_axes(
        (left / across, 1 - (top + height) / down, width / across, height / down)
    )


def add_text(figure: Any, x: float, y: float, text: str, **style: Any) -> None:
    """Text at a place in pixels from the upper left corner."""
    across, down = figure.get_size_inches() * 72
    figure.text(x / across, 1 - y / down, text, **style)


def to_svg(figure: Any, label: str) -> str:
    """The figure as SVG that can stand in a page beside others."""
    buffer = io.StringIO()
    none = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=none)
    drawn = buffer.getvalue().partition("</defs>\n")[2].replace("base64,\n", "base64,")
    drawn = re.sub(r' id="[\w.]+_\d+"', "", drawn)
    width, height = figure.get_size_inches() * 72
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    head = f'<svg class="run" {spaces} {size} role="img" aria-label="{escape(label, True)}">'
    return f"{head}<style>{STYLE}</style>\n{drawn}"


def text_width(text: str) -> float:
    """About how many pixels a text takes: East Asian characters are as wide as they are high."""
    return sum(12.5 if unicodedata.east_asian_width(sign) in "WF" else 7.4 for sign in text)


def widest(texts: Iterable[str]) -> float:
    return max(map(text_width, texts), default=0.0)


def format_number(value: float, digits: int = 3) -> str:
    """A number for an axis: 0.25, 3, 15k, 40M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(size, 1e4):
            return f"{value / size:.{digits}g}{letter}"
    return f"{value:.{digits}g}"


def format_share(value: float) -> str:
    """A number above a bar or in a cell: .125, 3, 15k."""
    if 0.001 <= abs(value) < 1:
        return f"{value:.3f}".removeprefix("0")
    return format_number(value)


def draw_panels(panels: Sequence[Panel], title: str = "", legend: Iterable[str] = ()) -> str:
    """Panels side by side, three to a row, under a title; without any, the title alone."""
    head, tall = 24 * bool(title) + 20 * bool(legend), TOP + HIGH + BOTTOM
    places, across, left = [], 24 + 1.1 * text_width(title), 0.0
    for number, panel in enumerate(panels):
        left = left if number % 3 else 0.0
        places.append((left + LEFT, head + number // 3 * tall + TOP, panel.wide, HIGH))
        left += LEFT + panel.wide + 20 + end_width(panel)
        across = max(across, left)
    with styled():
        figure = new_figure(across, head + tall * math.ceil(len(panels) / 3) + 8)
        add_text(figure, 12, 18, title, weight="bold")
        left = 12.0
        for name, colour in zip(legend, itertools.cycle(COLOURS), strict=False):
            add_text(figure, left, head - 8, "■", color=colour)
            add_text(figure, left + 15, head - 8, name)
            left += 34 + text_width(name)
        for panel, place in zip(panels, places, strict=True):
            draw_panel(add_axes(figure, *place), panel)
        return to_svg(figure, title or ", ".join(panel.y for panel in panels))


def end_width(panel: Panel) -> float:
    """The room for what stands behind the axes."""
    if panel.kind == "lines":
        return widest(panel.ends)
    if panel.kind == "dots":  # half of the last name may reach over the end
        return widest(panel.ticks.values()) / 2
    return widest(panel.marks)


def draw_panel(axes: Any, panel: Panel) -> None:
    """One panel: its scales before its bars and labels, which are placed in their units."""
    axes.set_title(panel.y, loc="left", color=SOFT, x=(12 - LEFT) / panel.wide, pad=14)
    axes.set_xlabel(panel.x)
    for axis in panel.log:
        getattr(axes, f"set_{axis}scale")("log", subs=(2, 5))
    {"lines": draw_lines, "bars": draw_bars, "dots": draw_dots}[panel.kind](axes, panel)
    for name, value in panel.marks.items():
        axes.axhline(value, **DASHED)
        side, offset = (1, (4, -3)) if panel.kind == "bars" else (0, (4, 4))  # bars would cover it
        style: dict[str, Any] = {"color": SOFT, "fontsize": 10, "textcoords": "offset points"}
        axes.annotate(name, (side, value), offset, ("axes fraction", "data"), **style)
    if panel.best is not None:
        axes.axvline(panel.best, **DASHED)
    set_ticks(axes.yaxis, {})
    set_ticks(axes.xaxis, panel.ticks)
    axes.xaxis.grid(False)


def draw_lines(axes: Any, panel: Panel) -> None:
    """A line with its points and their whiskers for each series."""
    ends, colours = [], []
    for number, line in enumerate(panel.series.values()):
        x, mean, low, high = np.array(line).T
        colours.append(panel.colours[number % len(panel.colours)])
        ends.append((x[-1], mean[-1]))
        every = [-1] if len(line) > 24 else 1  # of a long line the last point alone is drawn
        style: dict[str, Any] = {"marker": "o", "markersize": 5, "markevery": every}
        axes.plot(x, mean, color=colours[-1], clip_on=False, **style)
        draw_whiskers(axes, x, low, high, colours[-1])
    axes.margins(0.03, 0.06)
    axes.autoscale_view()
    heights = -axes.transData.transform(ends)[:, 1]
    placed = spread_labels(heights, -axes.transAxes.transform((0, 0))[1])
    for name, end, colour, offset in zip(panel.ends, ends, colours, heights - placed, strict=False):
        place: dict[str, Any] = {"xytext": (9, offset), "textcoords": "offset points"}
        axes.annotate(name, end, va="center", color=colour, **place)


def draw_whiskers(axes: Any, places: Any, low: Any, high: Any, colour: str) -> None:
    """A stroke from the lowest to the highest run of each point that has several."""
    several = ~np.isnan(low)
    axes.vlines(places[several], low[several], high[several], colors=[colour], linewidth=1.2)


def spread_labels(heights: Sequence[float], bottom: float, distance: float = 14) -> list[float]:
    """The heights moved until labels there keep a distance, and none is below `bottom`."""
    order = sorted(range(len(heights)), key=lambda number: heights[number])
    placed = list(heights)
    for before, number in itertools.pairwise(order):
        placed[number] = max(placed[number], placed[before] + distance)
    last = bottom + distance
    for number in reversed(order):
        last = placed[number] = min(placed[number], last - distance)
    return placed


def draw_bars(axes: Any, panel: Panel) -> None:
    """A group of bars for each category, a bar for each series; from zero unless logarithmic."""
    share = 0.8 / len(panel.series)
    style: dict[str, Any] = {"ha": "center", "fontsize": 10, "textcoords": "offset points"}
    for number, line in enumerate(panel.series.values()):
        x, mean, low, high = np.array(line).T
        places = x + (number + 0.5) * share - 0.4
        axes.bar(places, mean, share * 0.92, color=panel.colours[number % len(panel.colours)])
        draw_whiskers(axes, places, low, high, INK)
        if share * panel.wide / len(panel.ticks) >= 26:
            for value, *top in zip(mean, places, np.fmax(high, mean), strict=True):
                axes.annotate(format_share(value), top, (0, 3), **style)
    axes.set_xlim(-0.5, len(panel.ticks) - 0.5)
    axes.margins(y=0.08)


def draw_dots(axes: Any, panel: Panel) -> None:
    """A dot for each point; those that are named are joined by steps."""
    x, y, *_ = np.array(panel.series[""]).T
    size = 40 if len(x) <= 50 else 12
    axes.scatter(x, y, s=size, c=list(panel.colours), clip_on=False)
    if panel.diagonal:
        axes.axline((x.mean(), x.mean()), slope=1, **DASHED)
    chosen = np.array(panel.ends, dtype=bool).nonzero()[0]
    for number in chosen.tolist():
        place = (x[number], y[number])
        style: dict[str, Any] = {"textcoords": "offset points", "color": SOFT, "fontsize": 10}
        axes.annotate(panel.ends[number], place, (6, 6), **style)
    if len(chosen):
        order = chosen[np.lexsort((y[chosen], x[chosen]))]
        dashes: dict[str, Any] = {"color": COLOURS[1], "linewidth": 1.5, "linestyle": (0, (4, 3))}
        axes.step(x[order], y[order], where="post", **dashes)


def set_ticks(axis: Any, names: Mapping[float, str]) -> None:
    """Label values that have a name, else round numbers; what would touch its neighbour is left
    out.
    """
    low, high = sorted(axis.get_view_interval())
    marks = axis.get_majorticklocs()
    if axis.get_scale() == "log":
        both = np.append(marks, axis.get_minorticklocs())
        if np.sum((low <= both) & (both <= high)) <= 7:
            marks = both
        axis.set_ticks([], minor=True)
    names = names or {mark: format_number(mark, 5) for mark in marks if low <= mark <= high}
    shown, last = {}, -math.inf
    for mark, name in sorted(names.items()):
        centre, half = axis.axes.transData.transform((mark, 1))[0], text_width(name) / 2
        if axis.axis_name == "y" or centre - half > last:
            shown[mark], last = name, centre + half + 2
    axis.set_ticks(list(shown), list(shown.values()))


def draw_curves(rows: Sequence[Mapping[str, float]], best: float | None = None) -> str:
    """Learning curves: a panel for each quantity, e.g. "loss" from "train/loss" and "val/loss"."""
    found: dict[str, dict[str, list[Point]]] = {}
    for row in rows:
        for column, value in row.items():
            part, _, quantity = column.partition("/")
            if quantity and part in ("train", "val") and math.isfinite(value):
                line = found.setdefault(quantity, {}).setdefault(part, [])
                line.append(Point(row["epoch"], value))
    first = ("loss", "accuracy", "r2", "miou", "map")
    order = sorted(found, key=lambda name: (name not in first, name != "loss", name))
    panels = [curve_panel(name, found[name], best) for name in order]
    return draw_panels(panels, "" if panels else "no finite metrics")


def draw_predicted(numbers: Numbers) -> str:
    """Predicted against true numbers of the test: a panel for each target."""
    panels = []
    for number, name in enumerate(numbers.names):
        pairs = zip(numbers.target[:, number], numbers.predicted[:, number], strict=True)
        points = [Point(float(true), float(guess)) for true, guess in pairs]
        dots = [COLOURS[0]] * len(points)
        panel = Panel(
            series={"": points},
            x=f"true {name}",
            y=f"predicted {name}",
            kind="dots",
            colours=dots,
            diagonal=True,
        )
        panels.append(panel)
    return draw_panels(panels)


def curve_panel(quantity: str, series: Mapping[str, Sequence[Point]], best: float | None) -> Panel:
    """The curves of training and validation, each with its last value behind its name."""
    named = len(series) > 1
    ends, colours = [], []
    epochs: dict[float, str] = {}
    for part, line in series.items():
        ends.append(f"{part * named} {line[-1].mean:.3g}".strip())
        colours.append(COLOURS[part == "val"])
        epochs |= {point.x: f"{point.x:g}" for point in line}
    return Panel(
        series=series,
        x="epoch",
        y=quantity,
        best=best if best in epochs else None,
        colours=colours,
        ends=ends,
        ticks=epochs if len(epochs) <= 6 else {},
    )
