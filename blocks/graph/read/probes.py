"""The files that an answer depends on, and which of them have changed since."""

import hashlib
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Nanoseconds. Two writes within one tick of the clock of a file system leave the same time.
UNSETTLED = 50_000_000
BYTES = 1_000_000  # of a file whose content is compared; files of a configuration are not larger


@dataclass(frozen=True)
class Stamp:
    """What a path was when it was looked at.

    Args:
        mark: times, size and number of a file; the kind of anything else; None where there was
            nothing.
        digest: of the content, while the time is too recent to tell two writes apart.
    """

    mark: tuple[int, ...] | int | None
    digest: bytes = b""

    @property
    def is_file(self) -> bool:
        return isinstance(self.mark, tuple)


def take_stamp(path: Path) -> Stamp:
    """Return what a path is now."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return Stamp(None)
    if not stat.S_ISREG(found.st_mode):
        return Stamp(stat.S_IFMT(found.st_mode))
    mark = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
    if time.time_ns() - max(mark[:2]) > UNSETTLED or found.st_size > BYTES:
        return Stamp(mark)
    return Stamp(mark, _digest(path))


def _digest(path: Path) -> bytes:
    with suppress(OSError):
        return hashlib.blake2b(path.read_bytes()).digest()
    return b""


class Probes:
    """Paths that were read or looked for, with what each was before it was read."""

    def __init__(self) -> None:
        self.stamps: dict[Path, Stamp] = {}

    def add(self, path: Path) -> None:
        """Remember a path that is about to be read or looked for."""
        if path not in self.stamps:
            self.stamps[path] = take_stamp(path)

    def find_changed(self) -> list[Path]:
        """Return the paths that are not what they were, and remember what they are now."""
        changed = self.list_changed()
        for path in changed:
            self.stamps[path] = take_stamp(path)
        return changed

    def list_changed(self) -> list[Path]:
        """Return the paths that are not what they were."""
        return list(self._compare())

    def _compare(self) -> Iterator[Path]:
        for path, before in [*self.stamps.items()]:
            now = take_stamp(path)
            if now.mark != before.mark:
                yield path
            elif before.digest:
                if _digest(path) != before.digest:
                    yield path
                elif not now.digest:
                    self.stamps[path] = now

    def forget(self) -> None:
        """Forget all paths."""
        self.stamps.clear()
