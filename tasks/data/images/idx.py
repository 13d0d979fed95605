"""Reading IDX files, the format of MNIST and its kin, plain or packed with gzip."""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from blocks.support.files import check_growth, check_memory, open_file
from tasks.errors import ArgumentError

TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
GZIP = b"\x1f\x8b"
HEADER = 4 + 4 * 255  # bytes of the longest header


def is_idx_name(path: Path) -> bool:
    """Whether a name is one that IDX files have."""
    return "idx" in path.name.lower() or "ubyte" in path.name.lower()


def read(path: Path) -> np.ndarray:
    """The array in an IDX file.

    The header is two zero bytes, a byte for the type, a byte for the number of axes, then the size
    of each axis as four bytes, highest first (http://yann.lecun.com/exdb/mnist).

    Raises:
        ArgumentError: the file is not IDX, or is cut off.
    """
    content = unpacked(path)
    if not is_idx(content):
        got = f"{path.name} begins with {content[:4].hex(' ') or 'nothing'}"
        fits = "00 00 08 03 for images, 00 00 08 01 for labels"
        raise ArgumentError(
            "path", f"{path} is no IDX file: its magic number is wrong", got=got, fits=fits
        )
    kind, shape, expected = layout(content)
    if len(shape) != content[3] or len(content) != expected:
        got = f"{len(content):,} bytes" + (
            f", the header says {expected:,}" if len(shape) == content[3] else ""
        )
        raise ArgumentError(
            "path",
            f"{path} is broken: its size is not what its header says",
            got=got,
            fix="fetch it again",
        )
    start = 4 + 4 * len(shape)
    return np.frombuffer(content, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))


def is_idx(content: bytes) -> bool:
    """Whether the bytes of a file begin as IDX does."""
    return len(content) >= 4 and content[:2] == b"\0\0" and content[2] in TYPES and content[3] > 0


def layout(content: bytes) -> tuple[np.dtype, tuple[int, ...], int]:
    """The type, the shape (empty where the header is cut off) and the bytes of the whole file, by
    its header.
    """
    kind, start = np.dtype(TYPES[content[2]]), 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist()) if len(content) >= start else ()
    return kind, shape, start + math.prod(shape) * kind.itemsize


def unpacked(path: Path) -> bytes:
    """The bytes of a file, unpacked if they are packed with gzip, whatever the file is called.

    Of a packed file, no more than its header says and one byte are unpacked.
    """
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if file.peek(2)[:2] != GZIP:
                check_memory(path, size)
                return file.read()
            with gzip.open(file) as packed:
                start = packed.read(HEADER)
                expected = layout(start)[2] if is_idx(start) else 0
                check_growth(path, expected, size)
                return start + packed.read(max(expected + 1 - len(start), 0))
    except (OSError, EOFError, zlib.error) as error:
        raise ArgumentError(
            "path", f"{path} cannot be read: {error}", fix="fetch it again"
        ) from error
