"""Standard streams that take every text, whatever the terminal can show."""

import io
import sys


def spare_streams() -> None:
    """Print a character that the terminal lacks as `\\u82b1`, and read bytes that are no text,
    instead of failing.

    A locale that knows ASCII alone says nothing about standard input, which is then read as UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        plain = sys.stdin.encoding.lower() in ("ascii", "us-ascii", "ansi_x3.4-1968", "646")
        sys.stdin.reconfigure(encoding="utf-8" if plain else None, errors="surrogateescape")
