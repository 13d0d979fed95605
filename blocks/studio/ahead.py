"""Starts the process that answers; that about models before the server has imported anything, so
that both import at once.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from blocks.support.files import CONFINED
from blocks.support.program import DOOR

MODELS = "models"
ALONE = {"--answers", "--queue", "-h", "--help"}  # with which no server is started
waiting: list[tuple[Path, "subprocess.Popen[bytes]"]] = []


@contextmanager
def started_ahead(words: Sequence[str]) -> Iterator[None]:
    """Start the process for the server of a command line, which is about to be read; end it where
    no server took it.
    """
    if ALONE.isdisjoint(word.partition("=")[0] for word in words):
        project = Path.cwd()
        waiting.append((project, spawn(project, MODELS, {CONFINED: str(project)})))
    try:
        yield
    finally:
        while waiting:
            end(waiting.pop()[1])


def open_answers(project: Path, about: str) -> "subprocess.Popen[bytes]":
    """Return a process that answers: the one that was started ahead, or another one.

    Args:
        project: the folder in which it reads and writes.
        about: "models" or "runs".
    """
    if about == MODELS and waiting and waiting[-1][0] == project:
        return waiting.pop()[1]
    return spawn(project, about, {})


def spawn(project: Path, about: str, more: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a process that answers, which ends with its standard input."""
    return subprocess.Popen(
        [sys.executable, str(DOOR), "studio", "--answers", about],
        cwd=project,
        env={**os.environ, **more},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, and wait for it."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()
