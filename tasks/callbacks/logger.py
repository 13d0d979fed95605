"""Metrics as a table: one row for each epoch, written anew after each, so that a killed run keeps
what it had.
"""

import csv
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from blocks.support.files import replace_file

FIRST = ("epoch", "step", "seconds")


class CsvLogger(Logger):
    """Writes `metrics.csv` into the run folder.

    Args:
        folder: where the file stands.
        name: the name of the file.
    """

    def __init__(self, folder: str = ".", name: str = "metrics.csv"):
        super().__init__()
        self.path = Path(folder) / name
        self.rows: dict[int, dict[str, float]] = {}
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
        """The run folder has the configuration already."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.add(self.rows, metrics, step)

    def add(
        self, rows: dict[int, dict[str, float]], metrics: dict[str, float], step: int | None
    ) -> None:
        """Put what was measured into its row."""
        epoch = int(metrics.get("epoch", 0)) + 1  # counted from one, as the terminal does
        if rows and all(name.startswith(("epoch", "test/")) for name in metrics):
            epoch = max(rows)  # the test comes after the last epoch and is no epoch of its own
        else:
            step = (step or 0) + 1
        row = rows.setdefault(epoch, {})
        row.update(
            metrics, epoch=epoch, step=step or 0, seconds=round(time.monotonic() - self.started, 2)
        )

    def table(
        self, metrics: dict[str, float] | None = None, step: int | None = None
    ) -> list[dict[str, float]]:
        """All rows, for a checkpoint; with what is about to be logged, where it is known
        already.
        """
        rows = {epoch: dict(row) for epoch, row in self.rows.items()}
        if metrics:
            self.add(rows, metrics, step)
        return list(rows.values())

    def restore(self, rows: list[dict[str, float]]) -> None:
        """Go on behind the rows of a checkpoint; the clock goes on, too."""
        self.rows = {int(row["epoch"]): dict(row) for row in rows}
        self.started = time.monotonic() - max((row["seconds"] for row in rows), default=0.0)

    @rank_zero_only
    def save(self) -> None:
        if not self.rows:
            return
        found = dict.fromkeys(name for row in self.rows.values() for name in row)
        columns = [*FIRST, *sorted(name for name in found if name not in FIRST)]
        with (
            replace_file(self.path) as draft,
            draft.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(
                {name: shown(value) for name, value in row.items()} for row in self.rows.values()
            )

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()


def shown(value: float) -> str:
    """A number with the digits it is worth."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
