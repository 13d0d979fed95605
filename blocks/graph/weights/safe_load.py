"""Files of `torch.save` from anybody: looked at as archives before torch reads them, and as plain
data afterwards.
"""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import torch
from torch import Tensor

from blocks.support.files import check_memory, open_file

PICKLED = 100_000_000  # bytes of the part that is no tensor
RECORDS = 200_000
ENTRIES = 500_000  # keys and values, with what stands at several places counted each time
DEPTH = 100


def read_archive(file: Path) -> Any:
    """What `torch.save` wrote, read without running anything.

    Raises:
        ValueError: the archive is no honest one: packed, larger inside than outside, a record that
            leads elsewhere.
        pickle.UnpicklingError: it holds more than tensors and plain data.
        Exception: whatever torch raises for a damaged file.
    """
    with open_file(file) as opened:  # under a name, torch would go by its suffix
        size = os.fstat(opened.fileno()).st_size
        check_memory(file, size)
        check_archive(opened, size)
        opened.seek(0)
        found = torch.load(opened, map_location="cpu", weights_only=True)
    check_plain(found)
    return found


def check_archive(file: BinaryIO, size: int) -> None:
    """Raise ValueError for a zip file that torch.save does not write; other files are torch's to
    judge.

    Args:
        size: of the file.
    """
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
    if len(records) > RECORDS:
        raise ValueError(f"{len(records):,} records are too many")
    for record in records:
        path = PurePosixPath(record.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"the record {record.filename!r} leads out of the archive")
        if record.compress_type != zipfile.ZIP_STORED:
            raise ValueError("its records are packed, which torch.save never does")
        if path.name == "data.pkl" and record.file_size > PICKLED:
            raise ValueError(f"{record.file_size:,} bytes are too many for what is no tensor")
    if sum(record.file_size for record in records) > size:
        raise ValueError("it is larger inside than outside")


def check_plain(value: Any) -> None:
    """Raise ValueError for what is harmless to hold and harmful to walk through: in itself, or a
    thousandfold.
    """
    _weigh(value, {}, set(), 0)


def _weigh(value: Any, known: dict[int, int], open_: set[int], depth: int) -> int:
    if not isinstance(value, Mapping | list | tuple | set):
        if isinstance(value, Tensor) and value.numel() > max(_held(value), 1):
            raise ValueError("a tensor is larger than what is stored of it")
        return 1
    if id(value) in open_ or depth > DEPTH:
        raise ValueError("its data are nested without end")
    if id(value) not in known:
        open_.add(id(value))
        inside = list(value.values()) if isinstance(value, Mapping) else list(value)
        known[id(value)] = 1 + sum(_weigh(item, known, open_, depth + 1) for item in inside)
        open_.discard(id(value))
    if known[id(value)] > ENTRIES:
        raise ValueError("its data grow without measure")
    return known[id(value)]


def _held(tensor: Tensor) -> int:
    """How many numbers the storage of a tensor holds."""
    if tensor.device.type == "meta" or tensor.layout != torch.strided:
        return 0
    return tensor.untyped_storage().nbytes() // tensor.element_size()
