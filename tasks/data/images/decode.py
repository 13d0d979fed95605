"""Decode image files, crop and scale them, the same way for training and prediction."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from blocks.support.files import open_file
from tasks.errors import ArgumentError

WIDE = ("I", "F")  # first letters of the modes with more than a byte a pixel; all of them are grey
BITS_PER_SAMPLE, SAMPLE_FORMAT, PHOTOMETRIC = 258, 339, 262  # tags of a TIFF file
UNSIGNED = 1  # a sample format
WHITE_IS_ZERO = 0  # a photometric interpretation

Span = list[float]  # the values of black and of white


class UnknownSpanError(ArgumentError):
    """The values of an image, from `low` to `high`, exceed what its kind of file promises."""

    def __init__(self, path: Path | str, low: float, high: float):
        self.low, self.high = low, high
        super().__init__(
            "span",
            f"{path} does not state which values are black and white",
            got=f"values from {low:g} to {high:g}",
            fits="8 or 16 bits without a sign, or floating-point numbers from 0 to 1",
            fix=f"data.span=[{low:g},{high:g}], if these are black and white",
        )


def open_image(path: Path, channels: int, span: Span | None = None) -> Image.Image:
    """Decode an image file, upright, in colour or grey; transparent pixels become white.

    The first frame is taken if there are several. An image with more than a byte a pixel becomes
    grey floating-point numbers from 0 to 255.

    Args:
        path: the file.
        channels: 3 for colour, 1 for grey.
        span: the values of black and white in images with more than a byte a pixel; None: 0 and the
            largest number of their bits, or 0 and 1 for floating-point numbers.

    Raises:
        ArgumentError: the file cannot be read, or the values of black and white are unknown.
    """
    return decode_image(lambda: open_file(path), path, channels, span)


def decode_image(
    open_raw: Callable[[], BinaryIO], path: Path | str, channels: int, span: Span | None = None
) -> Image.Image:
    """Decode an image as `open_image`.

    Args:
        open_raw: opens the content of an image file.
        path: where it comes from, for messages.
        channels: 3 for colour, 1 for grey.
        span: the values of black and white.

    Raises:
        ArgumentError: the image cannot be read, or the values of black and white are unknown.
    """
    try:
        # without a name, as Pillow would map a TIFF that lies on its side into memory with swapped
        # sides
        with open_raw() as raw, Image.open(raw) as file:
            image: Image.Image = ImageOps.exif_transpose(file)
            if image.mode.startswith(WIDE):
                return scale_wide(path, file, np.asarray(image), span)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            if channels == 3:
                return image.convert("RGB")
            return image.convert("L")
    except ArgumentError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = re.sub(r"<_io\.B[^>]*>", Path(path).name, str(error))
        raise ArgumentError("path", f"{path} cannot be read: {reason}") from error


def scale_wide(
    path: Path | str, file: Image.Image, values: np.ndarray, span: Span | None
) -> Image.Image:
    """Scale grey values of more than a byte to floating-point numbers from 0 to 255."""
    tags: Any = getattr(file, "tag_v2", {})
    if values.dtype.kind == "i" and is_unsigned(tags):
        values = values.view(values.dtype.str.replace("i", "u"))
    if not np.isfinite(values).all():
        text, fits = "has values that are not finite", "numbers without NaN and infinity"
        raise ArgumentError("path", f"{path} {text}", fits=fits)
    known = span or default_span(file, values)
    if known is None:
        raise UnknownSpanError(path, float(values.min()), float(values.max()))
    low, high = known
    share = ((values.astype(np.float64) - low) / (high - low)).clip(0, 1)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        share = 1 - share
    transparent = file.info.get("transparency")
    if isinstance(transparent, int):
        share[values == transparent] = 1
    return Image.fromarray((255 * share).astype(np.float32))


def is_unsigned(tags: Any) -> bool:
    """Whether the numbers of a TIFF file have no sign; other files have no tags."""
    return tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0] == UNSIGNED


def default_span(file: Image.Image, values: np.ndarray) -> Span | None:
    """Return the values of black and white that follow from the kind of a file."""
    if file.mode == "F":
        if 0 <= values.min() <= values.max() <= 1:
            return [0, 1]
        return None
    if file.format in ("PNG", "PPM"):  # Pillow scales 16 bits of these to the whole range
        return [0, 65535]
    tags: Any = getattr(file, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (32,))[0]
    if bits <= 16 and is_unsigned(tags):
        return [0, 2**bits - 1]
    return None


def center_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale the largest central part with the proportions of `size` to `size` (height, width)."""
    height, width = size
    scale = min(image.width / width, image.height / height)
    wide, high = width * scale, height * scale
    left, top = (image.width - wide) / 2, (image.height - high) / 2
    box = (left, top, left + wide, top + high)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def random_crop(
    image: Image.Image, size: tuple[int, int], least: float, source: torch.Generator
) -> Image.Image:
    """Scale a random part, as `draw_box` chooses it, to `size` (height, width)."""
    height, width = size
    box = draw_box(image, size, least, source)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def draw_box(
    image: Image.Image, size: tuple[int, int], least: float, source: torch.Generator
) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a random part of an image.

    The part has at least the share `least` of the area, and sides of 3:4 to 4:3 times the
    proportions of `size`.

    Source:
        Szegedy et al. 2015, arXiv:1409.4842, section 6.
    """
    height, width = size
    area, ratio, across, down = torch.rand(4, generator=source).tolist()
    area = (least + (1 - least) * area) * image.width * image.height
    proportion = width / height * math.exp((2 * ratio - 1) * math.log(4 / 3))
    wide = min(math.sqrt(area * proportion), image.width)
    high = min(math.sqrt(area / proportion), image.height)
    left, top = across * (image.width - wide), down * (image.height - high)
    return left, top, left + wide, top + high


def to_tensor(image: Image.Image, channels: int) -> Tensor:
    """Return an image as (channels, height, width) in [0, 1]; grey is repeated for each channel."""
    array = np.asarray(image)
    if array.ndim == 2:
        array = array[:, :, None]
    tensor = torch.from_numpy(array.transpose(2, 0, 1).copy()).float() / 255
    return tensor.expand(channels, -1, -1)


def to_unit_range(image: Tensor) -> Tensor:
    """Return images as float32 in [0, 1]: bytes are divided by 255."""
    if image.dtype == torch.uint8:
        return image.float() / 255
    return image.float()


def rescale(image: Tensor, scale: list[float]) -> Tensor:
    """Map the values from `scale`, the lowest and the highest, to float32 in [0, 1]."""
    low, high = scale
    return (image.float() - low) / max(high - low, 1e-9)
