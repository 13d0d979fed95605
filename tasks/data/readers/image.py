"""Read images from files, folders and arrays for a network that was trained on images."""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blocks.support.files import kind_of
from tasks.data.images import idx, npz
from tasks.data.images.decode import center_crop, open_image, rescale, to_tensor, to_unit_range
from tasks.data.images.listing.files import SUFFIXES
from tasks.data.readers.base import Item, Reader, existing_path, without_path
from tasks.errors import ArgumentError

PACKED = (".npz", ".npy")
FITS = f"{' '.join((*SUFFIXES, *PACKED))}, IDX"
NAMES = ("x", "image", "images", "data")  # usual names of an array of images


class ImageReader(Reader):
    """Image files are cropped to the centre and scaled; arrays must have the size of the network.

    Args:
        channels: 3 for colour, 1 for grey.
        height: of an image as the network gets it.
        width: the same.
        mean: of each channel, subtracted from pixels in [0, 1].
        std: of each channel, by which they are divided.
        scale: the lowest and the highest value of the training arrays, if they were mapped to
            [0, 1].
        span: the values of black and white in image files with more than a byte a pixel, as
            `open_image` takes it.
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
        self.channels, self.size, self.shape = channels, (height, width), (channels, height, width)
        self.scale, self.span = scale, span
        self.mean, self.std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]

    def items(self, given: str) -> Iterator[Item]:
        path = existing_path(given)
        if path is None:
            yield from self._named_array(given)
        elif path.is_dir():
            found = list(filter(may_hold_images, self.files_below(path)))
            for file in found:
                yield from self._file(file, inside=True)
            if not found:
                yield Item(given, error=f"no images in this folder; fits: {FITS}")
        else:
            yield from self._file(path)

    def batch(self, samples: list[Tensor]) -> dict[str, Tensor]:
        return {"image": (torch.stack(samples) - self.mean) / self.std}

    def _named_array(self, given: str) -> Iterator[Item]:
        """Yield the images of one array, FILE.npz:NAME."""
        file, _, name = given.rpartition(":")
        path = existing_path(file)
        if path is not None and file.lower().endswith(".npz"):
            yield from self._packed(path, name)
        elif given:
            yield Item(given, error="no such file")
        else:
            yield Item(given, error="an empty name")

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
            error = f"no kind of image file: {path.suffix or 'no ending'}; fits: {FITS}"
            yield Item(str(path), error=error)

    def _image(self, path: Path) -> Item:
        try:
            if not path.stat().st_size:
                return Item(str(path), error="an empty file")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = open_image(path, self.channels, self.span)
        except ArgumentError as error:
            text = error.problem
            if error.got:
                text += f"; got {error.got}"
            return Item(str(path), error=without_path(text, path))
        except OSError as error:
            return Item(str(path), error=without_path(str(error), path))
        return Item(str(path), self.fit(image), size=(image.height, image.width))

    def fit(self, image: Image.Image) -> Tensor:
        """Return an image as the network takes it, before normalisation."""
        return to_tensor(center_crop(image, self.size), self.channels)

    def _packed(self, path: Path, wanted: str | None = None) -> Iterator[Item]:
        """Yield the images of an .npz or .npy file: of one array, or of all that hold images."""
        try:
            arrays = npz.read_npz(path)
        except ArgumentError as error:
            yield Item(str(path), error=without_path(error.problem, path))
            return
        names = ", ".join(arrays) or "none"
        chosen = choose_arrays(arrays)
        if wanted:
            chosen = [wanted]
        for name in chosen:
            label = str(path)
            if name:
                label = f"{path}:{name}"
            if name in arrays:
                yield from self._array(label, arrays[name])
            else:
                yield Item(label, error=f"no array of this name; fits: {names}")
        if not chosen:
            yield Item(str(path), error=f"no images among its arrays: {names}")

    def _idx(self, path: Path, inside: bool) -> Iterator[Item]:
        try:
            array = idx.read_idx(path)
        except ArgumentError as error:
            yield Item(str(path), error=without_path(error.problem, path))
            return
        if array.ndim > 1 or not inside:  # labels lie beside images
            yield from self._array(str(path), array)

    def _array(self, name: str, array: np.ndarray) -> Iterator[Item]:
        if array.shape in (self.size, self.shape):
            array = array[None]
        try:
            found = npz.as_images(array, Path(name))
        except ArgumentError as error:
            yield Item(name, error=f"no images: {error.got}")
            return
        if tuple(found.shape[1:]) != self.shape:
            got, fits = format_shape(found.shape[1:]), format_shape(self.shape)
            yield Item(name, error=f"the images are {got}, the network takes {fits}")
            return
        for number, image in enumerate(found):
            yield self._array_image(f"{name}[{number}]", image)
        if not len(found):
            yield Item(name, error="no images in this array")

    def _array_image(self, name: str, image: Tensor) -> Item:
        if not image.isfinite().all():
            fits = "numbers without NaN and infinity"
            return Item(name, error=f"values that are not finite; fits: {fits}")
        if self.scale is not None:
            return Item(name, rescale(image, self.scale))
        share = to_unit_range(image)
        low, high = float(share.min()), float(share.max())
        if low < 0 or high > 1:
            fits = "bytes, or numbers from 0 to 1, as in training"
            return Item(name, error=f"values from {low:g} to {high:g}; fits: {fits}")
        return Item(name, share)


def choose_arrays(arrays: dict[str, np.ndarray]) -> list[str]:
    """Return the names of the arrays of images: those of a usual name, else those of their rank."""
    usual, fit = [], []
    for name, array in arrays.items():
        if set(name.lower().replace("-", "_").split("_")).intersection(NAMES):
            usual.append(name)
        if array.ndim in (3, 4):
            fit.append(name)
    return usual or fit


def format_shape(shape: Iterable[int]) -> str:
    """Format a shape as 3x8x8."""
    return "x".join(map(str, shape))


def may_hold_images(path: Path) -> bool:
    """Whether a file found in a folder may hold images, by its name."""
    return path.suffix.lower() in (*SUFFIXES, *PACKED) or idx.is_idx_name(path)
