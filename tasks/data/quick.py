"""Whether files of the user's own are read within a second."""

import os
from pathlib import Path

SMALL = 4 * 2**20  # bytes
FEW = 300  # files


def is_small(path: object) -> bool:
    """Return whether a path is a small file, or a folder with few and small files; what does not
    exist is small, as the error about it takes no time.

    Args:
        path: as the YAML states it; what is no path is not small.
    """
    if not isinstance(path, str | Path):
        return False
    place = Path(path).expanduser()
    if place.is_file():
        return place.stat().st_size <= SMALL
    if not place.exists():
        return True
    count = size = 0
    for folder, _, names in os.walk(place):
        count += len(names)
        if count > FEW:
            return False
        size += sum(measure(os.path.join(folder, name)) for name in names)
        if size > SMALL:
            return False
    return True


def measure(file: str) -> int:
    """Return the bytes of a file; 0 where it leads nowhere."""
    try:
        return os.stat(file).st_size
    except OSError:
        return 0
