"""Read IDX files, the format of MNIST and its relatives, plain or compressed with gzip."""

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


def read_idx(path: Path) -> np.ndarray:
    """Return the array in an IDX file.

    The header is two zero bytes, a byte for the type, a byte for the number of axes, then the size
    of each axis as four bytes, highest first (http://yann.lecun.com/exdb/mnist).

    Raises:
        ArgumentError: the file is not IDX, or is truncated.
    """
    content = unpack(path)
    if not is_idx(content):
        raise ArgumentError(
            "path",
            f"{path} is no IDX file: its magic number is wrong",
            got=f"{path.name} begins with {content[:4].hex(' ') or 'nothing'}",
            fits="00 00 08 03 for images, 00 00 08 01 for labels",
        )
    kind, shape, expected = parse_header(content)
    if len(content) != expected or shape is None:
        got = f"{len(content):,} bytes"
        if shape is not None:
            got += f", the header says {expected:,}"
        text = f"{path} is broken: its size is not what its header says"
        raise ArgumentError("path", text, got=got, fix="fetch it again")
    start = 4 + 4 * len(shape)
    return np.frombuffer(content, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))


def is_idx(content: bytes) -> bool:
    """Whether the bytes of a file begin as IDX does."""
    return len(content) >= 4 and content[:2] == b"\0\0" and content[2] in TYPES and content[3] > 0


def parse_header(content: bytes) -> tuple[np.dtype, tuple[int, ...] | None, int]:
    """Return the type, the shape (None if the header is truncated) and the bytes of the file."""
    kind, start = np.dtype(TYPES[content[2]]), 4 + 4 * content[3]
    if len(content) < start:
        return kind, None, start
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    return kind, shape, start + math.prod(shape) * kind.itemsize


def unpack(path: Path) -> bytes:
    """Return the bytes of a file, decompressed if they are gzip, whatever the file is called.

    Of a compressed file, no more than its header says and one byte are read.
    """
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if file.peek(2)[:2] != GZIP:
                check_memory(path, size)
                return file.read()
            with gzip.open(file) as packed:
                start = packed.read(HEADER)
                expected = 0
                if is_idx(start):
                    expected = parse_header(start)[2]
                check_growth(path, expected, size)
                return start + packed.read(max(expected + 1 - len(start), 0))
    except (OSError, EOFError, zlib.error) as error:
        text = f"{path} cannot be read: {error}"
        raise ArgumentError("path", text, fix="fetch it again") from error
