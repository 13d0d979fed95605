"""Trainings that are started from the page, and the runs of the project.

A training is a process of its own, in a session of its own: it survives the page and its server.
What is needed to find it again lies in `studio/runs/`.
"""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blocks.studio.drafts import FOLDER
from blocks.support.files import FileError, read_file
from blocks.support.program import train_script
from tasks.run.run_folder import read_metrics, read_record

STARTED = re.compile(r"run folder (.+)$", re.MULTILINE)
DRAFTED = re.compile(rf" --config-dir ({FOLDER}(?:/\w[\w-]*)*) ", re.ASCII)
START_TIME = "%Y-%m-%d_%H-%M-%S"  # that the name of a started training begins with
TAIL = 4000  # characters of the output that are shown
RUNS = "runs"
REPORT = "report.html"
MOST = 60  # runs that are listed


@dataclass(frozen=True)
class Started:
    """A training that was started from the page.

    Args:
        name: of its files in `studio/runs/`.
        process: its number.
        words: its overrides.
    """

    name: str
    process: int
    words: list[str]


class Runs:
    """The runs of a project.

    Args:
        project: its folder.
    """

    def __init__(self, project: Path):
        self.project = project
        self.folder = project / FOLDER / RUNS
        self.children: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, words: Sequence[str]) -> Started:
        """Train.

        Args:
            words: the command line behind `train`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        name = time.strftime(START_TIME) + f"-{len(list(self.folder.glob('*.json')))}"
        with open(self.folder / f"{name}.log", "xb") as log:
            process = subprocess.Popen(
                [sys.executable, *train_script(), *words],
                cwd=self.project,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.children[process.pid] = process
        started = Started(name, process.pid, list(words))
        content = json.dumps(asdict(started))
        (self.folder / f"{name}.json").write_text(content, encoding="utf-8")
        return started

    def list_started(self) -> list[Started]:
        """Return the trainings that were started from the page, the last first."""
        found = []
        for file in sorted(self.folder.glob("*.json"), reverse=True)[:MOST]:
            try:
                found.append(Started(**json.loads(read_file(file))))
            except (OSError, ValueError, TypeError):
                continue
        return found

    def is_running(self, started: Started) -> bool:
        """Return whether a training still runs."""
        child = self.children.get(started.process)
        if child is not None:
            return child.poll() is None
        try:  # a server before this one started it; its number may be another's by now
            command = read_kernel(f"/proc/{started.process}/cmdline")
        except OSError:
            return False
        return all(word.encode() in command for word in started.words)

    def stop(self, started: Started) -> None:
        """Let a training save and end."""
        if self.is_running(started):
            os.kill(started.process, signal.SIGTERM)

    def read_output(self, started: Started) -> str:
        """Return the end of what a training printed."""
        try:
            text = read_file(self.folder / f"{started.name}.log").decode(errors="replace")
        except OSError:
            return ""
        return text

    def describe(self, started: Started) -> dict[str, Any]:
        """Return what a training has reached: status, run folder, rows of metrics, output."""
        output = self.read_output(started)
        found = STARTED.search(output)
        run, rows, record = None, list[dict[str, float]](), None
        if found is not None:
            run = found[1].strip()
            rows, record = self._read(run)
        running = self.is_running(started)
        status = "running" if running else str((record or {}).get("status", "failed"))
        if status == "running" and not running:
            status = "killed"
        return {
            "name": started.name,
            "words": started.words,
            "status": status,
            "run": run,
            "rows": rows,
            "output": output[-TAIL:],
            "test": (record or {}).get("test"),
        }

    def _read(self, run: str) -> tuple[list[dict[str, float]], dict[str, Any] | None]:
        try:
            return read_metrics(self.project / run), read_record(self.project / run)
        except (OSError, ValueError, FileError):
            return [], None

    def list_runs(self) -> list[dict[str, Any]]:
        """Return the runs of the project, the last first: folder, status, command, scores."""
        found = []
        files = sorted(self.project.glob(f"{RUNS}/*/*/run.json"), reverse=True)
        for file in files[:MOST]:
            record = read_record(file.parent) or {}
            folder = file.parent.relative_to(self.project).as_posix()
            found.append(
                {
                    "run": folder,
                    "status": str(record.get("status", "")),
                    "command": str(record.get("command", "")),
                    "options": list_options(str(record.get("command", ""))),
                    "test": record.get("test") or {},
                    "report": (file.parent / REPORT).is_file(),
                    "saved": self.saved_at(folder) > 0,
                }
            )
        return found

    def read_runs(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return rows of metrics, scores and overrides of runs that `list_runs` has."""
        listed = {each["run"] for each in self.list_runs()}
        found = {}
        for name in names:
            if name in listed:
                rows, record = self._read(name)
                record = record or {}
                found[name] = {
                    "rows": rows,
                    "test": record.get("test") or {},
                    "overrides": list(map(str, record.get("overrides") or [])),
                }
        return found

    def saved_at(self, run: str) -> float:
        """Return when a run saved its last checkpoint; 0 where it has none."""
        files = (self.project / run / "checkpoints").glob("*.ckpt")
        return max((file.stat().st_mtime for file in files), default=0.0)

    def read_gradients(self, run: str) -> dict[str, float]:
        """Return the gradient norm of each node at the last measured step of a run."""
        try:
            text = read_file(self.project / run / "nodes.csv").decode("utf-8")
        except (OSError, FileError):
            return {}
        rows = list(csv.DictReader(io.StringIO(text)))
        last = [row for row in rows if row["step"] == rows[-1]["step"]]
        return {row["node"]: float(row["gradient"]) for row in last if row["gradient"]}

    def read_report(self, run: str) -> bytes | None:
        """Return the report of a run that `list_runs` has; None for anything else."""
        listed = {each["run"] for each in self.list_runs() if each["report"]}
        file = self.project / run / REPORT
        if run not in listed or not file.resolve().is_relative_to(self.project.resolve()):
            return None
        return read_file(file)


def list_options(command: str) -> list[str]:
    """Return the options that name the folder of a run's draft; of no other folder."""
    found = DRAFTED.search(command)
    return [] if found is None else ["--config-dir", found[1]]


def read_kernel(file: str) -> bytes:
    """Return what the kernel says of a process; raises OSError."""
    with open(file, "rb") as opened:
        return opened.read()
