"""Rows of a data set as images with classes."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from blocks.support.files import open_file
from tasks.data.images.listing.samples import ImageSource


class HubRows(ImageSource):
    """Images in the rows of a split, which are read from memory-mapped files.

    Args:
        rows: the column of the images, a `datasets.Dataset` that leaves them as they are stored.
        split: its name.
        root: the folder of the files, to which paths of images are relative.
        codes: (images,), the class of each image.
        classes: the names of the classes.
        numbers: (images,), the row of each image.
    """

    def __init__(
        self,
        rows: Any,
        split: str,
        root: Path,
        codes: np.ndarray,
        classes: Sequence[str],
        numbers: np.ndarray,
    ):
        self.rows, self.split, self.root = rows, split, root
        self.codes, self.classes, self.numbers = codes, list(classes), numbers
        (self.column,) = rows.column_names

    def name(self, index: int) -> str:
        """Return the split and the row of an image, e.g. "train:12", which begin with 0."""
        return f"{self.split}:{self.numbers[index]}"

    def open_raw(self, index: int) -> BinaryIO:
        return open_cell(self.rows[int(self.numbers[index])][self.column], self.root)

    def take(self, indices: np.ndarray) -> "HubRows":
        """Return some of the images, which share the rows with these."""
        return HubRows(
            self.rows,
            self.split,
            self.root,
            self.codes[indices],
            self.classes,
            self.numbers[indices],
        )

    def fingerprint_parts(self) -> Iterator[Any]:
        """Yield what identifies the images: rows, classes, and the sizes of the images."""
        from pyarrow import compute, types

        yield from (self.split, *self.classes)
        yield self.codes.tobytes()
        yield self.numbers.tobytes()
        cells = self.rows.with_format("arrow")[:][self.column]
        if types.is_struct(cells.type):
            cells = compute.struct_field(cells, "bytes")
        sizes = compute.binary_length(cells).fill_null(0).to_numpy()
        yield sizes[self.numbers].tobytes()


def open_cell(cell: Any, root: Path) -> BinaryIO:
    """Open the image of a cell: its content, a path, or both as {"bytes": ..., "path": ...}.

    Args:
        cell: as it is stored.
        root: the folder that a path is relative to.

    Raises:
        OSError: the cell is empty, or its file cannot be read.
    """
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if not cell:
        raise OSError("the row has no image")
    if isinstance(cell, str):
        return open_file(root / cell)
    return io.BytesIO(cell)
