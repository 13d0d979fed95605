"""Going on with a run: the command it had, taken over as what anybody may have written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blocks.support.files import kind_of
from tasks.config import secrets
from tasks.errors import ArgumentError
from tasks.run import run_folder

OWN = ("resume", "ckpt_path", "carry_over")  # words about this start, not about the run


def override_key(override: str) -> str:
    """The name that an override sets: "+a.b=1" -> "a.b"."""
    return override.lstrip("+~").partition("=")[0]


def requested_folder(overrides: Sequence[str]) -> Path | None:
    """The run folder that `resume=` names, if it does."""
    values = [
        text.partition("=")[2].strip("'\"") for text in overrides if override_key(text) == "resume"
    ]
    return parse_folder(values[-1]) if values else None


def parse_folder(value: Any) -> Path | None:
    """The run folder that a value of `resume` names. `true` is a word of sweeps."""
    named = isinstance(value, str) and value not in ("", "null", "true", "false")
    return Path(value).expanduser().absolute() if named else None


def read_overrides(overrides: Sequence[str]) -> list[str]:
    """The overrides of the run that `resume=` names, without those that are said anew. Anybody
    may have written them.

    Raises:
        ArgumentError: the folder holds no run.
    """
    place = requested_folder(overrides)
    if place is None:
        return []
    check_folder_content(place)
    record = run_folder.read(place)
    if record is None:
        fix = "resume=RUN, the folder that train.py named in its first line"
        raise ArgumentError(
            "resume", f"{run_folder.near(place)} holds no run that can be resumed", fix=fix
        )
    # a deletion of what the run added needs the addition before it
    new = {override_key(text) for text in overrides if not text.startswith("~")} | {"runs"}
    kept = record.get("overrides")
    words = [text for text in kept if isinstance(text, str)] if isinstance(kept, list) else []
    # a secret was not recorded; where it is not given again, the difference is named
    old = [
        text
        for text in run_overrides(words)
        if override_key(text) not in new and text not in overrides
    ]
    return [text for text in old if not text.endswith(f"={secrets.HIDDEN}")]


def run_overrides(overrides: Sequence[str]) -> list[str]:
    """The overrides that belong to the run."""
    return [
        text
        for text in overrides
        if override_key(text) not in OWN and not override_key(text).startswith(("hydra.", "hydra/"))
    ]


def check_folder_content(place: Path) -> None:
    """Raise an ArgumentError for a pipe or a device in a run folder, or a link that leads out of
    it.
    """
    for path in place.rglob("*"):
        kind = kind_of(path)
        if kind not in (None, "a folder"):
            raise ArgumentError(
                "resume", f"{run_folder.near(path)} is {kind}, not a regular file", fix="remove it"
            )
        if path.is_symlink() and not path.resolve().is_relative_to(place.resolve()):
            text, fix = (
                f"{run_folder.near(path)} is a link that leads out of the run folder",
                "put a copy in its place",
            )
            raise ArgumentError("resume", text, got=str(path.readlink()), fix=fix)
