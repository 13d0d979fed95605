"""Images with their classes, wherever they lie; and image files, packed: a million of them in
40 MB.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from os import fsdecode, fsencode
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blocks.support.files import open_file
from tasks.data.images.decode import Span, decode_image

SIZED = 10_000  # files up to which their sizes are part of the checksum of the data

Sample = tuple[Path, str]
Source = TypeVar("Source", bound="ImageSource")


class ImageSource(ABC):
    """The images of a part, each with the number of its class; read when they are opened.

    Attributes:
        codes: (images,), the class of each image, an index into `classes`.
        classes: the names of the classes.
        remedy: what leaves out an image that cannot be read.
    """

    remedy: ClassVar[str] = "data.check=true leaves out broken files, with a note"
    codes: np.ndarray
    classes: list[str]

    def __len__(self) -> int:
        return len(self.codes)

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what people call an image, unique in its part."""

    def place(self, index: int) -> Path | str:
        """Return where an image lies, for messages."""
        return self.name(index)

    @abstractmethod
    def open_raw(self, index: int) -> BinaryIO:
        """Open the content of an image file; raises OSError."""

    def open(self, index: int, channels: int, span: Span | None = None) -> Image.Image:
        """Decode an image, as `open_image`."""
        return decode_image(lambda: self.open_raw(index), self.place(index), channels, span)

    @abstractmethod
    def take(self: Source, indices: np.ndarray) -> Source:
        """Return some of the images."""

    def class_names(self) -> set[str]:
        """Return the names of the classes that there are images of."""
        return {self.classes[code] for code in np.unique(self.codes)}

    def labels(self, classes: Sequence[str]) -> Tensor:
        """Return the class of each image as an index into `classes`, which have all of them."""
        number = {name: index for index, name in enumerate(classes)}
        table = torch.tensor([number.get(name, -1) for name in self.classes])
        return table[torch.from_numpy(self.codes.astype(np.int64))]

    @abstractmethod
    def fingerprint_parts(self) -> Iterator[Any]:
        """Yield what identifies the images."""


class Samples(ImageSource, Sequence[Sample]):
    """Image files and the names of their classes.

    Args:
        root: the folder that the names are relative to.
        content: the names of all files, one after the other, in the bytes of the file system.
        starts: (files,), where the name of each file begins.
        ends: (files,), where it ends.
        codes: (files,), the class of each file, an index into `classes`.
        classes: the names of the classes.
    """

    def __init__(
        self,
        root: Path,
        content: bytes,
        starts: np.ndarray,
        ends: np.ndarray,
        codes: np.ndarray,
        classes: Sequence[str],
    ):
        self.root, self.content, self.classes = root, content, list(classes)
        self.starts, self.ends, self.codes = starts, ends, codes

    @classmethod
    def pack(cls, root: Path, names: Sequence[str], classes: Sequence[str]) -> "Samples":
        """Pack names relative to `root`, and the name of the class of each file."""
        encoded = list(map(fsencode, names))
        ends = np.fromiter(map(len, encoded), np.int64, len(encoded)).cumsum()
        starts = np.concatenate([np.zeros(1, np.int64), ends])[:-1]
        known = {name: code for code, name in enumerate(dict.fromkeys(classes))}
        codes = np.fromiter(map(known.__getitem__, classes), np.int32, len(encoded))
        return cls(root, b"".join(encoded), starts, ends, codes, list(known))

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Samples": ...
    def __getitem__(self, index: int | slice) -> "Sample | Samples":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return self.root / self.name(index), self.classes[self.codes[index]]

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def name(self, index: int) -> str:
        """Return the name of a file, relative to the root."""
        return fsdecode(self.content[self.starts[index] : self.ends[index]])

    def place(self, index: int) -> Path:
        return self.root / self.name(index)

    def open_raw(self, index: int) -> BinaryIO:
        return open_file(self.place(index))

    def take(self, indices: np.ndarray) -> "Samples":
        """Return some of the files, which share the names with these."""
        starts, ends, codes = self.starts[indices], self.ends[indices], self.codes[indices]
        return Samples(self.root, self.content, starts, ends, codes, self.classes)

    def fingerprint_parts(self) -> Iterator[Any]:
        """Yield what identifies the files: names, classes, and the sizes of up to 10,000."""
        if len(self) <= SIZED:
            for path, label in self:
                size = path.stat().st_size if path.is_file() else 0
                yield from (f"{path.name} {size}", label)
            return
        for index in range(len(self)):
            yield self.content[self.starts[index] : self.ends[index]]
        yield from self.classes
        yield self.codes.tobytes()
