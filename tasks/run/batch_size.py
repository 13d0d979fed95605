"""Which batch size is the fastest (`python train.py tune=true`), and whether a network can learn
from it.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from blocks.graph import ConfigError, locate, plan
from tasks.callbacks.step_time import StepTime
from tasks.config import instantiate

STEPS, GAIN = (
    6,
    1.05,
)  # steps of each size, the first of which warm up; what twice the batch must bring to go on
SHARE = 0.8  # of the memory that is free


@dataclass(frozen=True)
class Tried:
    """A batch size and the samples a second that it reached; None where the memory does not hold
    it.
    """

    batch_size: int
    speed: float | None

    def __str__(self) -> str:
        return f"{self.batch_size:>10,}  " + (
            "too large" if self.speed is None else f"{self.speed:,.0f} samples a second"
        )


def find(seconds: Callable[[int], float | None], first: int, samples: int) -> Iterator[Tried]:
    """Double the batch as long as it pays, and there are memory and samples.

    Args:
        seconds: batch size -> the time of a step; None where the memory is too small.
        first: where to begin.
        samples: how many there are for training.
    """
    size, before = min(first, samples), 0.0
    while size <= samples:
        needed = seconds(size)
        yield Tried(size, None if needed is None else size / needed)
        if needed is None or size / needed < GAIN * before:
            return
        size, before = 2 * size, size / needed


def best(found: list[Tried]) -> Tried:
    """The smallest that is as good as the fastest."""
    fastest = max(tried.speed or 0.0 for tried in found)
    return next(tried for tried in found if GAIN * (tried.speed or 0.0) >= fastest)


class Measure:
    """Trains for a few steps at a batch size.

    Args:
        fit: trains for a few steps with the given callbacks.
        data: whose `batch_size` is set.
    """

    def __init__(self, fit: Callable[[list[Any]], None], data: Any):
        self.fit, self.data = fit, data
        self.last: tuple[int, int] | None = None  # size, and the memory that it took

    def __call__(self, size: int) -> float | None:
        free = free_memory()
        if (
            free is not None
            and self.last is not None
            and self.last[1] * size / self.last[0] > SHARE * free
        ):
            return None
        self.data.batch_size = size
        clock, held = StepTime(), resident()
        try:
            self.fit([clock])
        except torch.OutOfMemoryError:
            return None
        self.last = size, max(resident() - held, 0) + (self.last[1] if self.last else 0)
        return clock.median


def free_memory() -> int | None:
    """Bytes that the machine could still give; None where it does not say."""
    file = Path("/proc/meminfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None
    )


def resident() -> int:
    """Bytes that this process holds in memory; 0 where the system does not say."""
    file = Path("/proc/self/statm")
    return (
        int(file.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if file.is_file()
        else 0
    )


def check(composed: Any, facts: dict[str, Any], batch_size: int, samples: int) -> None:
    """Raise a ConfigError where a norm over the batch would meet a single value of each channel.

    Args:
        batch_size: samples in a batch, of each process.
        samples: training samples of each process; an incomplete batch is only taken where there is
            no other.
    """
    if min(batch_size, samples) > 1:
        return
    try:
        plan(composed, facts).run(samples=1)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        got = "batch_size=1"
        fix = (
            "data.batch_size=16, or a norm of each sample alone: model/norm=layernorm, "
            "model/conv=plain"
        )
        if batch_size > 1:
            got = f"one training sample for each process, batch_size={batch_size}"
            fix = fix.replace("data.batch_size=16", "more training samples")
        text = "batch norm takes the mean over a batch, and a batch has one sample"
        parts = {"got": got, "source": locate(error), "fits": "2 or more", "fix": fix}
        raise ConfigError(
            [instantiate.problem(composed, ("data", "batch_size"), text, **parts)]
        ) from error
