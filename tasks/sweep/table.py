"""The results of a sweep as CSV files, and as a table for the terminal."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from blocks.support.text_table import align_columns, column_widths
from tasks.sweep.results import (
    Row,
    group_by_seed,
    list_measures,
    list_metrics,
    list_settings,
    value_of,
)


def write_csv(folder: Path, rows: Sequence[Row]) -> None:
    """Write sweep.csv, one line for each run, and sweep_mean.csv, one for each setting."""
    keys = list_settings(rows)
    columns = [*list_measures(rows), "seconds"]
    with open_csv(folder / "sweep.csv") as file:
        writer = csv.writer(file)
        writer.writerow(["job", *keys, "status", *columns, "folder", "error"])
        for row in rows:
            settings = [value_of(row, key) for key in keys]
            numbers = [row.get(name, "") for name in columns]
            error = " ".join(row["error"].split())
            writer.writerow([row["job"], *settings, row["status"], *numbers, row["folder"], error])
    means = group_by_seed(rows)
    with open_csv(folder / "sweep_mean.csv") as file:
        table = csv.DictWriter(file, list(means[0]))
        table.writeheader()
        for mean in means:
            table.writerow({name: "" if is_nan(value) else value for name, value in mean.items()})


def open_csv(path: Path) -> IO[str]:
    """Open a CSV file for writing."""
    return path.open("w", newline="", encoding="utf-8", errors="backslashreplace")


def is_nan(value: object) -> bool:
    """Return whether a value is a number that is not defined."""
    return isinstance(value, float) and math.isnan(value)


def format_table(rows: Sequence[Row]) -> str:
    """Return what the terminal shows: every run; mean and spread where there are several seeds; the
    runs that failed, with their errors.
    """
    keys = list_settings(rows)
    metrics = list_metrics(rows)
    header = ["job", *keys, "status", *map(format_name, metrics), "seconds"]
    lines = [format_row(row, keys, metrics) for row in rows]
    parts = [format_columns(header, lines)]
    if "seed" in keys and len(rows) > 1 and metrics:
        others = [key for key in keys if key != "seed"]
        parts.append(format_means(group_by_seed(rows), others, metrics))
    for row in rows:
        if row["status"] != "finished":
            parts.append(format_failure(row))
    return "\n\n".join(parts)


def format_name(metric: str) -> str:
    """Return the name of a metric as people write it."""
    return metric.replace("/", " ")


def format_row(row: Row, keys: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Return the cells of one run."""
    cells = [str(row["job"])]
    cells += [value_of(row, key) for key in keys]
    cells.append(row["status"])
    for name in metrics:
        cells.append(f"{row[name]:.4f}" if name in row else "")
    cells.append(f"{row['seconds']:.0f}" if "seconds" in row else "")
    return cells


def format_failure(row: Row) -> str:
    """Return the lines about a run that failed."""
    lines = [f"job {row['job']} {row['status']}: {' '.join(row['overrides'])}"]
    lines += [f"  {line}" for line in row["error"].splitlines()]
    return "\n".join(lines)


def format_means(means: Sequence[Row], keys: Sequence[str], metrics: Sequence[str]) -> str:
    """Return the table of means over seeds."""
    header = [*keys, "runs", *(f"{format_name(name)} (mean ± std)" for name in metrics)]
    lines = []
    for mean in means:
        cells = [mean[key] for key in keys]
        cells.append(str(mean["runs"]))
        cells += [format_mean(mean[f"{name} mean"], mean[f"{name} std"]) for name in metrics]
        lines.append(cells)
    return format_columns(header, lines)


def format_mean(mean: float, deviation: float) -> str:
    """Return a mean with its standard deviation, as far as they are defined."""
    if math.isnan(mean):
        return ""
    if math.isnan(deviation):
        return f"{mean:.4f}"
    return f"{mean:.4f} ± {deviation:.4f}"


def format_columns(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Align columns of text; numbers are aligned to the right."""
    rule = ["-" * width for width in column_widths([header, *lines])]
    left = set()
    for line in lines:
        for column, cell in enumerate(line):
            if cell.strip("0123456789.-± "):
                left.add(column)
    return "\n".join(align_columns([header, rule, *lines], left))
