"""Decode images once before training, to find those that cannot be used."""

import concurrent.futures
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from blocks.support.files import kind_of, open_file
from tasks.data.images.decode import Span, UnknownSpanError, decode_image
from tasks.data.images.listing.samples import ImageSource
from tasks.data.walk import escape_name
from tasks.errors import ArgumentError

THREADS = 4
SHOWN = 5  # broken images in a note


@dataclass(frozen=True)
class Inspection:
    """What decoding an image has shown.

    Args:
        broken: why it cannot be used, or None.
        unknown: the error if its values of black and white are unknown.
        frames: how many images its file holds.
    """

    broken: str | None = None
    unknown: UnknownSpanError | None = None
    frames: int = 1


def inspect_file(file: Path, channels: int, span: Span | None) -> Inspection:
    """Decode an image file once."""
    try:
        if not file.stat().st_size and kind_of(file) is None:
            return Inspection("empty file")
    except OSError as error:
        return Inspection(str(error).replace(f"{file} ", ""))
    return inspect_content(lambda: open_file(file), file, channels, span)


def inspect_content(
    open_raw: Callable[[], BinaryIO], place: Path | str, channels: int, span: Span | None
) -> Inspection:
    """Decode an image once; the arguments are those of `decode_image`."""
    try:
        decode_image(open_raw, place, channels, span)
        with open_raw() as raw, Image.open(raw) as image:
            return Inspection(frames=getattr(image, "n_frames", 1))
    except UnknownSpanError as error:
        return Inspection(unknown=error)
    except ArgumentError as error:
        return Inspection(error.problem.replace(f"{place} ", ""))
    except (OSError, SyntaxError, ValueError) as error:
        return Inspection(str(error).replace(f"{place} ", ""))


def inspect_images(source: ImageSource, channels: int, span: Span | None) -> list[Inspection]:
    """Decode every image of a part once."""

    def inspect(index: int) -> Inspection:
        place = source.place(index)
        if isinstance(place, Path):
            return inspect_file(place, channels, span)
        return inspect_content(lambda: source.open_raw(index), place, channels, span)

    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("ignore")
        return list(pool.map(inspect, range(len(source))))


def leave_out_broken(
    parts: Mapping[str, ImageSource], channels: int, span: Span | None, path: Path | str
) -> tuple[dict[str, ImageSource], list[str]]:
    """Decode every image once.

    Args:
        parts: the images of each part.
        channels: 3 for colour, 1 for grey.
        span: the values of black and white.
        path: of the data, for messages.

    Returns:
        The images of each part that are whole, and notes on what may surprise.

    Raises:
        ArgumentError: the values of black and white are unknown, or a part has no whole image.
    """
    whole: dict[str, ImageSource] = {}
    unknown: list[UnknownSpanError] = []
    broken: list[str] = []
    several = 0
    for part, source in parts.items():
        good = []
        for index, found in enumerate(inspect_images(source, channels, span)):
            several += found.frames > 1
            if found.unknown:
                unknown.append(found.unknown)
            if found.broken:
                broken.append(f"{escape_name(source.name(index))} ({found.broken})")
            else:
                good.append(index)
        whole[part] = source.take(np.array(good, np.int64))
    if unknown:
        raise merge_span_errors(unknown)
    total = sum(map(len, parts.values()))
    notes = []
    if several:
        notes.append(f"{several} of {total} images have several frames; the first one is taken")
    if broken:
        notes.append(describe_broken(broken, total))
    check_any_whole(whole, broken, path)
    return whole, notes


def describe_broken(broken: list[str], total: int) -> str:
    """Return a note on broken images, each by its name with the reason."""
    shown = "; ".join(broken[:SHOWN])
    if len(broken) > SHOWN:
        shown += f"; and {len(broken) - SHOWN} more"
    return f"{len(broken)} of {total} images are broken and left out: {shown}"


def check_any_whole(whole: Mapping[str, ImageSource], broken: list[str], path: Path | str) -> None:
    """Raise an ArgumentError for a part whose images are all broken."""
    for part, source in whole.items():
        if not len(source):
            text = f"every image of the {part} part of {path} is broken"
            raise ArgumentError("path", text, got="; ".join(broken[:SHOWN]))


def merge_span_errors(unknown: list[UnknownSpanError]) -> ArgumentError:
    """Return one error for all images whose values of black and white are unknown."""
    first = unknown[0]
    problem = first.problem
    if len(unknown) > 1:
        problem = f"{problem}, nor do {len(unknown) - 1} more"
    low = min(error.low for error in unknown)
    high = max(error.high for error in unknown)
    return ArgumentError(
        "span",
        problem,
        got=f"values from {low:g} to {high:g}",
        fits=first.fits,
        fix=f"data.span=[{low:g},{high:g}], if these are black and white",
    )
