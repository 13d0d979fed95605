"""Standard streams that take every text, and that may be closed before all is said."""

import io
import os
import sys
from collections.abc import Callable

OK, INTERRUPTED = 0, 130


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


def run_quietly(run: Callable[[], int]) -> int:
    """Run a command and return its exit status, without a traceback after Ctrl-C, or where the
    reader of its output has seen enough (`| head`).
    """
    try:
        status = run()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
