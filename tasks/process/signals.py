"""Signal handling: a run that receives a signal finishes its step, saves, and exits with the status
of the signal.

SIGTERM   finish the step, save, exit 143
SIGHUP    the same with 129: the terminal was closed; ignored where it was before, as under `nohup`
SIGINT    the same with 130; a second one exits at once
SIGUSR1   save after the step and continue: what SLURM sends before the end (`--signal=USR1@120`)
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

STOPPING = ("SIGTERM", "SIGINT", "SIGHUP")  # Windows has no SIGHUP
SAVING = "SIGUSR1"  # Windows has none


class Interrupted(BaseException):
    """A signal stopped the run.

    Like KeyboardInterrupt it is no Exception, so that nothing takes it for a crash.

    Args:
        number: of the signal.
        saved: path of the checkpoint that was saved before.
    """

    def __init__(self, number: int, saved: str | None = None):
        self.number, self.saved = number, saved
        super().__init__(f"stopped by {self.name}")

    @property
    def name(self) -> str:
        return signal.Signals(self.number).name

    @property
    def status(self) -> int:
        """Exit status that a shell expects of a program that a signal ended."""
        return 128 + self.number


class SignalGuard:
    """Context in which signals are recorded instead of ending the process at once.

    `patient` is set while training runs, which checks `stop` after each step; otherwise a signal
    raises `Interrupted` wherever the program is. A guard that was not entered records nothing.

    Args:
        watchdog: `tasks.process.watchdog.Watchdog`, which ends the process where it cannot end
            itself; None for none.
    """

    def __init__(self, watchdog: Any = None) -> None:
        self.watchdog = watchdog
        self.terminals = [number for number in (1, 2) if os.isatty(number)]
        self.stop = 0  # the signal that arrived, 0 while there is none
        self.save = False
        self.patient = False
        self.owner = os.getpid()
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "SignalGuard":
        if threading.current_thread() is not threading.main_thread():
            return self
        for name in (*STOPPING, SAVING):
            number = getattr(signal, name, None)
            if number is not None and not is_ignored_hangup(number):
                self.before[number] = signal.signal(number, self.record)
        if self.watchdog is not None:
            self.watchdog.start()
            wake = self.watchdog.wake.fileno()
            self.wakeup_before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        cause = error
        if self.watchdog is not None and error is not None:
            cause = self.watchdog.find_cause(error)
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if self.watchdog is not None and self.before:
            signal.set_wakeup_fd(self.wakeup_before)
            self.watchdog.close(cause)
        if cause is not None and cause is not error:
            raise cause from error

    def beat(self) -> None:
        """Report a completed step to the watchdog."""
        if self.watchdog is not None:
            self.watchdog.beat()

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Give a process that received a signal more time within this context."""
        if self.watchdog is not None:
            self.watchdog.is_saving = True
        try:
            yield
        finally:
            if self.watchdog is not None:
                self.watchdog.is_saving = False
            self.beat()

    def leave_terminals(self) -> None:
        """Redirect the output to a closed terminal, where each write would raise an error."""
        for number in self.terminals:
            if not os.isatty(number):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)

    def record(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if os.getpid() != self.owner:
            return  # a process that reads data; the training process decides, and ends it
        if signal.Signals(number).name == SAVING:
            self.save = True
        elif self.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        elif not self.stop:
            self.stop = number
            self.leave_terminals()
            if not self.patient:
                raise Interrupted(number)


def is_ignored_hangup(number: int) -> bool:
    """Return whether a signal is a SIGHUP that is ignored, as under `nohup`."""
    is_hangup = signal.Signals(number).name == "SIGHUP"
    return is_hangup and signal.getsignal(number) is signal.SIG_IGN


if hasattr(os, "register_at_fork"):
    # a worker that receives a signal must not wake the watchdog of its parent
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
