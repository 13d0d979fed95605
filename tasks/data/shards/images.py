"""Images with classes in shards: `data=shards`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tasks.data.hub.columns import sort_names
from tasks.data.hub.order import StreamOrder
from tasks.data.hub.source import check_keys, choose_splits
from tasks.data.images.image_folder import Images
from tasks.data.images.listing.samples import ImageSource
from tasks.data.labels import FlagGuard, describe_labels, is_list, join_list, split_labels
from tasks.data.sampler import Order
from tasks.data.shards.index import scan_shards
from tasks.data.shards.paths import find_shards
from tasks.data.shards.samples import ShardSamples
from tasks.data.shards.scan import Fields, Shard
from tasks.data.walk import list_first
from tasks.errors import ArgumentError, must_be_positive


class Shards(Images):
    """Images with classes in .tar files, as the library webdataset writes them.

    The headers of all shards are read once, before training, so that the numbers of samples are
    known and any sample can be read. The order, the division among processes and workers, the split
    and resuming are those of `data=images`.

    Args:
        path: the shards: "train-{000..009}.tar", several such names, or a folder. Those with train,
            val or test in their names are these parts.
        fields: the endings of "image" and "label" in a sample: jpg, cls, or json.KEY; None: any
            kind of image, and cls or a usual key of json. An image has any number of labels if
            the value is a list, or if "label" is several fields of 0 and 1.
        separator: of several labels in a field.
        classes: the names of the classes 0, 1, ...; None: their numbers, or the names in the
            shards.
        buffer: read the shards one after the other, in random order, and shuffle so many images
            together; None shuffles all images.
        options: size, channels, batch_size, crop, flip, mixup, cutmix, erase, randaugment,
            magnitude, mean, std, span, val, test, workers, sampling, check, seed, split_seed,
            facts, and index, which keeps an index of 10,000 images or more in
            ~/.cache/dougong/index: those of `Images`.
    """

    def __init__(
        self,
        path: str | Sequence[str],
        *,
        fields: Mapping[str, Any] | None = None,
        separator: str | None = None,
        classes: Sequence[str] | None = None,
        buffer: int | None = None,
        **options: Any,
    ):
        check_keys("fields", fields, ("image", "label"))
        if buffer is not None:
            must_be_positive("buffer", buffer)
        self.paths = [path] if isinstance(path, str) else list(path)
        super().__init__(", ".join(self.paths), **options)
        self.fields, self.named, self.buffer = read_fields(fields or {}, separator), classes, buffer
        if self.fields.names and classes is not None:
            raise ArgumentError(
                "classes",
                "several fields of 0 and 1 are the names of their labels",
                got=f"fields.label={', '.join(self.fields.names)}",
                fix="data.classes=null",
            )
        if buffer is not None and self.sampling is not None:
            raise ArgumentError(
                "sampling",
                "balanced classes are drawn from all images, not from a buffer",
                got=f"sampling={self.sampling}, buffer={buffer}",
                fix="data.buffer=null",
            )

    def _find_parts(self) -> dict[str, ImageSource]:
        """Return the images of each part; count what is left out."""
        splits = find_shards(self.paths)
        chosen, notes = choose_splits(list(splits), None)
        self.notes += notes
        found: dict[str, ImageSource] = {}
        shards: list[Shard] = []
        for part, split in chosen.items():
            scanned, note = scan_shards(splits[split], self.fields, index=self.index)
            self.notes += filter(None, [note])
            shards += scanned
            if any(shard.names for shard in scanned):
                found[part] = ShardSamples.join(scanned)
        self.notes += describe_shards(shards)
        if "train" not in found:
            raise ArgumentError(
                "path",
                f"no sample of {self.path} has an image and a class",
                got=self.notes[-1],
                fits="files such as 0001.jpg and 0001.cls, one after the other",
                fix="data.fields.image=jpg data.fields.label=cls, or json.KEY",
            )
        self._set_kind(found)
        return found

    def _set_kind(self, parts: Mapping[str, ImageSource]) -> None:
        """Set whether an image has several labels; raises ArgumentError where not all have."""
        self.is_multilabel = is_list(parts["train"].classes[0])
        kinds = ("a class", "a list of labels")
        for part, found in parts.items():
            guard = FlagGuard()
            for code, text in enumerate(found.classes):
                if is_list(text) != self.is_multilabel:
                    other = found.name(int((found.codes == code).argmax()))
                    raise ArgumentError(
                        "path",
                        f"{other} has {kinds[is_list(text)]}",
                        got=f"{kinds[self.is_multilabel]} in {parts['train'].name(0)}",
                        fits="lists in all samples, or in none",
                    )
                guard.add(split_labels(text))
            if self.is_multilabel:
                guard.check("fields", f"the part {part}")

    def _name_classes(self, parts: dict[str, ImageSource]) -> str:
        found = self.fields.names or sort_names(self._names_in(parts["train"]))
        if self.named is not None:
            self._name_numbers(parts)
        elif not self.classes:
            self.classes = found
        for name, part in parts.items():
            self._check_known_classes(name, part, self.classes)
        if self.is_multilabel:
            self.notes += describe_labels(self._labels(parts["train"]), self.classes, "image")
        return "two classes or more"

    def _name_numbers(self, parts: dict[str, ImageSource]) -> None:
        """Give the classes 0, 1, ... their names."""
        self.classes = list(self.named or ())
        numbers = {str(number): name for number, name in enumerate(self.classes)}
        for part in parts.values():
            part.classes = [rename(text, numbers) for text in part.classes]

    def order(self, part: str, *, shuffle: bool | None = None) -> Order:
        rows = self.parts[part]
        if self.buffer is None or not isinstance(rows, ShardSamples):
            return super().order(part, shuffle=shuffle)
        rank, world = self.share()
        if shuffle is None:
            shuffle = part == "train"
        return StreamOrder(
            torch.from_numpy(rows.counts()),
            buffer=self.buffer,
            shuffle=shuffle,
            seed=self.seed,
            rank=rank,
            world=world,
        )


def read_fields(fields: Mapping[str, Any], separator: str | None) -> Fields:
    """Return the fields of a sample."""
    label = fields.get("label")
    if label is not None and not isinstance(label, str):
        label = tuple(label)
    return Fields(fields.get("image"), label, separator)


def rename(text: str, names: Mapping[str, str]) -> str:
    """Return a class, or several labels in a text, by other names."""
    if is_list(text):
        return join_list(names.get(label, label) for label in split_labels(text))
    return names.get(text, text)


def describe_shards(shards: Sequence[Shard]) -> list[str]:
    """Return notes on shards and samples that may surprise."""
    total = sum(len(shard.names) for shard in shards)
    notes = [f"{total:,} images; shards: {len(shards):,}"]
    empty = []
    endless = []
    lacking: dict[str, list[str]] = {"an image": [], "a class": []}
    for shard in shards:
        name = shard.path.name
        if not shard.has_end:
            endless.append(name)
        if not (shard.names or shard.no_image or shard.no_label):
            empty.append(name)
        lacking["an image"] += [f"{name}/{key}" for key in shard.no_image]
        lacking["a class"] += [f"{name}/{key}" for key in shard.no_label]
    for kind, names in lacking.items():
        if names:
            notes.append(f"samples without {kind}: {len(names):,} ({list_first(names)})")
    if empty:
        notes.append(f"shards without samples: {len(empty):,} ({list_first(empty)})")
    if endless:
        notes.append(
            f"shards without the mark of their end, which may be cut: {len(endless):,} "
            f"({list_first(endless)})"
        )
    return notes
