"""From an image file to a tensor: decoded, cut, scaled. What training and prediction must do alike."""

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def opened(path: Path, channels: int) -> Image.Image:
    """An image file, decoded, in colour or grey; what is transparent becomes white."""
    try:
        with Image.open(path) as file:
            image: Image.Image = file
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB" if channels == 3 else "L")
    except (OSError, SyntaxError) as error:
        raise RuntimeError(f"{path} cannot be read: {error}") from error


def middle(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The largest part of the wished proportions around the middle, scaled to `size` (height, width)."""
    height, width = size
    scale = min(image.width / width, image.height / height)
    wide, high = width * scale, height * scale
    left, top = (image.width - wide) / 2, (image.height - high) / 2
    box = (left, top, left + wide, top + high)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def cut(image: Image.Image, size: tuple[int, int], least: float, source: torch.Generator) -> Image.Image:
    """A random part of at least `least` of the area, with sides in 3:4 to 4:3 of the wished proportions.

    Szegedy et al. 2015, arXiv:1409.4842, section 6.
    """
    height, width = size
    area, ratio, across, down = torch.rand(4, generator=source).tolist()
    area = (least + (1 - least) * area) * image.width * image.height
    proportion = width / height * math.exp((2 * ratio - 1) * math.log(4 / 3))
    wide, high = min(math.sqrt(area * proportion), image.width), min(math.sqrt(area / proportion), image.height)
    left, top = across * (image.width - wide), down * (image.height - high)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + high))


def as_tensor(image: Image.Image) -> Tensor:
    """An image as float32 in [0, 1], channels first."""
    array = np.asarray(image)
    array = array[:, :, None] if array.ndim == 2 else array
    return torch.from_numpy(array.transpose(2, 0, 1).copy()).float() / 255


def as_share(image: Tensor) -> Tensor:
    """Images as float32 in [0, 1]."""
    return image.float() / 255 if image.dtype == torch.uint8 else image.float()


def on_scale(image: Tensor, scale: list[float]) -> Tensor:
    """Images whose values lie between the two of `scale`, as float32 in [0, 1]."""
    low, high = scale
    return (image.float() - low) / max(high - low, 1e-9)
