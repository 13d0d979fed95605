"""Read arrays of images as NumPy writes them: .npz with names, .npy without."""

import os
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from blocks.support.files import check_growth, open_file
from tasks.errors import ArgumentError


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name, that of an .npy file by the name "".

    Raises:
        ArgumentError: the file cannot be read.
    """
    try:
        with open_file(path) as content:
            check_size(path, content)
            file = np.load(content, allow_pickle=False)
            if isinstance(file, np.ndarray):
                return {"": file}
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        text = f"{path} cannot be read as {path.suffix or '.npz'}: {error}"
        fix = "data.path=FILE.npz with plain arrays of numbers"
        raise ArgumentError("path", text, fix=fix) from error


def check_size(path: Path, file: BinaryIO) -> None:
    """Raise FileError if the unpacked arrays exceed the memory, or the file too many times."""
    size = os.fstat(file.fileno()).st_size
    unpacked = size
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(record.file_size for record in archive.infolist())
    check_growth(path, unpacked, size)
    file.seek(0)


def as_images(array: np.ndarray, path: Path) -> Tensor:
    """Return an array as images (samples, channels, height, width), uint8 or float32.

    Args:
        array: (samples, height, width), or with channels before or after height and width.
        path: the file, for the message.

    Raises:
        ArgumentError: another number of axes, or values that are no numbers.
    """
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[-1] in (1, 3, 4) and array.shape[1] not in (1, 3, 4):
        array = np.moveaxis(array, -1, 1)
    if array.ndim != 4 or array.dtype.kind not in "iuf":
        text = f"{path}: images must be arrays of three or four axes"
        got = f"shape {array.shape} of {array.dtype}"
        fits = "(samples, height, width), or with channels before or after height and width"
        raise ArgumentError("path", text, got=got, fits=fits)
    if array.dtype != np.uint8:
        array = array.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(array))
