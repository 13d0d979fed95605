"""Asks the process that answers (`answers.py`), and replaces it when it takes too long."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from blocks.support.answers import error_entry
from blocks.support.files import CONFINED
from blocks.support.program import DOOR

MISTAKE = 2
START = 300.0  # seconds within which the process starts
LARGEST = 2_000_000  # bytes of an answer: text as JSON inside of JSON
Answer = dict[str, Any]


def confined_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a process that is confined to a folder."""
    return {**os.environ, CONFINED: str(folder), "DOUGONG_ERRORS": "json"}


def failed(problem: str, *, code: str, status: int = MISTAKE, **parts: Any) -> Answer:
    """Return the answer for one error."""
    return {"errors": [error_entry(problem, code=code, **parts)], "status": status}


class Questions:
    """One process that answers one question at a time.

    Args:
        folder: the project.
        seconds: within which an answer must come.
    """

    def __init__(self, folder: Path, seconds: float):
        self.folder, self.seconds = folder, seconds
        self.lock = anyio.Lock()
        self.process: Process | None = None
        self.answers: BufferedByteReceiveStream | None = None

    async def ask(self, words: list[str], overrides: list[str]) -> tuple[Answer, str]:
        """Return the JSON that a command prints, and its notes.

        Args:
            words: the command line behind `dougong`.
            overrides: those among them.
        """
        async with self.lock:
            printed = None
            try:
                if self.process is None:
                    with anyio.fail_after(START):
                        await self._start()
                with anyio.move_on_after(self.seconds):
                    printed = await self._exchange({"words": words, "overrides": overrides})
            except (TimeoutError, anyio.EndOfStream, anyio.BrokenResourceError):
                return failed("the process that answers has ended", code="crash", status=1), ""
            finally:
                if printed is None:  # too slow, ended, or no longer wanted
                    await self.stop()
        if printed is None:
            problem = f"there was no answer within {self.seconds:g} seconds"
            fix = "fewer values or a smaller model"
            return failed(problem, code="too-slow", where=words[0], fix=fix), ""
        return json.loads(printed["out"]), printed["err"]

    async def _start(self) -> None:
        """Start the process, and wait until it can answer."""
        self.process = await anyio.open_process(
            [sys.executable, str(DOOR), "mcp", "--answers"],
            cwd=self.folder,
            env=confined_environment(self.folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
        )
        assert self.process.stdout is not None
        self.answers = BufferedByteReceiveStream(self.process.stdout)
        await self._receive()

    async def _exchange(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdin is not None
        await self.process.stdin.send(json.dumps(question).encode() + b"\n")
        return await self._receive()

    async def _receive(self) -> dict[str, Any]:
        assert self.answers is not None
        found: dict[str, Any] = json.loads(await self.answers.receive_until(b"\n", LARGEST))
        return found

    async def stop(self) -> None:
        """End the process; the next question starts another."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
