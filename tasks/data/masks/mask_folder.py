"""Images and masks in two folders, read when they are needed."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tasks.data.base import RawSample
from tasks.data.images.decode import draw_box, open_image, to_tensor
from tasks.data.images.image_folder import CHECKED, Images
from tasks.data.masks.pairs import (
    Inspection,
    find_pairs,
    first_error,
    inspect_pairs,
    open_mask,
    size_error,
)
from tasks.data.masks.places import Pair, find_places
from tasks.data.masks.values import check_found, check_named, too_few
from tasks.data.readers.image import ImageReader
from tasks.data.readers.mask import MaskReader
from tasks.data.sampler import generator
from tasks.data.sequences.base import IGNORED
from tasks.data.split import PARTS, split_missing
from tasks.data.walk import escape_name, list_first
from tasks.errors import ArgumentError, SampleError


class MaskFolder(Images):
    """FOLDER/images and FOLDER/masks, whose files have the same names; in each of them, or around
    them, train, val and test.

    A mask has the number of a class for each pixel: a palette's, or a grey value.

    Args:
        path: the folder.
        images: the name of the folders of images.
        masks: the name of the folders of masks.
        suffix: what follows the name of an image in that of its mask, such as "_mask".
        classes: the names of the classes; None: the values in the masks.
        values: the value of each class in the masks; None: 0, 1, ... where `classes` are named, and
            else those that the masks have.
        ignore: the value of pixels that are not judged, several values, or None.
        size: height and width of image and mask as the network gets them; both are scaled whole,
            masks to the nearest pixel.
        crop: in training, scale a random part of at least this share of the image instead; 1 scales
            all of it.
        flip: mirror half of the training images with their masks.
        check: decode every file once before training, and leave broken ones out with a note; auto:
            up to 50,000 pairs.
        options: channels, batch_size, mean, std, span, val, test, workers, seed, split_seed, facts:
            those of `Images`.
    """

    reader: ClassVar[type[ImageReader]] = MaskReader

    def __init__(
        self,
        path: str,
        *,
        images: str = "images",
        masks: str = "masks",
        suffix: str = "",
        classes: list[str] | None = None,
        values: list[int] | None = None,
        ignore: int | list[int] | None = 255,
        size: int = 224,
        crop: float = 0.5,
        flip: bool = True,
        check: bool | Literal["auto"] = "auto",
        **options: Any,
    ):
        super().__init__(path, size=size, crop=crop, flip=flip, check=check, **options)
        self.folders, self.suffix = (images, masks), suffix
        self.named, self.values = classes, values
        if classes is not None and values is None:
            self.values = list(range(len(classes)))
        self.ignored: list[int] = []
        if isinstance(ignore, int):
            self.ignored = [ignore]
        elif ignore is not None:
            self.ignored = list(ignore)
        check_named(self.named, self.values, self.ignored)
        self.pairs: dict[str, list[Pair]] = {}

    def read(self) -> None:
        """Find the pairs, once; decode each if `check` is on."""
        if self.pairs:
            return
        left_out: list[str] = []
        found = {}
        for part, places in find_places(self.path, *self.folders, left_out).items():
            found[part] = find_pairs(places, self.suffix, self.path, left_out)
        if left_out:
            self.notes.append(f"{len(left_out)} of the files are left out: {list_first(left_out)}")
        if self._must_check(sum(map(len, found.values()))):
            found = self._check_pairs(found)
        elif self.values is None:
            raise ArgumentError(
                "classes",
                "the masks are not read before training, so that their classes are unknown",
                got=f"classes=null, check={self.check}",
                fix=f"data.classes=[NAME,...], or data.check=true (more than {CHECKED:,} pairs)",
            )
        self.classes = self.named or list(map(str, self.values or ()))
        nothing = torch.zeros(len(found["train"]), dtype=torch.long)
        chosen = split_missing(nothing, found, self.val, self.test, self.split_seed)
        train = found["train"]
        for name, indices in chosen.items():
            found[name] = [train[index] for index in indices.tolist()]
        for name, share in (("train", None), ("val", self.val), ("test", self.test)):
            if not found[name] and share != 0:
                raise too_few(name, sum(map(len, found.values())))
        self.pairs = found

    def _check_pairs(self, found: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
        """Decode every file; leave out broken ones, and find the values where none are named."""
        whole, kept, broken = {}, {}, []
        for part, pairs in found.items():
            inspections = inspect_pairs(pairs, self.path, self.channels, self.span)
            good = [each.broken is None for each in inspections]
            wrong = [each.broken for each in inspections if each.broken]
            whole[part] = list(itertools.compress(pairs, good))
            kept[part] = list(itertools.compress(inspections, good))
            error = first_error(whole[part], self.path, kept[part])
            if error:
                raise error
            if not whole[part]:
                text = f"every pair of the {part} part of {self.path} is broken"
                fix = "write the files anew"
                raise ArgumentError("path", text, got=list_first(wrong), fix=fix)
            broken += wrong
        total = sum(map(len, found.values()))
        if broken:
            shown = list_first(broken)
            self.notes.append(f"{len(broken)} of {total} pairs are broken and left out: {shown}")
        several = sum(each.frames > 1 for part in kept.values() for each in part)
        if several:
            self.notes.append(
                f"{several} of {total} pairs have several frames; the first one is taken"
            )
        stretched = sum(each.is_stretched for part in kept.values() for each in part)
        if stretched:
            self.notes.append(
                f"{stretched} of {total} masks have fewer than 8 bits or another maximum than 255; "
                "their grey values are stretched to 0 to 255"
            )
        self._check_pixels(whole, kept)
        return whole

    def _check_pixels(
        self, pairs: dict[str, list[Pair]], found: dict[str, list[Inspection]]
    ) -> None:
        """Find the values where none are named; note classes and masks that train nothing.

        Raises:
            ArgumentError: the values make no classes, or a mask has another one.
        """
        seen = Counter[int]()
        where: dict[int, Path] = {}
        empty = []
        for part, inspections in found.items():
            for pair, each in zip(pairs[part], inspections, strict=True):
                seen.update(each.counts)
                where.update({value: pair[1] for value in each.counts if value not in where})
                if not each.counts.keys() - {*self.ignored}:
                    empty.append(escape_name(pair[1].relative_to(self.path)))
        if self.values is None:
            self.values = sorted(seen.keys() - {*self.ignored})
            check_found(self.values, self.ignored)
        strange = sorted(seen.keys() - {*self.values, *self.ignored})
        if strange:
            raise self._strange(where[strange[0]], strange)
        if empty:
            total = sum(map(len, found.values()))
            self.notes.append(
                f"{len(empty)} of {total} masks have ignored pixels only: {list_first(empty)}"
            )
        trained = {value for each in found["train"] for value in each.counts}
        names = self.named or list(map(str, self.values))
        unseen = [
            name for name, value in zip(names, self.values, strict=True) if value not in trained
        ]
        if unseen:
            self.notes.append(f"classes without a pixel for training: {list_first(unseen)}")

    def _strange(self, mask: Path, strange: list[int]) -> ArgumentError:
        shown = list_first(list(map(str, strange)))
        values = ", ".join(map(str, self.values or ()))
        return ArgumentError(
            "values",
            f"{mask} has values that are no class",
            got=shown,
            fits=f"{values}; ignored: {', '.join(map(str, self.ignored)) or 'none'}",
            fix=f"data.ignore=[{','.join(map(str, [*self.ignored, *strange][:8]))}], or name a "
            "class for each in data.classes and data.values",
        )

    def class_pixels(self) -> Tensor:
        """Return the number of training pixels of each class (classes,), at the size of the
        masks.
        """
        self.read()
        total = torch.zeros(len(self.classes), dtype=torch.long)
        for _, mask in self.pairs["train"]:
            label = torch.from_numpy(self.read_mask(mask))
            total += label[label != IGNORED].bincount(minlength=len(self.classes))
        return total

    def read_mask(self, path: Path) -> np.ndarray:
        """Return the class of each pixel (height, width), `IGNORED` where it is not judged."""
        given = open_mask(path)
        values = self.values or []
        known = np.array([*values, *self.ignored])
        numbers = np.full(len(known), IGNORED, np.int32)
        numbers[: len(values)] = np.arange(len(values))
        order = known.argsort()
        place = known[order].searchsorted(given).clip(max=len(known) - 1)
        strange = np.unique(given[known[order][place] != given])
        if strange.size:
            raise self._strange(path, strange.tolist())
        return numbers[order][place]

    def facts(self) -> dict[str, Any]:
        """Return the shapes of an image and of its mask, and the number of classes."""
        self.read()
        height, width = self.size
        label = {"height": height, "width": width, "dtype": "int"}
        return {"image": self._shape(), "label": label, "classes": len(self.classes)}

    def sizes(self) -> dict[str, int]:
        return {name: len(self.pairs[name]) for name in PARTS}

    def names(self, part: str) -> list[str] | None:
        """Return the images of a part, relative to the folder."""
        return [escape_name(image.relative_to(self.path)) for image, _ in self.pairs[part]]

    def raw_sample(self, part: str, index: int) -> RawSample:
        image = open_image(self.pairs[part][index][0], self.channels, self.span)
        return RawSample(image=to_tensor(scale(image, self.size), self.channels))

    def reader_arguments(self) -> dict[str, Any]:
        self.read()
        return {**super().reader_arguments(), "values": self.values}

    def _dataset(self, part: str, *, is_augmented: bool) -> Dataset[dict[str, Any]]:
        return MaskFiles(self, part, is_augmented=is_augmented)


class MaskFiles(Dataset[dict[str, Any]]):
    """The pairs of one part; a key is (epoch, index), on which alone the augmentation depends."""

    def __init__(self, data: MaskFolder, part: str, *, is_augmented: bool):
        self.data, self.pairs, self.is_augmented = data, data.pairs[part], is_augmented

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[dict[str, Any]] | SampleError:
        """Return samples by their keys, or the error of an unreadable one as data for a worker."""
        try:
            return [self[key] for key in keys]
        except ArgumentError as error:
            return SampleError.of(error, "data.check=true finds bad files before training")

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        data = self.data
        source = generator(data.seed, epoch, index)
        image = open_image(self.pairs[index][0], data.channels, data.span)
        mask = Image.fromarray(data.read_mask(self.pairs[index][1]))
        if image.size != mask.size:
            raise size_error(self.pairs[index], data.path, image.size[::-1], mask.size[::-1])
        box = None
        if self.is_augmented and data.crop < 1:
            box = draw_box(image, data.size, data.crop, source)
        pixels = to_tensor(scale(image, data.size, box), data.channels)
        nearest = scale(mask, data.size, box, Image.Resampling.NEAREST)
        label = torch.from_numpy(np.array(nearest)).long()
        if self.is_augmented and data.flip and torch.rand((), generator=source) < 0.5:
            pixels, label = pixels.flip(2), label.flip(1)
        return {"image": (pixels - data.mean) / data.std, "label": label, "index": index}


def scale(
    image: Image.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
    by: Image.Resampling = Image.Resampling.BILINEAR,
) -> Image.Image:
    """Scale an image, or the part in a box, to `size` (height, width)."""
    height, width = size
    return image.resize((width, height), by, box=box)
