"""From an image file to a tensor: decoded, cut, scaled.

What training and prediction must do alike.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from blocks.support.files import open_file
from tasks.errors import ArgumentError

WIDE = ("I", "F")  # the modes with more than a byte a pixel begin so; all of them are grey
BITS, SIGNS, ZERO = (
    258,
    339,
    262,
)  # tags of a TIFF file: bits a sample, sample format, photometric interpretation
UNSIGNED, WHITE = 1, 0

Span = list[float]  # the values of black and of white


class UnknownSpanError(ArgumentError):
    """An image whose values lie beyond what its kind of file promises, from `low` to `high`."""

    def __init__(self, path: Path, low: float, high: float):
        self.low, self.high = low, high
        super().__init__(
            "span",
            f"{path} does not state which values are black and white",
            got=f"values from {low:g} to {high:g}",
            fits="8 or 16 bits without a sign, or floating-point numbers from 0 to 1",
            fix=f"data.span=[{low:g},{high:g}], if these are black and white",
        )


def opened(path: Path, channels: int, span: Span | None = None) -> Image.Image:
    """An image file, decoded and upright, in colour or grey; what is transparent becomes white.

    The first frame is taken where there are several. An image with more than a byte a pixel becomes
    grey floating-point numbers from 0 to 255.

    Args:
        path: the file.
        channels: 3 for colour, 1 for grey.
        span: the values of black and white in images with more than a byte a pixel; None: 0 and the
            largest number of their bits, or 0 and 1 for floating-point numbers.

    Raises:
        ArgumentError: the file cannot be read, or the values of black and white are not known.
    """
    try:
        # without a name, as Pillow would map a TIFF that lies on its side into memory with swapped
        # sides
        with open_file(path) as raw, Image.open(raw) as file:
            image: Image.Image = ImageOps.exif_transpose(file)
            if image.mode.startswith(WIDE):
                return from_wide(path, file, np.asarray(image), span)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB" if channels == 3 else "L")
    except ArgumentError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = re.sub(r"<_io\.BufferedReader[^>]*>", path.name, str(error))
        raise ArgumentError("path", f"{path} cannot be read: {reason}") from error


def from_wide(path: Path, file: Image.Image, values: np.ndarray, span: Span | None) -> Image.Image:
    """Grey values of more than a byte as floating-point numbers from 0 to 255."""
    tags: Any = getattr(file, "tag_v2", {})
    if values.dtype.kind == "i" and tags.get(SIGNS, (UNSIGNED,))[0] == UNSIGNED:
        values = values.view(values.dtype.str.replace("i", "u"))
    if not np.isfinite(values).all():
        raise ArgumentError(
            "path",
            f"{path} has values that are not finite",
            fits="numbers without NaN and infinity",
        )
    low, high = span or known_span(file, values)
    if low is None or high is None:
        raise UnknownSpanError(path, float(values.min()), float(values.max()))
    share = ((values.astype(np.float64) - low) / (high - low)).clip(0, 1)
    if tags.get(ZERO) == WHITE:
        share = 1 - share
    transparent = file.info.get("transparency")
    if isinstance(transparent, int):
        share[values == transparent] = 1
    return Image.fromarray((255 * share).astype(np.float32))


def known_span(file: Image.Image, values: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """The values of black and white that follow from the kind of a file."""
    if file.mode == "F":
        return (0, 1) if 0 <= values.min() <= values.max() <= 1 else (None, None)
    if file.format in ("PNG", "PPM"):  # Pillow brings 16 bits of these to the whole range
        return 0, 65535
    tags: Any = getattr(file, "tag_v2", {})
    bits = tags.get(BITS, (32,))[0]
    if bits <= 16 and tags.get(SIGNS, (UNSIGNED,))[0] == UNSIGNED:
        return 0, 2**bits - 1
    return None, None


def middle(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The largest part of the wished proportions around the middle, scaled to `size` (height,
    width).
    """
    height, width = size
    scale = min(image.width / width, image.height / height)
    wide, high = width * scale, height * scale
    left, top = (image.width - wide) / 2, (image.height - high) / 2
    box = (left, top, left + wide, top + high)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def cut(
    image: Image.Image, size: tuple[int, int], least: float, source: torch.Generator
) -> Image.Image:
    """A random part of at least `least` of the area, with sides in 3:4 to 4:3 of the wished
    proportions.

    Szegedy et al. 2015, arXiv:1409.4842, section 6.
    """
    height, width = size
    area, ratio, across, down = torch.rand(4, generator=source).tolist()
    area = (least + (1 - least) * area) * image.width * image.height
    proportion = width / height * math.exp((2 * ratio - 1) * math.log(4 / 3))
    wide, high = (
        min(math.sqrt(area * proportion), image.width),
        min(math.sqrt(area / proportion), image.height),
    )
    left, top = across * (image.width - wide), down * (image.height - high)
    return image.resize(
        (width, height), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + high)
    )


def as_tensor(image: Image.Image, channels: int) -> Tensor:
    """An image as float32 in [0, 1], channels first; grey is repeated for each channel."""
    array = np.asarray(image)
    array = array[:, :, None] if array.ndim == 2 else array
    tensor = torch.from_numpy(array.transpose(2, 0, 1).copy()).float() / 255
    return tensor.expand(channels, -1, -1)


def as_share(image: Tensor) -> Tensor:
    """Images as float32 in [0, 1]."""
    return image.float() / 255 if image.dtype == torch.uint8 else image.float()


def on_scale(image: Tensor, scale: list[float]) -> Tensor:
    """Images whose values lie between the two of `scale`, as float32 in [0, 1]."""
    low, high = scale
    return (image.float() - low) / max(high - low, 1e-9)
