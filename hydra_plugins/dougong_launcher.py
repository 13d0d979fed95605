"""A launcher of Hydra that runs each job of a sweep in a process of its own.

Every program that uses Hydra imports this package when it starts. So functions import what is slow,
and `blocks` and `tasks`, for which such a program may have modules of its own.
"""

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

# overrides of the sweep, which a single run does not read
SWEEP_KEYS = ("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper", "hydra.sweep")
PRELOADED = [
    "torch",
    "pytorch_lightning",
    "torchmetrics",
    "blocks.graph",
    "tasks.run.train",
    "tasks.session",
]
CRASH = 1
MAIN_LOCK = threading.Lock()


class JobLauncher(Launcher):
    """Base of the launchers: a job is `python train.py OVERRIDES`, as if typed where the sweep was
    started.
    """

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        from blocks.support.program import train_script

        self.folder = Path(str(config.hydra.sweep.dir)).absolute()
        self.flags = ["--config-name", str(config.hydra.job.config_name)]
        for source in config.hydra.runtime.config_sources:
            if source.provider == "command-line":
                self.flags += ["--config-dir", str(source.path)]
        self.door = train_script()

    def check_jobs(self, job_overrides: Sequence[Sequence[str]]) -> None:
        """Raise a ConfigError where the jobs cannot run here as they are asked for."""

    def job_folder(self, number: int) -> Path:
        """Return the run folder of a job."""
        return self.folder / str(number)

    def arguments(self, overrides: Sequence[str], number: int) -> list[str]:
        """Return the arguments of `train.py` for a job."""
        folder = f"hydra.run.dir='{self.job_folder(number)}'"
        return [*self.flags, *run_overrides(overrides), folder]

    def finish_job(
        self, overrides: Sequence[str], number: int, status: int | None, *, quiet: bool = False
    ) -> JobReturn:
        """Record how a job ended if it did not do so itself, and print it.

        Args:
            status: the exit status; None where it is unknown.
            quiet: print nothing.
        """
        from tasks.sweep import results

        folder = self.job_folder(number)
        results.record_end(folder, status)
        if not quiet:
            line = results.format_job(number, folder, run_overrides(overrides), status)
            print(line, flush=True)
        result = JobReturn(overrides=list(overrides), status=JobStatus.FAILED)
        if status == 0:
            result.status = JobStatus.COMPLETED
            result.return_value = {"status": 0, "folder": str(folder)}
        return result


def run_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of a sweep that a single run reads."""
    return [text for text in overrides if not text.lstrip("+~").startswith(SWEEP_KEYS)]


class ProcessLauncher(JobLauncher):
    """Runs `python train.py OVERRIDES` for each job.

    A job may raise, exit, be killed or run out of memory: it is reported, and the next one starts.
    Where the system allows it, processes are forked from one that has imported torch and Lightning.

    Jobs that run at once on accelerators have their own.

    Args:
        n_jobs: how many jobs run at once. They share the cores, unless OMP_NUM_THREADS is set.
        share_devices: whether jobs that run at once share the accelerators.
        devices: the accelerators that jobs get; null: those of CUDA_VISIBLE_DEVICES, or all.
    """

    def __init__(
        self,
        n_jobs: int = 1,
        share_devices: bool = False,
        devices: Sequence[str | int] | None = None,
    ):
        from tasks.process.runtime import EXCESS, count_cores

        if not isinstance(n_jobs, int) or n_jobs < 1:
            raise ValueError(f"hydra.launcher.n_jobs must be 1 or more, got {n_jobs}")
        if n_jobs > EXCESS * count_cores():
            most = f"at most {EXCESS} for each of the {count_cores()} cores of this machine"
            raise ValueError(f"hydra.launcher.n_jobs must be {most}, got {n_jobs}")
        self.n_jobs = n_jobs
        self.share_devices = share_devices
        self.devices = devices
        self.needs: dict[tuple[str, ...], int] = {}  # overrides of a job -> its accelerators

    def check_jobs(self, job_overrides: Sequence[Sequence[str]]) -> None:
        from tasks.sweep.devices import check_fit

        devices = self.list_devices()
        if devices:
            needs = [self.count_devices(overrides, devices) for overrides in job_overrides]
            check_fit(needs, self.n_jobs, devices)

    def list_devices(self) -> list[str]:
        """Return the names of the accelerators that jobs get; empty where jobs share them."""
        if self.n_jobs == 1 or self.share_devices:
            return []
        if self.devices is not None:
            return list(map(str, self.devices))
        import torch

        from tasks.process.devices import VISIBLE, visible_devices

        return visible_devices(os.environ.get(VISIBLE), torch.cuda.device_count())

    def count_devices(self, overrides: Sequence[str], devices: Sequence[str]) -> int:
        """Return how many of the accelerators a job uses."""
        from blocks.graph import compose
        from tasks.sweep.devices import count_needed

        words = run_overrides(overrides)
        if tuple(words) not in self.needs:
            trainer = compose(words, config_name=self.flags[1]).config.get("trainer") or {}
            share = max(1, len(devices) // self.n_jobs)
            self.needs[tuple(words)] = count_needed(trainer, share)
        return self.needs[tuple(words)]

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        import multiprocessing
        from concurrent.futures import Future, ThreadPoolExecutor, as_completed

        from tasks.process.devices import DevicePool

        self.check_jobs(job_overrides)
        devices = self.list_devices()
        free = DevicePool(devices)
        method = "spawn"
        if "forkserver" in multiprocessing.get_all_start_methods():
            method = "forkserver"
        processes = multiprocessing.get_context(method)
        running: list[Any] = []
        with share_cores(self.n_jobs), without_main(), ThreadPoolExecutor(self.n_jobs) as pool:
            if method == "forkserver":
                processes.set_forkserver_preload(PRELOADED)
            jobs: dict[Future[JobReturn], int] = {}
            for number, overrides in enumerate(job_overrides, initial_job_idx):
                needed = 0
                if devices:
                    needed = self.count_devices(overrides, devices)
                given = (processes, list(overrides), number, running, free.take(needed))
                jobs[pool.submit(self._run, *given)] = number
            try:
                found = {jobs[job]: job.result() for job in as_completed(jobs)}
            except BaseException:
                interrupt_jobs(jobs, running)
                raise
        return [found[number] for number in sorted(found)]

    def _run(
        self,
        processes: Any,
        overrides: list[str],
        number: int,
        running: list[Any],
        taken: contextlib.AbstractContextManager[Mapping[str, str]],
    ) -> JobReturn:
        log = None
        if self.n_jobs > 1:
            log = self.job_folder(number) / "job.log"
        arguments = self.arguments(overrides, number)
        with taken as environment:
            process = processes.Process(
                target=run_job, args=(self.door, arguments, str(Path.cwd()), log, environment)
            )
            process.start()
            running.append(process)
            process.join()
            running.remove(process)
        return self.finish_job(overrides, number, process.exitcode, quiet=log is None)


def interrupt_jobs(jobs: Iterable[Any], running: list[Any]) -> None:
    """Cancel the jobs that wait and interrupt those that run."""
    for job in jobs:
        job.cancel()
    for process in list(running):  # Ctrl-C at a terminal has reached them as well
        if process.is_alive():
            os.kill(process.pid, signal.SIGINT)


def run_job(
    door: list[str],
    arguments: list[str],
    directory: str,
    log: Path | None,
    environment: Mapping[str, str],
) -> None:
    """Turn this process into `python train.py ARGUMENTS`, and exit with its status.

    Args:
        door: the words that start the program that trains, after `python`.
        arguments: the words behind them.
        directory: the working directory.
        log: a file for the output; None leaves it where it goes.
        environment: variables to set.
    """
    from tasks.process.parent import die_with_parent

    os.environ.update(environment)
    die_with_parent(signal.SIGTERM)  # the run saves, and `resume=true` continues from there
    os.chdir(directory)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [*door, *arguments]  # with which Lightning starts the other processes of a run
    if log is not None:
        redirect_output(log)
    # imported before a log was set up, Lightning would print its messages itself
    lightning = logging.getLogger("pytorch_lightning")
    lightning.handlers.clear()
    lightning.propagate = True
    status = 0
    try:
        from tasks.session import main

        main(arguments)
    except SystemExit as error:
        if isinstance(error.code, int):
            status = error.code
        elif error.code:
            status = CRASH
    except BaseException:
        traceback.print_exc()
        status = CRASH
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # threads that the run left behind, e.g. of data loaders, must not delay the sweep
    os._exit(status)


def redirect_output(log: Path) -> None:
    """Write the standard output and errors of this process to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    output = log.open("w", buffering=1, encoding="utf-8", errors="backslashreplace")
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)


@contextlib.contextmanager
def share_cores(jobs: int) -> Iterator[None]:
    """Give each of several jobs its share of the cores."""
    if jobs == 1 or "OMP_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Keep new processes from running the main module; each runs the script itself, once."""
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    with MAIN_LOCK:
        main.__spec__ = None
        if "__file__" in kept:
            del main.__file__
        try:
            yield
        finally:
            for name, value in kept.items():
                setattr(main, name, value)
