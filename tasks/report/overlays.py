"""Images for a page: samples, attention over images, feature maps; each an address that carries
the image itself.
"""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tasks.data.base import RawSample
from tasks.report import matrices, page

HOT = np.array([255, 96, 16])
SIDE = 112  # pixels of an image with attention over it
TILE = 48  # pixels of a feature map


def png(picture: Image.Image) -> str:
    """An image as an address that carries the image itself."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return carried(buffer.getvalue(), "png")


def carried(content: bytes, kind: str) -> str:
    """A file as an address that carries the file itself."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def thumbnail(image: Any) -> Image.Image:
    """A tensor in [0, 1] with one or three channels, as a PIL image of at most 224 pixels."""
    pixels = (image * 255).round().byte()
    array = pixels[0].numpy() if len(pixels) != 3 else pixels.permute(1, 2, 0).numpy()
    picture = Image.fromarray(array)
    picture.thumbnail((224, 224))
    return picture


def draw_sample(sample: RawSample, caption: str) -> str:
    """Return one sample as an HTML figure: its image or signal, or its text as a quotation."""
    if sample.signal is not None:
        return page.figure(png(thumbnail(draw_signal(sample.signal))), caption)
    if sample.image is None:
        return page.quotation(sample.text or "", caption)
    if sample.text is not None:
        caption = f"{sample.text} {caption}"
    return page.figure(png(thumbnail(sample.image)), caption)


def draw_signal(signal: Tensor, height: int = 64, step: int = 4) -> Tensor:
    """Draw a signal as a white line on black.

    Args:
        signal: (tokens,).
        height: of the drawing in pixels.
        step: pixels from one value to the next.

    Returns:
        (1, height, step * (tokens - 1) + 1) in [0, 1].
    """
    last = len(signal) - 1
    steps = torch.linspace(0, last, step * last + 1)
    left = steps.floor().long().clamp(max=last - 1)
    value = torch.lerp(signal[left], signal[left + 1], steps - left)
    low, high = value.min(), value.max()
    share = (high - value) / (high - low).clamp_min(1e-9)
    rows = (share * (height - 1)).round().long().tolist()
    drawing = torch.zeros(1, height, len(rows))
    before = rows[0]
    for column, row in enumerate(rows):
        # from the row of the column before, so that a steep part stays one line
        drawing[0, min(row, before) : max(row, before) + 1, column] = 1
        before = row
    return drawing


def overlay(image: Any, weights: Any, mark: tuple[int, int] | None = None) -> str:
    """Weights over the image they are of, as the address of a picture; full orange is three
    times the mean, or more.

    Args:
        image: (channels, height, width) in [0, 1].
        weights: (rows, columns) of the grid that lies over the image.
        mark: row and column of the cell that looks; it gets a frame.
    """
    base, size = pixels(image, SIDE)
    full = (
        max(float(weights.max()), 3 * float(weights.mean())) or 1.0
    )  # an even look is faint everywhere
    heat = resized(np.asarray(weights, dtype=np.float32) / full, size)[..., None]
    opacity = 0.7 * heat  # the image is seen through the largest weight, too
    mixed = base.mean(-1, keepdims=True) * 0.75 * (1 - opacity) + HOT * opacity
    if mark is not None:
        frame(mixed, weights.shape, mark)
    return address(mixed, small=max(image.shape[1:]) <= 32)


def frame(picture: Any, grid: tuple[int, ...], mark: tuple[int, int]) -> None:
    """A line around one cell of a grid that lies over a picture."""
    (top, bottom), (left, right) = (
        (round(place * size / count), round((place + 1) * size / count) - 1)
        for place, size, count in zip(mark, picture.shape, grid, strict=False)
    )
    for edge in (
        picture[top : bottom + 1, [left, right]],
        picture[[top, bottom], left : right + 1],
    ):
        assert edge.size
    picture[top : bottom + 1, [left, left + 1, right - 1, right]] = 255
    picture[[top, top + 1, bottom - 1, bottom], left : right + 1] = 255


def plain(image: Any) -> str:
    """The image alone, as large as its overlays."""
    return address(pixels(image, SIDE)[0], small=max(image.shape[1:]) <= 32)


def tiles(images: Sequence[Any], maps: Any) -> str:
    """Feature maps beside their images: a row for each image, a tile for each channel, as the
    address of a picture.

    Args:
        images: each (channels, height, width) in [0, 1].
        maps: (images, channels, height, width); each channel is shown from its least to its
            greatest value over all images.
    """
    low, high = maps.min((0, 2, 3), keepdims=True), maps.max((0, 2, 3), keepdims=True)
    share = (maps - low) / np.maximum(high - low, 1e-12)
    step = TILE + 3
    sheet = np.zeros((len(images) * step - 3, (maps.shape[1] + 1) * step - 3, 4), dtype=np.uint8)
    for row, image in enumerate(images):
        found = [
            pixels(image, TILE)[0],
            *(matrices.viridis(resized(channel, (TILE, TILE)))[..., :3] for channel in share[row]),
        ]
        for column, tile in enumerate(found):
            place = sheet[row * step : row * step + TILE, column * step : column * step + TILE]
            (
                place[: tile.shape[0], : tile.shape[1], :3],
                place[: tile.shape[0], : tile.shape[1], 3],
            ) = tile, 255
    picture = Image.fromarray(sheet)
    return png(picture.quantize(96, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))


def pixels(image: Any, side: int) -> tuple[Any, tuple[int, int]]:
    """An image as (height, width, 3) from 0 to 255, its longer side `side`; and its height and
    width.
    """
    array = np.asarray(image, dtype=np.float32)
    array = np.repeat(array[:1], 3, 0) if len(array) != 3 else array
    tall, broad = array.shape[1:]
    size = (
        max(1, round(side * tall / max(tall, broad))),
        max(1, round(side * broad / max(tall, broad))),
    )
    return np.stack([resized(channel, size) for channel in array], -1) * 255, size


def resized(values: Any, size: tuple[int, int]) -> Any:
    """(height, width) to another size: cells stay sharp where it grows, and are averaged where
    it shrinks.
    """
    how = Image.Resampling.NEAREST if size[0] >= values.shape[0] else Image.Resampling.BOX
    return np.asarray(
        Image.fromarray(np.ascontiguousarray(values, dtype=np.float32)).resize(size[::-1], how)
    )


def address(array: Any, small: bool) -> str:
    """A picture as an address that carries it: sharp cells losslessly, photographs as JPEG."""
    picture = Image.fromarray(array.clip(0, 255).round().astype(np.uint8))
    if small:
        return png(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return carried(buffer.getvalue(), "jpeg")
