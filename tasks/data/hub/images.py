"""Images with classes in the rows of a data set: `data=hub`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tasks.data.hub.client import import_datasets
from tasks.data.hub.columns import (
    UNKNOWN,
    LabelColumns,
    check_column,
    choose_column,
    choose_labels,
    describe_columns,
    name_labels,
    sort_names,
)
from tasks.data.hub.groups import RowGroups, describe_groups
from tasks.data.hub.order import StreamOrder
from tasks.data.hub.rows import HubRows
from tasks.data.hub.source import HubSource, check_keys
from tasks.data.hub.stream import Share, StreamLabels, StreamRows
from tasks.data.images.image_folder import ImageFiles, Images
from tasks.data.images.listing.samples import ImageSource
from tasks.data.labels import check_separator, describe_labels
from tasks.data.sampler import Order
from tasks.errors import ArgumentError, must_be_positive


class HubImages(Images):
    """Images with classes from a data set of the Hugging Face Hub, or from Parquet and Arrow files.

    Args:
        path: a folder, a file, or several files: .parquet, .arrow, .jsonl, .csv, or what
            `save_to_disk` wrote.
        name: USER/NAME on the Hub instead, read where its cache on this machine has it.
        revision: of a name: a branch, a tag or a commit; None is main.
        subset: the subset, where there are several.
        download: fetch a name that is not in the cache.
        columns: the columns of "image" and "label"; None: by their types and names. An image has
            any number of labels if "label" has lists, or is several columns of 0 and 1.
        separator: of several labels in a cell.
        splits: the splits of "train", "val" and "test"; None: by their names. Missing ones are cut
            from the training part.
        streaming: read Parquet files a row group at a time instead of copying them to a cache.
        buffer: of a stream: rows that are shuffled together.
        options: size, channels, batch_size, crop, flip, mixup, cutmix, erase, randaugment,
            magnitude, mean, std, span, val, test, workers, sampling, check, seed, split_seed,
            facts: those of `Images`.
    """

    noun = "row"

    def __init__(
        self,
        path: str | Sequence[str] | None = None,
        *,
        name: str | None = None,
        revision: str | None = None,
        subset: str | None = None,
        download: bool = False,
        columns: Mapping[str, Any] | None = None,
        separator: str | None = None,
        splits: Mapping[str, str | None] | None = None,
        streaming: bool = False,
        buffer: int = 1000,
        **options: Any,
    ):
        must_be_positive("buffer", buffer)
        check_separator(separator)
        check_keys("columns", columns, ("image", "label"))
        self.source = HubSource(path, name, revision, subset, splits, download)
        self.columns, self.separator = dict(columns or {}), separator
        self.named: list[str] = []  # several labels that the columns name
        self.streaming, self.buffer = streaming, buffer
        super().__init__(self.source.shown, **options)
        if streaming:
            self._check_options()

    @classmethod
    def is_quick(cls, section: Mapping[str, Any]) -> bool:
        return False  # the package datasets takes longer, and may write a copy

    def _check_options(self) -> None:
        """Raise an ArgumentError for an option that needs all rows before training."""
        for option, value in (("check", self.check), ("sampling", self.sampling)):
            if value not in (None, False, "auto"):
                raise ArgumentError(
                    option,
                    "a stream is read while it is needed, not before training",
                    got=f"{option}={value}, streaming=true",
                    fix="data.streaming=false",
                )

    def _find_parts(self) -> dict[str, ImageSource]:
        """Return the rows of each part that have a label; count the others in a note."""
        if self.streaming:
            return self._find_streams()
        parts, root, notes = self.source.open()
        self.notes += notes
        features = parts["train"].features
        image = choose_column("image", features, self.columns.get("image"))
        labels = choose_labels(features, self.columns.get("label"), [image])
        self._set_kind(LabelColumns(features, labels, self.separator))
        found: dict[str, ImageSource] = {}
        for part, rows in parts.items():
            for name in (image, *labels):
                check_column(name, rows.features, part)
            source = self._read_rows(part, rows, root, image, labels)
            if len(source):
                found[part] = source
        self._check_any(found, features)
        self._note_columns(image, labels)
        return found

    def _set_kind(self, labels: LabelColumns) -> None:
        """Set whether a row has several labels, and the names that the columns state."""
        self.is_multilabel = labels.are_several
        if self.is_multilabel:
            self.named = name_labels(labels.features, labels.names)

    def _note_columns(self, image: str, labels: Sequence[str]) -> None:
        """Note which columns are read."""
        kind = "labels" if self.is_multilabel else "classes"
        noun = "columns" if len(labels) > 1 else "column"
        self.notes.append(f"images: the column {image}, {kind}: the {noun} {', '.join(labels)}")

    def _check_any(self, found: Mapping[str, Any], features: Mapping[str, Any]) -> None:
        """Raise an ArgumentError where there is nothing to train on."""
        if "train" not in found:
            problem = f"{self.source.shown} has no row with a label to train on"
            raise ArgumentError("path", problem, got=describe_columns(features))

    def _note_left_out(self, part: str, count: int, total: int) -> None:
        """Note rows without a label."""
        if count:
            self.notes.append(
                f"{count:,} of {total:,} rows of the part {part} have no label and are left out"
            )

    def _read_rows(
        self, part: str, rows: Any, root: Path, image: str, labels: list[str]
    ) -> HubRows:
        """Return the rows of a part that have a label, or a list of labels."""
        table = rows.select_columns(labels).with_format("arrow")[:]
        columns = LabelColumns(rows.features, labels, self.separator)
        codes, classes = columns.encode(table)
        columns.guard.check("columns", f"the part {part}")
        kept = np.flatnonzero(codes != UNKNOWN)
        self._note_left_out(part, len(codes) - len(kept), len(codes))
        images = rows.select_columns([image])
        if type(rows.features[image]).__name__ == "Image":
            images = images.cast_column(image, import_datasets().Image(decode=False))
        return HubRows(images, part, root, codes[kept], classes, kept)

    def _find_streams(self) -> dict[str, ImageSource]:
        """Return the rows of each part, of which the classes alone are read."""
        root, files, notes = self.source.find_parquet()
        self.notes += notes
        groups = {part: RowGroups(each) for part, each in files.items()}
        features = groups["train"].features
        image = choose_column("image", features, self.columns.get("image"))
        labels = choose_labels(features, self.columns.get("label"), [image])
        self._set_kind(LabelColumns(features, labels, self.separator))
        found: dict[str, ImageSource] = {}
        for part, each in groups.items():
            for name in (image, *labels):
                check_column(name, each.features, part)
            columns = LabelColumns(each.features, labels, self.separator)
            rows = StreamRows(each, part, root, image=image, label=columns, buffer=self.buffer)
            self._note_left_out(part, rows.unlabelled, int(each.rows.sum()))
            if len(rows):
                found[part] = rows
        self._check_any(found, features)
        self._note_columns(image, labels)
        self.notes.append(describe_groups(groups.values(), self.buffer))
        return found

    def _must_check(self, size: int) -> bool:
        return not self.streaming and super()._must_check(size)

    def _split_missing(self, parts: dict[str, ImageSource]) -> dict[str, ImageSource]:
        train = parts["train"]
        if not isinstance(train, StreamRows):
            return super()._split_missing(parts)
        found, taken = dict(parts), 0.0
        for part, share in (("test", self.test), ("val", self.val)):
            if part not in parts:
                found[part] = train.restrict(Share(taken, taken + share, self.split_seed))
                taken += share
        found["train"] = train.restrict(Share(taken, 1.0, self.split_seed))
        return found

    def order(self, part: str, *, shuffle: bool | None = None) -> Order:
        rows = self.parts[part]
        if not isinstance(rows, StreamRows):
            return super().order(part, shuffle=shuffle)
        rank, world = self.share()
        if shuffle is None:
            shuffle = part == "train"
        return StreamOrder(
            torch.from_numpy(rows.counts),
            buffer=self.buffer,
            shuffle=shuffle,
            seed=self.seed,
            rank=rank,
            world=world,
        )

    def _dataset(self, part: str, *, is_augmented: bool) -> Dataset[dict[str, Any]]:
        rows = self.parts[part]
        if not isinstance(rows, StreamRows):
            return super()._dataset(part, is_augmented=is_augmented)
        labels = StreamLabels(rows, self.classes)
        return ImageFiles(self, part, labels, is_augmented=is_augmented)

    def _labels(self, found: ImageSource) -> Tensor:
        if isinstance(found, StreamRows):
            return StreamLabels(found, self.classes).all()
        return super()._labels(found)

    def _name_classes(self, parts: dict[str, ImageSource]) -> str:
        train = parts["train"]
        if not self.classes and self.is_multilabel:
            self.classes = self.named or sort_names(self._names_in(train))
        elif not self.classes:
            self.classes = train.classes
        for name, found in parts.items():
            self._check_known_classes(name, found, self.classes)
        if self.is_multilabel and isinstance(train, StreamRows):
            self.notes += train.describe(self.classes)
        elif self.is_multilabel:
            self.notes += describe_labels(self._labels(train), self.classes, "image")
        return "two classes or more"
