"""Pictures of the inside of a network: attention over tokens and images, feature maps, nodes over the training."""

import io
import math
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tasks import draw
from tasks.draw import text, turned

HUE = (59, 125, 232)  # between the blues of light and dark mode; its opacity is the weight
HOT = np.array([255, 96, 16])
RAMP = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)])  # viridis, dark to bright
SIDE = 112  # pixels of a picture of the input
LABELLED = 48  # columns that still have a name each
TILE = 48  # pixels of a feature map
Labels = Sequence[str] | None


def attention(weights: Any, rows: Labels, columns: Labels, title: str) -> str:
    """Who looks where, as an SVG: a row for each query, a column for each key.

    Args:
        weights: (queries, keys), a NumPy array.
        rows: a label for each query.
        columns: a label for each key.
        title: stands above.
    """
    high, wide = weights.shape
    cells = tuple(min(16.0, max(3.0, 640 / count)) for count in (high, wide))
    if wide > LABELLED:  # tokens too many to name are counted
        columns = [str(number) if number % 20 == 0 else "" for number in range(wide)]
    above, beside = [visible(label) for label in columns or ()], [visible(label) for label in rows or ()]
    long = [wide <= LABELLED and width(label) > cells[1] for label in above]
    slanted = [sum(long) > 0.2 * wide or turn for turn in long]  # a few among letters turn alone
    left = 10 + max(map(width, beside), default=0)
    top = 24 + bool(above) * (0.8 * max(map(width, above)) + 6 if any(slanted) else 14)
    # Of a text the first tokens have nobody else to look at: they do not set the scale.
    most = float(np.quantile(weights.max(1), 0.9, method="higher")) or 1.0
    body = [text(left, 13, title, "bold")]
    every = math.ceil(11 / cells[0])  # labels that would touch are left out
    for number, label in list(enumerate(beside))[::every]:
        body.append(text(left - 5, top + (number + 0.5) * cells[0] + 4, label, "end"))
    for number, label in enumerate(above):
        across = left + (number + 0.5) * cells[1]
        place = turned(across + 3, top - 4, label, -50, "") if slanted[number] else text(across, top - 5, label, "mid")
        body.append(place)
    shade = np.zeros((high, wide, 4), dtype=np.uint8)
    shade[..., :3] = HUE
    shade[..., 3] = (255 * weights / most).round().clip(0, 255)
    bottom = top + high * cells[0]
    body += [
        framed(shade, left, top, wide * cells[1], bottom - top),
        *scale(left, bottom + 8, most, clipped=bool(weights.max() > most)),
    ]
    return draw.svg(max(left + wide * cells[1] + 24, left + 1.1 * width(title), left + 130), bottom + 26, body, title)


def scale(left: float, top: float, most: float, clipped: bool) -> list[str]:
    """What the shades of attention mean."""
    shade = np.zeros((1, 64, 4), dtype=np.uint8)
    shade[..., :3], shade[..., 3] = HUE, np.linspace(0, 255, 64)
    end = left + 14 + 64 + 6
    return [
        text(left, top + 10, "0", "soft"),
        framed(shade, left + 14, top, 64, 10),
        text(end, top + 10, f"{most:.2g}{' and more' if clipped else ''}", "soft"),
    ]


def framed(pixels: Any, left: float, top: float, wide: float, high: float) -> str:
    """Pixels as a picture inside an SVG, each a sharp rectangle, with a line around."""
    place = f'x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{high:.1f}"'
    source = draw.png(Image.fromarray(pixels))
    return (
        f'<image {place} preserveAspectRatio="none" style="image-rendering: pixelated" href="{source}"/>'
        f'<rect {place} fill="none" class="grid"/>'
    )


def visible(label: str) -> str:
    """A token that can be seen: blanks and line ends as signs, no longer than 16 characters."""
    label = "".join({" ": "␣", "\n": "⏎", "\t": "⇥"}.get(sign, sign if sign.isprintable() else "�") for sign in label)
    return label if len(label) <= 16 else label[:15] + "…"


def width(label: str) -> float:
    """About how many pixels a text takes: signs of East Asia are as wide as they are high."""
    return sum(12.5 if unicodedata.east_asian_width(sign) in "WF" else 7.6 for sign in label)


def overlay(image: Any, weights: Any, mark: tuple[int, int] | None = None) -> str:
    """Weights over the image they are of, as the address of a picture; full orange is three times the mean, or more.

    Args:
        image: (channels, height, width) in [0, 1].
        weights: (rows, columns) of the grid that lies over the image.
        mark: row and column of the cell that looks; it gets a frame.
    """
    base, size = pixels(image, SIDE)
    full = max(float(weights.max()), 3 * float(weights.mean())) or 1.0  # an even look is faint everywhere
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
    for edge in (picture[top : bottom + 1, [left, right]], picture[[top, bottom], left : right + 1]):
        assert edge.size
    picture[top : bottom + 1, [left, left + 1, right - 1, right]] = 255
    picture[[top, top + 1, bottom - 1, bottom], left : right + 1] = 255


def plain(image: Any) -> str:
    """The image alone, as large as its overlays."""
    return address(pixels(image, SIDE)[0], small=max(image.shape[1:]) <= 32)


def tiles(images: Sequence[Any], maps: Any) -> str:
    """Feature maps beside their images: a row for each image, a tile for each channel, as the address of a picture.

    Args:
        images: each (channels, height, width) in [0, 1].
        maps: (images, channels, height, width); each channel is shown from its least to its greatest value over all
            images.
    """
    low, high = maps.min((0, 2, 3), keepdims=True), maps.max((0, 2, 3), keepdims=True)
    share = (maps - low) / np.maximum(high - low, 1e-12)
    step = TILE + 3
    sheet = np.zeros((len(images) * step - 3, (maps.shape[1] + 1) * step - 3, 4), dtype=np.uint8)
    for row, image in enumerate(images):
        found = [pixels(image, TILE)[0], *(ramp(resized(channel, (TILE, TILE))) for channel in share[row])]
        for column, tile in enumerate(found):
            place = sheet[row * step : row * step + TILE, column * step : column * step + TILE]
            place[: tile.shape[0], : tile.shape[1], :3], place[: tile.shape[0], : tile.shape[1], 3] = tile, 255
    picture = Image.fromarray(sheet)
    return draw.png(picture.quantize(96, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))


def pixels(image: Any, side: int) -> tuple[Any, tuple[int, int]]:
    """An image as (height, width, 3) from 0 to 255, its longer side `side`; and its height and width."""
    array = np.asarray(image, dtype=np.float32)
    array = np.repeat(array[:1], 3, 0) if len(array) != 3 else array
    tall, broad = array.shape[1:]
    size = max(1, round(side * tall / max(tall, broad))), max(1, round(side * broad / max(tall, broad)))
    return np.stack([resized(channel, size) for channel in array], -1) * 255, size


def resized(values: Any, size: tuple[int, int]) -> Any:
    """(height, width) to another size: cells stay sharp where it grows, and are averaged where it shrinks."""
    how = Image.Resampling.NEAREST if size[0] >= values.shape[0] else Image.Resampling.BOX
    return np.asarray(Image.fromarray(np.ascontiguousarray(values, dtype=np.float32)).resize(size[::-1], how))


def ramp(share: Any) -> Any:
    """Values from 0 to 1 as colours, (..., 3)."""
    place = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(share, place, RAMP[:, channel]) for channel in range(3)], -1)


def address(array: Any, small: bool) -> str:
    """A picture as an address that carries it: sharp cells losslessly, photographs as JPEG."""
    picture = Image.fromarray(array.clip(0, 255).round().astype(np.uint8))
    if small:
        return draw.png(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return draw.carried(buffer.getvalue(), "jpeg")


def over_training(names: Sequence[str], steps: Sequence[int], values: Any, title: str, what: str) -> str:
    """A node in each row, a step of training in each column, colours on a logarithmic scale, as an SVG.

    Args:
        names: of the nodes.
        steps: numbers of the steps.
        values: (nodes, steps); not a number where there is none.
        title: stands above.
        what: one value in words, for those who hear the picture.
    """
    known = values[np.isfinite(values) & (values > 0)]
    most = known.max() if known.size else 1.0
    least = max(known.min() if known.size else 0.1, most * 1e-6)
    low, high = math.floor(math.log10(least) * 4) / 4, math.ceil(math.log10(most) * 4) / 4
    high = high if high > low else low + 0.25
    cell = 15.0 if len(names) <= 40 else max(4.0, 640 / len(names))
    names = [name if len(name) <= 26 else "…" + name[-25:] for name in names]
    left, top, wide = 10 + max(map(width, names)), 40.0, 300.0
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (np.log10(values) - low) / (high - low)
    there = np.isfinite(values)
    colour = np.zeros((*values.shape, 4), dtype=np.uint8)
    colour[..., :3], colour[..., 3] = ramp(np.nan_to_num(share, nan=0.0, neginf=0.0).clip(0, 1)), 255 * there
    bottom = top + cell * len(names)
    body = [text(left, 14, title, "bold"), text(left + wide + 8, top - 6, "last", "soft")]
    for number, name in enumerate(names):
        if number % math.ceil(11 / cell) == 0:
            height = top + (number + 0.5) * cell + 4
            last = values[number][there[number]]
            body.append(text(left - 6, height, name, "end"))
            body.append(text(left + wide + 8, height, f"{last[-1]:.2g}" if last.size else "none", "soft"))
    body.append(framed(colour, left, top, wide, bottom - top))
    for number, words in ((0, "end-less"), (len(steps) // 2, "mid"), (len(steps) - 1, "end")):
        if len(steps) > 2 or number != len(steps) // 2:
            kind = "soft" if words == "end-less" else f"soft {words}"
            body.append(text(left + wide * (number + 0.5) / len(steps), bottom + 16, f"{steps[number]:,}", kind))
    body.append(text(left - 6, bottom + 16, "step", "soft end"))
    bar = np.zeros((1, 128, 4), dtype=np.uint8)
    bar[..., :3], bar[..., 3] = ramp(np.linspace(0, 1, 128)), 255
    body.append(framed(bar, left, bottom + 28, wide, 10))
    decades = list(range(math.ceil(low), math.floor(high) + 1))
    for exponent in decades if len(decades) > 1 else [low, high]:
        place = left + wide * (exponent - low) / (high - low)
        body.append(
            f'<line class="grid" x1="{place:.1f}" x2="{place:.1f}" y1="{bottom + 38:.1f}" y2="{bottom + 42:.1f}"/>'
        )
        body.append(text(place, bottom + 53, f"{10.0**exponent:.2g}", "soft mid"))
    return draw.svg(left + wide + 66, bottom + 60, body, what)
