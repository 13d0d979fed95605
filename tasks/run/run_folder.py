"""The run folder and `run.json`, the record of what ran in it. Needs neither torch nor Hydra."""

import contextlib
import csv
import datetime
import importlib.metadata
import io
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blocks.support.files import FileError, read_file, replace_file
from blocks.support.program import train_command
from tasks.config import secrets

RECORD = "run.json"
CONFIG = "config.yaml"
PACKAGES = [
    "dougong",
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "numpy",
    "einops",
    "jaxtyping",
    "scikit-learn",
    "pillow",
]
# entries of a record that belong to one session of a resumed run
SESSION = ("started", "ended", "status", "seconds", "command", "versions", "git", "error")
RESULT = ("status", "ended", "seconds", "error", "test")
CHANGED_FILES = 100  # of a git checkout that a record lists


def is_first() -> bool:
    """Return whether this process is the first of those that work on one run; it alone prints."""
    if "RANK" in os.environ:  # torchrun
        return int(os.environ["RANK"]) == 0
    if "LOCAL_RANK" in os.environ:  # Lightning
        return int(os.environ["LOCAL_RANK"]) == int(os.environ.get("NODE_RANK", 0)) == 0
    return not in_slurm_step() or int(os.environ["SLURM_PROCID"]) == 0


def is_rank() -> bool:
    """Return whether this process was started as one of several that work on one run."""
    return "RANK" in os.environ or "LOCAL_RANK" in os.environ or in_slurm_step()


def started_together() -> bool:
    """Return whether torchrun or SLURM started several processes with one command, so that none of
    them may choose a folder alone.
    """
    return in_slurm_step() or int(os.environ.get("WORLD_SIZE", 1)) > 1


def in_slurm_step() -> bool:
    """Return whether `srun` started this process and others."""
    return "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1


# Folder -------------------------------------------------------------------------------------------


def claim_folder(wanted: Path) -> Path:
    """Create a new folder, named as wanted or with "-2", "-3", ... added; no two processes get the
    same one.

    Raises:
        ConfigError: no folder can be created there.
    """
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable_error(wanted.parent, error) from error
    number = 1
    folder = wanted
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
        except OSError as error:
            raise unwritable_error(wanted.parent, error) from error
        else:
            return folder


def check_writable(overrides: list[str]) -> None:
    """Create the folder that `hydra.run.dir` names; raise a ConfigError if that fails."""
    for text in reversed(overrides):
        key, _, value = text.partition("=")
        if key != "hydra.run.dir":
            continue
        if "${" in value:
            return
        folder = Path(value.strip("'\""))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable_error(folder.parent, error, "hydra.run.dir") from error
        return


def unwritable_error(folder: Path, error: OSError, key: str = "runs") -> Exception:
    """Return the error to raise where no run folder can be created.

    Args:
        key: of the configuration that names the folder.
    """
    from blocks.graph import ConfigError, Problem

    return ConfigError(
        Problem(
            f"no folder can be made in {shorten_path(folder)}",
            "the command line",
            key,
            got=error.strerror,
            fix=f"{key}=FOLDER, where you may write",
            code="unwritable-file",
        )
    )


def check_unused(folder: Path) -> None:
    """Raise a ConfigError if a folder that the user chose holds a run."""
    if not (folder / RECORD).exists():
        return
    from blocks.graph import ConfigError, Problem

    raise ConfigError(
        Problem(
            f"{shorten_path(folder)} holds a run already",
            "the command line",
            "hydra.run.dir",
            fix="another hydra.run.dir, or leave it out for a new folder",
            code="unwritable-file",
        )
    )


def remove_folder(folder: Path) -> None:
    """Remove the folder of a run that did not start, and the folder of its day if it is empty."""
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def shorten_path(path: Path) -> Path:
    """Return a path relative to the working directory if it is inside, otherwise absolute."""
    path = path.absolute()
    here = Path.cwd()
    if path.is_relative_to(here):
        return path.relative_to(here)
    return path


def summary_lines(folder: Path, metrics: Mapping[str, float]) -> str:
    """Return the last lines that a run prints: the metrics, and where the report is."""
    scores = [f"{name.replace('/', ' ')} {value:.4f}" for name, value in sorted(metrics.items())]
    return f"{'  '.join(scores)}\nreport {shorten_path(folder / 'report.html')}"


# Record -------------------------------------------------------------------------------------------


class Record:
    """`run.json`: what ran, on what, how it ended. It is replaced as a whole at each change, so
    that it is never half written.

    `status` is "running", "finished", "failed" or "interrupted"; a record that is "running" while
    its process is gone belongs to a run that was killed. A resumed run keeps its record, and gets
    an entry in `sessions` for each start.

    Args:
        folder: the run folder.
        quiet: write nothing, as in all processes of a run but the first.
        resumed: continue the record in the folder.
        entries: the first entries.
    """

    def __init__(self, folder: Path, *, quiet: bool = False, resumed: bool = False, **entries: Any):
        self.folder = folder
        self.quiet = quiet
        self.entries: dict[str, Any] = {"status": "running", **entries}
        self.before: dict[str, Any] | None = None
        self.config: bytes | None = None
        if resumed:
            self.before = read_record(folder)
            if (folder / CONFIG).is_file():
                self.config = (folder / CONFIG).read_bytes()
        if self.before is not None:
            self.entries = continue_record(self.before, entries)
        self.save()

    def take_back(self) -> None:
        """Restore the record and config.yaml as they were before a start that was a mistake."""
        if self.before is not None:
            self.entries = self.before
            self.save()
        if self.config is not None and not self.quiet:
            (self.folder / CONFIG).write_bytes(self.config)

    def add_session(self, **entries: Any) -> None:
        """Add entries to the current session; the first ones begin the list of sessions."""
        if "sessions" not in self.entries:
            self.entries["sessions"] = [{}]
        self.entries["sessions"][-1].update(entries)
        self.save()

    def add(self, **entries: Any) -> None:
        """Add or replace entries."""
        self.entries.update(entries)
        if "sessions" in self.entries:
            self.entries["sessions"][-1].update(select(entries, RESULT))
        self.save()

    def save(self) -> None:
        """Write the record, without secrets."""
        if self.quiet:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(
            secrets.hidden(self.entries), indent=2, ensure_ascii=False, default=str
        )
        with replace_file(self.folder / RECORD) as draft:
            draft.write_text(content + "\n", encoding="utf-8", errors="backslashreplace")


def continue_record(before: dict[str, Any], entries: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of a resumed run.

    Args:
        before: its record so far.
        entries: those of the new session.
    """
    sessions = before.get("sessions") or [select(before, SESSION)]
    session = {**select(entries, SESSION), "status": "running"}
    outdated = ("ended", "error", "seconds", "test")
    kept = {name: value for name, value in before.items() if name not in outdated}
    return {
        **kept,
        **entries,
        "started": before.get("started"),
        "status": "running",
        "sessions": [*sessions, session],
    }


def select(entries: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the entries of these names, where present."""
    return {name: entries[name] for name in names if name in entries}


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record in a folder, if there is one."""
    try:
        record = json.loads(read_file(folder / RECORD))
    except (FileNotFoundError, NotADirectoryError, FileError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Return the rows of metrics.csv in a run folder, without empty entries; none without it."""
    path = folder / "metrics.csv"
    if not path.is_file():
        return []
    rows = csv.DictReader(io.StringIO(read_file(path).decode("utf-8"), newline=""))
    return [{name: float(value) for name, value in row.items() if value} for row in rows]


# Description of a run -----------------------------------------------------------------------------


def describe_start(
    config: dict[str, Any], overrides: list[str], root: Path, options: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the entries of a record that are known before the run starts.

    Args:
        config: the configuration.
        overrides: of the command line; their secrets are hidden.
        root: the folder of the project, for the git commit.
        options: that say where the configuration is: `--config-dir FOLDER`.
    """
    shown = list(map(secrets.hidden_override, overrides))
    return {
        "command": format_command([*options, *shown]),
        "overrides": shown,
        "seed": config["seed"],
        "started": current_time(),
        "directory": str(Path.cwd()),
        "git": describe_git(root),
        "versions": list_versions(),
        "executable": sys.executable,
    }


def current_time() -> str:
    """Return the local time with its offset, to the second."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def format_command(overrides: list[str]) -> str:
    """Return the command that runs the same again, into a new folder."""
    return shlex.join([*train_command(), *overrides])


def list_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the results."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def describe_machine() -> dict[str, Any]:
    """Return the system, its cores, threads and GPUs. The number of threads changes the last bits
    of a result.
    """
    import torch

    found: dict[str, Any] = {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        found["gpu"] = [torch.cuda.get_device_name(number) for number in range(count)]
    return found


def describe_git(folder: Path) -> dict[str, Any] | None:
    """Return the commit that is checked out in a folder, and the files that differ from it."""
    try:
        changed = run_git(folder, "status", "--porcelain").splitlines()
        return {
            "commit": run_git(folder, "rev-parse", "HEAD"),
            "changed": changed[:CHANGED_FILES],
        }
    except (OSError, subprocess.SubprocessError):
        return None


def run_git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command in a folder."""
    command = ["git", "-C", str(folder), *arguments]
    output = subprocess.run(command, capture_output=True, check=True, timeout=10).stdout
    return output.decode("utf-8", "backslashreplace").rstrip()
