"""Ends a run that cannot end itself: a process of it was lost, or it was told to stop and stands
still.

The main thread may wait in a collective that nobody will join. There it meets neither signals nor
errors; this thread does. Of several processes on one machine the first one starts the others, and
sees how they end.
"""

import contextlib
import math
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning.strategies.launchers.subprocess_script import (
    _set_num_threads_if_needed,
    _SubprocessScriptLauncher,
)

from tasks.process.signals import STOPPING

NUMBERS = tuple(getattr(signal, name) for name in STOPPING if hasattr(signal, name))
GRACE = 3.0  # seconds in which the main thread may report by itself what it met
PATIENCE = (
    10.0  # seconds after a signal without a sign of life, besides three of the longest steps so far
)
WRITING = 600.0  # the same while a checkpoint is written
PAUSE = 0.2
OTHERS = re.compile(
    r"gloo|nccl|connection (was )?(closed|reset|refused)|broken pipe|store", re.IGNORECASE
)


class ProcessLostError(RuntimeError):
    """Another process of this run has ended."""


class Watchdog(threading.Thread):
    """Args:
    leave: told how the run ends, as (status, text), before this thread ends the process.
    """

    def __init__(self, leave: Callable[[int, str], Any]):
        super().__init__(daemon=True, name="watchdog")
        self.leave = leave
        self.heard, self.wake = socket.socketpair()
        self.wake.setblocking(False)
        self.ranks: list[subprocess.Popen] = []
        self.told: tuple[int, float] | None = None  # the signal that came, and when
        self.lost: ProcessLostError | None = None
        self.status = 1
        self.at = math.inf  # when this process has to be gone
        self.sign, self.longest = (
            0.0,
            0.0,
        )  # the last sign of life, and the longest time between two
        self.busy = False  # a checkpoint is being written, here or in the first process
        self.over = False

    def beat(self) -> None:
        """Note that the main thread is alive: it has done a step."""
        now = time.monotonic()
        if self.sign:
            self.longest = max(self.longest, now - self.sign)
        self.sign = now

    def poke(self) -> None:
        with contextlib.suppress(OSError):
            self.wake.send(b"\0")

    def run(self) -> None:
        while not self.over:
            waiting = bool(self.ranks) or self.told is not None or self.at < math.inf
            if select.select([self.heard], [], [], PAUSE if waiting else None)[0]:
                self.hear(self.heard.recv(64))
            self.look()
            if time.monotonic() > self.end() and not self.over:
                self.finish()
        self.heard.close()
        self.wake.close()

    def hear(self, numbers: bytes) -> None:
        """Take note of signals, which Python's own handler in C writes here wherever the main
        thread stands.
        """
        for number in numbers:
            if number in NUMBERS and self.told is None:
                self.told = (number, time.monotonic())
            elif number == signal.SIGINT:
                self.at = min(self.at, time.monotonic() + GRACE)  # the second Ctrl-C

    def look(self) -> None:
        """Take note of a process that has ended, and not well."""
        for rank, process in enumerate(self.ranks, start=1):
            if self.lost is None and process.poll():  # with another status than 0
                self.lost = ProcessLostError(
                    f"process {rank} of {len(self.ranks) + 1} {how_ended(process.returncode)}"
                )
                self.status = max(process.returncode, 1)
                self.at = min(self.at, time.monotonic() + GRACE)

    def end(self) -> float:
        """When this process has to be gone."""
        if self.told is None:
            return self.at
        patience = WRITING if self.busy else PATIENCE
        return min(self.at, max(self.told[1], self.sign) + patience + 3 * self.longest)

    def finish(self) -> None:
        """End the process with all that it started."""
        status, text = self.status, str(self.lost or "")
        if self.lost is None and self.told is not None:
            status, name = 128 + self.told[0], signal.Signals(self.told[0]).name
            text = (
                f"stopped by {name}: it stood still and was ended; resume=RUN goes on from "
                "its last checkpoint"
            )
        for process in self.ranks:
            process.kill()
        with contextlib.suppress(Exception):
            self.leave(status, text)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self.over = True
        os._exit(status)

    def cause(self, error: BaseException) -> BaseException:
        """What to report for an error of the main thread: of a broken connection, which process
        broke it.
        """
        if not is_of_others(error):
            return error
        until = time.monotonic() + GRACE
        while self.ranks and self.lost is None and time.monotonic() < until:
            time.sleep(PAUSE / 2)
        return self.lost or ProcessLostError(
            f"another process of this run has ended, or does not answer: {first(error)}"
        )

    def close(self, error: BaseException | None) -> None:
        """The run is over. After an error in one of several processes nothing may keep this one
        for long.
        """
        several = torch.distributed.is_available() and torch.distributed.is_initialized()
        if error is not None and several:
            self.status = getattr(error, "status", 1)
            self.told, self.leave, self.at = None, lambda *_: None, time.monotonic() + GRACE
        else:
            self.over = True
        self.poke()


def how_ended(status: int) -> str:
    """What became of a process, in words."""
    if status >= 0:
        return f"ended with status {status}; its own message stands above"
    hint = "; the memory may have been used up" if -status == getattr(signal, "SIGKILL", 9) else ""
    return (
        f"was killed by {signal.Signals(-status).name}{hint}; resume=RUN goes on from the "
        "last checkpoint"
    )


def is_of_others(error: BaseException) -> bool:
    """Whether an error says no more than that another process is gone."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return type(error) is RuntimeError and bool(OTHERS.search(str(error)))


def first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class Launcher(_SubprocessScriptLauncher):
    """Lightning's launcher without its observer, which kills this process too, without a word and
    unsaved.
    """

    watchdog: Watchdog | None = None

    def launch(
        self, function: Callable, *arguments: Any, trainer: Any = None, **options: Any
    ) -> Any:
        self.cluster_environment.validate_settings(
            num_devices=self.num_processes, num_nodes=self.num_nodes
        )
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
            if self.watchdog is not None:
                self.watchdog.ranks = self.procs
                self.watchdog.poke()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*arguments, **options)


def watch_processes(trainer: Any, watchdog: Watchdog | None) -> None:
    """Let `watchdog` see how the processes end that a trainer starts."""
    strategy = trainer.strategy
    if isinstance(strategy.launcher, _SubprocessScriptLauncher):
        strategy._launcher = Launcher(
            strategy.cluster_environment, strategy.num_processes, strategy.num_nodes
        )
        strategy._launcher.watchdog = watchdog
