"""The shards that a path stands for: braces and patterns are expanded."""

import glob
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from blocks.support.files import kind_of
from tasks.data.hub.files import find_split
from tasks.data.walk import Walk, list_first
from tasks.errors import ArgumentError

BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
SUFFIX = ".tar"
MOST = 100_000  # shards of one path


def find_shards(paths: Sequence[str]) -> dict[str, list[Path]]:
    """Return the shards of each split, in the order of their names.

    Args:
        paths: files, or a folder; {000..009}, {a,b} and * stand for several.

    Raises:
        ArgumentError: a shard is missing, or is no .tar file.
    """
    files: list[Path] = []
    missing: list[str] = []
    for given in paths:
        for text in expand_braces(given):
            found = find_files(Path(text).expanduser())
            files += found
            if not found:
                missing.append(text)
    if missing:
        raise ArgumentError(
            "path",
            f"{len(missing)} of {len(files) + len(missing)} shards are missing",
            got=list_first(missing),
            fits="all shards that data.path names",
            fix="fetch them, or leave them out of data.path",
        )
    splits: dict[str, list[Path]] = {}
    for file in dict.fromkeys(files):
        check_shard(file)
        splits.setdefault(find_split(Path(file.name)), []).append(file)
    return splits


def expand_braces(text: str) -> Iterator[str]:
    """Yield what "a-{08..11}.tar" or "{a,b}.tar" stands for, as a shell would."""
    braces = BRACES.search(text)
    if braces is None:
        yield text
        return
    bounds = RANGE.fullmatch(braces[1])
    choices = braces[1].split(",")
    if bounds is not None:
        first, last = int(bounds[1]), int(bounds[2])
        if last - first >= MOST:
            got = f"{last - first + 1:,} shards"
            raise ArgumentError("path", "too many shards", got=got, fits=f"up to {MOST:,}")
        width = len(bounds[1])
        choices = [f"{number:0{width}}" for number in range(first, last + 1)]
    for choice in choices:
        yield from expand_braces(text[: braces.start()] + choice + text[braces.end() :])


def find_files(path: Path) -> list[Path]:
    """Return a file, the .tar files of a folder, or those of a pattern; none if there are none."""
    if path.is_dir():
        found = [file for file in Walk(path).files if file.suffix.lower() == SUFFIX]
        if not found:
            raise ArgumentError("path", f"{path} has no .tar files", fits="shards: FOLDER/*.tar")
        return found
    if path.exists():
        return [path]
    return [Path(name) for name in sorted(glob.glob(str(path)))]


def check_shard(file: Path) -> None:
    """Raise an ArgumentError unless a file may be a .tar file whose parts can be read anywhere."""
    kind = kind_of(file)
    if kind is not None:
        raise ArgumentError("path", f"{file} is {kind}", fits="a .tar file")
    if file.suffix.lower() != SUFFIX:
        fix = None
        if SUFFIX in file.suffixes or file.suffix.lower() == ".tgz":
            fix = f"gunzip {file.name}: images are compressed already"
        problem = f"{file} is no .tar file, whose images can be read in any order"
        raise ArgumentError("path", problem, got=file.suffix or "no ending", fits=".tar", fix=fix)
