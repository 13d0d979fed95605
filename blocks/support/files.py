"""Files that a configuration or an argument names: read only where they are regular files, with an
end.

Opening a named pipe waits for somebody who writes, and a device may have no end. Links are
followed. A process whose environment names a folder in `DOUGONG_CONFINED`, and every process that
it starts, opens no file outside that folder and the program's own YAML.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import Any

from blocks.support.conf_folders import conf_folder, lab_folders

CONFINED = "DOUGONG_CONFINED"
OUTSIDE = "outside of the project, where this process reads nothing"
KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}
SYSTEM = (
    "/proc",
    "/sys",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
)  # answers of the kernel, in the shape of files
WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
# times its size: what a file may unpack to; deflate reaches 1,030 on zeros, images in arrays 2 to
# 50
GROWTH = 200
SMALL = 100_000_000  # bytes, up to which it may grow as it likes


class FileError(OSError):
    """A file that is not read; `strerror` says why."""

    def __init__(self, path: Any, why: str):
        super().__init__(None, why, str(path))

    def __str__(self) -> str:
        return str(self.strerror)


def kind_of(path: str | Path) -> str | None:
    """What a path is where it is no regular file, e.g. "a named pipe"; None where it is one, or
    is not there.
    """
    if lies_outside(path):
        return OUTSIDE
    try:
        return _kind(os.stat(path))
    except (OSError, ValueError):
        return None


def check_kind(path: str | Path, kind: str | None) -> None:
    """Raise FileError unless `kind`, as `kind_of` gives it, says that it is a regular file."""
    if kind == OUTSIDE:
        raise FileError(path, f"it is {OUTSIDE}")
    if kind is not None:
        raise FileError(path, f"it is {kind}, not a regular file")


def is_confined() -> bool:
    """Return whether this process works for somebody who is not trusted (`DOUGONG_CONFINED`)."""
    return bool(os.environ.get(CONFINED))


def lies_outside(path: str | Path) -> bool:
    """Return whether this process is confined to a folder, and a path leads out of it."""
    if not is_confined():
        return False
    real = Path(os.path.realpath(path))
    allowed = (Path(os.environ[CONFINED]), conf_folder(), *lab_folders())
    return not any(real.is_relative_to(os.path.realpath(folder)) for folder in allowed)


def open_file(path: str | Path) -> BufferedReader:
    """Open a regular file to read bytes.

    Raises:
        FileError: it is something else; it is not opened, so nothing waits.
        OSError: it is not there, or may not be read.
    """
    return open(path, "rb", opener=_open)


def read_file(path: str | Path) -> bytes:
    """The bytes of a regular file; raises as `open_file`, and FileError for more than the memory of
    this machine.
    """
    with open_file(path) as file:
        check_memory(path, os.fstat(file.fileno()).st_size)
        return file.read()


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Replace a file as a whole: yields a draft beside it, which takes its name on success."""
    draft = path.with_name(f".{path.name}.part")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def check_memory(path: str | Path, size: int) -> None:
    """Raise FileError where what is to be held of a file is larger than the memory of this
    machine.
    """
    there = memory()
    if there is not None and size > there:
        raise FileError(
            path,
            f"it holds {size / 1e9:,.1f} GB, more than the {there / 1e9:,.1f} GB of memory here",
        )


def check_growth(path: str | Path, size: int, packed: int) -> None:
    """Raise FileError for a file that unpacks to more than the memory of this machine, or than is
    honest.

    Args:
        size: bytes when unpacked.
        packed: bytes as it lies there.
    """
    check_memory(path, size)
    if size > max(GROWTH * packed, SMALL):
        raise FileError(
            path, f"it unpacks from {packed:,} to {size:,} bytes, over {GROWTH} times as much"
        )


def memory() -> int | None:
    """The bytes of memory of this machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins like safetensors: the length of a JSON object, then '{'."""
    with open_file(path) as file:
        length, brace = int.from_bytes(file.read(8), "little"), file.read(1)
    return brace == b"{" and 2 <= length <= path.stat().st_size - 8


def _open(path: str, flags: int) -> int:
    check_kind(path, kind_of(path))  # before it is opened, which can act on a device
    number = os.open(path, flags | WAIT)
    try:
        check_kind(path, _kind(os.fstat(number)))  # it may have been replaced in between
    except FileError:
        os.close(number)
        raise
    return number


def _kind(found: os.stat_result) -> str | None:
    if not stat.S_ISREG(found.st_mode):
        return KINDS.get(stat.S_IFMT(found.st_mode), "something else")
    return "a file of the kernel" if found.st_dev in _system() else None


@lru_cache(maxsize=1)
def _system() -> set[int]:
    found = set()
    for place in SYSTEM:
        try:
            found.add(os.stat(place).st_dev)
        except OSError:
            continue
    return found
