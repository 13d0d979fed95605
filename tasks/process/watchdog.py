"""A thread that ends a run that cannot end itself: one of its processes was lost, or it received a
signal and hangs.

The main thread may wait in a collective that no other process will join. There it handles neither
signals nor errors; this thread does. Of several processes on one machine the first one starts the
others, and sees how they end.
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
GRACE = 3.0  # seconds in which the main thread may report its own error
PATIENCE = 10.0  # seconds after a signal without a step, besides three of the longest steps so far
SAVING_PATIENCE = 600.0  # the same while a checkpoint is written
PAUSE = 0.2
CONNECTION_ERROR = re.compile(
    r"gloo|nccl|connection (was )?(closed|reset|refused)|broken pipe|store", re.IGNORECASE
)


class ProcessLostError(RuntimeError):
    """Another process of this run has ended."""

    code = "process-lost"


class Watchdog(threading.Thread):
    """Watches the main thread and the other processes of a run.

    Args:
        leave: called with (status, text) before this thread ends the process.
    """

    def __init__(self, leave: Callable[[int, str], Any]):
        super().__init__(daemon=True, name="watchdog")
        self.leave = leave
        self.receiver, self.wake = socket.socketpair()
        self.wake.setblocking(False)
        self.ranks: list[subprocess.Popen] = []
        self.signal: tuple[int, float] | None = None  # the signal that arrived, and when
        self.lost: ProcessLostError | None = None
        self.status = 1
        self.deadline = math.inf  # when this process must have ended
        self.last_beat = 0.0
        self.longest_step = 0.0
        self.is_saving = False  # a checkpoint is being written, here or in the first process
        self.is_over = False

    def beat(self) -> None:
        """Record that the main thread has completed a step."""
        now = time.monotonic()
        if self.last_beat:
            self.longest_step = max(self.longest_step, now - self.last_beat)
        self.last_beat = now

    def poke(self) -> None:
        """Let this thread check its state."""
        with contextlib.suppress(OSError):
            self.wake.send(b"\0")

    def run(self) -> None:
        while not self.is_over:
            pause = None
            if self.ranks or self.signal is not None or self.deadline < math.inf:
                pause = PAUSE
            if select.select([self.receiver], [], [], pause)[0]:
                self.record_signals(self.receiver.recv(64))
            self.check_ranks()
            if time.monotonic() > self.end() and not self.is_over:
                self.end_process()
        self.receiver.close()
        self.wake.close()

    def record_signals(self, numbers: bytes) -> None:
        """Record signals, which Python's own handler in C writes here whatever the main thread
        does.
        """
        for number in numbers:
            if number in NUMBERS and self.signal is None:
                self.signal = (number, time.monotonic())
            elif number == signal.SIGINT:  # the second Ctrl-C
                self.shorten_deadline()

    def check_ranks(self) -> None:
        """Record the first process that has ended with a status other than 0."""
        for rank, process in enumerate(self.ranks, start=1):
            if self.lost is None and process.poll():
                ending = describe_status(process.returncode)
                self.lost = ProcessLostError(f"process {rank} of {len(self.ranks) + 1} {ending}")
                self.status = max(process.returncode, 1)
                self.shorten_deadline()

    def shorten_deadline(self) -> None:
        """Let this process end within the grace period."""
        self.deadline = min(self.deadline, time.monotonic() + GRACE)

    def end(self) -> float:
        """Return when this process must have ended, on the monotonic clock."""
        if self.signal is None:
            return self.deadline
        patience = PATIENCE
        if self.is_saving:
            patience = SAVING_PATIENCE
        since = max(self.signal[1], self.last_beat)
        return min(self.deadline, since + patience + 3 * self.longest_step)

    def end_process(self) -> None:
        """End this process and those that it started."""
        status, text = self.status, str(self.lost or "")
        if self.lost is None and self.signal is not None:
            status = 128 + self.signal[0]
            text = (
                f"stopped by {signal.Signals(self.signal[0]).name}: the run did not respond and "
                "was ended; resume=RUN continues from its last checkpoint"
            )
        for process in self.ranks:
            process.kill()
        with contextlib.suppress(Exception):
            self.leave(status, text)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self.is_over = True
        os._exit(status)

    def find_cause(self, error: BaseException) -> BaseException:
        """Return the error to report for one of the main thread.

        For a broken connection that is the process that broke it.
        """
        if not is_connection_error(error):
            return error
        until = time.monotonic() + GRACE
        while self.ranks and self.lost is None and time.monotonic() < until:
            time.sleep(PAUSE / 2)
        if self.lost is not None:
            return self.lost
        return ProcessLostError(
            f"another process of this run has ended, or does not answer: {first_line(error)}"
        )

    def close(self, error: BaseException | None) -> None:
        """End this thread with the run; after an error, one of several processes may not stay."""
        several = torch.distributed.is_available() and torch.distributed.is_initialized()
        if error is not None and several:
            self.status = getattr(error, "status", 1)
            self.signal = None
            self.leave = lambda *_: None
            self.deadline = time.monotonic() + GRACE
        else:
            self.is_over = True
        self.poke()


def describe_status(status: int) -> str:
    """Describe how a process ended."""
    if status >= 0:
        return f"ended with status {status}; its own message stands above"
    hint = ""
    if -status == getattr(signal, "SIGKILL", 9):
        hint = "; the memory may have been used up"
    name = signal.Signals(-status).name
    return f"was killed by {name}{hint}; resume=RUN continues from the last checkpoint"


def is_connection_error(error: BaseException) -> bool:
    """Return whether an error only states that another process is gone."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return type(error) is RuntimeError and bool(CONNECTION_ERROR.search(str(error)))


def first_line(error: BaseException) -> str:
    """Return the first line of a message, at most 200 characters."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]


class Launcher(_SubprocessScriptLauncher):
    """Lightning's launcher without its observer, which would kill this process too, unsaved and
    without a message.

    Args:
        strategy: whose processes are launched.
        watchdog: watches them.
    """

    def __init__(self, strategy: Any, watchdog: Watchdog | None):
        super().__init__(strategy.cluster_environment, strategy.num_processes, strategy.num_nodes)
        self.watchdog = watchdog

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
        strategy._launcher = Launcher(strategy, watchdog)
