"""Images in class folders or listed in a table, read when they are needed."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from tasks.data.base import READER, DataModule, RawSample, read_reader_file
from tasks.data.images.decode import (
    Span,
    center_crop,
    random_crop,
    to_tensor,
)
from tasks.data.images.listing import files
from tasks.data.images.listing.inspect import leave_out_broken
from tasks.data.images.listing.samples import ImageSource
from tasks.data.images.listing.table import choose_table
from tasks.data.images.mix import Regularization
from tasks.data.labels import encode_labels, split_labels
from tasks.data.quick import is_small
from tasks.data.readers.image import ImageReader
from tasks.data.sampler import SAMPLINGS, Order, Workers, generator
from tasks.data.split import (
    PARTS,
    check_classes,
    check_parts,
    check_shares,
    split_missing,
    stratify,
)
from tasks.data.walk import escape_name, list_first
from tasks.data.workers import automatic, must_be_workers
from tasks.errors import ArgumentError, SampleError, must_be_one_of, must_be_positive, must_be_share
from tasks.process.parent import end_worker_with_parent

CLASSES_SHOWN = 8  # names in a message
CHECKED = 50_000  # files that check=auto decodes before training, in a minute or two


class Images(DataModule):
    """FOLDER/CLASS/IMAGE, or FOLDER/train, FOLDER/val and FOLDER/test with class folders in each;
    or images that a table lists with their classes.

    Args:
        path: the folder; None: that of the table.
        table: a file with a row for each image: its path below the folder, and its class or its
            labels.
        image: the column of the paths; None: by its name.
        label: the column of the class; or several columns of 0 and 1; None: by its name.
        separator: of several labels in a cell.
        split_column: the column of the table that states the part of each image: train, val or
            test. A part that no image has is cut from the training part.
        size: height and width of an image as the network gets it.
        channels: 3 for colour, 1 for grey.
        batch_size: samples in a batch, of each process.
        crop: in training, crop a random part of at least this share of the image; 1 takes the
            central part, as in tests.
        flip: mirror half of the training images.
        mixup: mix pairs of training images; the parameter of the Beta distribution of their shares,
            0 for none.
        cutmix: replace a box of a training image by that of another one; the parameter of the Beta
            distribution of the shares, 0 for none. With both, each batch has one of them.
        erase: probability that a box of a training image is replaced by noise.
        randaugment: number of changes of RandAugment; 0 for none.
        magnitude: their strength, from 0 to 30.
        mean: subtracted from every channel, or from each one.
        std: every channel, or each one, is divided by it.
        span: the values of black and white in images of 16 or 32 bits; null: 0 and the largest
            number of up to 16 bits, or 0 and 1 for floating-point numbers.
        val: share of the training images kept for validation, if the folder or the table has no
            `val`.
        test: share of them kept for the test, if it has no `test`.
        workers: processes that read images; 0: the one that trains reads, too; auto: as many as it
            leaves cores free.
        check: decode every file once before training, and leave broken ones out with a note.
        sampling: None: each training image once an epoch; balanced: each class equally often.
            Without it a broken file stops the run when it is read. auto: up to 50,000 files.
        index: keep an index of 10,000 images or more beside the folder, as .NAME.index.npz, or in
            ~/.cache/dougong/index where that cannot be written; a folder whose time of change
            differs is read anew.
        seed: seed of the order and the augmentation.
        split_seed: seed of the split, the same for every run.
        facts: what the YAML declares about the data; checked against what is read.
    """

    reader: ClassVar[type[ImageReader]] = ImageReader

    def __init__(
        self,
        path: str | None = None,
        *,
        table: str | None = None,
        image: str | None = None,
        label: str | list[str] | None = None,
        separator: str | None = None,
        split_column: str | None = None,
        size: int = 224,
        channels: int = 3,
        batch_size: int = 64,
        crop: float = 0.35,
        flip: bool = True,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        erase: float = 0.0,
        randaugment: int = 0,
        magnitude: float = 9.0,
        mean: float | list[float] = 0.5,
        std: float | list[float] = 0.5,
        span: list[float] | None = None,
        val: float = 0.1,
        test: float = 0.1,
        workers: int | Literal["auto"] = "auto",
        sampling: Literal["balanced"] | None = None,
        check: bool | Literal["auto"] = "auto",
        index: bool = True,
        seed: int = 0,
        split_seed: int = 0,
        facts: dict | None = None,
    ):
        super().__init__()
        must_be_positive("batch_size", batch_size)
        must_be_one_of("channels", channels, (1, 3))
        must_be_one_of("sampling", sampling, SAMPLINGS)
        must_be_one_of("check", check, (True, False, "auto"))
        must_be_workers(workers)
        if crop != 1:
            must_be_share("crop", crop)
        check_shares(val, test)
        must_be_positive("size", size)
        self.table = choose_table(table, image, label, separator, split_column)
        self.is_multilabel = self.table is not None and self.table.is_multilabel
        self.path = choose_folder(path, table)
        self.size, self.channels = (size, size), channels
        self.mean = one_per_channel("mean", mean, channels)
        self.std = one_per_channel("std", std, channels)
        self.span = check_span(span)
        self.batch_size, self.crop, self.flip = batch_size, crop, flip
        self.further = Regularization(
            mixup=mixup, cutmix=cutmix, erase=erase, randaugment=randaugment, magnitude=magnitude
        )
        self.val, self.test, self.sampling = val, test, sampling
        self.workers, self.check, self.index = workers, check, index
        self.seed, self.split_seed, self.declared = seed, split_seed, facts
        self.parts: dict[str, ImageSource] = {}

    @classmethod
    def is_quick(cls, section: Mapping[str, Any]) -> bool:
        table, path = section.get("table"), section.get("path")
        if path is not None:
            return is_small(path)
        if table is None or not Path(table).exists():
            return True
        return is_small(table) and is_small(Path(table).parent)

    def read(self) -> None:
        """Find the files, once; decode each if `check` is on."""
        if self.parts:
            return
        parts = self._find_parts()
        if self._must_check(sum(map(len, parts.values()))):
            parts, notes = leave_out_broken(parts, self.channels, self.span, self.path)
            self.notes += notes
        fits = self._name_classes(parts)
        check_classes(self.classes, len(parts["train"]), "image", fits)
        self.parts = self._split_missing(parts)
        check_parts(self.sizes(), {"val": self.val, "test": self.test}, self.classes, "image")

    def _find_parts(self) -> dict[str, ImageSource]:
        """Return the files of each part, as the table or the folders have them."""
        if self.table is not None:
            listed = self.table.read(self.path, self.classes)
            self.classes = listed.classes
            self.notes += listed.notes
            return dict(listed.parts)
        scan, note = files.find_images(self.path, index=self.index)
        if note:
            self.notes.append(note)
        if scan.left_out:
            count, shown = len(scan.left_out), list_first(scan.left_out)
            self.notes.append(f"{count} of the files are left out: {shown}")
        return dict(scan.parts)

    def _name_classes(self, parts: dict[str, ImageSource]) -> str:
        """Set the names of the classes, and return what would be two of them."""
        trained = sorted(parts["train"].class_names())
        if not self.is_multilabel:
            for name, found in parts.items():
                self._check_known_classes(name, found, trained)
        if self.table is not None:
            return "two classes or more"
        self.classes = trained
        return f"a folder for each class: {self.path.name}/CLASS/IMAGE"

    def _must_check(self, size: int) -> bool:
        """Return whether every file is decoded before training; note where that would last."""
        if self.check != "auto":
            return self.check
        if size > CHECKED:
            self.notes.append(
                f"{size:,} images are not decoded before training, and a broken one would stop it: "
                "data.check=true decodes all of them"
            )
        return size <= CHECKED

    def _check_known_classes(self, part: str, found: ImageSource, trained: list[str]) -> None:
        strange = sorted(self._names_in(found) - set(trained))
        if strange:
            text = f"the {part} part of {self.path} has a class that training lacks"
            got = f"{strange[0]}; training has {', '.join(trained[:CLASSES_SHOWN])}"
            raise ArgumentError("path", text, got=got)

    def _names_in(self, found: ImageSource) -> set[str]:
        """Return the names of the classes, or of the labels, that there are images of."""
        names = found.class_names()
        if self.is_multilabel:
            return {label for name in names for label in split_labels(name)}
        return names

    def _split_missing(self, parts: dict[str, ImageSource]) -> dict[str, ImageSource]:
        train, found = parts["train"], dict(parts)
        strata = stratify(self._labels(train))
        chosen = split_missing(strata, parts, self.val, self.test, self.split_seed)
        for name, indices in chosen.items():
            found[name] = train.take(indices.numpy())
        return found

    def training_labels(self) -> Tensor:
        return self._labels(self.parts["train"])

    def _labels(self, found: ImageSource) -> Tensor:
        """Return the class of each image (images,), or its labels (images, classes)."""
        if self.is_multilabel:
            held = list(map(split_labels, found.classes))
            return encode_labels(held, self.classes)[torch.from_numpy(found.codes).long()]
        return found.labels(self.classes)

    def facts(self) -> dict[str, Any]:
        """Return the shape of an image as the network gets it, and the number of classes."""
        self.read()
        facts: dict[str, Any] = {"image": self._shape(), "classes": len(self.classes)}
        if self.is_multilabel:
            facts["label"] = {"classes": len(self.classes), "dtype": "int"}
        return facts

    def _shape(self) -> dict[str, int]:
        height, width = self.size
        return {"channels": self.channels, "height": height, "width": width}

    def sizes(self) -> dict[str, int]:
        return {name: len(self.parts[name]) for name in PARTS}

    def names(self, part: str) -> list[str] | None:
        """Return the files of a part, relative to the folder."""
        found = self.parts[part]
        return [escape_name(found.name(index)) for index in range(len(found))]

    def raw_sample(self, part: str, index: int) -> RawSample:
        """Return one image at the size of the network, before normalisation."""
        image = self.parts[part].open(index, self.channels, self.span)
        return RawSample(image=to_tensor(center_crop(image, self.size), self.channels))

    def reader_arguments(self) -> dict[str, Any]:
        return {
            **self._shape(),
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "span": self.span,
        }

    def restore(self, place: Path) -> None:
        super().restore(place)
        if (place / READER).exists():
            self.classes = read_reader_file(place)["classes"]

    def reading(self, trainer: Any) -> str:
        """Describe how many processes read the images."""
        number = self._workers(trainer)
        if number == 1:
            return "1 process reads images"
        if number > 1:
            return f"{number} processes read images"
        return ""

    def _workers(self, trainer: Any) -> int:
        if self.workers != "auto":
            return self.workers
        if trainer is None:
            return automatic()
        gpu = trainer.strategy.root_device.type != "cpu"
        return automatic(gpu=gpu, processes=trainer.num_devices)

    def loader(self, part: str) -> Workers:
        return self._batches(part, self.order(part), is_training=part == "train")

    def plain_loader(self, part: str) -> Workers:
        return self._batches(part, self.order(part, shuffle=False), is_training=False)

    def _batches(self, part: str, order: Order, *, is_training: bool) -> Workers:
        batches = math.ceil(len(order) / self.batch_size)
        workers = min(self._workers(self.trainer), batches)  # none without a batch
        loader = DataLoader(
            self._dataset(part, is_augmented=is_training),
            batch_size=self.batch_size,
            sampler=order,
            num_workers=workers,
            worker_init_fn=end_worker_with_parent,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=collate_samples,
            drop_last=is_training and len(order) >= self.batch_size,
            generator=generator(self.seed),
        )
        return Workers(loader)

    def _dataset(self, part: str, *, is_augmented: bool) -> Dataset[dict[str, Any]]:
        label = self._labels(self.parts[part])
        return ImageFiles(self, part, label, is_augmented=is_augmented)


def choose_folder(path: str | None, table: str | None) -> Path:
    """Return the folder of the images: the given one, or that of the table.

    Raises:
        ArgumentError: neither is given.
    """
    if path is not None:
        return Path(path).expanduser()
    if table is None:
        fix = "data.path=FOLDER, or data.table=FILE"
        raise ArgumentError("path", "path is missing", fix=fix, code="missing-argument")
    return Path(table).expanduser().parent


def one_per_channel(name: str, value: float | list[float], channels: int) -> Tensor:
    """Return one value for each channel as (channels, 1, 1); raises ArgumentError."""
    if isinstance(value, (int, float)):
        value = [value] * channels
    if len(value) != channels:
        got = f"{len(value)} values, channels={channels}"
        raise ArgumentError(name, f"{name} must have one value, or one for each channel", got=got)
    return torch.tensor(list(value))[:, None, None]


def check_span(span: Span | None) -> Span | None:
    """Raise an ArgumentError unless `span` is two different finite numbers, or None."""
    if span is None:
        return None
    if len(span) != 2 or span[0] == span[1] or not all(map(math.isfinite, span)):
        text, fits = "span must be the values of black and white", "for example [0, 4095]"
        raise ArgumentError("span", text, got=f"span={span}", fits=fits)
    return span


def collate_samples(samples: list[dict[str, Any]] | SampleError) -> Any:
    """Return a batch of samples; an error is returned as it is."""
    if isinstance(samples, SampleError):
        return samples
    return default_collate(samples)


class ImageFiles(Dataset[dict[str, Any]]):
    """The images of one part; a key is (epoch, index), on which alone the augmentation depends."""

    def __init__(self, data: Images, part: str, label: Any, *, is_augmented: bool):
        self.samples = data.parts[part]
        self.label, self.crop, self.flip = label, 1.0, False
        self.further = Regularization()
        if is_augmented:
            self.crop, self.flip, self.further = data.crop, data.flip, data.further
        self.size, self.channels, self.span = data.size, data.channels, data.span
        self.seed, self.mean, self.std = data.seed, data.mean, data.std

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[dict[str, Any]] | SampleError:
        """Return samples by their keys, or the error of an unreadable one as data for a worker."""
        try:
            return self._mix([self[key] for key in keys], keys[0])
        except ArgumentError as error:
            return SampleError.of(error, self.samples.remedy)

    def _mix(self, samples: list[dict[str, Any]], key: tuple[int, int]) -> list[dict[str, Any]]:
        """Mix the samples of a batch, which depends on the epoch and the first sample only."""
        if not self.further.mixes:
            return samples
        source = generator(self.seed, *key, len(self.samples))
        batch = self.further.mix(default_collate(samples), source)
        return [{name: value[row] for name, value in batch.items()} for row in range(len(samples))]

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        source = generator(self.seed, epoch, index)
        image = self.samples.open(index, self.channels, self.span)
        if self.crop == 1:
            image = center_crop(image, self.size)
        else:
            image = random_crop(image, self.size, self.crop, source)
        image = self.further.change_image(image, source)
        tensor = (to_tensor(image, self.channels) - self.mean) / self.std
        if self.flip and torch.rand((), generator=source) < 0.5:
            tensor = tensor.flip(2)
        tensor = self.further.erase(tensor[None], source)[0]
        return {"image": tensor, "label": self.label[index], "index": index}
