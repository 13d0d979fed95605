"""Duration of a training step."""

import math
import statistics
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class StepTime(Callback):
    """Measures every step: forward, backward and the optimizer, without reading the batch.

    On a GPU this is the time to queue a step, which equals its duration once the queue is full.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.started = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any
    ) -> None:
        self.started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any
    ) -> None:
        self.seconds.append(time.perf_counter() - self.started)

    @property
    def median(self) -> float:
        """Median duration of a step in seconds; a slow first step does not count."""
        if not self.seconds:
            return math.nan
        return statistics.median(self.seconds)
