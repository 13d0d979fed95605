"""Signals: a run that is told to stop finishes its step, saves and leaves with the status that the signal has.

SIGTERM   finish the step, save, exit 143
SIGINT    the same with 130; a second one leaves at once
SIGUSR1   save after the step and go on: what SLURM sends ahead of the end (`--signal=USR1@120`)
"""

import os
import signal
import threading
from types import FrameType
from typing import Any, ClassVar

STOPPING = ("SIGTERM", "SIGINT")
SAVING = "SIGUSR1"  # Windows has none


class Stopped(BaseException):
    """The run was told to stop, and did. Like KeyboardInterrupt it is no Exception: nothing takes it for a crash."""

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


class Heed:
    """Within it, signals are noted instead of obeyed at once.

    `patient` is set while training runs, which looks at `stop` after each step; otherwise a signal raises `Stopped`
    where the program stands.
    """

    current: ClassVar["Heed | None"] = None

    def __init__(self) -> None:
        self.stop = 0  # the signal that came, 0 while there is none
        self.save = False
        self.patient = False
        self.owner = os.getpid()
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Heed":
        Heed.current = self
        if threading.current_thread() is threading.main_thread():
            for name in (*STOPPING, SAVING):
                number = getattr(signal, name, None)
                if number is not None:
                    self.before[number] = signal.signal(number, self.note)
        return self

    def __exit__(self, *error: Any) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        Heed.current = None

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
            if not self.patient:
                raise Stopped(number)
