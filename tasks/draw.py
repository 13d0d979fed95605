"""Pictures of a run as SVG, written by hand so that they follow light and dark mode and need no library."""

import base64
import io
import math
from collections.abc import Sequence
from html import escape

STYLE = """
svg.run { --ink: #1d2330; --soft: #667085; --line: #e4e7ec; --first: #2f6fdb; --second: #d9730d; --bad: #c8372d;
  --paper: #ffffff; font: 12px system-ui, "Segoe UI", "Noto Sans", sans-serif; }
@media (prefers-color-scheme: dark) { svg.run { --ink: #e6e9ef; --soft: #98a2b3; --line: #2d3442; --first: #7aa8f5;
  --second: #f0a45d; --bad: #f0766d; --paper: #14181f; } }
svg.run text { fill: var(--ink); } svg.run .soft { fill: var(--soft); } svg.run .end { text-anchor: end; }
svg.run .mid { text-anchor: middle; } svg.run .grid { stroke: var(--line); } svg.run .bold { font-weight: 600; }
svg.run .curve { fill: none; stroke-width: 2; stroke-linejoin: round; } svg.run .tiny { font-size: 10px; }
svg.run .mark { stroke: var(--soft); stroke-dasharray: 3 3; } svg.run .paper { fill: var(--paper); }
"""
COLOURS = {"train": "var(--first)", "val": "var(--second)"}
WIDE, HIGH, LEFT, TOP, RIGHT, BOTTOM = 346, 250, 48, 34, 72, 36

Series = dict[str, list[tuple[float, float]]]


def svg(width: float, height: float, body: Sequence[str], title: str) -> str:
    """A whole picture."""
    return (
        f'<svg class="run" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="{escape(title, True)}"><style>{STYLE}</style>'
        f'<rect class="paper" width="100%" height="100%"/>{"".join(body)}</svg>\n'
    )


def ticks(low: float, high: float, wish: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `wish` of them."""
    step = 10 ** math.floor(math.log10((high - low) / wish))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= wish)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def text(x: float, y: float, words: object, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(str(words))}</text>'


def panel(title: str, series: Series, best: float | None, left: float) -> list[str]:
    """One set of axes with a curve for each series, named at its end."""
    points = [point for curve in series.values() for point in curve]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    wide, high_px = WIDE - LEFT - RIGHT, HIGH - TOP - BOTTOM

    def across(x: float) -> float:
        return left + LEFT + wide * ((x - first) / (last - first) if last > first else 0.5)

    def down(y: float) -> float:
        return TOP + high_px * (high - y) / (high - low)

    out = [text(left + LEFT, TOP - 14, title, "bold")]
    for y in ticks(low, high):
        out.append(
            f'<line class="grid" x1="{left + LEFT}" x2="{left + LEFT + wide}" y1="{down(y):.1f}" y2="{down(y):.1f}"/>'
        )
        out.append(text(left + LEFT - 8, down(y) + 4, f"{y:.4g}", "soft end"))
    for x in ticks(first, last) if last > first else [first]:
        if x == int(x):
            out.append(text(across(x), HIGH - BOTTOM + 18, f"{x:g}", "soft mid"))
    if best is not None and first <= best <= last and last > first:
        x = across(best)
        out.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HIGH - BOTTOM}">'
            "<title>best epoch</title></line>"
        )
    return out + curves_of(series, across, down)


def curves_of(series: Series, across, down) -> list[str]:
    """The curves themselves; names at their ends keep a distance."""
    out: list[str] = []
    taken: list[float] = []
    for name, curve in sorted(series.items(), key=lambda item: item[1][-1][1]):
        colour = COLOURS.get(name, "var(--first)")
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in curve)
        if len(curve) > 1:
            out.append(f'<polyline class="curve" style="stroke: {colour}" points="{path}"/>')
        x, y = curve[-1]
        out.append(f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="3" style="fill: {colour}"/>')
        height = min([down(y) + 4, *(other - 14 for other in taken)])
        taken.append(height)
        name_of = f"{escape(name)} " if len(series) > 1 else ""
        out.append(f'<text x="{across(x) + 8:.1f}" y="{height:.1f}" style="fill: {colour}">{name_of}{y:.3g}</text>')
    return out


def curves(rows: Sequence[dict[str, float]], best: float | None = None) -> str:
    """Learning curves: one panel for each quantity, e.g. "loss" from the columns "train/loss" and "val/loss"."""
    panels: dict[str, Series] = {}
    for row in rows:
        for column, value in row.items():
            part, _, quantity = column.partition("/")
            if quantity and part in COLOURS and math.isfinite(value):
                panels.setdefault(quantity, {}).setdefault(part, []).append((row["epoch"], value))
    order = sorted(panels, key=lambda name: (name not in ("loss", "accuracy"), name != "loss", name))
    body = [line for number, name in enumerate(order) for line in panel(name, panels[name], best, number * WIDE)]
    body += [
        text(number * WIDE + LEFT + (WIDE - LEFT - RIGHT) / 2, HIGH - 2, "epoch", "soft mid")
        for number in range(len(order))
    ]
    return svg(max(len(order), 1) * WIDE, HIGH + 6, body or [text(20, 40, "no finite metrics")], "learning curves")


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """How often each class (rows) was taken for which (columns); shade is the share of the row."""
    size = len(classes)
    if size > 60:
        return heat_map(counts)
    cell = 34 if size <= 12 else 24 if size <= 30 else 14
    names = [name if len(name) <= 14 else name[:13] + "…" for name in classes]
    left = 44 + 6.2 * max(map(len, names))
    upright = max(map(len, names)) * 6.5 < cell - 2
    top = 44 if upright else 34 + 5.2 * max(map(len, names))
    body = [
        text(left + size * cell / 2, 14, "predicted", "soft mid"),
        turned(14, top + size * cell / 2, "true", -90, "soft mid"),
    ]
    for row, line in enumerate(counts):
        middle = top + (row + 0.5) * cell
        body.append(text(left - 8, middle + 4, names[row], "end"))
        across = left + (row + 0.5) * cell
        body.append(
            text(across, top - 8, names[row], "mid") if upright else turned(across + 4, top - 8, names[row], -50, "")
        )
        total = max(sum(line), 1)
        for column, count in enumerate(line):
            share = count / total
            colour = "var(--first)" if row == column else "var(--bad)"
            shade = (0.12 + 0.7 * math.sqrt(share)) if count else 0.03
            hint = f"{classes[row]} taken for {classes[column]}: {count} of {sum(line)}"
            body.append(
                f'<rect x="{left + column * cell:.1f}" y="{top + row * cell:.1f}" width="{cell - 2}" '
                f'height="{cell - 2}" rx="3" style="fill: {colour}; fill-opacity: {shade:.2f}">'
                f"<title>{escape(hint)}</title></rect>"
            )
            if count and cell > 14:
                body.append(
                    text(left + (column + 0.5) * cell - 1, middle + 3, count, "mid" if count < 1000 else "mid tiny")
                )
    return svg(left + size * cell + 16, top + size * cell + 10, body, "confusion matrix")


def turned(x: float, y: float, words: str, degrees: float, kind: str) -> str:
    """Text at an angle."""
    return f'<text transform="translate({x:.1f} {y:.1f}) rotate({degrees})" class="{kind}">{escape(words)}</text>'


def heat_map(counts: Sequence[Sequence[int]]) -> str:
    """A confusion matrix of many classes as one small image, without names."""
    import numpy as np
    from PIL import Image

    share = np.asarray(counts, dtype=float)
    share = np.sqrt(share / np.maximum(share.sum(1, keepdims=True), 1))
    pixels = np.zeros((*share.shape, 4), dtype=np.uint8)
    pixels[...] = (200, 55, 45, 0)
    pixels[np.eye(len(share), dtype=bool)] = (47, 111, 219, 0)
    pixels[..., 3] = (255 * share).astype(np.uint8)
    side = 560
    picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
    frame = f'<rect x="30" y="24" width="{side}" height="{side}" fill="none" class="grid"/>'
    image = f'<image x="30" y="24" width="{side}" height="{side}" href="{png(picture)}"/>'
    names = [text(30 + side / 2, 14, "predicted", "soft mid"), turned(18, 24 + side / 2, "true", -90, "soft mid")]
    return svg(side + 40, side + 32, [frame, image, *names], "confusion matrix")


def png(picture) -> str:
    """An image as an address that carries the image itself."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return carried(buffer.getvalue(), "png")


def carried(content: bytes, kind: str) -> str:
    """A file as an address that carries the file itself."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def thumbnail(image):
    """A tensor in [0, 1] with one or three channels, as a PIL image of at most 224 pixels."""
    from PIL import Image

    pixels = (image * 255).round().byte()
    array = pixels[0].numpy() if len(pixels) != 3 else pixels.permute(1, 2, 0).numpy()
    picture = Image.fromarray(array)
    picture.thumbnail((224, 224))
    return picture
