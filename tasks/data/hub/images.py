"""Images with classes in the rows of a data set: `data=hub`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tasks.data.hub.client import import_datasets
from tasks.data.hub.columns import (
    UNKNOWN,
    check_column,
    choose_column,
    describe_columns,
    encode_classes,
)
from tasks.data.hub.rows import HubRows
from tasks.data.hub.source import HubSource, check_keys
from tasks.data.images.image_folder import Images
from tasks.data.images.listing.samples import ImageSource
from tasks.errors import ArgumentError


class HubImages(Images):
    """Images with classes from a data set of the Hugging Face Hub, or from Parquet and Arrow files.

    Args:
        path: a folder, a file, or several files: .parquet, .arrow, .jsonl, .csv, or what
            `save_to_disk` wrote.
        name: USER/NAME on the Hub instead, read where its cache on this machine has it.
        revision: of a name: a branch, a tag or a commit; None is main.
        subset: the subset, where there are several.
        download: fetch a name that is not in the cache.
        columns: the columns of "image" and "label"; None: by their types and names.
        splits: the splits of "train", "val" and "test"; None: by their names. Missing ones are cut
            from the training part.
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
        columns: Mapping[str, str | None] | None = None,
        splits: Mapping[str, str | None] | None = None,
        **options: Any,
    ):
        check_keys("columns", columns, ("image", "label"))
        self.source = HubSource(path, name, revision, subset, splits, download)
        self.columns = dict(columns or {})
        super().__init__(self.source.shown, **options)

    def _find_parts(self) -> dict[str, ImageSource]:
        """Return the rows of each part that have a label; count the others in a note."""
        parts, root, notes = self.source.open()
        self.notes += notes
        features = parts["train"].features
        image = choose_column("image", features, self.columns.get("image"))
        label = choose_column("label", features, self.columns.get("label"), [image])
        found: dict[str, ImageSource] = {}
        for part, rows in parts.items():
            for name in (image, label):
                check_column(name, rows.features, part)
            source = self._read_rows(part, rows, root, image, label)
            if len(source):
                found[part] = source
        if "train" not in found:
            problem = f"{self.source.shown} has no row with a label to train on"
            raise ArgumentError("path", problem, got=describe_columns(features))
        self.notes.append(f"images: the column {image}, classes: the column {label}")
        return found

    def _read_rows(self, part: str, rows: Any, root: Path, image: str, label: str) -> HubRows:
        """Return the rows of a part that have a label."""
        table = rows.select_columns([label]).with_format("arrow")[:]
        codes, classes = encode_classes(table[label], rows.features[label])
        kept = np.flatnonzero(codes != UNKNOWN)
        if len(kept) < len(codes):
            self.notes.append(
                f"{len(codes) - len(kept):,} of {len(codes):,} rows of the part {part} have no "
                "label and are left out"
            )
        images = rows.select_columns([image])
        if type(rows.features[image]).__name__ == "Image":
            images = images.cast_column(image, import_datasets().Image(decode=False))
        return HubRows(images, part, root, codes[kept], classes, kept)

    def _name_classes(self, parts: dict[str, ImageSource]) -> str:
        if not self.classes:
            self.classes = parts["train"].classes
        for name, found in parts.items():
            self._check_known_classes(name, found)
        return "two classes or more"
