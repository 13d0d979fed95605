"""Images from files, folders and arrays, as a network takes them that was trained on images."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blocks.support.files import kind_of
from tasks.data.images import idx, npz
from tasks.data.images.decode import as_share, as_tensor, middle, on_scale, opened
from tasks.data.images.files import SUFFIXES
from tasks.data.readers.base import Item, Reader, existing
from tasks.errors import ArgumentError

PACKED = (".npz", ".npy")
WORDS = ("x", "image", "images", "data")  # what an array of images is called in a .npz file


class ImageReader(Reader):
    """Image files are cut to the middle and scaled to the size of the network; arrays must have its
    size.

    Args:
        channels: 3 for colour, 1 for grey.
        height: of an image as the network gets it.
        width: the same.
        mean: of each channel, taken from pixels in [0, 1].
        std: of each channel, what they are divided by.
        scale: the smallest and the largest value of the training arrays, where they were brought to
            [0, 1] by these.
        span: the values of black and white in image files with more than a byte a pixel, as
            `opened` takes it.
    """

    def __init__(
        self,
        *,
        channels: int,
        height: int,
        width: int,
        mean: list[float],
        std: list[float],
        scale: list[float] | None = None,
        span: list[float] | None = None,
    ):
        self.channels, self.height, self.width = channels, height, width
        self.scale, self.span = scale, span
        self.mean, self.std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]

    def items(self, given: str) -> Iterator[Item]:
        path = existing(given)
        file, _, array = given.rpartition(":")
        packed = existing(file) if file.lower().endswith(".npz") else None
        if path is None and packed is not None:
            yield from self._packed(packed, array)
        elif path is None:
            yield Item(given, error="no such file" if given else "an empty name")
        elif path.is_dir():
            found = [child for child in self.below(path) if is_file_of_images(child)]
            for child in found:
                yield from self._file(child, inside=True)
            if not found:
                yield Item(
                    given,
                    error=f"no images in this folder; fits: {' '.join((*SUFFIXES, *PACKED))}, IDX",
                )
        else:
            yield from self._file(path)

    def batch(self, samples: list[Tensor]) -> dict[str, Tensor]:
        return {"image": (torch.stack(samples) - self.mean) / self.std}

    def _file(self, path: Path, inside: bool = False) -> Iterator[Item]:
        kind = kind_of(path)
        if kind is not None:
            yield Item(str(path), error=f"it is {kind}, not a regular file")
        elif path.suffix.lower() in SUFFIXES:
            yield self._image(path)
        elif path.suffix.lower() in PACKED:
            yield from self._packed(path)
        elif idx.is_idx_name(path):
            yield from self._idx(path, inside)
        else:
            error = (
                f"no kind of image file: {path.suffix or 'no ending'}; fits: "
                f"{' '.join((*SUFFIXES, *PACKED))}, IDX"
            )
            yield Item(str(path), error=error)

    def _image(self, path: Path) -> Item:
        try:
            if not path.stat().st_size:
                return Item(str(path), error="an empty file")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = middle(opened(path, self.channels, self.span), (self.height, self.width))
        except ArgumentError as error:
            told = f"{error.problem}; got {error.got}" if error.got else error.problem
            return Item(str(path), error=told.replace(f"{path} ", ""))
        except OSError as error:
            return Item(str(path), error=str(error).replace(f"{path} ", ""))
        return Item(str(path), as_tensor(image, self.channels))

    def _packed(self, path: Path, wanted: str | None = None) -> Iterator[Item]:
        try:
            found = npz.read(path)
        except ArgumentError as error:
            yield Item(str(path), error=error.problem.replace(f"{path} ", ""))
            return
        named = [
            name for name in found if set(name.lower().replace("-", "_").split("_")) & set(WORDS)
        ]
        chosen = (
            [wanted]
            if wanted
            else named or [name for name, array in found.items() if array.ndim in (3, 4)]
        )
        for name in chosen:
            if name in found:
                yield from self._array(f"{path}:{name}" if name else str(path), found[name])
            else:
                yield Item(
                    f"{path}:{name}",
                    error=f"no array of this name; fits: {', '.join(found) or 'none'}",
                )
        if not chosen:
            yield Item(str(path), error=f"no images among its arrays: {', '.join(found) or 'none'}")

    def _idx(self, path: Path, inside: bool) -> Iterator[Item]:
        try:
            array = idx.read(path)
        except ArgumentError as error:
            yield Item(str(path), error=error.problem.replace(f"{path} ", ""))
            return
        if array.ndim > 1 or not inside:  # labels lie beside images, and are none
            yield from self._array(str(path), array)

    def _array(self, name: str, array: np.ndarray) -> Iterator[Item]:
        array = array[None] if array.shape in ((self.height, self.width), self._shape()) else array
        try:
            found = npz.images(array, Path(name))
        except ArgumentError as error:
            yield Item(name, error=f"no images: {error.got}")
            return
        if tuple(found.shape[1:]) != self._shape():
            came, fits = (" × ".join(map(str, shape)) for shape in (found.shape[1:], self._shape()))
            yield Item(name, error=f"the images are {came}, the network takes {fits}")
            return
        for number, image in enumerate(found):
            yield self._one(f"{name}[{number}]", image)
        if not len(found):
            yield Item(name, error="no images in this array")

    def _one(self, name: str, image: Tensor) -> Item:
        if not image.isfinite().all():
            return Item(
                name, error="values that are not finite; fits: numbers without NaN and infinity"
            )
        if self.scale is not None:
            return Item(name, on_scale(image, self.scale))
        share = as_share(image)
        if not (share.min() >= 0 and share.max() <= 1):
            came = f"values from {float(share.min()):g} to {float(share.max()):g}"
            return Item(name, error=f"{came}; fits: bytes, or numbers from 0 to 1, as in training")
        return Item(name, share)

    def _shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width


def is_file_of_images(path: Path) -> bool:
    """Whether a file found in a folder may hold images, by its name."""
    return path.suffix.lower() in (*SUFFIXES, *PACKED) or idx.is_idx_name(path)
