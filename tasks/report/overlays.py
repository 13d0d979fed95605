"""Images of the report as data URLs: samples, attention over images, feature maps."""

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
    """Return an image as a data URL."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return data_url(buffer.getvalue(), "png")


def data_url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def thumbnail(image: Any) -> Image.Image:
    """Return a tensor in [0, 1] of one or three channels as an image of at most 224 pixels."""
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
    """Return weights over their image, as a data URL; full orange is three times the mean, or more.

    Args:
        image: (channels, height, width) in [0, 1].
        weights: (rows, columns) of the grid over the image.
        mark: row and column of the cell to frame.
    """
    base, size = pixels(image, SIDE)
    # equal weights are faint everywhere
    full = max(float(weights.max()), 3 * float(weights.mean())) or 1.0
    heat = resized(np.asarray(weights, dtype=np.float32) / full, size)[..., None]
    opacity = 0.7 * heat  # the image stays visible below the largest weight
    mixed = base.mean(-1, keepdims=True) * 0.75 * (1 - opacity) + HOT * opacity
    if mark is not None:
        frame(mixed, weights.shape, mark)
    return address(mixed, small=max(image.shape[1:]) <= 32)


def masked(image: Any, mask: Any, colours: Any) -> str:
    """Return a mask over its image in grey, as a data URL; the first class, the background as a
    rule, has no colour, and pixels that are not judged are white.

    Args:
        image: (channels, height, width) in [0, 1].
        mask: (height, width), the class of each pixel; a negative one is not judged.
        colours: (classes, 3) from 0 to 255.
    """
    base, size = pixels(image, SIDE)
    drawn = Image.fromarray(np.asarray(mask, dtype=np.int32))
    classes = np.asarray(drawn.resize(size[::-1], Image.Resampling.NEAREST))
    grey = np.repeat(base.mean(-1, keepdims=True), 3, -1)
    colour = np.where(classes[..., None] < 0, 255, colours[classes.clip(min=0)])
    mixed = np.where(classes[..., None] == 0, grey, 0.3 * grey + 0.7 * colour)
    return png(Image.fromarray(mixed.clip(0, 255).round().astype(np.uint8)))


def frame(picture: Any, grid: tuple[int, ...], mark: tuple[int, int]) -> None:
    """Draw a line around one cell of a grid over a picture."""
    high, wide = picture.shape[0] / grid[0], picture.shape[1] / grid[1]
    top, bottom = round(mark[0] * high), round((mark[0] + 1) * high) - 1
    left, right = round(mark[1] * wide), round((mark[1] + 1) * wide) - 1
    picture[top : bottom + 1, [left, left + 1, right - 1, right]] = 255
    picture[[top, top + 1, bottom - 1, bottom], left : right + 1] = 255


def plain(image: Any) -> str:
    """Return the image alone, of the size of its overlays."""
    return address(pixels(image, SIDE)[0], small=max(image.shape[1:]) <= 32)


def tiles(images: Sequence[Any], maps: Any) -> str:
    """Return feature maps beside their images as a data URL: a row for each image, a tile for each
    channel.

    Args:
        images: each (channels, height, width) in [0, 1].
        maps: (images, channels, height, width); each channel is scaled from its least to its
            greatest value over all images.
    """
    low, high = maps.min((0, 2, 3), keepdims=True), maps.max((0, 2, 3), keepdims=True)
    share = (maps - low) / np.maximum(high - low, 1e-12)
    step = TILE + 3
    sheet = np.zeros((len(images) * step - 3, (maps.shape[1] + 1) * step - 3, 4), dtype=np.uint8)
    for row, image in enumerate(images):
        found = [pixels(image, TILE)[0]]
        for channel in share[row]:
            found.append(matrices.viridis(resized(channel, (TILE, TILE)))[..., :3])
        for column, tile in enumerate(found):
            high, wide = tile.shape[:2]
            place = sheet[row * step : row * step + high, column * step : column * step + wide]
            place[..., :3] = tile
            place[..., 3] = 255
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
    """Return a picture as a data URL: a small one without loss, a photograph as JPEG."""
    picture = Image.fromarray(array.clip(0, 255).round().astype(np.uint8))
    if small:
        return png(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return data_url(buffer.getvalue(), "jpeg")
