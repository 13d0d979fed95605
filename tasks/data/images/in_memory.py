"""Images in memory: tensors that are cut into batches by index, without workers and copies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from tasks.data.base import READER, DataModule, RawSample, read_reader_file
from tasks.data.images import augment
from tasks.data.images.decode import to_unit_range
from tasks.data.images.mix import Regularization
from tasks.data.readers.image import ImageReader
from tasks.data.sampler import SAMPLINGS, IndexBatches, Order, generator
from tasks.data.split import PARTS, check_shares, hold_out
from tasks.errors import (
    ArgumentError,
    must_be_one_of,
    must_be_positive,
    must_be_share,
    must_not_be_negative,
)


class Batches(IndexBatches):
    """Iterate over tensors that share their first axis, any number of times.

    Args:
        tensors: by name, "image" and "label"; an "index" is added.
        size: samples in a batch of this process.
        order: which samples, in which order.
        mean: subtracted from each channel of an image.
        std: each channel is divided by it.
        moved: how far images are shifted, rotated and scaled, as `augment.move` takes it.
        flip: mirror half of the images.
        further: further changes, as `Regularization` makes them.
        views: 2 adds a "view", the same images changed at random another time.
        fixed: the same changes in every epoch.
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
        further: Regularization | None = None,
        views: int = 1,
        fixed: bool = False,
    ):
        super().__init__(size, order)
        self.tensors, self.mean, self.std = tensors, mean, std
        self.moved, self.flip = moved or {}, flip
        self.further = further or Regularization()
        self.views, self.fixed = views, fixed

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for number, chosen in self.index_batches():
            batch = {name: tensor.index_select(0, chosen) for name, tensor in self.tensors.items()}
            epoch = -1 if self.fixed else self.sampler.epoch
            source = generator(self.sampler.seed, epoch, self.sampler.rank, number)
            raw = to_unit_range(batch["image"])
            batch |= {"image": self._augmented(raw, source), "index": chosen}
            if self.views == 2:
                batch["view"] = self._augmented(raw, source)
            yield self.further.mix(batch, source)

    def _augmented(self, image: Tensor, source: torch.Generator) -> Tensor:
        """Return images that are changed at random, then normalised."""
        if any(self.moved.values()):
            image = augment.move(image, source, **self.moved)
        if self.flip:
            image = augment.flip(image, source)
        image = self.further.change_tensors(image, source)
        return self.further.erase((image - self.mean) / self.std, source)


class InMemoryImages(DataModule):
    """Base of the data modules whose images fit in memory.

    A subclass reads them; this class splits and normalises them and makes batches.

    Args:
        batch_size: samples in a batch, of each process.
        val: share of the training samples kept for validation.
        test: share of all samples kept for the test, if the data have no test set.
        shift: move training images by up to this many pixels.
        rotate: rotate them by up to this many degrees.
        scale: make them larger or smaller by up to this share.
        test_shift: move test images by up to this many pixels, each as far in every test.
        flip: mirror half of the training images.
        mixup: mix pairs of training images; the parameter of the Beta distribution of their shares,
            0 for none.
        cutmix: replace a box of a training image by that of another one; the parameter of the Beta
            distribution of the shares, 0 for none. With both, each batch has one of them.
        erase: probability that a box of a training image is replaced by noise.
        randaugment: number of changes of RandAugment; 0 for none.
        magnitude: their strength, from 0 to 30.
        views: 2 for two random views of each image, as task=contrast compares them, in every part.
        share: of the training samples that are used, the same share of each class, at least one;
            mean and standard deviation are those of all.
        sampling: None: each training image once an epoch; balanced: each class equally often.
        seed: seed of the order and the augmentation.
        split_seed: seed of the split; separate, so that runs with several seeds are judged on the
            same samples.
        facts: what the YAML declares about the data; checked against what is read.
    """

    reader: ClassVar[type[ImageReader]] = ImageReader

    def __init__(
        self,
        *,
        batch_size: int = 64,
        val: float = 0.1,
        test: float = 0.2,
        shift: float = 0.0,
        rotate: float = 0.0,
        scale: float = 0.0,
        test_shift: float = 0.0,
        flip: bool = False,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        erase: float = 0.0,
        randaugment: int = 0,
        magnitude: float = 9.0,
        views: int = 1,
        share: float = 1.0,
        sampling: Literal["balanced"] | None = None,
        seed: int = 0,
        split_seed: int = 0,
        facts: dict | None = None,
    ):
        super().__init__()
        must_be_positive("batch_size", batch_size)
        must_be_one_of("sampling", sampling, SAMPLINGS)
        must_not_be_negative("shift", shift)
        must_not_be_negative("test_shift", test_shift)
        must_not_be_negative("rotate", rotate)
        must_be_share("scale", scale)
        if not 0 < share <= 1:
            raise ArgumentError(
                "share", "share must be in (0, 1]", got=f"share={share}", fits="e.g. 0.1"
            )
        check_shares(val, test)
        self.batch_size, self.val, self.test, self.flip = batch_size, val, test, flip
        self.sampling = sampling
        must_be_one_of("views", views, (1, 2))
        if views == 2 and (mixup or cutmix):
            raise ArgumentError(
                "mixup" if mixup else "cutmix",
                "two views are compared as they are, and mixing makes one image of two",
                got=f"views=2, mixup={mixup}, cutmix={cutmix}",
                fits="data.erase and data.randaugment, which change each view by itself",
                fix="data.mixup=0 data.cutmix=0, or data.views=1",
            )
        self.used, self.views = share, views
        self.test_shift = test_shift
        self.moved = {"shift": shift, "rotate": rotate, "scale": scale}
        self.further = Regularization(
            mixup=mixup, cutmix=cutmix, erase=erase, randaugment=randaugment, magnitude=magnitude
        )
        self.seed, self.split_seed, self.declared = seed, split_seed, facts
        self.parts: dict[str, dict[str, Tensor]] = {}
        # the mean and standard deviation of a finished run, if there is one
        self.measured: tuple[Tensor, Tensor] | None = None
        # the lowest and highest value, if `load` mapped floats to [0, 1]
        self.scale: list[float] | None = None

    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the images and labels of the parts "train", "val" and "test".

        Images are (samples, channels, height, width), uint8 or float in [0, 1].
        """
        raise NotImplementedError

    def read(self) -> None:
        """Read the data, once."""
        if self.parts:
            return
        for name, (image, label) in self.load().items():
            self.parts[name] = {"image": image, "label": label.long()}
        self.further.check_channels(self.parts["train"]["image"].shape[1])
        self.mean, self.std = self.measured or channel_statistics(self.parts["train"]["image"])
        if self.used < 1:
            self._keep_share()
        if not self.classes:
            label = torch.cat([part["label"] for part in self.parts.values()])
            self.classes = list(map(str, range(int(label.max()) + 1)))

    def _keep_share(self) -> None:
        """Keep a share of the training samples, stratified by class."""
        train = self.parts["train"]
        _, kept = hold_out(train["label"], self.used, self.split_seed, salt=3)
        self.parts["train"] = {name: value[kept] for name, value in train.items()}
        self.notes.append(f"share={self.used:g}: {len(kept):,} training samples are used")

    def facts(self) -> dict[str, Any]:
        """Return the shape of an image and the number of classes."""
        self.read()
        return {"image": self._shape(), "classes": len(self.classes)}

    def _shape(self) -> dict[str, int]:
        channels, height, width = self.parts["train"]["image"].shape[1:]
        return {"channels": channels, "height": height, "width": width}

    def sizes(self) -> dict[str, int]:
        return {name: len(self.parts[name]["label"]) for name in PARTS}

    def raw_sample(self, part: str, index: int) -> RawSample:
        return RawSample(image=to_unit_range(self.parts[part]["image"][index]).clamp(0, 1))

    def restore(self, place: Path) -> None:
        super().restore(place)
        if (place / READER).exists():
            reader: Any = self.reader.open(place, read_reader_file(place)["reader"])
            self.measured, self.scale = (reader.mean, reader.std), reader.scale

    def reader_arguments(self) -> dict[str, Any]:
        self.read()
        return {
            **self._shape(),
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
            "scale": self.scale,
        }

    def loader(self, part: str) -> Batches:
        augmentation: dict[str, Any] = {}
        if part == "train" or self.views == 2:
            augmentation = {"moved": self.moved, "flip": self.flip, "further": self.further}
            augmentation["fixed"] = part != "train"
        elif part == "test":
            augmentation = {"moved": {"shift": self.test_shift}, "fixed": True}
        augmentation["views"] = self.views
        return self._batches(part, self.order(part), **augmentation)

    def plain_loader(self, part: str) -> Batches:
        return self._batches(part, self.order(part, shuffle=False))

    def _batches(self, part: str, order: Order, **augmentation: Any) -> Batches:
        tensors = self.parts[part]
        return Batches(
            tensors, self.batch_size, order, mean=self.mean, std=self.std, **augmentation
        )


def channel_statistics(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each channel.

    Args:
        image: (samples, channels, height, width); read in pieces, to spare memory.

    Returns:
        Two tensors (channels, 1, 1).
    """
    total = torch.zeros(2, image.shape[1], dtype=torch.float64)
    for piece in image.split(4096):
        value = to_unit_range(piece).double()
        total += torch.stack([value.sum((0, 2, 3)), value.square().sum((0, 2, 3))])
    mean, square = total / (image.numel() / image.shape[1])
    std = (square - mean.square()).clamp_min(0).sqrt().clamp_min(1e-3)
    return mean.float()[:, None, None], std.float()[:, None, None]
