"""Progress of a training: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tasks.callbacks.step_time import format_speed
from tasks.errors import must_be_one_of

SIGNAL = " Signaling Trainer to stop."
SHOWN = ("train/loss", "val/loss", "val/accuracy", "val/r2", "val/miou", "val/map")


class Progress(Callback):
    """Shows the progress of training.

    Args:
        style: "bar", "lines", "none", or "auto" for a bar on a terminal and lines elsewhere.
        lines: largest number of plain lines for one run.
    """

    def __init__(self, style: str = "auto", lines: int = 20):
        must_be_one_of("style", style, ("auto", "bar", "lines", "none"))
        self.console = Console(file=sys.stdout)
        if style == "auto":
            style = "bar" if self.console.is_terminal else "lines"
        self.style = style
        self.lines = lines
        self.bar: Bar | None = None
        self.task: Any = None
        self.last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.monotonic()
        if self.style != "bar" or not trainer.is_global_zero:
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(),
        )
        self.bar = Bar(*columns, console=self.console, refresh_per_second=4)
        total: float | None = trainer.estimated_stepping_batches
        if total == float("inf"):
            total = None
        self.task = self.bar.add_task("", total=total, metrics="")
        self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if self.bar is not None and time.monotonic() - self.last > 0.2:
            self.last = time.monotonic()
            self._update(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.bar is not None and not trainer.sanity_checking:
            self._update(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.style != "lines" or not trainer.is_global_zero:
            return
        epoch, total = trainer.current_epoch + 1, trainer.max_epochs or -1
        every = max(1, -(-total // self.lines))
        if epoch == 1 or epoch % every == 0 or epoch == total:
            seconds = time.monotonic() - self.started
            parts = format_epoch(trainer), format_metrics(trainer), format_speed(trainer)
            print("  ".join([*filter(None, parts), f"{seconds:.0f} s"]), flush=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close(trainer)
        if self.style == "none" or not trainer.should_stop or not trainer.is_global_zero:
            return
        for callback in trainer.early_stopping_callbacks:
            if callback.stopping_reason_message:
                reason = callback.stopping_reason_message.removesuffix(SIGNAL)
                print(f"stopped early in {format_epoch(trainer)}: {reason}", flush=True)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._close(trainer)

    def _update(self, trainer: pl.Trainer) -> None:
        assert self.bar is not None
        self.bar.update(
            self.task,
            completed=trainer.global_step,
            description=format_epoch(trainer),
            metrics="  ".join(filter(None, (format_metrics(trainer), format_speed(trainer)))),
        )

    def _close(self, trainer: pl.Trainer) -> None:
        if self.bar is not None:
            self._update(trainer)
            self.bar.stop()
            self.bar = None


def format_epoch(trainer: pl.Trainer) -> str:
    """Format the current epoch, counted from one, and their number."""
    current, total = trainer.current_epoch + 1, trainer.max_epochs
    if not total or total < 0:
        return f"epoch {current}/?"
    return f"epoch {min(current, total)}/{total}"


def format_metrics(trainer: pl.Trainer) -> str:
    """Format the newest values of the most important metrics."""
    values = trainer.callback_metrics
    parts = []
    for name in SHOWN:
        if name in values:
            parts.append(f"{name.replace('/', ' ')} {float(values[name]):.4f}")
    return "  ".join(parts)
