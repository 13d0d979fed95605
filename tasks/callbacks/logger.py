"""Metrics as a table with one row for each epoch.

The file is written again after each epoch, so that a killed run keeps what it had.
"""

import csv
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from blocks.support.files import replace_file

FIRST_COLUMNS = ("epoch", "step", "seconds")

Row = dict[str, float]


class CsvLogger(Logger):
    """Writes `metrics.csv` into the run folder.

    Args:
        folder: of the file.
        name: of the file.
    """

    def __init__(self, folder: str = ".", name: str = "metrics.csv"):
        super().__init__()
        self.path = Path(folder) / name
        self.rows: dict[int, Row] = {}
        self.started = time.monotonic()

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: the run folder has the configuration already."""

    @rank_zero_only
    def log_metrics(self, metrics: Row, step: int | None = None) -> None:
        self.add_metrics(self.rows, metrics, step)

    def add_metrics(self, rows: dict[int, Row], metrics: Row, step: int | None) -> None:
        """Add metrics to the row of their epoch; those of the test to the last row.

        Args:
            rows: by epoch, counted from one.
            metrics: by name; "epoch" is counted from zero.
            step: of the optimizer, counted from zero.
        """
        epoch = int(metrics.get("epoch", 0)) + 1
        if rows and all(name.startswith(("epoch", "test/")) for name in metrics):
            epoch = max(rows)
        else:
            step = (step or 0) + 1
        seconds = round(time.monotonic() - self.started, 2)
        row = rows.setdefault(epoch, {})
        row.update(metrics, epoch=epoch, step=step or 0, seconds=seconds)

    def copy_rows(self, metrics: Row | None = None, step: int | None = None) -> list[Row]:
        """Return a copy of all rows for a checkpoint, with metrics that will be logged after it."""
        rows = {epoch: dict(row) for epoch, row in self.rows.items()}
        if metrics:
            self.add_metrics(rows, metrics, step)
        return list(rows.values())

    def restore(self, rows: list[Row]) -> None:
        """Continue after the rows of a checkpoint, and the clock after its seconds."""
        self.rows = {int(row["epoch"]): dict(row) for row in rows}
        seconds = max((row["seconds"] for row in rows), default=0.0)
        self.started = time.monotonic() - seconds

    @rank_zero_only
    def save(self) -> None:
        if not self.rows:
            return
        names: set[str] = set().union(*self.rows.values())
        columns = [*FIRST_COLUMNS, *sorted(names.difference(FIRST_COLUMNS))]
        with (
            replace_file(self.path) as draft,
            draft.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            for row in self.rows.values():
                writer.writerow({name: format_value(value) for name, value in row.items()})

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()


def format_value(value: float) -> str:
    """Format a number with its significant digits."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.6g}"
