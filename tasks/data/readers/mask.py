"""Read images for a network that gives a class for each pixel."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tasks.data.images.decode import to_tensor
from tasks.data.readers.image import ImageReader

COLOURS = 256  # of a palette


class MaskReader(ImageReader):
    """Image files are scaled whole, without cropping, so that a mask fits its image.

    Args:
        values: the value of each class in a mask, by the number of the class.
        options: those of `ImageReader`.
    """

    def __init__(self, *, values: list[int], **options: Any):
        super().__init__(**options)
        self.values = torch.tensor(values)

    def fit(self, image: Image.Image) -> Tensor:
        height, width = self.size
        scaled = image.resize((width, height), Image.Resampling.BILINEAR)
        return to_tensor(scaled, self.channels)

    def write_mask(self, path: Path, predicted: Tensor) -> None:
        """Write a predicted mask as PNG: with the palette of `class_colours`, or with 16 bits where
        a value exceeds a byte.

        Args:
            path: the file.
            predicted: (height, width), the class of each pixel.
        """
        values = self.values[predicted].numpy()
        if int(self.values.max()) < COLOURS:
            picture = Image.fromarray(values.astype(np.uint8), "L")
            picture.putpalette(class_colours(COLOURS).astype(np.uint8).tobytes())
        else:
            picture = Image.fromarray(values.astype(np.uint16))
        picture.save(path)


def class_colours(count: int) -> np.ndarray:
    """Return the colours of PASCAL VOC (count, 3) from 0 to 255; black for the first class, which
    is the background as a rule.

    Source:
        Everingham et al. 2010, doi:10.1007/s11263-009-0275-4; `VOClabelcolormap` of its
        development kit.
    """
    number = np.arange(count)
    colours = np.zeros((count, 3), dtype=np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((number >> (3 * bit + channel)) & 1) << (7 - bit)
    return colours
