"""Reading IDX files, the format of MNIST and its kin, plain or packed with gzip."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from tasks.errors import ArgumentError

TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read(path: Path) -> np.ndarray:
    """The array in an IDX file.

    The header is two zero bytes, a byte for the type, a byte for the number of axes, then the size of each axis as four
    bytes, highest first (http://yann.lecun.com/exdb/mnist).

    Raises:
        ArgumentError: the file is not IDX, or is cut off.
    """
    content = unpacked(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES or not content[3]:
        got = f"{path.name} begins with {content[:4].hex(' ') or 'nothing'}"
        fits = "00 00 08 03 for images, 00 00 08 01 for labels"
        raise ArgumentError("path", f"{path} is no IDX file: its magic number is wrong", got=got, fits=fits)
    kind, axes = np.dtype(TYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4")) if len(content) >= start else ()
    expected = start + math.prod(shape) * kind.itemsize
    if len(shape) != axes or len(content) != expected:
        got = f"{len(content):,} bytes" + (f", the header says {expected:,}" if len(shape) == axes else "")
        raise ArgumentError(
            "path", f"{path} is broken: its size is not what its header says", got=got, fix="fetch it again"
        )
    return np.frombuffer(content, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))


def unpacked(path: Path) -> bytes:
    """The bytes of a file, unpacked if they are packed with gzip, whatever the file is called."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise ArgumentError("path", f"{path} cannot be read: {error}", fix="fetch it again") from error
