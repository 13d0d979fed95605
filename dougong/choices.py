"""The files that can be chosen, with whose they are and what they say of themselves."""

from dataclasses import dataclass
from pathlib import Path

from blocks.support.conf_folders import (
    conf_folder,
    groups,
    lab_folders,
    option_files,
    project_folder,
)
from blocks.support.files import read_file

HEADER = "# @package"
PROGRAM, PROJECT = "dougong", "this project"


@dataclass(frozen=True)
class Choice:
    """A file that can be chosen.

    Args:
        name: e.g. "vit".
        summary: the first comment of the file.
        file: where it is.
        origin: "dougong", "this project", or the folder of the package that ships it.
    """

    name: str
    summary: str
    file: str
    origin: str


def list_choices(group: str) -> list[Choice]:
    """Return the choices of a group such as "model" or "model/norm"; empty for no group."""
    found = []
    for name, file in option_files(group).items():
        found.append(Choice(name, read_summary(file), str(file), find_origin(file)))
    return found


def list_groups() -> list[Choice]:
    """Return the groups, each with its first options in place of a summary."""
    found = []
    for group in groups():
        names = list(option_files(group))
        shown = ", ".join(names[:5])
        if len(names) > 5:
            shown += f", ... ({len(names)})"
        found.append(Choice(group, shown, "", PROGRAM))
    return found


def read_summary(file: Path) -> str:
    """Return the first comment of a YAML file, without the header that Hydra reads."""
    try:
        text = read_file(file).decode("utf-8", errors="replace")
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    for line in text.splitlines():
        if line.startswith("#") and not line.startswith(HEADER):
            return line.lstrip("# ").strip()
        if not line.startswith("#"):
            return ""
    return ""


def find_origin(file: Path) -> str:
    """Return whose file it is, as in `Choice`."""
    project = project_folder()
    if project is not None and project in file.parents:
        return PROJECT
    if conf_folder() in file.parents:
        return PROGRAM
    return next(str(folder) for folder in lab_folders() if folder in file.parents)
