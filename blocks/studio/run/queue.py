"""The process that works off a sweep: one training after the other, each a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from blocks.studio.run.sweeps import Sweep, SweepError, Sweeps, hold
from blocks.support.program import train_script

SECONDS = 2.0  # for which the lock is waited for: who only looks holds it for a moment


def work(project: Path, name: str) -> int:
    """Train the jobs of a sweep that are not finished; the exit status.

    SIGTERM is passed on to the training that runs, which saves and ends; no other is started.
    """
    sweeps = Sweeps(project)
    try:
        sweep = sweeps.read(name)
        with hold(sweeps.folder / name, SECONDS) as lock:
            Queue(sweeps, sweep, lock).work()
    except BlockingIOError:
        sys.stderr.write("the sweep is worked off already\n")
    except SweepError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


class Queue:
    """The jobs of a sweep.

    Args:
        sweeps: of the project.
        sweep: whose jobs are trained.
        lock: descriptor of its lock.
    """

    def __init__(self, sweeps: Sweeps, sweep: Sweep, lock: int):
        self.sweeps, self.sweep, self.lock = sweeps, sweep, lock
        self.training: subprocess.Popen[bytes] | None = None
        self.is_stopped = False

    def work(self) -> None:
        """Train one job after the other."""
        signal.signal(signal.SIGTERM, self._stop)
        self.sweeps.write_state(self.sweep, queue=os.getpid())
        for job in range(len(self.sweep.jobs)):
            words = self.sweeps.next_words(self.sweep, job)
            if words is not None and not self.is_stopped:
                self._train(job, words)

    def _train(self, job: int, words: list[str]) -> None:
        with open(self.sweeps.log(self.sweep, job), "ab") as log:
            self.training = subprocess.Popen(
                [sys.executable, *train_script(), *words],
                cwd=self.sweeps.project,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[self.lock],
            )
        number = self.training.pid
        self.sweeps.write_state(self.sweep, queue=os.getpid(), training=number, job=job)
        if self.is_stopped:  # between the look and the start
            self.training.terminate()
        self.training.wait()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.is_stopped = True
        if self.training is not None and self.training.poll() is None:
            self.training.terminate()
