"""Images that fit in memory are held as tensors and cut into batches by index: no worker processes,
no copies.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks.data.base import READER, DataModule, RawSample, read_kept
from tasks.data.images import augment
from tasks.data.images.decode import as_share
from tasks.data.readers.image import ImageReader
from tasks.data.sampler import Order, Resumable, generator
from tasks.data.split import PARTS, check_shares
from tasks.errors import must_be_positive, must_be_share, must_not_be_negative


class Batches(Resumable):
    """Iterates over tensors that share their first axis; may be iterated any number of times.

    Args:
        tensors: by name, "image" and "label"; an "index" is added.
        size: samples in a batch of this process.
        order: which samples, in which order.
        mean: what is taken from each channel of an image.
        std: what it is divided by.
        moved: how far images are shifted, turned and scaled, as `augment.move` takes it.
        flip: mirror half of the images.
    """

    def __init__(
        self,
        tensors: dict[str, Tensor],
        size: int,
        order: Order,
        *,
        mean: Tensor,
        std: Tensor,
        moved: dict[str, float] | None = None,
        flip: bool = False,
    ):
        self.tensors, self.size, self.mean, self.std = tensors, size, mean, std
        self.sampler, self.batch_sampler = order, None  # where Lightning looks for set_epoch
        self.moved, self.flip = moved or {}, flip

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.size)
        return whole if self.sampler.shuffle and whole else whole + bool(rest)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        indices = self.sampler.indices()
        for number in range(self.first(), len(self)):
            self.taken = number + 1
            chosen = indices[number * self.size : (number + 1) * self.size]
            if not len(chosen):
                return  # this process has no samples
            batch = {name: tensor.index_select(0, chosen) for name, tensor in self.tensors.items()}
            image = self._augmented(as_share(batch["image"]), number)
            yield batch | {"image": (image - self.mean) / self.std, "index": chosen}

    def _augmented(self, image: Tensor, number: int) -> Tensor:
        source = generator(self.sampler.seed, self.sampler.epoch, self.sampler.rank, number)
        if any(self.moved.values()):
            image = augment.move(image, source, **self.moved)
        return augment.flip(image, source) if self.flip else image


class HeldImages(DataModule):
    """Base of the data modules whose images fit in memory: a subclass reads, this one scales,
    splits and batches.

    Args:
        batch_size: samples in a batch, of each process.
        val: share of the training samples kept for validation.
        test: share of all samples kept for the test, where the data brings no test set.
        shift: move training images by up to so many pixels.
        rotate: turn them by up to so many degrees.
        scale: make them larger or smaller by up to this share.
        flip: mirror half of the training images.
        seed: seed of the order and the augmentation.
        split_seed: seed of the split; kept apart so that runs with several seeds are judged on the
            same samples.
        facts: what the YAML declares about the data; checked against what is read.
    """

    reader = ImageReader

    def __init__(
        self,
        *,
        batch_size: int = 64,
        val: float = 0.1,
        test: float = 0.2,
        shift: float = 0.0,
        rotate: float = 0.0,
        scale: float = 0.0,
        flip: bool = False,
        seed: int = 0,
        split_seed: int = 0,
        facts: dict | None = None,
    ):
        super().__init__()
        must_be_positive("batch_size", batch_size)
        must_not_be_negative("shift", shift)
        must_not_be_negative("rotate", rotate)
        must_be_share("scale", scale)
        check_shares(val, test)
        self.batch_size, self.val, self.test, self.flip = batch_size, val, test, flip
        self.moved = {"shift": shift, "rotate": rotate, "scale": scale}
        self.seed, self.split_seed, self.declared = seed, split_seed, facts
        self.parts: dict[str, dict[str, Tensor]] = {}
        self.measured: tuple[Tensor, Tensor] | None = (
            None  # of a finished run: its mean and standard deviation
        )
        self.scale: list[float] | None = (
            None  # lowest and highest value, where `load` brought floats to [0, 1]
        )

    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        """The parts "train", "val" and "test", each (images as uint8, or float in [0, 1];
        labels).
        """
        raise NotImplementedError

    def read(self) -> None:
        """Read the data, once."""
        if self.parts:
            return
        loaded = self.load()
        self.parts = {
            name: {"image": image, "label": label.long()} for name, (image, label) in loaded.items()
        }
        self.mean, self.std = self.measured or statistics(self.parts["train"]["image"])
        if not self.classes:
            count = max(int(part["label"].max()) for part in self.parts.values()) + 1
            self.classes = [str(number) for number in range(count)]

    def facts(self) -> dict[str, Any]:
        """Shape of an image and number of classes, as read."""
        self.read()
        channels, height, width = self.parts["train"]["image"].shape[1:]
        return {
            "image": {"channels": channels, "height": height, "width": width},
            "classes": len(self.classes),
        }

    def sizes(self) -> dict[str, int]:
        """Number of samples in each part."""
        return {name: len(self.parts[name]["label"]) for name in PARTS}

    def raw_sample(self, part: str, index: int) -> RawSample:
        return RawSample(image=as_share(self.parts[part]["image"][index]).clamp(0, 1))

    def restore(self, place: Path) -> None:
        super().restore(place)
        if (place / READER).exists():
            reader = ImageReader(**read_kept(place)["reader"])
            self.measured, self.scale = (reader.mean, reader.std), reader.scale

    def kept(self) -> dict[str, Any]:
        measured = {
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "scale": self.scale,
        }
        return {**self.facts()["image"], **measured}

    def train_dataloader(self) -> Batches:
        return self._batches("train", shuffle=True, moved=self.moved, flip=self.flip)

    def val_dataloader(self) -> Batches:
        return self._batches("val")

    def test_dataloader(self) -> Batches:
        return self._batches("test")

    def _batches(self, part: str, shuffle: bool = False, **augmentation: Any) -> Batches:
        tensors = self.parts[part]
        rank, world = self.share()
        order = Order(
            len(tensors["label"]), shuffle=shuffle, seed=self.seed, rank=rank, world=world
        )
        return Batches(
            tensors, self.batch_size, order, mean=self.mean, std=self.std, **augmentation
        )


def statistics(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, shaped to broadcast over a batch; in pieces, to
    spare memory.
    """
    total = torch.zeros(2, image.shape[1], dtype=torch.float64)
    for piece in image.split(4096):
        value = as_share(piece).double()
        total += torch.stack([value.sum((0, 2, 3)), value.square().sum((0, 2, 3))])
    mean, square = total / (image.numel() / image.shape[1])
    std = (square - mean.square()).clamp_min(0).sqrt().clamp_min(1e-3)
    return mean.float()[:, None, None], std.float()[:, None, None]
