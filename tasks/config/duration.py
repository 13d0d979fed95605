"""Durations as people write them: 10m, 1h30m, 90s."""

import datetime
import re

UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
WHOLE = re.compile(rf"(?:{PART.pattern})+")


def is_duration(value: object) -> bool:
    """Return whether a value is a duration of more than zero."""
    if not isinstance(value, str) or not WHOLE.fullmatch(value):
        return False
    return parse_duration(value) > datetime.timedelta(0)


def parse_duration(text: str) -> datetime.timedelta:
    """Return the duration that a text states, e.g. "1h30m"."""
    total = datetime.timedelta(0)
    for number, unit in PART.findall(text):
        total += datetime.timedelta(**{UNITS[unit]: float(number)})
    return total
