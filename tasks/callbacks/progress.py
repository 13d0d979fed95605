"""How a run tells where it stands: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tasks.errors import must_be_one_of

SHOWN = ("train/loss", "val/loss", "val/accuracy")


class Progress(Callback):
    """Tells the progress of training.

    Args:
        style: "bar", "lines", "none", or "auto" for a bar on a terminal and lines elsewhere.
        lines: at most so many plain lines for one run.
    """

    def __init__(self, style: str = "auto", lines: int = 20):
        must_be_one_of("style", style, ("auto", "bar", "lines", "none"))
        self.console = Console(file=sys.stdout)
        self.style = ("bar" if self.console.is_terminal else "lines") if style == "auto" else style
        self.lines = lines
        self.bar: Bar | None = None
        self.task: Any = None
        self.last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.monotonic()
        if self.style != "bar" or not trainer.is_global_zero:
            return
        text = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
        )
        self.bar = Bar(*text, console=self.console, refresh_per_second=4)
        total = trainer.estimated_stepping_batches
        self.task = self.bar.add_task("", total=total if total != float("inf") else None, told="")
        self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if self.bar is not None and time.monotonic() - self.last > 0.2:
            self.last = time.monotonic()
            self._show(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.bar is not None and not trainer.sanity_checking:
            self._show(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.style != "lines" or not trainer.is_global_zero:
            return
        epoch, total = trainer.current_epoch + 1, trainer.max_epochs or -1
        every = max(1, -(-total // self.lines))
        if epoch == 1 or epoch % every == 0 or epoch == total:
            spent = time.monotonic() - self.started
            print(f"{self._epoch(trainer)}  {told(trainer)}  {spent:.0f} s", flush=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close(trainer)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._close(trainer)

    def _epoch(self, trainer: pl.Trainer) -> str:
        current, total = trainer.current_epoch + 1, trainer.max_epochs
        if not total or total < 0:
            return f"epoch {current}/?"
        return f"epoch {min(current, total)}/{total}"

    def _show(self, trainer: pl.Trainer) -> None:
        assert self.bar is not None
        step = trainer.global_step
        self.bar.update(
            self.task, completed=step, description=self._epoch(trainer), told=told(trainer)
        )

    def _close(self, trainer: pl.Trainer) -> None:
        if self.bar is not None:
            self._show(trainer)
            self.bar.stop()
            self.bar = None


def told(trainer: pl.Trainer) -> str:
    """The newest metrics in a few words."""
    values = trainer.callback_metrics
    return "  ".join(
        f"{name.replace('/', ' ')} {float(values[name]):.4f}" for name in SHOWN if name in values
    )
