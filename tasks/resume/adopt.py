"""The overrides of a run that is resumed, read as text that anybody may have written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blocks.support.files import kind_of
from tasks.config import secrets
from tasks.errors import ArgumentError
from tasks.run import run_folder

START_OPTIONS = ("resume", "ckpt_path", "carry_over")  # of this start, not of the run


def override_key(override: str) -> str:
    """Return the name that an override sets: "+a.b=1" -> "a.b"."""
    return override.lstrip("+~").partition("=")[0]


def requested_folder(overrides: Sequence[str]) -> Path | None:
    """Return the run folder that the last `resume=` names, None without one."""
    folder = None
    for text in overrides:
        if override_key(text) == "resume":
            folder = parse_folder(text.partition("=")[2].strip("'\""))
    return folder


def parse_folder(value: Any) -> Path | None:
    """Return the run folder that a value of `resume` names; `true` is an option of sweeps."""
    if not isinstance(value, str) or value in ("", "null", "true", "false"):
        return None
    return Path(value).expanduser().absolute()


def read_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of the run that `resume=` names, without those that are given again.

    Raises:
        ArgumentError: the folder holds no run.
    """
    folder = requested_folder(overrides)
    if folder is None:
        return []
    check_folder_content(folder)
    record = run_folder.read_record(folder)
    if record is None:
        raise ArgumentError(
            "resume",
            f"{run_folder.shorten_path(folder)} holds no run that can be resumed",
            fix="resume=RUN, the folder that the training named in its first line",
        )
    recorded = record.get("overrides")
    if not isinstance(recorded, list):
        recorded = []
    # a deletion of what the run added needs the addition before it
    given = {override_key(text) for text in overrides if not text.startswith("~")} | {"runs"}
    kept = []
    for text in run_overrides([text for text in recorded if isinstance(text, str)]):
        # a secret was not recorded; where it is not given again, the difference is reported
        is_hidden = text.endswith(f"={secrets.HIDDEN}")
        if override_key(text) not in given and text not in overrides and not is_hidden:
            kept.append(text)
    return kept


def run_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that belong to the run, not to a start or to Hydra."""
    kept = []
    for text in overrides:
        key = override_key(text)
        if key not in START_OPTIONS and not key.startswith(("hydra.", "hydra/")):
            kept.append(text)
    return kept


def check_folder_content(folder: Path) -> None:
    """Raise an ArgumentError for a pipe or a device in a run folder, or a link that leads out of
    it.
    """
    for path in folder.rglob("*"):
        kind = kind_of(path)
        if kind not in (None, "a folder"):
            raise ArgumentError(
                "resume",
                f"{run_folder.shorten_path(path)} is {kind}, not a regular file",
                fix="remove it",
            )
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise ArgumentError(
                "resume",
                f"{run_folder.shorten_path(path)} is a link that leads out of the run folder",
                got=str(path.readlink()),
                fix="put a copy in its place",
            )
