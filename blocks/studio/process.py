"""Asks the process that answers (`answers.py`), and replaces it when it ends or takes too long."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blocks.support.answers import error_entry
from blocks.support.program import DOOR

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

    def __init__(self, project: Path, about: str = "models", seconds: float = SECONDS):
        self.project, self.about, self.seconds = project, about, seconds
        self.process: asyncio.subprocess.Process | None = None
        self.lock = asyncio.Lock()

    async def ask(self, ask: str, **arguments: Any) -> dict[str, Any]:
        """Ask a question (`engine.Studio`); the answer has `errors`."""
        async with self.lock:
            try:
                if self.process is None:
                    await asyncio.wait_for(self._start(), START)
                question = {"ask": ask, **arguments}
                return await asyncio.wait_for(self._exchange(question), self.seconds)
            except (TimeoutError, asyncio.TimeoutError):
                problem, fix = "there was no answer in time", "a smaller model"
            except (OSError, EOFError, ValueError):
                problem, fix = "the process that answers has ended", "try again"
            await self._stop()
            return {"errors": [error_entry(problem, code="too-slow", where="the page", fix=fix)]}

    async def start(self) -> None:
        """Start the process before it is asked."""
        await self.ask("nothing")

    async def _start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(str(DOOR), "studio", "--answers", self.about),
            cwd=self.project,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LARGEST,
        )
        await self._receive()

    async def _exchange(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        await self.process.stdin.drain()
        return await self._receive()

    async def _receive(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            raise EOFError
        found: dict[str, Any] = json.loads(line)
        return found

    async def stop(self) -> None:
        """End the process; the next question starts another."""
        async with self.lock:
            await self._stop()

    async def _stop(self) -> None:
        process, self.process = self.process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
