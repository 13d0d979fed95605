"""Trains in a process of its own, for a number of seconds."""

import json
import re
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.text import TextReceiveStream

from blocks.support.program import DOOR
from dougong.agents.questions import Answer, confined_environment, failed

START = 300.0  # seconds within which data are read and the network is built
SAVE = 60.0  # seconds within which a run saves
READ = 5.0  # seconds within which the rest of the output is read
KEPT = 40  # lines of the output
STARTED = re.compile(r"run folder (.+)$")


class Training:
    """A process that trains.

    Args:
        folder: the project.
        words: the command line behind `dougong`.
    """

    def __init__(self, folder: Path, words: list[str]):
        self.folder, self.words = folder, words
        self.lines: deque[str] = deque(maxlen=KEPT)
        self.started, self.ended, self.is_read = anyio.Event(), anyio.Event(), anyio.Event()
        self.run: str | None = None  # the run folder
        self.is_stopped = False

    async def train(self, seconds: float) -> None:
        """Train for so many seconds, then let the run save and end."""
        process = await anyio.open_process(
            [sys.executable, str(DOOR), *self.words],
            cwd=self.folder,
            env=confined_environment(self.folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read, process.stdout)
                tasks.start_soon(self._wait, process)
                with anyio.move_on_after(START):
                    await self.started.wait()
                with anyio.move_on_after(seconds):
                    await self.ended.wait()
                await self._stop(process)
                with anyio.move_on_after(READ):
                    await self.is_read.wait()
                tasks.cancel_scope.cancel()  # a process that it started may keep the output open
        finally:
            with anyio.CancelScope(shield=True):
                await self._stop(process)
                await process.aclose()

    async def _read(self, output: ByteReceiveStream) -> None:
        """Keep the last lines of the output; notice when training begins, or fails."""
        rest = ""
        async for text in TextReceiveStream(output, errors="replace"):
            *lines, rest = (rest + text).split("\n")
            rest = rest[-100_000:]
            self.lines.extend(lines)
            for line in lines:
                found = STARTED.search(line)
                if found and self.run is None:
                    self.run = found[1]
                    self.started.set()
        self.lines.append(rest)
        self.is_read.set()

    async def _wait(self, process: Process) -> None:
        await process.wait()
        self.started.set()
        self.ended.set()

    async def _stop(self, process: Process) -> None:
        """Let a process save and end; kill it where it does not."""
        if process.returncode is not None:
            return
        self.is_stopped = True
        process.send_signal(signal.SIGTERM)
        with anyio.move_on_after(SAVE):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()

    def find_error(self) -> Answer:
        """Return the error that the process printed as JSON, or the end of its output."""
        for line in reversed(self.lines):
            if line.startswith('{"errors"'):
                found: Answer = json.loads(line)
                return found
        text = "\n".join(self.lines)[-2000:].strip()
        return failed("the training ended", code="crash", status=1, got=text or None)
