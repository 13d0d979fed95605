"""Find the fastest batch size: `python train.py tune=true`."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from blocks.graph import Composed
from tasks.callbacks.step_time import StepTime
from tasks.config import instantiate
from tasks.process import runtime
from tasks.run.fit import run_trainer

STEPS = 6  # of each batch size; the first of them warm up
GAIN = 1.05  # by which twice the batch must be faster for the search to continue
MEMORY_SHARE = 0.8  # of the free memory that a step may take


@dataclass(frozen=True)
class Tried:
    """A batch size that was tried.

    Args:
        batch_size: samples in a batch.
        speed: samples a second; None where the memory does not suffice.
    """

    batch_size: int
    speed: float | None

    def __str__(self) -> str:
        if self.speed is None:
            return f"{self.batch_size:>10,}  too large"
        return f"{self.batch_size:>10,}  {self.speed:,.0f} samples a second"


def tune_batch_size(composed: Composed, task: Any, data: Any) -> list[dict[str, Any]]:
    """Measure batch sizes and print the best one; the weights that result are of no use.

    Returns:
        Each batch size that was tried, with its speed.
    """
    changes = {
        "max_steps": STEPS,
        "max_epochs": -1,
        "limit_val_batches": 0,
        "enable_checkpointing": False,
    }
    short = Composed({**composed.config, "trainer": {**composed.config["trainer"], **changes}})

    def fit(callbacks: list[Any]) -> None:
        given = {"callbacks": callbacks, "logger": False}
        trainer = instantiate.make(short, ("trainer",), given, without=runtime.OWN_OPTIONS)
        run_trainer(trainer.fit, task, train_dataloaders=data.train_dataloader())

    tried = []
    step = StepMeasure(fit, data)
    for result in try_batch_sizes(step, data.batch_size, data.sizes()["train"]):
        print(result, flush=True)
        tried.append(result)
    best = choose_batch_size(tried)
    print(
        f"data.batch_size={best.batch_size} is the smallest within {GAIN - 1:.0%} of the fastest; "
        "another batch size needs another optimizer.lr"
    )
    return [{"batch_size": each.batch_size, "speed": each.speed} for each in tried]


def try_batch_sizes(
    measure: Callable[[int], float | None], first: int, samples: int
) -> Iterator[Tried]:
    """Double the batch size while it becomes faster, and memory and samples suffice.

    Args:
        measure: batch size -> seconds of a step; None where the memory does not suffice.
        first: the first batch size.
        samples: the number of training samples.
    """
    size = min(first, samples)
    previous = 0.0
    while size <= samples:
        seconds = measure(size)
        if seconds is None:
            yield Tried(size, None)
            return
        speed = size / seconds
        yield Tried(size, speed)
        if speed < GAIN * previous:
            return
        previous = speed
        size *= 2


def choose_batch_size(tried: list[Tried]) -> Tried:
    """Return the smallest batch size that is about as fast as the fastest."""
    fastest = max(each.speed or 0.0 for each in tried)
    return next(each for each in tried if GAIN * (each.speed or 0.0) >= fastest)


class StepMeasure:
    """Measures the time of a step at a batch size.

    Args:
        fit: trains for a few steps with the given callbacks.
        data: the data module, whose `batch_size` is set.
    """

    def __init__(self, fit: Callable[[list[Any]], None], data: Any):
        self.fit = fit
        self.data = data
        self.last: tuple[int, int] | None = None  # batch size, and bytes that it took

    def __call__(self, size: int) -> float | None:
        if self._exceeds_memory(size):
            return None
        self.data.batch_size = size
        clock = StepTime()
        before = resident_memory()
        try:
            self.fit([clock])
        except torch.OutOfMemoryError:
            return None
        taken = max(resident_memory() - before, 0)
        if self.last is not None:
            taken += self.last[1]
        self.last = size, taken
        return clock.median

    def _exceeds_memory(self, size: int) -> bool:
        """Return whether the step would take too much of the free memory, by proportion."""
        free = free_memory()
        if free is None or self.last is None:
            return False
        last_size, last_bytes = self.last
        return last_bytes * size / last_size > MEMORY_SHARE * free


def free_memory() -> int | None:
    """Return the available memory in bytes; None where the system does not report it."""
    file = Path("/proc/meminfo")
    if not file.is_file():
        return None
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    return None


def resident_memory() -> int:
    """Return the resident memory of this process in bytes; 0 where the system does not report
    it.
    """
    file = Path("/proc/self/statm")
    if not file.is_file():
        return 0
    pages = int(file.read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
