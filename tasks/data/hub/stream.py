"""Images that are read from Parquet files while they are needed, a row group at a time."""

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from tasks.data.hub.columns import UNKNOWN, encode_classes, is_class, sort_names
from tasks.data.hub.groups import RowGroups
from tasks.data.hub.rows import open_cell
from tasks.data.images.listing.samples import ImageSource
from tasks.data.sampler import generator

GOLDEN = (5**0.5 - 1) / 2  # its multiples are spread evenly over [0, 1), however many they are


@dataclass(frozen=True)
class Share:
    """The share of the rows that a part takes, evenly from all row groups.

    Args:
        begin: the share that the parts before take.
        end: the same with this part.
        seed: of the choice within a row group.
    """

    begin: float = 0.0
    end: float = 1.0
    seed: int = 0

    def choose(self, rows: int, group: int, before: int) -> np.ndarray:
        """Return which rows of a group are taken, sorted.

        Args:
            rows: of the group.
            group: its number.
            before: the rows of all groups before.
        """
        if self.begin == 0 and self.end == 1:
            return np.arange(rows)
        number = torch.randperm(rows, generator=generator(self.seed, group)).numpy() + before
        place = number * GOLDEN % 1
        return np.flatnonzero((self.begin <= place) & (place < self.end))


@dataclass(frozen=True)
class Piece:
    """A row group in memory.

    Args:
        cells: the images, a `pyarrow.ChunkedArray`.
        codes: (rows,), the class of each row of the group.
        chosen: (samples,), the rows that are taken.
    """

    cells: Any
    codes: np.ndarray
    chosen: np.ndarray


class StreamLabels:
    """The class of each image of a part, which is read with it.

    Args:
        rows: the images.
        classes: the names of the classes, in the order of their numbers.
    """

    def __init__(self, rows: "StreamRows", classes: Sequence[str]):
        self.rows = rows
        number = {name: index for index, name in enumerate(classes)}
        self.numbers = torch.tensor([number.get(name, UNKNOWN) for name in rows.classes])

    def __getitem__(self, index: int) -> Tensor:
        return self.numbers[self.rows.code(index)]


class StreamRows(ImageSource):
    """Images in row groups, of which no more are kept than a buffer of rows needs.

    Args:
        groups: the row groups of a split.
        split: its name.
        root: the folder of the files, to which paths of images are relative.
        image: the column of the images.
        label: the column of the classes.
        buffer: rows that neighbours in an order lie within, as for `StreamOrder`.

    Attributes:
        counts: (groups,), the images in each row group.
        unlabelled: rows without a class.
    """

    remedy = "data.streaming=false data.check=true leaves out broken images, with a note"

    def __init__(
        self, groups: RowGroups, split: str, root: Path, *, image: str, label: str, buffer: int
    ):
        self.groups, self.split, self.root = groups, split, root
        self.image, self.label, self.buffer, self.share = image, label, buffer, Share()
        self.kept: OrderedDict[int, Piece] = OrderedDict()
        self.good: dict[int, np.ndarray] = {}  # the rows with a class, of groups that have others
        feature = groups.features[label]
        found: set[str] = set()
        for group, cells in enumerate(groups.columns(label)):
            codes, names = encode_classes(cells, feature)
            if (codes == UNKNOWN).any():
                self.good[group] = np.flatnonzero(codes != UNKNOWN)
            found |= {names[code] for code in np.unique(codes[codes != UNKNOWN])}
        self.found = found
        self.classes = list(map(str, feature.names)) if is_class(feature) else sort_names(found)
        self.labelled = groups.rows.copy()
        for group, rows in self.good.items():
            self.labelled[group] = len(rows)
        self.unlabelled = int((groups.rows - self.labelled).sum())
        self.before = self.labelled.cumsum() - self.labelled
        self._count()

    def _count(self) -> None:
        """Count the images of each group."""
        counts = [len(self._choose(group)) for group in range(len(self.labelled))]
        self.counts = np.array(counts, np.int64)
        self.ends = self.counts.cumsum()
        self.last = (-1, np.zeros(0, np.int64))

    def _choose(self, group: int) -> np.ndarray:
        """Return the rows of a group that are taken."""
        chosen = self.share.choose(int(self.labelled[group]), group, int(self.before[group]))
        if group in self.good:
            return self.good[group][chosen]
        return chosen

    def restrict(self, share: Share) -> "StreamRows":
        """Return the images of a share of the rows."""
        other = copy.copy(self)
        other.share, other.kept = share, OrderedDict()
        other._count()
        return other

    def __len__(self) -> int:
        return int(self.counts.sum())

    def find(self, index: int) -> tuple[int, int]:
        """Return the group of an image, and its number among those that are taken of the group."""
        group = int(np.searchsorted(self.ends, index, side="right"))
        return group, index - int(self.ends[group] - self.counts[group])

    def load(self, group: int) -> Piece:
        """Return a row group, which is read unless it is kept; raises ArgumentError."""
        if group in self.kept:
            self.kept.move_to_end(group)
            return self.kept[group]
        # a buffer reaches into the groups at its ends
        most = self.buffer + 2 * int(self.groups.rows.max())
        rows = int(self.groups.rows[group])
        while self.kept and rows + sum(int(self.groups.rows[each]) for each in self.kept) > most:
            self.kept.popitem(last=False)
        table = self.groups.read(group, [self.image, self.label])
        codes, names = encode_classes(table[self.label], self.groups.features[self.label])
        number = {name: code for code, name in enumerate(self.classes)}
        translated = np.array([*[number.get(name, UNKNOWN) for name in names], UNKNOWN])
        self.kept[group] = Piece(table[self.image], translated[codes], self._choose(group))
        return self.kept[group]

    def name(self, index: int) -> str:
        """Return the split and the row of an image, e.g. "train:12", which begin with 0."""
        group, number = self.find(index)
        if self.last[0] != group:  # names are asked for one after the other
            self.last = (group, self._choose(group))
        row = int(self.groups.rows[:group].sum()) + int(self.last[1][number])
        return f"{self.split}:{row}"

    def open_raw(self, index: int) -> BinaryIO:
        group, number = self.find(index)
        piece = self.load(group)
        return open_cell(piece.cells[int(piece.chosen[number])].as_py(), self.root)

    def code(self, index: int) -> int:
        """Return the class of an image, an index into `classes`."""
        group, number = self.find(index)
        piece = self.load(group)
        return int(piece.codes[piece.chosen[number]])

    @property
    def codes(self) -> np.ndarray:  # type: ignore[override]
        """(images,), the class of each image, which are read anew."""
        found = [np.zeros(0, np.int64)]
        feature = self.groups.features[self.label]
        number = {name: code for code, name in enumerate(self.classes)}
        for group, cells in enumerate(self.groups.columns(self.label)):
            codes, names = encode_classes(cells, feature)
            translated = np.array([number[name] for name in names], np.int64)
            found.append(translated[codes[self._choose(group)]])
        return np.concatenate(found)

    def class_names(self) -> set[str]:
        return self.found

    def take(self, indices: np.ndarray) -> "StreamRows":
        raise NotImplementedError("a stream is divided by shares")

    def fingerprint_parts(self) -> Iterator[Any]:
        """Yield what identifies the images: files, columns, row groups and their sizes."""
        yield from (self.split, self.image, self.label, str(self.share), *self.classes)
        for file in self.groups.files:
            yield f"{file.name} {file.stat().st_size}"
        for numbers in (self.groups.rows, self.groups.bytes, self.counts):
            yield numbers.tobytes()
