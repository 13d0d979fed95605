"""A program: by which name it was started, `dougong train`, or `python train.py` in a checkout; and
its standard streams, which take every text and may be closed before all is said.
"""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

OK, INTERRUPTED = 0, 130
HOME = Path(__file__).resolve().parents[2]  # the checkout, or `site-packages`
DOOR = HOME / "dougong" / "__main__.py"
SCRIPT = HOME / "train.py"  # in a checkout


def started_as_dougong() -> bool:
    """Return whether the command `dougong` runs, or `python -m dougong`."""
    started = Path(sys.argv[0])
    return started.stem == "dougong" or started == DOOR


def command_line(module: str, words: str) -> str:
    """Return a command as the user types it: `python -m blocks explain`, or `dougong explain`.

    Args:
        module: "blocks" or "tasks".
        words: the command and what follows.
    """
    start = f"python -m {module}"
    if started_as_dougong():
        start = "dougong"
    return f"{start} {words}"


def train_command() -> list[str]:
    """Return the words that a user types to train: `python train.py`, or `dougong train`."""
    return ["dougong", "train"] if started_as_dougong() else ["python", "train.py"]


def train_script() -> list[str]:
    """Return the words after `python` that start the program that trains, in any folder."""
    if started_as_dougong() or not SCRIPT.is_file():
        return [str(DOOR), "train"]
    return [str(SCRIPT)]


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
