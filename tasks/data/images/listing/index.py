"""An index of the files of a large folder, kept beside it, so that it is read once.

The index of FOLDER is .FOLDER.index.npz in the folder above, or a file in ~/.cache/dougong/index
where that cannot be written. It is used while every folder has the time of its last change, and
every link leads to what it led to; a changed index of another user is no danger, as it holds only
names of files below FOLDER.
"""

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from blocks.support.files import lies_outside
from tasks.data.images.listing.samples import Samples
from tasks.data.images.npz import read_npz
from tasks.data.walk import Stamp, follow_link, stamp_of
from tasks.errors import ArgumentError

LEAST = 10_000  # files from which a folder gets an index; fewer are found in under a second
FORMAT = 1
SETTLED = 2_000_000_000  # ns; a change within two seconds before the walk may be followed by
# another one with the same time
REGULAR = ""  # what a link leads to, as it is saved


@dataclass
class Scan:
    """What a folder holds.

    Args:
        parts: the images of each part.
        left_out: names that are left out, each with the reason.
        folders: every folder that was read, by its path from the root.
        links: every name that was followed, with why it cannot be used, or None.
        started: when reading began, in nanoseconds.
        is_complete: whether every folder could be opened.
    """

    parts: dict[str, Samples] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    folders: dict[str, Stamp] = field(default_factory=dict)
    links: dict[str, str | None] = field(default_factory=dict)
    started: int = field(default_factory=time.time_ns)
    is_complete: bool = True

    def size(self) -> int:
        """Return the number of images."""
        return sum(map(len, self.parts.values()))


def cache_folder() -> Path:
    """Return the folder of the indices that do not lie beside what they list."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return cache / "dougong" / "index"


def places(folder: Path) -> list[Path]:
    """Return where the index of a folder may be: beside it, then in the cache."""
    absolute = Path(os.path.abspath(folder))
    key = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:24]
    found = [cache_folder() / f"{key}.npz"]
    if absolute.name:
        found.insert(0, absolute.with_name(f".{absolute.name}.index.npz"))
    return [place for place in found if not lies_outside(place)]


def load_index(folder: Path) -> tuple[Scan, Path] | None:
    """Return what the index of a folder says, and its file; None if there is none that holds."""
    for place in places(folder):
        if place.exists():
            try:
                scan = unpack(folder, read_npz(place))
            except (ArgumentError, KeyError, ValueError, IndexError):
                continue  # damaged, or of another release
            if holds(folder, scan):
                return scan, place
    return None


def find_reason_against(scan: Scan) -> str | None:
    """Return why an index of a folder would not hold; None if it would."""
    if not scan.is_complete:
        return "a folder in it cannot be opened"
    newest = max(stamp[2] for stamp in scan.folders.values())
    if newest + SETTLED > scan.started:
        return "it has just been changed"
    return None


def save_index(folder: Path, scan: Scan) -> Path | None:
    """Write an index in the first place that can be written; returns its file, or None."""
    return write_arrays(places(folder), pack(scan))


def write_arrays(places: Iterable[Path], arrays: dict[str, np.ndarray]) -> Path | None:
    """Write arrays whole into the first file that can be written; returns it, or None."""
    for place in places:
        draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        try:
            if place.parent.name == "index":
                place.parent.mkdir(parents=True, exist_ok=True)
            with open(draft, "xb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            os.replace(draft, place)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()
            continue
        return place
    return None


def holds(folder: Path, scan: Scan) -> bool:
    """Return whether a folder is as it was when an index of it was made."""
    try:
        for name, stamp in scan.folders.items():
            if stamp_of(folder / name) != stamp:
                return False
    except OSError:
        return False
    return all(follow_link(str(folder / name)) == kind for name, kind in scan.links.items())


def pack(scan: Scan) -> dict[str, np.ndarray]:
    """Return a scan as arrays."""
    stamps = [" ".join(map(str, stamp)) for stamp in scan.folders.values()]
    arrays = {
        "format": np.array(FORMAT),
        "folders": pack_names(list(scan.folders)),
        "stamps": pack_names(stamps),
        "links": pack_names(list(scan.links)),
        "kinds": pack_names([kind or REGULAR for kind in scan.links.values()]),
        "left_out": pack_names(scan.left_out),
        "parts": pack_names(list(scan.parts)),
    }
    for part, samples in scan.parts.items():
        arrays[f"{part}.names"] = np.frombuffer(samples.content, np.uint8)
        arrays[f"{part}.ends"] = samples.ends
        arrays[f"{part}.codes"] = samples.codes
        arrays[f"{part}.classes"] = pack_names(samples.classes)
    return arrays


def unpack(folder: Path, arrays: dict[str, np.ndarray]) -> Scan:
    """Return the scan in arrays.

    Raises:
        KeyError: an array is missing.
        ValueError: the arrays are not those of an index.
    """
    if int(arrays["format"]) != FORMAT:
        raise ValueError("another format")
    stamps = []
    for text in unpack_names(arrays["stamps"]):
        device, inode, changed = map(int, text.split())
        stamps.append((device, inode, changed))
    kinds = [kind or None for kind in unpack_names(arrays["kinds"])]
    scan = Scan(
        left_out=unpack_names(arrays["left_out"]),
        folders=dict(zip(unpack_names(arrays["folders"]), stamps, strict=True)),
        links=dict(zip(unpack_names(arrays["links"]), kinds, strict=True)),
    )
    for part in unpack_names(arrays["parts"]):
        scan.parts[part] = unpack_samples(folder, part, arrays)
    return scan


def unpack_samples(folder: Path, part: str, arrays: dict[str, np.ndarray]) -> Samples:
    """Return the files of a part; raises ValueError for names that lead out of the folder."""
    content, ends = arrays[f"{part}.names"].tobytes(), arrays[f"{part}.ends"]
    codes, classes = arrays[f"{part}.codes"], unpack_names(arrays[f"{part}.classes"])
    starts = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
    if len(ends) != len(codes) or not len(ends) or ends[-1] != len(content):
        raise ValueError("arrays of different lengths")
    if (ends <= starts).any() or codes.min() < 0 or codes.max() >= len(classes):
        raise ValueError("numbers that cannot be")
    first = np.frombuffer(content, np.uint8)[starts]
    if np.isin(first, list(b"/.")).any() or b"/." in content:
        raise ValueError("names that lead out of the folder")
    return Samples(folder, content, starts, ends, codes, classes)


def pack_names(names: list[str]) -> np.ndarray:
    """Return names as bytes, each with a zero behind it."""
    return np.frombuffer(b"".join(os.fsencode(name) + b"\0" for name in names), np.uint8)


def unpack_names(array: np.ndarray) -> list[str]:
    """Return the names that `pack_names` packed."""
    return list(map(os.fsdecode, array.tobytes().split(b"\0")[:-1]))
