"""Walk the files below a folder: links are followed, hidden names are left out."""

import os
import sys
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path

from blocks.support.files import OUTSIDE, kind_of, lies_outside

SHOWN = 5  # names in a note
LOST = "a link that leads nowhere"

Stamp = tuple[int, int, int]  # device, inode, and time of the last change in nanoseconds


class Walk:
    """All files below a folder, sorted by path, and what is left out, each name with the reason.

    A linked folder is read like any other. Each folder is read once, so that circular links end.

    Args:
        folder: where to begin; its own name may begin with a dot.

    Attributes:
        names: the files, relative to the folder, with "/" between the parts.
        left_out: what is left out.
        folders: each folder that was read, relative to `folder`, as it was before it was read.
        links: each name that is no folder and had to be followed, with what was found there: None
            for a regular file.
        is_complete: whether every folder could be opened.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.names: list[str] = []
        self.left_out: list[str] = []
        self.folders: dict[str, Stamp] = {}
        self.links: dict[str, str | None] = {}
        self.is_complete = True
        seen: set[tuple[int, int]] = set()
        waiting = [""]
        while waiting:
            current = waiting.pop(0)
            path = os.path.join(folder, current)
            if lies_outside(path):
                self._leave_out(current, OUTSIDE)
                continue
            try:
                stamp = stamp_of(path)
                with os.scandir(path) as found:
                    entries = sorted(found, key=attrgetter("name"))
            except OSError as error:
                self._leave_out(current, f"cannot be opened: {error.strerror}")
                self.is_complete = False
                continue
            if stamp[:2] in seen:
                self._leave_out(current, "links to a folder that is read already")
                continue
            seen.add(stamp[:2])
            self.folders[current] = stamp
            waiting += self._sort_entries(current, entries)
        if len(self.folders) > 1:
            self.names.sort(key=split_name)

    @property
    def files(self) -> list[Path]:
        """The files as paths."""
        return [self.folder / name for name in self.names]

    def _sort_entries(self, folder: str, entries: Iterable[os.DirEntry[str]]) -> list[str]:
        """Return the folders among the entries of a folder; keep the files, leave out the rest.

        The system states the kind of each entry with its name. Only links and what is neither file
        nor folder are looked at one by one, and the first file for the file system that all are on.
        """
        folders = []
        known = False
        kind: str | None = None
        for entry in entries:
            name = join_names(folder, entry.name)
            if entry.name.startswith("."):
                self._leave_out(name, "hidden")
            elif is_plain_file(entry):
                if not known:
                    kind, known = kind_of(entry.path), True
                if kind:
                    self._leave_out(name, kind)
                else:
                    self.names.append(name)
            elif os.path.isdir(entry.path):  # never raises
                folders.append(name)
            else:
                self.links[name] = reason = follow_link(entry.path)
                if reason:
                    self._leave_out(name, reason)
                else:
                    self.names.append(name)
        return folders

    def _leave_out(self, name: str, reason: str) -> None:
        self.left_out.append(f"{escape_name(name or '.')} ({reason})")


def stamp_of(folder: str | Path) -> Stamp:
    """Return what changes when a name in a folder is added, removed or replaced."""
    found = os.stat(folder)
    return found.st_dev, found.st_ino, found.st_mtime_ns


def is_plain_file(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry of a folder is a regular file itself, not a link to one."""
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        return False


def follow_link(path: str) -> str | None:
    """Return why what a path leads to cannot be used; None for a regular file."""
    if kind := kind_of(path):
        return kind
    if os.path.isfile(path):
        return None
    return LOST


def join_names(folder: str, name: str) -> str:
    """Join a relative folder, empty for the first one, and a name in it."""
    if folder:
        return f"{folder}/{name}"
    return name


def split_name(name: str) -> list[str]:
    """Split a relative name at its folders, by which paths are sorted."""
    return name.split("/")


def escape_name(name: Path | str) -> str:
    """Return a file name as text; bytes that are not UTF-8 are escaped, as in `caf\\xe9.png`."""
    content = str(name).encode("utf-8", sys.getfilesystemencodeerrors())
    return content.decode("utf-8", "backslashreplace")


def visible_children(folder: Path) -> list[Path]:
    """Return what a folder itself holds, sorted, without the names that begin with a dot."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def list_first(names: list[str]) -> str:
    """List the first names in alphabetical order, and count the others."""
    text = ", ".join(sorted(names)[:SHOWN])
    if len(names) > SHOWN:
        text += f", and {len(names) - SHOWN} more"
    return text
