"""Read CIFAR-10 in its binary version; the Python version is pickled, which executes code."""

from pathlib import Path

import numpy as np

from blocks.support.files import read_file
from tasks.errors import ArgumentError

SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32  # bytes: the class, then red, green and blue, row by row
FILES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
CLASSES = 10


def read_cifar(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return the images (samples, channels, height, width) and labels of each part.

    Raises:
        ArgumentError: a file cannot be read, is truncated or holds another class.

    Source:
        https://www.cs.toronto.edu/~kriz/cifar.html, "binary version".
    """
    raw = {}
    for part, files in FILES.items():
        records = np.concatenate([read_records(folder / name) for name in files])
        raw[part] = {"image": records[:, 1:].reshape(-1, *SHAPE), "label": records[:, 0]}
    return raw


def read_records(path: Path) -> np.ndarray:
    """Return the records of a file (samples, bytes); raises ArgumentError for a damaged one."""
    try:
        content = read_file(path)
    except OSError as error:
        raise ArgumentError("path", f"{path} cannot be read: {error.strerror}") from error
    if not content or len(content) % RECORD:
        text = f"{path} is broken: its size is no multiple of {RECORD:,} bytes"
        raise ArgumentError("path", text, got=f"{len(content):,} bytes", fix="fetch it again")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    wrong = np.flatnonzero(records[:, 0] >= CLASSES)
    if len(wrong):
        got = f"class {records[wrong[0], 0]} in record {wrong[0]}"
        raise ArgumentError("path", f"{path} is no CIFAR-10", got=got, fits="0 to 9")
    return records
