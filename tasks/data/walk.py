"""The files below a folder: links are followed, names that begin with a dot are left out."""

import os
import sys
from pathlib import Path

from blocks.support.files import kind_of

TOLD = 5  # names in a note


class Walk:
    """All files below a folder, sorted by path, and what is left out of them, each name with the
    reason.

    A linked folder is read like any other. Each folder is read once, so that links in a circle end.

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
            place = waiting.pop(0)
            try:
                found = place.stat()
                names = sorted(os.listdir(place))
            except OSError as error:
                self._leave_out(place, f"cannot be opened: {error.strerror}")
                continue
            if (found.st_dev, found.st_ino) in seen:
                self._leave_out(place, "links to a folder that is read already")
                continue
            seen.add((found.st_dev, found.st_ino))
            waiting += self._folders(place, names)
        self.files.sort()

    def _folders(self, place: Path, names: list[str]) -> list[Path]:
        """The folders among the names in a folder; takes the files, and leaves out the rest."""
        folders = []
        for path in (place / name for name in names):
            if path.name.startswith("."):
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

    def _leave_out(self, path: Path, why: str) -> None:
        self.left_out.append(f"{shown(path.relative_to(self.folder))} ({why})")


def shown(name: Path | str) -> str:
    """A file name as text: bytes that are not UTF-8 are escaped, as in `caf\\xe9.png`."""
    return (
        str(name)
        .encode("utf-8", sys.getfilesystemencodeerrors())
        .decode("utf-8", "backslashreplace")
    )


def visible(folder: Path) -> list[Path]:
    """What stands in a folder itself, sorted, without the names that begin with a dot."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def listed(names: list[str]) -> str:
    """The first few of some names, and how many more there are."""
    more = f", and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return f"{', '.join(sorted(names)[:TOLD])}{more}"
