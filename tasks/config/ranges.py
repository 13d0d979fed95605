"""Ranges of values that fit their type and still cannot be trained with; Lightning and torch accept
some of them silently.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tasks.config.duration import is_duration

LARGEST = 2**63 - 1  # the largest integer that a checkpoint can hold


class Range(NamedTuple):
    """A range of values.

    Args:
        test: returns whether a value lies in it.
        must: what is wrong with a value outside, e.g. "must be positive".
        fits: what lies in it, e.g. "1 or more".
    """

    test: Callable[[Any], bool]
    must: str
    fits: str


def is_number(value: Any) -> bool:
    """Return whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count_or_null(value: Any) -> bool:
    """Return whether a value is a positive integer or None."""
    return value is None or (type(value) is int and value > 0)


SMALL_ENOUGH = Range(
    lambda value: not isinstance(value, int) or abs(value) <= LARGEST,
    "is too large",
    f"up to {LARGEST:,}",
)
POSITIVE = Range(lambda value: not is_number(value) or value > 0, "must be positive", "1 or more")
RATE = Range(lambda value: not is_number(value) or value > 0, "must be positive", "e.g. 0.001")
NOT_NEGATIVE = Range(
    lambda value: not is_number(value) or value >= 0, "must not be negative", "0 or more"
)
OR_ENDLESS = Range(
    lambda value: not is_number(value) or value >= -1,
    "must not be below -1",
    "1 or more; -1: no limit",
)
COUNT = Range(
    lambda value: not is_number(value) or value > 0 or value == -1,
    "names no device",
    "1 or more; -1: all",
)
PART = Range(
    lambda value: not is_number(value) or (value >= 0 and (isinstance(value, int) or value <= 1)),
    "is a share or a number of batches",
    "from 0.0 to 1.0, or a whole number",
)
DURATION = Range(
    lambda value: not isinstance(value, str) or bool(re.fullmatch(r"\d+:\d+:\d+:\d+", value)),
    "is no duration",
    '"00:01:30:00" in quotes: days, hours, minutes, seconds',
)
BUDGET = Range(
    lambda value: value is None or is_duration(value),
    "is no duration",
    "10m, 1h30m, 90s, 2d; null: no limit",
)
DEVICES = Range(is_count_or_null, "is a number of devices", "1 or more; null: all of a machine")
THREADS = Range(is_count_or_null, "is a number of threads", "1 or more; null: one for each core")
TOKENS = Range(is_count_or_null, "is a number of tokens", "1 or more; null: see the batches")
SWITCH = Range(
    lambda value: value is None or isinstance(value, bool), "must be true or false", "true, false"
)
COMPILE = Range(
    lambda value: value is None or isinstance(value, bool) or value == "whole",
    "must be true, false or whole",
    "true, false, whole",
)
SHARES = Range(
    lambda value: (
        not isinstance(value, list) or all(is_number(each) and 0 <= each < 1 for each in value)
    ),
    "must lie in [0, 1)",
    "[0.9, 0.999]",
)

RANGES: dict[str, dict[str, Range]] = {
    "optimizer": {
        **dict.fromkeys(("lr", "adamw_lr"), RATE),
        "weight_decay": NOT_NEGATIVE,
        "momentum": NOT_NEGATIVE,
        "eps": NOT_NEGATIVE,
        "betas": SHARES,
    },
    "trainer": {
        **dict.fromkeys(("max_epochs", "max_steps", "num_sanity_val_steps"), OR_ENDLESS),
        **dict.fromkeys(
            ("accumulate_grad_batches", "check_val_every_n_epoch", "num_nodes"), POSITIVE
        ),
        **dict.fromkeys(
            ("gradient_clip_val", "log_every_n_steps", "min_epochs", "min_steps"), NOT_NEGATIVE
        ),
        **dict.fromkeys(
            (
                "limit_train_batches",
                "limit_val_batches",
                "limit_test_batches",
                "val_check_interval",
            ),
            PART,
        ),
        "devices": COUNT,
        "max_time": DURATION,
        "time": BUDGET,
        "accumulate_tokens": TOKENS,
        **dict.fromkeys(("checkpoint_activations", "channels_last", "find_lr"), SWITCH),
        "compile": COMPILE,
        "tensor_parallel_size": DEVICES,
        "threads": THREADS,
    },
}


def find_violation(section: str, key: str, value: Any) -> Range | None:
    """Return the range that a value lies outside of; None if there is none."""
    if not SMALL_ENOUGH.test(value):
        return SMALL_ENOUGH
    found = RANGES.get(section, {}).get(key)
    if found is None or found.test(value):
        return None
    return found
