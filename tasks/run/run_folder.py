"""The run folder: its name, and the record of what ran in it. Needs neither torch nor Hydra."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from blocks.support.files import FileError, read_file, replace_file
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


def is_first() -> bool:
    """Whether this process is the first of those that work on one run, whoever started them: it
    alone talks.
    """
    if "RANK" in os.environ:  # torchrun
        return int(os.environ["RANK"]) == 0
    if "LOCAL_RANK" in os.environ:  # Lightning
        return int(os.environ["LOCAL_RANK"]) == int(os.environ.get("NODE_RANK", 0)) == 0
    return not in_step() or int(os.environ["SLURM_PROCID"]) == 0


def is_rank() -> bool:
    """Whether something else started this process as one of several that work on one run."""
    return "RANK" in os.environ or "LOCAL_RANK" in os.environ or in_step()


def started_together() -> bool:
    """Whether torchrun or SLURM started several processes with one command: none of them may choose
    a folder alone.
    """
    return in_step() or int(os.environ.get("WORLD_SIZE", 1)) > 1


def in_step() -> bool:
    """Whether `srun` started this process and others."""
    return "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1


def claim(wish: Path) -> Path:
    """Make a new folder called `wish`, or `wish-2`, `wish-3`, ...; no two processes ever get the
    same one.
    """
    try:
        wish.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(wish.parent, error) from error
    number = 1
    while True:
        folder = wish if number == 1 else wish.with_name(f"{wish.name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        except OSError as error:
            raise unwritable(wish.parent, error) from error
        return folder


def must_be_writable(overrides: list[str]) -> None:
    """Raise a ConfigError where the folder that `hydra.run.dir` names cannot be made."""
    named = [
        text.partition("=")[2].strip("'\"")
        for text in overrides
        if text.startswith("hydra.run.dir=")
    ]
    place = Path(named[-1]) if named and "${" not in named[-1] else None
    if place is not None:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(place.parent, error, "hydra.run.dir") from error


def unwritable(place: Path, error: OSError, word: str = "runs") -> Exception:
    """What to tell where no run folder can be made."""
    from blocks.graph import ConfigError, Problem

    text, fix = f"no folder can be made in {near(place)}", f"{word}=FOLDER, where you may write"
    return ConfigError(
        [Problem(problem=text, where="the command line", path=word, got=error.strerror, fix=fix)]
    )


def check_unused(folder: Path) -> None:
    """Raise a ConfigError if a folder that the user chose holds a run already."""
    if (folder / RECORD).exists():
        from blocks.graph import ConfigError, Problem

        text, fix = (
            f"{near(folder)} holds a run already",
            "another hydra.run.dir, or leave it out for a new folder",
        )
        raise ConfigError(
            [Problem(problem=text, where="the command line", path="hydra.run.dir", fix=fix)]
        )


def remove(folder: Path) -> None:
    """Take away the folder of a run that did not start, and the folder of its day if nothing else
    is in it.
    """
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


class Record:
    """`run.json`: what ran, on what, how it ended. Replaced as a whole at each change, so it is
    never half written.

    Its `status` is "running", "finished", "failed" or "interrupted"; a record that still says
    "running" when its process is gone belongs to a run that was killed. A quiet record writes
    nothing: of several processes only the first does.

    A run that is resumed keeps what its record says, and gets an entry in `sessions` for each
    start.
    """

    def __init__(self, folder: Path, *, quiet: bool = False, resumed: bool = False, **entries: Any):
        self.folder, self.quiet, self.entries = folder, quiet, {"status": "running", **entries}
        self.before = read(folder) if resumed else None
        self.config = (
            (folder / CONFIG).read_bytes() if resumed and (folder / CONFIG).is_file() else None
        )
        if self.before is not None:
            self.entries = self._continued(self.before, entries)
        self.save()

    def _continued(self, before: dict[str, Any], entries: dict[str, Any]) -> dict[str, Any]:
        parts = ("started", "ended", "status", "seconds", "command", "versions", "git", "error")
        sessions = before.get("sessions") or [
            {name: before[name] for name in parts if name in before}
        ]
        stale = ("ended", "error", "seconds", "test")
        kept = {name: value for name, value in before.items() if name not in stale}
        new = {**{name: entries[name] for name in parts if name in entries}, "status": "running"}
        return {
            **kept,
            **entries,
            "started": before.get("started"),
            "status": "running",
            "sessions": [*sessions, new],
        }

    def take_back(self) -> None:
        """Let the record and config.yaml be as they were before a start that was a mistake."""
        if self.before is not None:
            self.entries = self.before
            self.save()
        if self.config is not None and not self.quiet:
            (self.folder / CONFIG).write_bytes(self.config)

    def add_session(self, **entries: Any) -> None:
        """Note something of this start; the sessions begin with the first one that is noted."""
        if "sessions" not in self.entries:
            self.entries["sessions"] = [{}]
        self.entries["sessions"][-1].update(entries)
        self.save()

    def add(self, **entries: Any) -> None:
        self.entries.update(entries)
        if "sessions" in self.entries:
            told = ("status", "ended", "seconds", "error", "test")
            self.entries["sessions"][-1].update(
                {name: entries[name] for name in told if name in entries}
            )
        self.save()

    def save(self) -> None:
        if self.quiet:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(
            secrets.hidden(self.entries), indent=2, ensure_ascii=False, default=str
        )
        with replace_file(self.folder / RECORD) as draft:
            draft.write_text(content + "\n", encoding="utf-8", errors="backslashreplace")


def read(folder: Path) -> dict[str, Any] | None:
    """The record in a folder, if there is one."""
    try:
        found = json.loads(read_file(folder / RECORD))
    except (FileNotFoundError, NotADirectoryError, FileError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def near(path: Path) -> Path:
    """A path as seen from where the user stands, if it lies below."""
    path, here = path.absolute(), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def farewell(place: Path, metrics: dict[str, float]) -> str:
    """The last lines of a run: the score and where everything is."""
    told = "  ".join(
        f"{name.replace('/', ' ')} {value:.4f}" for name, value in sorted(metrics.items())
    )
    return f"{told}\nreport {near(place / 'report.html')}"


def command(overrides: list[str]) -> str:
    """The command that runs the same again, into a new folder."""
    return shlex.join(["python", "train.py", *overrides])


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the run ran on. The number of threads changes the last bits of a result, so it is
    noted.
    """
    import torch

    found: dict[str, Any] = {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        found["gpu"] = [
            torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())
        ]
    return found


def git(folder: Path) -> dict[str, Any] | None:
    """The commit checked out in `folder`, and whether files differ from it."""

    def ask(*words: str) -> str:
        asked = ["git", "-C", str(folder), *words]
        answer = subprocess.run(asked, capture_output=True, check=True, timeout=10).stdout
        return answer.decode("utf-8", "backslashreplace").rstrip()

    try:
        return {
            "commit": ask("rev-parse", "HEAD"),
            "changed": ask("status", "--porcelain").splitlines()[:100],
        }
    except (OSError, subprocess.SubprocessError):
        return None


def identity(config: dict, overrides: list[str], root: Path) -> dict[str, Any]:
    """All that is known before the run starts."""
    return {
        "command": command(list(map(secrets.hidden_override, overrides))),
        "overrides": list(map(secrets.hidden_override, overrides)),
        "seed": config["seed"],
        "started": now(),
        "directory": str(Path.cwd()),
        "git": git(root),
        "versions": versions(),
        "executable": sys.executable,
    }
