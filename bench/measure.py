"""Interleaved timing: every round asks every contender once, in turning order; only ratios within a
round count.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Ask = Callable[[Any], tuple[float, float]]
WARM = 2  # rounds that do not count


@dataclass
class Times:
    """Seconds of each round, by contender: of the clock and of the processor."""

    clock: dict[str, list[float]] = field(default_factory=dict)
    processor: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        return statistics.median(self.clock[name])

    def ratio(self, name: str, other: str, kind: str = "clock") -> tuple[float, float, float]:
        """The median of the ratios of the rounds, and their quartiles."""
        taken: dict[str, list[float]] = getattr(self, kind)
        pairs = [a / b for a, b in zip(taken[name], taken[other], strict=True)]
        low, _, high = statistics.quantiles(pairs, n=4) if len(pairs) > 1 else (pairs[0],) * 3
        return statistics.median(pairs), low, high

    def fastest(self, names: list[str]) -> str:
        """The one whose median is the lowest."""
        return min(names, key=self.median)


def timed(step: Callable[[], object]) -> tuple[float, float]:
    """Seconds that a call takes, by the clock and of the processor."""
    gc.collect()  # what was left before is not cleared away on this one's time
    clock, processor = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - clock, time.process_time() - processor


def interleave(steps: Mapping[str, Any], rounds: int, warm: int = WARM, ask: Ask = timed) -> Times:
    """Ask for all steps once a round; each round begins with the next one.

    What is left after the rounds that do not count stays, so that the collector need not look at it
    before each step.
    """
    times = Times({name: [] for name in steps}, {name: [] for name in steps})
    names = list(steps)
    for number in range(-warm, rounds):
        if number == 0:
            gc.collect()
            gc.freeze()
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            clock, processor = ask(steps[name])
            if number >= 0:
                times.clock[name].append(clock)
                times.processor[name].append(processor)
    gc.unfreeze()
    return times
