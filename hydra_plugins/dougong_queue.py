"""Jobs that somebody else starts: a queue of a cluster, say.

Whatever becomes of one, the others go on.
"""

import importlib.util
import os
import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from hydra_plugins.dougong_launcher import JobLauncher, shared_out


class QueueLauncher(JobLauncher):
    """Base of the launchers that hand their jobs to another program, and ask it how they are.

    Args:
        n_jobs: how many run at once.
    """

    extra = package = ""  # what pip installs, and what Python imports
    pause = 1.0  # seconds between two questions

    def __init__(self, n_jobs: int):
        if not isinstance(n_jobs, int) or n_jobs < 1:
            raise ValueError(f"hydra.launcher.n_jobs must be 1 or more, got {n_jobs}")
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        if importlib.util.find_spec(self.package) is None:
            self.leave(config.hydra.runtime.choices.get("hydra/launcher", "this launcher"))

    def leave(self, chosen: str) -> None:
        """Say which package is missing, and end the program as a mistake of the command line
        does.
        """
        told = f"{chosen} needs the package {self.package}, which is not installed"
        fix = f"pip install -c constraints.txt -e '.[{self.extra}]'"
        print(
            f"the command line  hydra/launcher\n  {told}\n  fix       {fix}",
            file=sys.stderr,
            flush=True,
        )
        if self.place.is_dir() and not any(self.place.iterdir()):
            self.place.rmdir()
        sys.exit(2)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        overrides = dict(enumerate(job_overrides, initial_job_idx))
        found: dict[int, JobReturn] = {}
        running: dict[int, Any] = {}
        with shared_out(self.n_jobs):
            self.open()
            try:
                while len(found) < len(overrides):
                    waiting = [
                        number
                        for number in overrides
                        if number not in found and number not in running
                    ]
                    chosen = waiting[: self.n_jobs - len(running)]
                    running |= self.submit(
                        {number: self.job(overrides[number], number) for number in chosen}
                    )
                    time.sleep(self.pause)
                    for number in [
                        number for number, handle in running.items() if self.is_done(handle)
                    ]:
                        found[number] = self.ended(
                            overrides[number], number, self.status(running.pop(number))
                        )
            finally:
                for handle in running.values():  # after Ctrl-C
                    self.cancel(handle)
                self.close()
        return [found[number] for number in overrides]

    def job(self, overrides: Sequence[str], number: int) -> Callable[[], int]:
        """What runs elsewhere: it needs nothing of this project to be there but its files, and
        never raises.
        """
        command, place = (
            [sys.executable, self.script, *self.arguments(overrides, number)],
            str(Path.cwd()),
        )
        told = str(self.place / str(number) / "job")

        def run() -> int:
            part = os.environ.get("SLURM_PROCID", "0")
            log = f"{told}.log" if part == "0" else f"{told}.{part}.log"
            os.makedirs(os.path.dirname(log), exist_ok=True)
            with open(log, "w", encoding="utf-8", errors="backslashreplace") as output:
                return subprocess.run(
                    command, cwd=place, stdout=output, stderr=subprocess.STDOUT
                ).returncode

        return run

    def open(self) -> None:
        """Called before the first job."""

    def close(self) -> None:
        """Called after the last."""

    @abstractmethod
    def submit(self, jobs: dict[int, Callable[[], int]]) -> dict[int, Any]:
        """Hand over some jobs; a handle for each."""

    @abstractmethod
    def is_done(self, handle: Any) -> bool:
        """Whether a job has ended, in whatever way."""

    @abstractmethod
    def status(self, handle: Any) -> int | None:
        """With what status a job ended; None where nobody knows."""

    @abstractmethod
    def cancel(self, handle: Any) -> None:
        """End a job."""
