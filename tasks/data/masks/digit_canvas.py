"""Handwritten digits placed on a canvas, with the mask of each: nothing to download."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.data.images.in_memory import InMemoryImages
from tasks.data.readers.image import ImageReader
from tasks.data.readers.mask import MaskReader
from tasks.data.split import PARTS, split
from tasks.errors import ArgumentError, must_be_positive, must_be_share

INK = 0.35  # brightness from which a pixel of a digit belongs to its mask
TRIES = 20  # places that are tried for a digit; one that overlaps is left out
VAL, TEST = 0.1, 0.2  # shares of the digits that only these parts show


class DigitCanvas(InMemoryImages):
    """Digits of scikit-learn in several sizes on a noisy canvas; the classes of the pixels are
    background and the ten digits.

    The parts show different digits: 10 % of them are in the canvases of the validation only, 20 %
    in those of the test.

    Args:
        size: height and width of a canvas.
        digits: the most digits on a canvas; each number from one is as frequent.
        smallest: height and width of the smallest digits in pixels.
        largest: of the largest digits; they are interpolated bilinearly from 8x8.
        noise: standard deviation of the normal noise on each pixel, from 0 to 1.
        train: number of canvases for training.
        val: for validation.
        test: for the test.
        batch_size: samples in a batch, of each process.
        seed: seed of the order.
        split_seed: seed of the canvases.
        facts: what the YAML declares about the data; checked against what is read.
    """

    quick = True
    reader: ClassVar[type[ImageReader]] = MaskReader

    def __init__(
        self,
        *,
        size: int = 32,
        digits: int = 4,
        smallest: int = 8,
        largest: int = 14,
        noise: float = 0.1,
        train: int = 1500,
        val: int = 150,
        test: int = 300,
        batch_size: int = 32,
        seed: int = 0,
        split_seed: int = 0,
        facts: dict | None = None,
    ):
        super().__init__(batch_size=batch_size, seed=seed, split_seed=split_seed, facts=facts)
        for name, value in {"digits": digits, "train": train, "val": val, "test": test}.items():
            must_be_positive(name, value)
        must_be_share("noise", noise)
        if not 1 < smallest <= largest <= size:
            raise ArgumentError(
                "largest",
                "a digit must fit on the canvas",
                got=f"smallest={smallest}, largest={largest}, size={size}",
                fits="2 <= smallest <= largest <= size",
            )
        self.size, self.digits, self.noise = size, digits, noise
        self.sides = (smallest, largest)
        self.counts = dict(zip(PARTS, (train, val, test), strict=True))
        self.classes = ["background", *map(str, range(10))]

    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        image = torch.from_numpy(bunch.images).float()[:, None] / 16  # pixels are 0..16
        label = torch.from_numpy(bunch.target)
        chosen = split(label, VAL, TEST, self.split_seed)
        drawn = {}
        smallest, largest = self.sides
        for side in range(smallest, largest + 1):
            scaled = F.interpolate(image, size=(side, side), mode="bilinear")
            drawn[side] = scaled[:, 0].numpy()
        found = {}
        for number, part in enumerate(PARTS):
            source = np.random.default_rng((self.split_seed, number))
            index = chosen[part].numpy()
            found[part] = self._draw_part(self.counts[part], index, drawn, bunch.target, source)
        return found

    def _draw_part(
        self,
        count: int,
        index: np.ndarray,
        drawn: dict[int, np.ndarray],
        label: np.ndarray,
        source: np.random.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Return canvases (count, 1, size, size) in [0, 1] and their masks (count, size, size)."""
        shape = (count, self.size, self.size)
        canvas = np.zeros(shape, dtype=np.float32)
        mask = np.zeros(shape, dtype=np.int64)
        for row in range(count):
            places: list[tuple[int, int, int]] = []
            for digit in source.choice(index, source.integers(1, self.digits + 1)):
                place = self._find_place(places, source)
                strength = source.uniform(0.6, 1)
                if place is None:
                    continue
                places.append(place)
                top, left, side = place
                ink = drawn[side][digit]
                window = (row, slice(top, top + side), slice(left, left + side))
                canvas[window] = strength * ink
                mask[window] = np.where(ink >= INK, label[digit] + 1, 0)
        canvas += self.noise * source.standard_normal(shape, dtype=np.float32)
        return torch.from_numpy(canvas.clip(0, 1))[:, None], torch.from_numpy(mask)

    def _find_place(
        self, taken: Sequence[tuple[int, int, int]], source: np.random.Generator
    ) -> tuple[int, int, int] | None:
        """Return top, left and side of a square that overlaps none of those that are taken."""
        side = int(source.integers(self.sides[0], self.sides[1] + 1))
        for _ in range(TRIES):
            top, left = source.integers(0, self.size - side + 1, 2).tolist()
            if not any(overlaps((top, left, side), other) for other in taken):
                return top, left, side
        return None

    def facts(self) -> dict[str, Any]:
        """Return the shapes of a canvas and of its mask, and the number of classes."""
        side = {"height": self.size, "width": self.size}
        return {
            "image": {"channels": 1, **side},
            "label": {**side, "dtype": "int"},
            "classes": len(self.classes),
        }

    def class_pixels(self) -> Tensor:
        """Return the number of training pixels of each class (classes,)."""
        self.read()
        return self.parts["train"]["label"].flatten().bincount(minlength=len(self.classes))

    def reader_arguments(self) -> dict[str, Any]:
        return {**super().reader_arguments(), "values": list(range(len(self.classes)))}


def overlaps(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Return whether two squares (top, left, side) share a pixel."""
    down, across = one[0] - other[0], one[1] - other[1]
    return -one[2] < down < other[2] and -one[2] < across < other[2]
