"""Walk the files below a folder: links are followed, hidden names are left out."""

import os
import sys
from pathlib import Path

from blocks.support.files import OUTSIDE, kind_of, lies_outside

SHOWN = 5  # names in a note


class Walk:
    """All files below a folder, sorted by path, and what is left out, each name with the reason.

    A linked folder is read like any other. Each folder is read once, so that circular links end.

    Args:
        folder: where to begin; its own name may begin with a dot.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.files: list[Path] = []
        self.left_out: list[str] = []
        seen: set[tuple[int, int]] = set()
        waiting = [folder]
        while waiting:
            current = waiting.pop(0)
            if lies_outside(current):
                self._leave_out(current, OUTSIDE)
                continue
            try:
                found = current.stat()
                names = sorted(os.listdir(current))
            except OSError as error:
                self._leave_out(current, f"cannot be opened: {error.strerror}")
                continue
            if (found.st_dev, found.st_ino) in seen:
                self._leave_out(current, "links to a folder that is read already")
                continue
            seen.add((found.st_dev, found.st_ino))
            waiting += self._sort_names(current, names)
        self.files.sort()

    def _sort_names(self, folder: Path, names: list[str]) -> list[Path]:
        """Return the folders among the names in a folder; keep the files, leave out the rest."""
        folders = []
        for name in names:
            path = folder / name
            if name.startswith("."):
                self._leave_out(path, "hidden")
            elif os.path.isdir(path):  # never raises, unlike Path.is_dir
                folders.append(path)
            elif kind := kind_of(path):
                self._leave_out(path, kind)
            elif os.path.isfile(path):
                self.files.append(path)
            else:
                self._leave_out(path, "a link that leads nowhere")
        return folders

    def _leave_out(self, path: Path, reason: str) -> None:
        self.left_out.append(f"{escape_name(path.relative_to(self.folder))} ({reason})")


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
