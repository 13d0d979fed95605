"""Signals: a run that is told to stop finishes its step, saves and leaves with the status that the
signal has.

SIGTERM   finish the step, save, exit 143
SIGHUP    the same with 129: the terminal was closed; ignored where it was before, as under `nohup`
SIGINT    the same with 130; a second one leaves at once
SIGUSR1   save after the step and go on: what SLURM sends ahead of the end (`--signal=USR1@120`)
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, ClassVar

STOPPING = ("SIGTERM", "SIGINT", "SIGHUP")  # Windows has no SIGHUP
SAVING = "SIGUSR1"  # Windows has none


class Interrupted(BaseException):
    """The run was told to stop, and did. Like KeyboardInterrupt it is no Exception: nothing
    takes it for a crash.
    """

    def __init__(self, number: int, saved: str | None = None):
        self.number, self.saved = number, saved
        super().__init__(f"stopped by {self.name}")

    @property
    def name(self) -> str:
        return signal.Signals(self.number).name

    @property
    def status(self) -> int:
        """What a shell expects of a program that a signal ended."""
        return 128 + self.number


class SignalGuard:
    """Within it, signals are noted instead of obeyed at once.

    `patient` is set while training runs, which looks at `stop` after each step; otherwise a signal
    raises `Interrupted` where the program stands.

    Args:
        watchdog: ends the process where it cannot end itself; none for what computes nothing.
    """

    current: ClassVar["SignalGuard | None"] = None

    def __init__(self, watchdog: Any = None) -> None:
        self.watchdog = watchdog
        self.terminals = [number for number in (1, 2) if os.isatty(number)]
        self.stop = 0  # the signal that came, 0 while there is none
        self.save = False
        self.patient = False
        self.owner = os.getpid()
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "SignalGuard":
        SignalGuard.current = self
        if threading.current_thread() is threading.main_thread():
            for name in (*STOPPING, SAVING):
                number = getattr(signal, name, None)
                if number is not None and not (
                    name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN
                ):
                    self.before[number] = signal.signal(number, self.note)
            if self.watchdog is not None:
                self.watchdog.start()
                self.wakes = signal.set_wakeup_fd(
                    self.watchdog.wake.fileno(), warn_on_full_buffer=False
                )
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        cause = (
            self.watchdog.cause(error) if self.watchdog is not None and error is not None else error
        )
        for number, handler in self.before.items():
            signal.signal(number, handler)
        SignalGuard.current = None
        if self.watchdog is not None and self.before:
            signal.set_wakeup_fd(self.wakes)
            self.watchdog.close(cause)
        if cause is not None and cause is not error:
            raise cause from error

    def beat(self) -> None:
        """Note that a step is done."""
        if self.watchdog is not None:
            self.watchdog.beat()

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Within it a process that was told to stop has more time."""
        if self.watchdog is not None:
            self.watchdog.busy = True
        try:
            yield
        finally:
            if self.watchdog is not None:
                self.watchdog.busy = False
            self.beat()

    def leave_terminals(self) -> None:
        """Write nothing more to a terminal that was closed: each word would be an error, and the
        run would crash.
        """
        for number in self.terminals:
            if not os.isatty(number):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)

    def note(self, number: int, frame: FrameType | None) -> None:
        """What happens when a signal comes."""
        if os.getpid() != self.owner:
            return  # a process that reads data; the one that trains decides, and ends it
        if signal.Signals(number).name == SAVING:
            self.save = True
        elif self.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        elif not self.stop:
            self.stop = number
            self.leave_terminals()
            if not self.patient:
                raise Interrupted(number)


if hasattr(
    os, "register_at_fork"
):  # a worker that gets a signal must not tell the watchdog of its parent
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
