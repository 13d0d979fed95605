"""An index of many shards, kept in ~/.cache/dougong/index, so that their headers are read once.

It is used while every shard has the size and the time of change that it had. A changed index of
another user is no danger: it holds names and places in the shards.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np

from blocks.support.files import lies_outside
from tasks.data.images.listing.index import (
    LEAST,
    SETTLED,
    cache_folder,
    pack_names,
    unpack_names,
    write_arrays,
)
from tasks.data.images.npz import read_npz
from tasks.data.shards.scan import Fields, Shard, scan_shard
from tasks.errors import ArgumentError

FORMAT = 1
TEXTS = ("names", "labels", "no_image", "no_label")
NUMBERS = ("offsets", "sizes")


def scan_shards(
    files: Sequence[Path], fields: Fields, *, index: bool = True
) -> tuple[list[Shard], str | None]:
    """Find the samples of some shards, by their index if there is one that holds.

    Returns:
        The samples of each shard, and a note on the index, or None.

    Raises:
        ArgumentError: a shard is damaged.
    """
    place = choose_place(files, fields)
    if not index or lies_outside(place):
        return [scan_shard(file, fields) for file in files], None
    stamps, started = read_stamps(files), time.time_ns()
    loaded = load_index(place, files, stamps)
    if loaded is not None:
        return loaded, f"shards by the index {place}"
    shards = [scan_shard(file, fields) for file in files]
    if sum(len(shard.names) for shard in shards) < LEAST:
        return shards, None
    if stamps[:, 1].max() + SETTLED > started:
        return shards, "no index of the shards is written: one has just been changed"
    if write_arrays([place], pack(shards, stamps)):
        return shards, f"an index of the shards is written to {place}"
    return shards, f"an index of the shards could not be written to {place}"


def choose_place(files: Sequence[Path], fields: Fields) -> Path:
    """Return the file of the index of some shards."""
    key = hashlib.sha256(repr(astuple(fields)).encode())
    for file in files:
        key.update(os.fsencode(os.path.realpath(file)) + b"\0")
    return cache_folder() / f"{key.hexdigest()[:24]}.npz"


def read_stamps(files: Sequence[Path]) -> np.ndarray:
    """Return the size and the time of change of each shard (shards, 2)."""
    found = [file.stat() for file in files]
    return np.array([(each.st_size, each.st_mtime_ns) for each in found], np.int64)


def pack(shards: Sequence[Shard], stamps: np.ndarray) -> dict[str, np.ndarray]:
    """Return shards as arrays."""
    arrays = {"format": np.array(FORMAT), "stamps": stamps}
    arrays["has_end"] = np.array([shard.has_end for shard in shards])
    for field in (*TEXTS, *NUMBERS):
        columns = [getattr(shard, field) for shard in shards]
        joined = [value for column in columns for value in column]
        arrays[f"{field}.counts"] = np.array(list(map(len, columns)), np.int64)
        if field in TEXTS:
            arrays[field] = pack_names(joined)
        else:
            arrays[field] = np.array(joined, np.int64)
    return arrays


def load_index(place: Path, files: Sequence[Path], stamps: np.ndarray) -> list[Shard] | None:
    """Return what an index says; None where there is none that holds."""
    if not place.exists():
        return None
    try:
        return unpack(read_npz(place), files, stamps)
    except (ArgumentError, KeyError, ValueError, IndexError):
        return None  # damaged, of another release, or of other shards


def unpack(arrays: dict[str, np.ndarray], files: Sequence[Path], stamps: np.ndarray) -> list[Shard]:
    """Return the shards in arrays; raises KeyError or ValueError where they do not hold."""
    if int(arrays["format"]) != FORMAT or not np.array_equal(arrays["stamps"], stamps):
        raise ValueError("another format, or a shard has changed")
    ends = arrays["has_end"].tolist()
    shards = [Shard(file, has_end=end) for file, end in zip(files, ends, strict=True)]
    for field in (*TEXTS, *NUMBERS):
        values = arrays[field].tolist()
        if field in TEXTS:
            values = unpack_names(arrays[field])
        counts = arrays[f"{field}.counts"].tolist()
        if sum(counts) != len(values):
            raise ValueError("arrays of different lengths")
        first = 0
        for shard, count in zip(shards, counts, strict=True):
            setattr(shard, field, values[first : first + count])
            first += count
    if any(len(shard.names) != len(shard.offsets) for shard in shards):
        raise ValueError("arrays of different lengths")
    return shards
