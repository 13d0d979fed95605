"""Sweeps that are started from the page: trainings one after the other, in a queue of its own.

A sweep is a folder `studio/sweeps/NAME/` of the project: `sweep.json` with its jobs, a log for
each, and the text of the model as it was, in `model/`. The process that works it off (`queue.py`)
holds a lock, as its trainings do, so that whoever looks knows whether it runs.
"""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blocks.studio.drafts import DRAFT, FOLDER, LONGEST, NAME
from blocks.studio.run.runs import STARTED, Runs, read_kernel
from blocks.support.files import FileError, read_file, replace_file
from blocks.support.program import DOOR
from tasks.run.run_folder import read_record
from tasks.sweep.results import Row, read_row, read_validation

SWEEPS = "sweeps"
NAMED = re.compile(r"[\w-]{1,80}", re.ASCII)
MOST_JOBS = 100
MOST = 30  # sweeps that are listed
WAIT = 0.05  # seconds between two tries to hold a lock
FINISHED = "finished"


class SweepError(ValueError):
    """A sweep that cannot be read or started; the message says why."""


@dataclass(frozen=True)
class Sweep:
    """A sweep.

    Args:
        name: of its folder.
        words: the command line behind `train -m`.
        jobs: the overrides of each training.
    """

    name: str
    words: list[str]
    jobs: list[list[str]]


class Sweeps:
    """The sweeps of a project.

    Args:
        project: its folder.
    """

    def __init__(self, project: Path):
        self.project, self.runs = project, Runs(project)
        self.folder = project / FOLDER / SWEEPS
        self.children: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        words: Sequence[str],
        jobs: Sequence[Sequence[str]],
        draft: tuple[str, str] | None = None,
    ) -> Sweep:
        """Keep a sweep, and work it off.

        Args:
            words: the command line behind `train -m`.
            jobs: the overrides of each training.
            draft: the name of the model, and the text that all trainings use, whatever is typed
                meanwhile.

        Raises:
            SweepError: too many jobs, or what is no override.
        """
        check_jobs(jobs)
        name = time.strftime("%Y-%m-%d_%H-%M-%S")
        number = sum(1 for _ in self.folder.glob(f"{name}-*"))
        sweep = Sweep(f"{name}-{number}", list(words), [list(job) for job in jobs])
        folder = self.folder / sweep.name
        folder.mkdir(parents=True)
        if draft is not None:
            model, text = draft
            if not NAME.fullmatch(model) or len(text) > LONGEST:
                raise SweepError("no model")
            (folder / "model").mkdir()
            (folder / "model" / f"{model}{DRAFT}.yaml").write_text(text, encoding="utf-8")
        content = json.dumps(asdict(sweep), indent=1)
        (folder / "sweep.json").write_text(content, encoding="utf-8")
        self.resume(sweep)
        return sweep

    def resume(self, sweep: Sweep) -> None:
        """Work off the jobs that are not finished, unless that is being done."""
        self.children = [child for child in self.children if child.poll() is None]
        command = [sys.executable, str(DOOR), "studio", "--queue", sweep.name]
        with open(self.folder / sweep.name / "queue.log", "ab") as log:
            self.children.append(
                subprocess.Popen(
                    command,
                    cwd=self.project,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def stop(self, sweep: Sweep) -> None:
        """Let the training that runs save and end, and start no other."""
        state = self.read_state(sweep)
        for key, word in (("queue", sweep.name), ("training", "train")):
            process = state.get(key)
            if isinstance(process, int) and _is_ours(process, word):
                os.kill(process, signal.SIGTERM)
                return

    def read(self, name: str) -> Sweep:
        """Return a sweep; raises SweepError where there is none."""
        folder = self.folder / name
        if not NAMED.fullmatch(name) or not _lies_inside(folder, self.project):
            raise SweepError(f"there is no sweep {name!r}")
        try:
            found = json.loads(read_file(folder / "sweep.json"))
            sweep = Sweep(name, list(found["words"]), [list(job) for job in found["jobs"]])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise SweepError(f"the sweep {name!r} cannot be read") from error
        check_jobs(sweep.jobs)
        return sweep

    def list(self) -> "list[Sweep]":
        """Return the sweeps of the project, the last first."""
        found = []
        for file in sorted(self.folder.glob("*/sweep.json"), reverse=True)[:MOST]:
            try:
                found.append(self.read(file.parent.name))
            except SweepError:
                continue
        return found

    def is_running(self, sweep: Sweep) -> bool:
        """Return whether a sweep is worked off, or its last training still runs."""
        try:
            with hold(self.folder / sweep.name):
                return False
        except BlockingIOError:
            return True
        except OSError:
            return False

    def read_state(self, sweep: Sweep) -> dict[str, Any]:
        """Return the numbers of the processes of a sweep, and of the job that runs."""
        try:
            found = json.loads(read_file(self.folder / sweep.name / "queue.json"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_state(self, sweep: Sweep, **state: int) -> None:
        """Keep the numbers of the processes of a sweep, and of the job that runs."""
        with replace_file(self.folder / sweep.name / "queue.json") as part:
            part.write_text(json.dumps(state), encoding="utf-8")

    def log(self, sweep: Sweep, job: int) -> Path:
        """Return the file with what a training of a sweep printed."""
        return self.folder / sweep.name / f"{job:03}.log"

    def find_run(self, sweep: Sweep, job: int) -> str | None:
        """Return the run folder of a job; None where it has none yet."""
        try:
            output = read_file(self.log(sweep, job)).decode(errors="replace")
        except OSError:
            return None
        found = STARTED.findall(output)
        return found[-1].strip() if found else None

    def next_words(self, sweep: Sweep, job: int) -> "list[str] | None":
        """Return the command line behind `train` of a job; None where it is finished."""
        run, words = self.find_run(sweep, job), sweep.jobs[job]
        if run is not None:
            if self._status(run) == FINISHED:
                return None
            if self.runs.saved_at(run) > 0:
                words = [f"resume={run}"]
        folder = Path(FOLDER) / SWEEPS / sweep.name
        if (self.project / folder / "model").is_dir():
            return ["--config-dir", folder.as_posix(), *words]
        return words

    def describe(self, sweep: Sweep) -> "list[Row]":
        """Return a row of each job: overrides, status, scores, run folder; as a sweep of Hydra has.

        The scores of a job that runs are those of its last validation.
        """
        state, is_running = self.read_state(sweep), self.is_running(sweep)
        rows = []
        for job, overrides in enumerate(sweep.jobs):
            run = self.find_run(sweep, job)
            row: Row = {"job": job, "overrides": overrides, "folder": "", "status": "waiting"}
            is_now = is_running and state.get("job") == job
            if run is not None and _lies_inside(self.project / run, self.project):
                row |= self._read_row(job, overrides, run)
            elif self.log(sweep, job).is_file():
                row["status"] = "failed"
            if is_now:
                row["status"] = "running"
            elif row["status"] in ("died", "not run", "running"):
                row["status"] = "killed"
            rows.append(row)
        return rows

    def _read_row(self, job: int, overrides: "list[str]", run: str) -> Row:
        try:
            row = read_row(job, {"overrides": overrides, "folder": run}, self.project)
            if row["status"] != FINISHED:
                row |= read_validation(self.project / run, None)
        except (OSError, ValueError, KeyError, FileError):
            return {"status": "failed", "folder": run}
        return row

    def _status(self, run: str) -> str:
        if not _lies_inside(self.project / run, self.project):
            return ""
        return str((read_record(self.project / run) or {}).get("status", ""))


def check_jobs(jobs: Sequence[Sequence[str]]) -> None:
    """Raise SweepError for jobs that are not trainings: too many, or options of the program."""
    if not 0 < len(jobs) <= MOST_JOBS:
        raise SweepError(f"{len(jobs)} trainings; a sweep of the page has 1 to {MOST_JOBS}")
    for word in (word for job in jobs for word in job):
        if not isinstance(word, str) or word.startswith("-") or "=" not in word:
            raise SweepError(f"{word!r} is no override")


@contextmanager
def hold(folder: Path, seconds: float = 0.0) -> Iterator[int]:
    """Hold the lock of a sweep; yield its descriptor, for those that hold it too.

    Args:
        seconds: for which it is waited for.

    Raises:
        BlockingIOError: another process holds it.
        OSError: there is no such folder.
    """
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        _lock(descriptor, time.monotonic() + seconds)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, end: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise
        time.sleep(WAIT)


def sweep_words(command: Sequence[str], values: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the command line of a sweep: that of the model, and keys with several values each."""
    given = {key: list(each) for key, each in values.items() if each}
    kept = [word for word in command if word.partition("=")[0].lstrip("+") not in given]
    return [*kept, *(f"{key}={','.join(each)}" for key, each in given.items())]


def _lies_inside(path: Path, project: Path) -> bool:
    return path.resolve().is_relative_to(project.resolve())


def _is_ours(process: int, word: str) -> bool:
    """Return whether a process has a word on its command line; its number may be another's."""
    try:
        return word.encode() in read_kernel(f"/proc/{process}/cmdline")
    except OSError:
        return False
