"""Intervals of a mean over seeds."""

import statistics
from collections.abc import Sequence

LEVEL = 0.95


def mean_interval(numbers: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % t-interval of the mean; for paired runs, hand over their differences.

    Args:
        numbers: two or more; normal, and independent of each other.

    Source:
        Student 1908, doi:10.2307/2331554.
    """
    from scipy import stats  # imported when it is needed: it takes 0.2 s

    mean = statistics.fmean(numbers)
    error = statistics.stdev(numbers) / len(numbers) ** 0.5
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(numbers) - 1)) * error
    return mean - half, mean + half
