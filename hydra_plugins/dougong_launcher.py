"""Each run of a sweep in a process of its own: whatever becomes of one, the others go on."""

import contextlib
import logging
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from tasks.process.parent import die_with_parent

OURS = (
    "hydra/launcher",
    "hydra.launcher",
    "hydra/sweeper",
    "hydra.sweeper",
    "hydra.sweep",
)  # what no single run reads
PRELOADED = [
    "torch",
    "pytorch_lightning",
    "torchmetrics",
    "blocks.graph",
    "tasks.run.train",
]  # once for all runs
CRASH = 1


class JobLauncher(Launcher):
    """Base of the launchers: a job is `python train.py OVERRIDES`, as if typed where the sweep was
    started.
    """

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        self.place = Path(str(config.hydra.sweep.dir)).absolute()
        flags = get_args_parser().parse_args()
        named = {
            "--config-dir": flags.config_dir,
            "--config-name": flags.config_name,
            "--config-path": flags.config_path,
        }
        self.flags = [part for name, value in named.items() if value for part in (name, value)]
        main = getattr(sys.modules["__main__"], "__file__", None)
        self.script = str(Path(main or "train.py").absolute())

    def arguments(self, overrides: Sequence[str], number: int) -> list[str]:
        """The words behind `train.py` of one job, whose folder is its number."""
        return [*self.flags, *typed(overrides), f"hydra.run.dir='{self.place / str(number)}'"]

    def ended(
        self, overrides: Sequence[str], number: int, status: int | None, *, quiet: bool = False
    ) -> JobReturn:
        """Note how a job ended where it could not do so itself, and tell it; None: nobody knows
        how.
        """
        from tasks.sweep import results

        folder = self.place / str(number)
        results.note_end(folder, status)
        if not quiet:
            print(results.one_line(number, folder, typed(overrides), status), flush=True)
        result = JobReturn(
            overrides=list(overrides),
            status=JobStatus.COMPLETED if status == 0 else JobStatus.FAILED,
        )
        result.return_value = {"status": 0, "folder": str(folder)} if status == 0 else None
        return result


def typed(overrides: Sequence[str]) -> list[str]:
    """What a single run reads of the words of a sweep."""
    return [text for text in overrides if not text.lstrip("+~").startswith(OURS)]


class ProcessLauncher(JobLauncher):
    """Runs `python train.py OVERRIDES` for each job, as if it had been typed.

    A job may raise, leave the program, be killed or use up the memory: it is told, and the next one
    starts. Processes are forked from one that has imported torch and Lightning already, where the
    system can do that.

    Args:
        n_jobs: how many run at once. The cores are shared out among them, unless OMP_NUM_THREADS
            says otherwise.
    """

    def __init__(self, n_jobs: int = 1):
        from tasks.process.runtime import EXCESS, count_cores

        if not isinstance(n_jobs, int) or n_jobs < 1:
            raise ValueError(f"hydra.launcher.n_jobs must be 1 or more, got {n_jobs}")
        if n_jobs > EXCESS * count_cores():
            most = f"at most {EXCESS} for each of the {count_cores()} cores of this machine"
            raise ValueError(f"hydra.launcher.n_jobs must be {most}, got {n_jobs}")
        self.n_jobs = n_jobs

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        method = (
            "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        )
        processes = multiprocessing.get_context(method)
        running: list[Any] = []
        with shared_out(self.n_jobs), without_main(), ThreadPoolExecutor(self.n_jobs) as pool:
            if method == "forkserver":
                processes.set_forkserver_preload(PRELOADED)
            jobs = {
                pool.submit(
                    self._run, processes, list(overrides), initial_job_idx + number, running
                ): number
                for number, overrides in enumerate(job_overrides)
            }
            try:
                found = {jobs[job]: job.result() for job in as_completed(jobs)}
            except BaseException:
                for job in jobs:
                    job.cancel()
                for process in list(running):  # Ctrl-C at a terminal has reached them as well
                    if process.is_alive():
                        os.kill(process.pid, signal.SIGINT)
                raise
        return [found[number] for number in sorted(found)]

    def _run(
        self, processes: Any, overrides: list[str], number: int, running: list[Any]
    ) -> JobReturn:
        told = None if self.n_jobs == 1 else self.place / str(number) / "job.log"
        words = self.arguments(overrides, number)
        process = processes.Process(
            target=run_alone, args=(self.script, words, str(Path.cwd()), told)
        )
        process.start()
        running.append(process)
        process.join()
        running.remove(process)
        return self.ended(overrides, number, process.exitcode, quiet=told is None)


def run_alone(script: str, arguments: list[str], place: str, told: Path | None) -> None:
    """Be `python SCRIPT ARGUMENTS` in the folder `place`, and leave with its exit status."""
    die_with_parent(signal.SIGTERM)  # it saves, and `resume=true` goes on with it
    os.chdir(place)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, str(Path(script).parent))
    sys.argv = [script, *arguments]
    if told is not None:
        told.parent.mkdir(parents=True, exist_ok=True)
        output = told.open("w", buffering=1, encoding="utf-8", errors="backslashreplace")
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    lightning = logging.getLogger(
        "pytorch_lightning"
    )  # imported before anybody set up a log, it speaks by itself
    lightning.handlers.clear()
    lightning.propagate = True
    status: Any = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else CRASH if leaving.code else 0
    except BaseException:
        traceback.print_exc()
        status = CRASH
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(
        status
    )  # what a run left behind, threads of loaders say, does not keep the sweep waiting


@contextlib.contextmanager
def shared_out(jobs: int) -> Iterator[None]:
    """Let each of several jobs compute with its share of the cores."""
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
    """Let new processes not run the main module on their way: each runs the script itself, once."""
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    with LOCK:
        main.__spec__ = None
        if "__file__" in kept:
            del main.__file__
        try:
            yield
        finally:
            for name, value in kept.items():
                setattr(main, name, value)


LOCK = threading.Lock()
