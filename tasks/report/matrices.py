"""Matrices of coloured cells as SVG: confusion, attention, nodes over a training, two settings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.report.plots import (
    BLUE,
    INK,
    RULE,
    SOFT,
    add_axes,
    add_text,
    format_share,
    new_figure,
    styled,
    text_width,
    to_svg,
    widest,
)

RED = (220, 87, 77)  # of cells in both themes; their opacity is the value


def shorten(text: str, most: int = 16) -> str:
    """A label that can be seen: line ends as signs, no longer than `most` characters."""
    signs = {"\n": "⏎", "\t": "⇥"}
    text = "".join(signs.get(sign, sign if sign.isprintable() else "�") for sign in text)
    return text if len(text) <= most else text[: most - 1] + "…"


def shorten_token(text: str) -> str:
    """The same of a token, whose blanks count."""
    return shorten(text.replace(" ", "␣"))


def draw_matrix(
    colours: Any,
    cell: tuple[float, float],
    label: str,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    title: str = "",
    x: str = "",
    y: str = "",
    values: Any = None,
    last: Sequence[str] = (),
    scale: tuple[Any, Mapping[float, str]] | None = None,
) -> str:
    """Coloured cells with a label for each row and column.

    Args:
        colours: (rows, columns, 4), each from 0 to 255.
        cell: width and height of a cell in pixels.
        label: the drawing in words, for screen readers.
        rows: a label for each row, or none at all.
        columns: a label for each column, above; empty ones are left out.
        title: stands above.
        x: what the columns are.
        y: what the rows are.
        values: the number to write into each cell; not a number stands for "failed".
        last: what stands behind each row.
        scale: colours, and labels by their place among them from 0 to 1, for a scale below.
    """
    high, wide = colours.shape[:2]
    width, height = wide * cell[0], high * cell[1]
    slanted = sum(text_width(name) > cell[0] for name in columns) > 0.2 * wide
    left = 12 + widest(rows) + 20 * bool(y)
    top: float = 22 * bool(title) + 20 * bool(x) + 16 * bool(columns)
    right = 20 + widest(last)
    if slanted:
        top, right = top + 0.75 * widest(columns) - 8, right + 0.5 * widest(columns[-3:])
    total = max(left + width + right, left + 1.1 * text_width(title), left + 150)
    with styled():
        figure = new_figure(total, top + height + 10 + 40 * bool(scale))
        axes = add_cells(figure, colours, (left, top, width, height))
        every = math.ceil(11 / cell[1])  # labels that would touch are left out
        axes.set_yticks(np.arange(len(rows))[::every] + 0.5, rows[::every], color=INK)
        axes.xaxis.tick_top()
        named = np.array(columns, dtype=bool).nonzero()[0]
        axes.set_xticks(named + 0.5, np.array(columns)[named], color=INK)
        if slanted:
            style = {"rotation": 50, "ha": "left", "va": "center", "rotation_mode": "anchor"}
            axes.set_xticks(axes.get_xticks(), axes.get_xticklabels(), color=INK, **style)
        for (row, column), value in np.ndenumerate([[]] if values is None else values):
            word = format_cell(value)
            axes.text(column + 0.5, row + 0.5, word, ha="center", va="center", size=11)
        for row in range(0, len(last), every):
            axes.text(wide + 8 / cell[0], row + 0.5, last[row], va="center", color=SOFT)
        add_text(figure, left, 14, title, weight="bold")
        add_text(figure, left + width / 2, 22 * bool(title) + 13, x, ha="center", color=SOFT)
        add_text(figure, 12, top + height / 2, y, rotation=90, ha="center", va="center", color=SOFT)
        if last:
            add_text(figure, left + width + 8, top - 23, "last", color=SOFT)
        if scale:
            place = (left, top + height + 12, 60 * len(scale[1]), 10)
            bar = add_cells(figure, scale[0][None], place)
            bar.set_yticks([])
            bar.set_xticks(np.multiply(list(scale[1]), len(scale[0])), scale[1].values())
        return to_svg(figure, label)


def add_cells(figure: Any, colours: Any, place: tuple[float, float, float, float]) -> Any:
    """Axes full of cells, with a line around."""
    axes = add_axes(figure, *place)
    high, wide = colours.shape[:2]
    axes.imshow(colours, aspect="auto", extent=(0, wide, high, 0))
    axes.grid(False)
    axes.spines[:].set(color=RULE, linewidth=1)
    return axes


def format_cell(value: float) -> str:
    """A number in a cell; a count of nothing is left out."""
    if math.isnan(value):
        return "failed"
    if isinstance(value, np.integer):
        return str(value or "")
    return format_share(value)


def fill(colour: Sequence[int], opacity: Any) -> Any:
    """One colour with opacities from 0 to 1, as (..., 4) from 0 to 255."""
    cells = np.zeros((*np.shape(opacity), 4), dtype=np.uint8)
    cells[..., :3], cells[..., 3] = colour, (255 * np.asarray(opacity)).round().clip(0, 255)
    return cells


def viridis(share: Any) -> Any:
    """Values from 0 to 1 as colours from dark to bright, (..., 4) from 0 to 255."""
    with styled():
        from matplotlib import colormaps
    return np.array(colormaps["viridis"](share, bytes=True))


def draw_confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """How often each class (rows) was taken for which (columns); deeper for a larger share of a
    row.
    """
    size, known = len(classes), np.asarray(counts, dtype=float)
    share = np.sqrt(known / np.maximum(known.sum(1, keepdims=True), 1))
    colours = fill(RED, np.where(known > 0, 0.12 + 0.58 * share, 0))
    colours[np.arange(size), np.arange(size), :3] = BLUE
    sides = ((12, 34.0), (30, 26.0), (60, 14.0), (math.inf, 560 / size))
    side = next(side for most, side in sides if size <= most)
    names = [shorten(name, 14) for name in classes if size <= 60]
    return draw_matrix(
        colours,
        (side, side),
        "confusion matrix",
        rows=names,
        columns=names,
        x="predicted",
        y="true",
        values=np.array(counts) if size <= 30 else None,
    )


def draw_heat(cells: Mapping[tuple[str, str], float], x: str, y: str, title: str) -> str:
    """A cell for each pair (x, y); deeper for higher values; not a number: failed."""
    columns, rows = map(list, map(dict.fromkeys, zip(*cells, strict=True)))
    known = np.empty((len(rows), len(columns)))
    for (column, row), value in cells.items():
        known[rows.index(row), columns.index(column)] = value
    low, high = np.nanmin(known), np.nanmax(known)
    share = np.nan_to_num(0.1 + 0.6 * (known - low) / ((high - low) or 1.0), nan=0.02)
    side = (max(46.0, 12 + widest(columns)), 34.0)
    colours = fill(BLUE, share)
    return draw_matrix(
        colours, side, title, rows=rows, columns=columns, title=title, x=x, y=y, values=known
    )


def draw_attention(
    weights: Any, rows: Sequence[str] | None, columns: Sequence[str] | None, title: str
) -> str:
    """Who attends to what: a row for each query, a column for each key.

    Args:
        weights: (queries, keys), a NumPy array.
        rows: a label for each query.
        columns: a label for each key.
        title: stands above.
    """
    height, width = np.clip(640 / np.array(weights.shape), 3.0, 16.0)
    columns = list(map(shorten_token, columns or ()))
    if len(columns) > 48:  # tokens too many to name are counted
        columns = [str(number) * (number % 20 == 0) for number in range(len(columns))]
    # Of a text the first tokens have nobody else to attend to: they do not set the scale.
    most = float(np.quantile(weights.max(1), 0.9, method="higher")) or 1.0
    more = " and more" * bool(weights.max() > most)
    return draw_matrix(
        fill(BLUE, weights / most),
        (width, height),
        title,
        rows=list(map(shorten_token, rows or ())),
        columns=columns,
        title=title,
        scale=(fill(BLUE, np.linspace(0, 1, 64)), {0: "0", 1: f"{most:.2g}{more}"}),
    )


def draw_over_training(
    names: Sequence[str], steps: Sequence[int], values: Any, title: str, label: str
) -> str:
    """A node in each row, a step of training in each column, colours on a logarithmic scale.

    Args:
        names: of the nodes.
        steps: numbers of the steps.
        values: (nodes, steps); not a number where there is none.
        title: stands above.
        label: the drawing in words, for screen readers.
    """
    known = np.log10(values[np.isfinite(values) & (values > 0)])
    most = known.max() if known.size else 0.0
    low, high = math.floor(4 * max(known.min(initial=most), most - 6)) / 4, math.ceil(4 * most) / 4
    high = max(high, low + 0.25)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (np.log10(values) - low) / (high - low)
    colours = viridis(np.nan_to_num(share, nan=0.0, neginf=0.0).clip(0, 1))
    colours[np.isnan(values), 3] = 0
    last = []
    for line in values:
        there = line[~np.isnan(line)]
        last.append(f"{there[-1]:.2g}" if len(there) else "none")
    columns = [""] * len(steps)
    for number in (0, len(steps) // 2, len(steps) - 1):
        columns[number] = f"{steps[number]:,}"
    exponents: Sequence[float] = range(math.ceil(low), math.floor(high) + 1)
    if len(exponents) < 2:
        exponents = (low, high)
    marks = {(e - low) / (high - low): f"{10.0**e:.2g}" for e in exponents}
    return draw_matrix(
        colours,
        (300 / len(steps), 15.0 if len(names) <= 40 else max(4.0, 640 / len(names))),
        label,
        rows=list(map(keep_end, names)),
        columns=columns,
        title=title,
        x="step",
        last=last,
        scale=(viridis(np.linspace(0, 1, 128)), marks),
    )


def keep_end(path: str) -> str:
    """Return the last 26 characters of a path."""
    return path if len(path) <= 26 else "…" + path[-25:]
