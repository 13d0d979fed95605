"""Duration of a training step, and how many samples and tokens a second are trained on."""

import math
import statistics
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from tasks import lightning
from tasks.parallel.strategy import group_size

TEXTS = ("tokens", "source", "target")  # entries of a batch, (batch, tokens) each


class StepTime(Callback):
    """Measures every step: forward, backward and the optimizer, without reading a value.

    On a GPU this is the time to queue a step, which equals its duration once the queue is full.
    Speeds count from the end of the first step, which warms up, and leave out all that is no
    training: validation, checkpoints.

    Attributes:
        seconds: of each step.
        waited: seconds in which the next batch was waited for.
        samples: of all processes.
        tokens: of all processes, padding included; 0 where batches have none.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.started = 0.0
        self.waited = 0.0
        self.samples = self.tokens = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        lightning.time_fetches(trainer, self.wait)
        self.shares = trainer.world_size // group_size(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any
    ) -> None:
        self.started = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any = None,
        batch: Any = None,
        *rest: Any,
    ) -> None:
        self.seconds.append(time.perf_counter() - self.started)
        if len(self.seconds) == 1:
            self.waited = 0.0
        elif isinstance(batch, dict):
            tensors = [value for value in batch.values() if isinstance(value, Tensor)]
            self.samples += len(tensors[0]) * self.shares if tensors and tensors[0].dim() else 0
            texts = [batch[name] for name in TEXTS if isinstance(batch.get(name), Tensor)]
            self.tokens += sum(text.numel() for text in texts) * self.shares

    def wait(self, seconds: float) -> None:
        """Add the time that one batch was waited for."""
        self.waited += seconds

    @property
    def median(self) -> float:
        """Median duration of a step in seconds; a slow first step does not count."""
        if not self.seconds:
            return math.nan
        return statistics.median(self.seconds)

    def measures(self) -> dict[str, float]:
        """Return samples and tokens a second and the share of the time that went by in waiting for
        data, by name; nothing before the second step.
        """
        seconds = sum(self.seconds[1:]) + self.waited
        if not self.samples or not seconds:
            return {}
        found = {"train/samples per second": self.samples / seconds}
        if self.tokens:
            found["train/tokens per second"] = self.tokens / seconds
        return {**found, "train/waiting": self.waited / seconds}

    def text(self) -> str:
        """Return the speed in a few words, the time of waiting where it is a twentieth or more."""
        found = self.measures()
        if not found:
            return ""
        unit = "tokens" if self.tokens else "samples"
        text = f"{found[f'train/{unit} per second']:,.0f} {unit}/s"
        if found["train/waiting"] >= 0.05:
            text += f"  waiting {found['train/waiting']:.0%}"
        return text


def format_speed(trainer: pl.Trainer) -> str:
    """Return the speed of a training so far in a few words; empty where nothing measures it."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return "".join(each.text() for each in callbacks if isinstance(each, StepTime))
