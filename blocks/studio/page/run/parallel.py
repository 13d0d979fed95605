"""Parallel coordinates of a sweep: an axis for each key, and one for a measure."""

from collections.abc import Sequence
from typing import Any

from tasks.sweep.results import Row, list_metrics, list_settings, value_of

GREY = "#8791A1"
COLORS = ("#3B6FB6", "#2E9E6B", "#D9A21B", "#D95F02")  # from the least to the largest
SCORES = ("val/accuracy", "val/loss")  # first of what a validation measures


def list_axes(rows: Sequence[Row]) -> list[str]:
    """Return the measures of a sweep: those of its tests, then of its validations."""
    validated = {name for row in rows for name in row if name.startswith("val/")}
    order = [name for name in SCORES if name in validated]
    return [*list_metrics(rows), *order, *sorted(validated - set(order))]


def shorten(key: str) -> str:
    """Return the last word of a key: lr for optimizer.lr, norm for model/norm."""
    return key.replace("/", ".").rpartition(".")[2]


def draw_parallel(rows: Sequence[Row], measure: str) -> dict[str, Any]:
    """Return a line for each training that has the measure, in the colour of its value.

    Args:
        rows: of the sweep.
        measure: on the last axis.
    """
    keys = list_settings(rows)
    shown = [row for row in rows if measure in row]
    axes: list[dict[str, Any]] = []
    for place, key in enumerate(keys):
        values = list(dict.fromkeys(value_of(row, key) for row in rows))
        axes.append({"dim": place, "name": shorten(key), "type": "category", "data": values})
    axes.append({"dim": len(keys), "name": measure, "scale": True})
    lines = [[*(value_of(row, key) for key in keys), row[measure]] for row in shown]
    numbers = [row[measure] for row in shown]
    style = {"axisLabel": {"color": GREY}, "nameTextStyle": {"color": GREY}}
    series = {"type": "parallel", "lineStyle": {"width": 2.5, "opacity": 0.8}, "data": lines}
    found = {
        "animation": False,
        "tooltip": {},
        "parallel": {
            "left": 60,
            "right": 110,
            "top": 40,
            "bottom": 20,
            "parallelAxisDefault": {"nameLocation": "end", **style},
        },
        "parallelAxis": axes if shown else [],
        "series": [series] if shown else [],
    }
    if shown:
        found["visualMap"] = {
            "dimension": len(keys),
            "min": min(numbers),
            "max": max(numbers) if max(numbers) > min(numbers) else min(numbers) + 1e-9,
            "inRange": {"color": list(COLORS)},
            "show": False,
        }
    return found
