"""The plan of a sweep, `sweep.json`: its jobs, and which of them are still to run."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from blocks.graph import ConfigError, Problem
from blocks.support.files import read_file
from tasks.config import secrets
from tasks.run import run_folder
from tasks.sweep.results import read_row

PLAN = "sweep.json"

Job = dict[str, Any]


def write_plan(folder: Path, jobs: Sequence[Job], command: Sequence[str] = ()) -> None:
    """Write the jobs before they run, so that a job that dies is known.

    Args:
        folder: of the sweep.
        jobs: each with "overrides", and "folder" or, if it could not be composed, "error".
        command: the overrides of the command line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hidden = list(map(secrets.hidden_override, command))
    content = {"command": hidden, "jobs": hide_jobs(jobs)}
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path = folder / PLAN
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def hide_jobs(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs without secrets."""
    # overrides first: hiding them registers the secrets to hide elsewhere
    overrides = [list(map(secrets.hidden_override, job["overrides"])) for job in jobs]
    hidden = []
    for job, words in zip(jobs, overrides, strict=True):
        hidden.append({**secrets.hidden(job), "overrides": words})
    return hidden


def read_plan(folder: Path) -> dict[str, Any]:
    """Return the content of the plan: "command" and "jobs"."""
    return json.loads(read_file(folder / PLAN))


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return one row for each job of a sweep, in its order."""
    jobs = read_plan(folder)["jobs"]
    return [read_row(number, job, folder) for number, job in enumerate(jobs)]


def find_latest(runs: Path, command: Sequence[str]) -> Path | None:
    """Return the folder of the newest sweep of a command below `runs`."""
    wanted = list(map(secrets.hidden_override, command))
    plans = sorted(runs.rglob(PLAN), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in plans:
        # a sweep that was killed while it wrote its plan
        with contextlib.suppress(ValueError, KeyError, OSError):
            if read_plan(file.parent)["command"] == wanted:
                return file.parent
    return None


def find_missing(
    folder: Path, jobs: Sequence[Job], configs: Mapping[int, dict[str, Any]]
) -> list[int]:
    """Return the numbers of the jobs that did not finish, or finished with another configuration.

    Args:
        folder: of the sweep.
        jobs: its plan, as composed now.
        configs: the configuration of each job, as composed now.

    Raises:
        ConfigError: the folder holds a sweep with other jobs.
    """
    if read_plan(folder)["jobs"] != hide_jobs(jobs):
        raise ConfigError(
            Problem(
                f"{run_folder.shorten_path(folder)} holds a sweep with other jobs",
                "the command line",
                "resume",
                fix="another hydra.sweep.dir, or no resume=true",
                code="unwritable-file",
            )
        )
    missing = []
    for row in read_rows(folder):
        if not row["folder"]:  # it cannot be composed
            continue
        before = without_display(read_config(folder / row["folder"]))
        now = without_display(secrets.hidden(configs[row["job"]]))
        if row["status"] != "finished" or before != now:
            missing.append(row["job"])
    return missing


def without_display(config: Any) -> Any:
    """Return a configuration without the sections that a run does not read."""
    if not isinstance(config, dict):
        return config
    return {name: value for name, value in config.items() if name not in ("picture", "study")}


def read_config(folder: Path) -> Any:
    """Return the configuration in a run folder; None where there is none."""
    with contextlib.suppress(OSError, yaml.YAMLError):
        return yaml.safe_load(read_file(folder / run_folder.CONFIG))
    return None


def group_consecutive(numbers: Sequence[int]) -> list[list[int]]:
    """Group numbers that follow each other: [1, 2, 5] is [[1, 2], [5]]."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and groups[-1][-1] == number - 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups
