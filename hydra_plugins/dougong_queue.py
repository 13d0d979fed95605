"""Base of the launchers that hand jobs to another program, e.g. the queue of a cluster."""

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

from hydra_plugins.dougong_launcher import JobLauncher, share_cores


class QueueLauncher(JobLauncher):
    """Hands jobs to another program and polls them; a job that fails does not end the others.

    Args:
        n_jobs: how many jobs run at once.
    """

    extra = package = ""  # the extra that pip installs, and the package that Python imports
    pause = 1.0  # seconds between two polls

    def __init__(self, n_jobs: int):
        if not isinstance(n_jobs, int) or n_jobs < 1:
            raise ValueError(f"hydra.launcher.n_jobs must be 1 or more, got {n_jobs}")
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        if importlib.util.find_spec(self.package) is None:
            name = config.hydra.runtime.choices.get("hydra/launcher", "this launcher")
            self.exit_without_package(name)

    def exit_without_package(self, launcher: str) -> None:
        """Print which package is missing, and exit as after a mistake on the command line."""
        print(
            "the command line  hydra/launcher\n"
            f"  {launcher} needs the package {self.package}, which is not installed\n"
            f"  fix       pip install -c constraints.txt -e '.[{self.extra}]'",
            file=sys.stderr,
            flush=True,
        )
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()
        sys.exit(2)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        overrides = dict(enumerate(job_overrides, initial_job_idx))
        waiting = list(overrides)
        running: dict[int, Any] = {}
        found: dict[int, JobReturn] = {}
        with share_cores(self.n_jobs):
            self.open()
            try:
                while waiting or running:
                    free = self.n_jobs - len(running)
                    chosen, waiting = waiting[:free], waiting[free:]
                    running |= self.submit(
                        {number: self.job(overrides[number], number) for number in chosen}
                    )
                    time.sleep(self.pause)
                    for number, handle in list(running.items()):
                        if self.is_done(handle):
                            status = self.status(running.pop(number))
                            found[number] = self.finish_job(overrides[number], number, status)
            finally:
                for handle in running.values():  # after Ctrl-C
                    self.cancel(handle)
                self.close()
        return [found[number] for number in overrides]

    def job(self, overrides: Sequence[str], number: int) -> Callable[[], int]:
        """Return the function that runs elsewhere; it needs only the files of this project, and
        never raises.
        """
        command = [sys.executable, *self.door, *self.arguments(overrides, number)]
        directory = str(Path.cwd())
        log_name = str(self.job_folder(number) / "job")

        def run() -> int:
            rank = os.environ.get("SLURM_PROCID", "0")
            log = f"{log_name}.log" if rank == "0" else f"{log_name}.{rank}.log"
            os.makedirs(os.path.dirname(log), exist_ok=True)
            with open(log, "w", encoding="utf-8", errors="backslashreplace") as output:
                done = subprocess.run(
                    command, cwd=directory, stdout=output, stderr=subprocess.STDOUT
                )
            return done.returncode

        return run

    def open(self) -> None:
        """Connect to the other program, before the first job."""

    def close(self) -> None:
        """Disconnect, after the last job."""

    @abstractmethod
    def submit(self, jobs: dict[int, Callable[[], int]]) -> dict[int, Any]:
        """Submit jobs, and return a handle for each."""

    @abstractmethod
    def is_done(self, handle: Any) -> bool:
        """Return whether a job has ended, in whatever way."""

    @abstractmethod
    def status(self, handle: Any) -> int | None:
        """Return the exit status of a job; None where it is unknown."""

    @abstractmethod
    def cancel(self, handle: Any) -> None:
        """End a job."""
