"""Questions about an architecture: one file a command, with `arguments(parser)` and `run(chosen) -> exit status`."""

import argparse
from pathlib import Path

from blocks.graph.errors import ConfigError, Problem


def levels(text: str) -> int:
    """How many levels of nested nodes are shown: a word of the command line as a whole number."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of levels; 0, 1, 2, ...")
    return int(text)


def write(file: Path, text: str, option: str) -> None:
    """Write a file that the command line names.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        problem = Problem(
            "the file cannot be written",
            "the command line",
            got=f"{option} {file} ({error.strerror})",
            fits="a file in a folder that exists",
        )
        raise ConfigError([problem]) from error
