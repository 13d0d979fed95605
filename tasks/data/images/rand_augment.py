"""RandAugment: some random changes of an image, all of one strength."""

from collections.abc import Callable

import torch
from PIL import Image, ImageEnhance, ImageOps

LARGEST = 30.0  # magnitude
GREY = 128  # of what lies outside

Change = Callable[[Image.Image, float, float], Image.Image]


def rand_augment(
    image: Image.Image, source: torch.Generator, *, changes: int, magnitude: float
) -> Image.Image:
    """Apply randomly chosen changes, one after another.

    Args:
        image: grey or RGB; what has more than a byte for a value is rounded to bytes.
        source: the random source.
        changes: how many are applied.
        magnitude: their strength, from 0 to 30.

    Source:
        Cubuk et al. 2020, arXiv:1909.13719; the ranges of the strengths are those of AutoAugment,
        arXiv:1805.09501, table 6, as torchvision has them.
    """
    if image.mode not in ("L", "RGB"):
        image = image.convert("L")
    for _ in range(changes):
        name = NAMES[int(torch.randint(len(NAMES), (), generator=source))]
        sign = 1.0 - 2.0 * float(torch.rand((), generator=source) < 0.5)
        image = CHANGES[name](image, magnitude / LARGEST, sign)
    return image


def shear_x(image: Image.Image, share: float, sign: float) -> Image.Image:
    return move(image, (1, sign * share * 0.3, 0, 0, 1, 0))


def shear_y(image: Image.Image, share: float, sign: float) -> Image.Image:
    return move(image, (1, 0, 0, sign * share * 0.3, 1, 0))


def translate_x(image: Image.Image, share: float, sign: float) -> Image.Image:
    return move(image, (1, 0, round(sign * share * 150 / 331 * image.width), 0, 1, 0))


def translate_y(image: Image.Image, share: float, sign: float) -> Image.Image:
    return move(image, (1, 0, 0, 0, 1, round(sign * share * 150 / 331 * image.height)))


def move(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    """Return an image whose pixel (x, y) is that at (ax + by + c, dx + ey + f) of the old one."""
    fill = (GREY,) * len(image.getbands())
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=fill
    )


def rotate(image: Image.Image, share: float, sign: float) -> Image.Image:
    fill = (GREY,) * len(image.getbands())
    return image.rotate(sign * share * 30, fillcolor=fill)


def brightness(image: Image.Image, share: float, sign: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1 + sign * share * 0.9)


def color(image: Image.Image, share: float, sign: float) -> Image.Image:
    return ImageEnhance.Color(image).enhance(1 + sign * share * 0.9)


def contrast(image: Image.Image, share: float, sign: float) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(1 + sign * share * 0.9)


def sharpness(image: Image.Image, share: float, sign: float) -> Image.Image:
    return ImageEnhance.Sharpness(image).enhance(1 + sign * share * 0.9)


def posterize(image: Image.Image, share: float, sign: float) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(4 * share))


def solarize(image: Image.Image, share: float, sign: float) -> Image.Image:
    return ImageOps.solarize(image, round(256 * (1 - share)))


def auto_contrast(image: Image.Image, share: float, sign: float) -> Image.Image:
    return ImageOps.autocontrast(image)


def equalize(image: Image.Image, share: float, sign: float) -> Image.Image:
    return ImageOps.equalize(image)


def keep(image: Image.Image, share: float, sign: float) -> Image.Image:
    return image


CHANGES: dict[str, Change] = {
    "keep": keep,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "rotate": rotate,
    "brightness": brightness,
    "color": color,
    "contrast": contrast,
    "sharpness": sharpness,
    "posterize": posterize,
    "solarize": solarize,
    "auto_contrast": auto_contrast,
    "equalize": equalize,
}
NAMES = tuple(CHANGES)
