"""Learning curves of all runs on common axes."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from tasks import chart
from tasks.report import read_metrics
from tasks.sweep_page.view import View, plain

MOST = 4  # panels


def draw(view: View, place: Path) -> str:
    """A panel for each figure that is measured at every epoch; empty where no run got as far as two of them."""
    read = {row["job"]: read_metrics(place / row["folder"] / "metrics.csv") for row in view.rows if row["folder"]}
    names = sorted(
        {name for lines in read.values() for line in lines for name in line if name.startswith("val/")},
        key=lambda name: (name not in view.goal, name),
    )
    panels = [panel(view, read, name) for name in [*names, "train/loss"][:MOST]]
    found = [drawn for drawn in panels if drawn is not None]
    return chart.picture(found, "") if found else ""


def panel(view: View, read: Mapping[int, Sequence[dict[str, float]]], name: str) -> tuple[list[str], float] | None:
    """The curves of one figure, the best run on top."""
    order = [*(row for row in view.rows if row not in view.ranked), *reversed(view.ranked)]
    curves = {row["job"]: points(read.get(row["job"], ()), name) for row in order}
    every = [point for curve in curves.values() for point in curve]
    if not any(len(curve) > 1 for curve in curves.values()):
        return None
    across = chart.axis([x for x, _ in every], chart.LEFT, chart.LEFT + chart.INNER, log=False, room=0.0)
    down = chart.axis([y for _, y in every], chart.TOP + chart.HIGH, chart.TOP, log=False)
    out = chart.frame(across, down, "epoch", plain(name), {})
    by_job = {row["job"]: row for row in order}
    out += [line(view, by_job[job], [(across(x), down(y)) for x, y in curve]) for job, curve in curves.items() if curve]
    return out, chart.LEFT + chart.INNER + 24


def points(lines: Sequence[dict[str, float]], name: str) -> list[tuple[float, float]]:
    """Epoch and figure; the last of an epoch that has several."""
    return list({line["epoch"]: line[name] for line in lines if name in line and "epoch" in line}.items())


def line(view: View, row: dict[str, Any], pixels: Sequence[tuple[float, float]]) -> str:
    shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
    told = f"<title>{escape(view.told(row))}</title>"
    style = f'data-run="{row["job"]}" style="stroke: {view.tint(row)}"'
    if len(pixels) == 1:
        (x, y), fill = pixels[0], f'style="fill: {view.tint(row)}"'
        return f'<circle data-run="{row["job"]}" cx="{x:.1f}" cy="{y:.1f}" r="2.5" {fill}>{told}</circle>'
    return f'<polyline class="run-line" {style} points="{shown}">{told}</polyline>'
