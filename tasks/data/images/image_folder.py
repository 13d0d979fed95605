"""Images in class folders, read as they are needed."""

import math
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from tasks.data.base import DataModule, RawSample
from tasks.data.images import files
from tasks.data.images.decode import Span, UnknownSpanError, as_tensor, cut, middle, opened
from tasks.data.readers.image import ImageReader
from tasks.data.sampler import Order, Workers, generator
from tasks.data.split import PARTS, check_classes, check_parts, check_shares, part, split
from tasks.data.walk import listed, shown
from tasks.data.workers import automatic, must_be_workers
from tasks.errors import ArgumentError, SampleError, must_be_one_of, must_be_positive, must_be_share
from tasks.process.parent import end_worker_with_parent


class Images(DataModule):
    """FOLDER/CLASS/IMAGE, or FOLDER/train, FOLDER/val and FOLDER/test with class folders in each.

    Args:
        path: the folder.
        size: height and width of an image as the network gets it.
        channels: 3 for colour, 1 for grey.
        batch_size: samples in a batch, of each process.
        crop: in training, cut out a random part of at least this share of the image; 1 takes the
            middle, as in tests.
        flip: mirror half of the training images.
        mean: taken from every channel, or from each one.
        std: what they are divided by.
        span: the values of black and white in images of 16 or 32 bits; null: 0 and the largest
            number of up to 16 bits, or 0 and 1 for floating-point numbers.
        val: share of the training images kept for validation, where the folder has no `val`.
        test: share of them kept for the test, where it has no `test`.
        workers: processes that read images; 0: the one that trains reads, too; auto: as many as it
            leaves cores free.
        check: decode every file once before training, and leave broken ones out with a note.
            Without it a broken file stops the run when it is met.
        seed: seed of the order and the augmentation.
        split_seed: seed of the split, the same for every run.
        facts: what the YAML declares about the data; checked against what is read.
    """

    reader = ImageReader

    def __init__(
        self,
        path: str,
        *,
        size: int = 224,
        channels: int = 3,
        batch_size: int = 64,
        crop: float = 0.35,
        flip: bool = True,
        mean: float | list[float] = 0.5,
        std: float | list[float] = 0.5,
        span: list[float] | None = None,
        val: float = 0.1,
        test: float = 0.1,
        workers: int | Literal["auto"] = "auto",
        check: bool = True,
        seed: int = 0,
        split_seed: int = 0,
        facts: dict | None = None,
    ):
        super().__init__()
        must_be_positive("batch_size", batch_size)
        must_be_one_of("channels", channels, (1, 3))
        must_be_workers(workers)
        must_be_share("crop", crop) if crop != 1 else None
        check_shares(val, test)
        self.path, self.channels = Path(path).expanduser(), channels
        must_be_positive("size", size)
        self.size = (size, size)
        self.mean, self.std = self._each("mean", mean), self._each("std", std)
        self.span = must_be_span(span)
        self.batch_size, self.crop, self.flip, self.workers, self.check = (
            batch_size,
            crop,
            flip,
            workers,
            check,
        )
        self.val, self.test, self.seed, self.split_seed, self.declared = (
            val,
            test,
            seed,
            split_seed,
            facts,
        )
        self.parts: dict[str, files.Samples] = {}

    def _each(self, name: str, value: float | list[float]) -> Tensor:
        each = [value] * self.channels if isinstance(value, (int, float)) else list(value)
        if len(each) != self.channels:
            got = f"{len(each)} values, channels={self.channels}"
            raise ArgumentError(
                name, f"{name} must have one value, or one for each channel", got=got
            )
        return torch.tensor(each)[:, None, None]

    def read(self) -> None:
        """Find the files, once; decode each if asked to."""
        if self.parts:
            return
        parts, left_out = files.scan(self.path)
        if left_out:
            self.notes.append(f"{len(left_out)} of the files are left out: {listed(left_out)}")
        if self.check:
            parts = self._checked(parts)
        self.classes = sorted({name for _, name in parts["train"]})
        fits = f"a folder for each class: {self.path.name}/CLASS/IMAGE"
        check_classes(self.classes, len(parts["train"]), "image", fits)
        for name, found in parts.items():
            strange = sorted({label for _, label in found} - set(self.classes))
            if strange:
                got = f"{strange[0]}; training has {', '.join(self.classes[:8])}"
                raise ArgumentError(
                    "path",
                    f"the {name} part of {self.path} has a class that training lacks",
                    got=got,
                )
        self.parts = self._completed(parts)
        check_parts(self.sizes(), {"val": self.val, "test": self.test}, self.classes, "image")

    def _checked(self, parts: dict[str, files.Samples]) -> dict[str, files.Samples]:
        """Decode every file once: without the broken ones, and with notes on what a user may not
        expect.
        """
        seen = files.look_at(parts, self.channels, self.span)
        unknown = [found.unknown for found in seen.values() if found.unknown]
        if unknown:
            raise whole_span(unknown)
        several = sum(found.frames > 1 for found in seen.values())
        if several:
            self.notes.append(
                f"{several} of {len(seen)} images have several frames; the first one is taken"
            )
        return self._without_broken(
            parts, {file: found.broken for file, found in seen.items() if found.broken}
        )

    def _without_broken(
        self, parts: dict[str, files.Samples], bad: dict[Path, str]
    ) -> dict[str, files.Samples]:
        if not bad:
            return parts
        total = sum(len(found) for found in parts.values())
        told = "; ".join(
            f"{shown(file.relative_to(self.path))} ({text})" for file, text in list(bad.items())[:5]
        )
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        self.notes.append(f"{len(bad)} of {total} images are broken and left out: {told}{more}")
        kept = {
            name: [pair for pair in found if pair[0] not in bad] for name, found in parts.items()
        }
        for name, found in kept.items():
            if not found:
                raise ArgumentError(
                    "path", f"every image of the {name} part of {self.path} is broken", got=told
                )
        return kept

    def _completed(self, parts: dict[str, files.Samples]) -> dict[str, files.Samples]:
        train = parts["train"]
        if "val" not in parts and "test" not in parts:
            chosen = split(self._labels(train), self.val, self.test, self.split_seed)
            return {
                name: [train[index] for index in indices.tolist()]
                for name, indices in chosen.items()
            }
        for name, share in (("test", self.test), ("val", self.val)):
            if name not in parts:
                stay, take = part(self._labels(parts["train"]), share, self.split_seed)
                train = parts["train"]
                parts = parts | {
                    "train": [train[i] for i in stay.tolist()],
                    name: [train[i] for i in take.tolist()],
                }
        return parts

    def _labels(self, found: files.Samples) -> Tensor:
        number = {name: index for index, name in enumerate(self.classes)}
        return torch.tensor([number[name] for _, name in found])

    def facts(self) -> dict[str, Any]:
        """Shape of an image as the network gets it, and number of classes, as read."""
        self.read()
        image = {"channels": self.channels, "height": self.size[0], "width": self.size[1]}
        return {"image": image, "classes": len(self.classes)}

    def sizes(self) -> dict[str, int]:
        """Number of samples in each part."""
        return {name: len(self.parts[name]) for name in PARTS}

    def names(self, part: str) -> list[str] | None:
        """The files of a part, as seen from the folder."""
        return [shown(file.relative_to(self.path)) for file, _ in self.parts[part]]

    def raw_sample(self, part: str, index: int) -> RawSample:
        """Return one image at the size of the network, before normalisation."""
        image = middle(opened(self.parts[part][index][0], self.channels, self.span), self.size)
        return RawSample(image=as_tensor(image, self.channels))

    def kept(self) -> dict[str, Any]:
        size = {"channels": self.channels, "height": self.size[0], "width": self.size[1]}
        scaled = {
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "span": self.span,
        }
        return {**size, **scaled}

    def reading(self, trainer: pl.Trainer | None) -> str:
        """How the data are read, in a few words."""
        number = self._workers(trainer)
        return (
            f"{number} process{'es' * (number != 1)} read{'s' * (number == 1)} images"
            if number
            else ""
        )

    def _workers(self, trainer: pl.Trainer | None) -> int:
        if self.workers != "auto":
            return self.workers
        if trainer is None:
            return automatic()
        return automatic(
            gpu=trainer.strategy.root_device.type != "cpu", processes=trainer.num_devices
        )

    def train_dataloader(self) -> Workers:
        return self._loader("train", training=True)

    def val_dataloader(self) -> Workers:
        return self._loader("val")

    def test_dataloader(self) -> Workers:
        return self._loader("test")

    def _loader(self, part: str, training: bool = False) -> Workers:
        rank, world = self.share()
        found = self.parts[part]
        dataset = Files(
            self,
            part,
            self._labels(found),
            crop=self.crop if training else 1.0,
            flip=training and self.flip,
        )
        order = Order(len(found), shuffle=training, seed=self.seed, rank=rank, world=world)
        workers = min(
            self._workers(self.trainer), -(-len(order) // self.batch_size)
        )  # none without a batch
        loader = DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=order,
            num_workers=workers,
            worker_init_fn=end_worker_with_parent,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=collated,
            drop_last=training and len(order) >= self.batch_size,
            generator=generator(self.seed),
        )
        return Workers(loader)


def must_be_span(span: Span | None) -> Span | None:
    """Raise an ArgumentError unless `span` is two different numbers."""
    if span is not None and (
        len(span) != 2 or not all(map(math.isfinite, span)) or span[0] == span[1]
    ):
        text, fits = "span must be the values of black and white", "[0, 4095], say"
        raise ArgumentError("span", text, got=f"span={span}", fits=fits)
    return span


def whole_span(unknown: list[UnknownSpanError]) -> ArgumentError:
    """One error for all images whose values of black and white are not known."""
    first = unknown[0]
    low, high = min(error.low for error in unknown), max(error.high for error in unknown)
    problem = (
        first.problem if len(unknown) == 1 else f"{first.problem}, nor do {len(unknown) - 1} more"
    )
    got, fix = (
        f"values from {low:g} to {high:g}",
        f"data.span=[{low:g},{high:g}], if these are black and white",
    )
    return ArgumentError("span", problem, got=got, fits=first.fits, fix=fix)


def collated(samples: list[dict[str, Any]] | SampleError) -> Any:
    """A batch of samples; an error stays as it is."""
    return samples if isinstance(samples, SampleError) else default_collate(samples)


class Files(Dataset[dict[str, Any]]):
    """The images of one part; a key is (epoch, index), from which alone the augmentation
    follows.
    """

    def __init__(self, data: Images, part: str, label: Tensor, *, crop: float, flip: bool):
        self.paths, self.label, self.crop, self.flip = (
            [file for file, _ in data.parts[part]],
            label,
            crop,
            flip,
        )
        self.size, self.channels, self.span, self.seed = (
            data.size,
            data.channels,
            data.span,
            data.seed,
        )
        self.mean, self.std = data.mean, data.std

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[dict[str, Any]] | SampleError:
        """Samples by their keys; where one cannot be read, the error itself, which a worker hands
        over as data.
        """
        try:
            return [self[key] for key in keys]
        except ArgumentError as error:
            return SampleError(
                f"{error.problem}\n  fix       data.check=true leaves out broken files, with a note"
            )

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        image = opened(self.paths[index], self.channels, self.span)
        source = generator(self.seed, epoch, index)
        image = (
            middle(image, self.size) if self.crop == 1 else cut(image, self.size, self.crop, source)
        )
        tensor = (as_tensor(image, self.channels) - self.mean) / self.std
        if self.flip and torch.rand((), generator=source) < 0.5:
            tensor = tensor.flip(2)
        return {"image": tensor, "label": self.label[index], "index": index}
