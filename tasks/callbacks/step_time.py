"""How long a step of training takes."""

import math
import statistics
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class StepTime(Callback):
    """Times every step: forward, backward and the optimiser, without the reading of the batch.

    On a GPU the clock sees how fast steps are handed over, which is how fast they are done once its
    queue is full.
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
        """The step in the middle, in seconds: neither a slow first one nor an interrupted one
        counts.
        """
        return statistics.median(self.seconds) if self.seconds else math.nan
