"""Images that are read from Parquet files while they are needed, a row group at a time."""

import copy
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from tasks.data.hub.columns import UNKNOWN, LabelColumns, is_class, name_labels, sort_names
from tasks.data.hub.groups import RowGroups
from tasks.data.hub.rows import open_cell
from tasks.data.images.listing.samples import ImageSource
from tasks.data.labels import describe_counts, encode_labels, split_labels
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
        codes: (rows,), the class of each row of the group; or (rows, classes), its labels.
        chosen: (samples,), the rows that are taken.
    """

    cells: Any
    codes: np.ndarray
    chosen: np.ndarray


class StreamLabels:
    """The class of each image of a part, or its labels, which are read with it.

    Args:
        rows: the images.
        classes: the names of the classes, in the order of their numbers.
    """

    def __init__(self, rows: "StreamRows", classes: Sequence[str]):
        self.rows, self.count = rows, len(classes)
        number = {name: index for index, name in enumerate(classes)}
        self.numbers = torch.tensor([number.get(name, UNKNOWN) for name in rows.classes])

    def __getitem__(self, index: int) -> Tensor:
        return self._translate(torch.as_tensor(self.rows.code(index)))

    def all(self) -> Tensor:
        """Return the class of each image (images,), or its labels (images, classes)."""
        return self._translate(torch.from_numpy(self.rows.codes))

    def _translate(self, codes: Tensor) -> Tensor:
        """Return classes or labels of the part as those of the training part."""
        if not self.rows.label.are_several:
            return self.numbers[codes.long()]
        label = torch.zeros(*codes.shape[:-1], self.count, dtype=torch.long)
        label[..., self.numbers] = codes.long()
        return label


class StreamRows(ImageSource):
    """Images in row groups, of which no more are kept than a buffer of rows needs.

    Args:
        groups: the row groups of a split.
        split: its name.
        root: the folder of the files, to which paths of images are relative.
        image: the column of the images.
        label: the columns of the classes or labels.
        buffer: rows that neighbours in an order lie within, as for `StreamOrder`.

    Attributes:
        counts: (groups,), the images in each row group.
        unlabelled: rows without a class.
        tally: how many rows have each class or label.
        bare: rows that have none of several labels.
    """

    remedy = "data.streaming=false data.check=true leaves out broken images, with a note"

    def __init__(
        self,
        groups: RowGroups,
        split: str,
        root: Path,
        *,
        image: str,
        label: LabelColumns,
        buffer: int,
    ):
        self.groups, self.split, self.root = groups, split, root
        self.image, self.label, self.buffer, self.share = image, label, buffer, Share()
        self.kept: OrderedDict[int, Piece] = OrderedDict()
        self.good: dict[int, np.ndarray] = {}  # the rows with a class, of groups that have others
        self.tally: Counter[str] = Counter()
        self.bare = 0
        first = 0
        for group, table in enumerate(groups.columns(label.names)):
            codes, names = label.encode(table, first)
            first += len(codes)
            if (codes == UNKNOWN).any():
                self.good[group] = np.flatnonzero(codes != UNKNOWN)
            self._count_labels(codes[codes != UNKNOWN], names)
        label.guard.check("columns", f"the part {split}")
        self.classes = self._name_classes()
        self.labelled = groups.rows.copy()
        for group, rows in self.good.items():
            self.labelled[group] = len(rows)
        self.unlabelled = int((groups.rows - self.labelled).sum())
        self.before = self.labelled.cumsum() - self.labelled
        self._count()

    def _count_labels(self, codes: np.ndarray, names: Sequence[str]) -> None:
        """Count the classes or labels of the rows of a group."""
        for code, rows in zip(*np.unique(codes, return_counts=True), strict=True):
            held = [names[code]]
            if self.label.are_several:
                held = split_labels(names[code])
            self.tally.update(dict.fromkeys(held, int(rows)))
            if not held:
                self.bare += int(rows)

    def _name_classes(self) -> list[str]:
        """Return the names of the classes or labels that the column states, or those found."""
        feature = self.label.features[self.label.names[0]]
        stated: list[str] = []
        if self.label.are_several:
            stated = name_labels(self.label.features, self.label.names)
        elif is_class(feature):
            stated = list(map(str, feature.names))
        return stated or sort_names(set(self.tally))

    def describe(self, classes: Sequence[str]) -> list[str]:
        """Return notes on several labels, as `describe_labels`; of all rows that have labels."""
        counts = [self.tally[name] for name in classes]
        return describe_counts(counts, self.bare, int(self.labelled.sum()), classes, "image")

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
        table = self.groups.read(group, [self.image, *self.label.names])
        self.kept[group] = Piece(table[self.image], self._encode(table), self._choose(group))
        return self.kept[group]

    def _encode(self, table: Any) -> np.ndarray:
        """Return the class of each row of a group (rows,), -1 for none; or the labels of each
        (rows, classes), none for a row without.
        """
        codes, names = self.label.encode(table)
        if self.label.are_several:
            held = [*map(split_labels, names), []]
            return encode_labels(held, self.classes).to(torch.uint8).numpy()[codes]
        number = {name: code for code, name in enumerate(self.classes)}
        translated = [number.get(name, UNKNOWN) for name in names]
        return np.array([*translated, UNKNOWN], np.int64)[codes]

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

    def code(self, index: int) -> np.ndarray:
        """Return the class of an image, an index into `classes`; or its labels (classes,)."""
        group, number = self.find(index)
        piece = self.load(group)
        return np.asarray(piece.codes[piece.chosen[number]])

    @property
    def codes(self) -> np.ndarray:  # type: ignore[override]
        """(images,), the class of each image; or (images, classes); they are read anew."""
        found = []
        for group, table in enumerate(self.groups.columns(self.label.names)):
            found.append(self._encode(table)[self._choose(group)])
        return np.concatenate(found)

    def class_names(self) -> set[str]:
        return set(self.tally)

    def take(self, indices: np.ndarray) -> "StreamRows":
        raise NotImplementedError("a stream is divided by shares")

    def fingerprint_parts(self) -> Iterator[Any]:
        """Yield what identifies the images: files, columns, row groups and their sizes."""
        yield from (self.split, self.image, *self.label.names, str(self.share), *self.classes)
        for file in self.groups.files:
            yield f"{file.name} {file.stat().st_size}"
        for numbers in (self.groups.rows, self.groups.bytes, self.counts):
            yield numbers.tobytes()
