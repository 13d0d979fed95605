"""Asks the process that answers (`answers.py`), and replaces it when it ends or takes too long."""

import asyncio
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blocks.studio.ahead import MODELS, end, open_answers
from blocks.support.answers import error_entry

LARGEST = 64_000_000  # bytes of an answer
START = 120.0  # seconds within which the process starts
SECONDS = 60.0  # within which an answer comes


class Answers:
    """One process that answers one question at a time.

    Args:
        project: the folder in which it reads and writes.
        about: "models" or "runs".
        seconds: within which an answer comes.
    """

    def __init__(self, project: Path, about: str = MODELS, seconds: float = SECONDS):
        self.project, self.about, self.seconds = project, about, seconds
        self.process: subprocess.Popen[bytes] | None = None
        self.lock = asyncio.Lock()

    async def ask(self, ask: str, **arguments: Any) -> dict[str, Any]:
        """Ask a question (`engine.Studio`); the answer has `errors`."""
        async with self.lock:
            try:
                if self.process is None:
                    self.process = open_answers(self.project, self.about)
                    await self._within(START, None)
                return await self._within(self.seconds, {"ask": ask, **arguments})
            except (TimeoutError, asyncio.TimeoutError):
                problem, fix = "there was no answer in time", "a smaller model"
            except (OSError, EOFError, ValueError):
                problem, fix = "the process that answers has ended", "try again"
            await self._stop()
            return {"errors": [error_entry(problem, code="too-slow", where="the page", fix=fix)]}

    async def _within(self, seconds: float, question: Mapping[str, Any] | None) -> dict[str, Any]:
        """Ask, in a thread, which waits; raises TimeoutError."""
        assert self.process is not None
        asked = asyncio.to_thread(exchange, self.process, question)
        return await asyncio.wait_for(asked, seconds)

    async def stop(self) -> None:
        """End the process; the next question starts another."""
        async with self.lock:
            await self._stop()

    async def _stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            await asyncio.to_thread(end, process)


def exchange(
    process: "subprocess.Popen[bytes]", question: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Ask a question, where there is one, and wait for the next line.

    Raises:
        EOFError: the process has ended.
        ValueError: its answer is too long, or none.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    if question is not None:
        process.stdin.write(json.dumps(question).encode() + b"\n")
        process.stdin.flush()
    line = process.stdout.readline(LARGEST)
    if not line:
        raise EOFError
    found: dict[str, Any] = json.loads(line)
    return found
