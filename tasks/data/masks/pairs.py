"""Find the pairs of image and mask of a folder, and look into the masks."""

import concurrent.futures
import os
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from blocks.support.files import open_file
from tasks.data.images.decode import Span, UnknownSpanError
from tasks.data.images.listing.files import FOLDERS, SUFFIXES, inspect_file
from tasks.data.walk import Walk, escape_name, list_first
from tasks.errors import ArgumentError

MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")  # of Pillow, with one number a pixel

Pair = tuple[Path, Path]  # an image and its mask


def find_places(root: Path, images: str, masks: str) -> dict[str, Pair]:
    """Return the two folders of each part; all is "train" where there are no parts.

    A part is FOLDER/PART/IMAGES and FOLDER/PART/MASKS, or FOLDER/IMAGES/PART and FOLDER/MASKS/PART.

    Raises:
        ArgumentError: one of the folders does not exist.
    """
    places: dict[str, Pair] = {}
    for part, names in FOLDERS.items():
        for name in names:
            below = root / name / images, root / name / masks
            above = root / images / name, root / masks / name
            for pair in (below, above):
                if pair[0].is_dir():
                    places.setdefault(part, pair)
    if "train" not in places:
        places = {"train": (root / images, root / masks)}
    for pair in places.values():
        for option, folder in zip(("images", "masks"), pair, strict=True):
            if not folder.is_dir():
                found = [path.name for path in root.glob("*/")]
                raise ArgumentError(
                    option,
                    f"{folder} is no folder",
                    got=f"{root} holds the folders {list_first(found) or 'none'}",
                    fits=f"{root.name}/{images} and {root.name}/{masks}, with train, val and test "
                    "above or below them or without",
                    fix=f"data.{option}=NAME",
                )
    return places


def find_pairs(places: Pair, suffix: str, left_out: list[str]) -> list[Pair]:
    """Return images and masks whose names are equal, but for `suffix` and the kind of file.

    Args:
        places: the folders of images and of masks.
        suffix: what follows the name of the image in that of a mask, such as "_mask".
        left_out: gets what has no counterpart, or is no image.

    Raises:
        ArgumentError: there is no pair, or two files have the same name.
    """
    images = read_names(places[0], "", left_out)
    masks = read_names(places[1], suffix, left_out)
    pairs = []
    for name in sorted(images.keys() | masks.keys()):
        if name not in masks:
            left_out.append(f"{escape_name(images[name].name)} (no mask)")
        elif name not in images:
            left_out.append(f"{escape_name(masks[name].name)} (no image)")
        else:
            pairs.append((images[name], masks[name]))
    if not pairs:
        raise ArgumentError(
            "path",
            f"no image of {places[0]} has a mask in {places[1]}",
            got=f"images: {list_first(list(images)) or 'none'}; "
            f"masks: {list_first(list(masks)) or 'none'}",
            fits="street/1.jpg in the one and street/1.png in the other",
            fix="data.suffix=_mask, if the mask of 1.jpg is 1_mask.png",
        )
    return pairs


def read_names(folder: Path, suffix: str, left_out: list[str]) -> dict[str, Path]:
    """Return the image files below a folder by their names without suffix and kind of file."""
    found: dict[str, Path] = {}
    walk = Walk(folder)
    left_out += walk.left_out
    for name in walk.names:
        stem, kind = os.path.splitext(name)
        if kind.lower() not in SUFFIXES:
            left_out.append(f"{escape_name(name)} (no image)")
            continue
        if not stem.endswith(suffix):
            left_out.append(f"{escape_name(name)} (without {suffix})")
            continue
        stem = stem.removesuffix(suffix)
        if stem in found:
            got = f"{found[stem].name} and {Path(name).name}"
            raise ArgumentError("path", f"two files of {folder} have the same name", got=got)
        found[stem] = folder / name
    return found


def open_mask(path: Path) -> np.ndarray:
    """Return the values of a mask (height, width): a palette's numbers, or grey values.

    Raises:
        ArgumentError: the file cannot be read, or has several numbers a pixel.
    """
    try:
        with open_file(path) as raw, Image.open(raw) as file:
            if file.mode not in MODES:
                raise ArgumentError(
                    "path",
                    f"{path} is no mask: a mask has one number a pixel",
                    got=f"an image of the kind {file.mode}",
                    fits="a PNG file with a palette or with grey values",
                    fix="write the number of the class of each pixel, not its colour",
                )
            return np.asarray(ImageOps.exif_transpose(file)).astype(np.int64)
    except ArgumentError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ArgumentError("path", f"{path} cannot be read: {error}") from error


@dataclass(frozen=True)
class Inspection:
    """What decoding a pair has shown.

    Args:
        broken: why it cannot be used, or None.
        error: an error for all of the data, or None.
        sizes: (height, width) of image and mask.
        counts: the number of pixels by their value in the mask.
    """

    broken: str | None = None
    error: ArgumentError | None = None
    sizes: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    counts: Counter[int] = field(default_factory=Counter)


def inspect_pairs(pairs: list[Pair], channels: int, span: Span | None) -> list[Inspection]:
    """Decode every image and mask once."""
    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("ignore")
        return list(pool.map(lambda pair: inspect_pair(pair, channels, span), pairs))


def inspect_pair(pair: Pair, channels: int, span: Span | None) -> Inspection:
    """Decode an image and its mask once."""
    image, mask = pair
    found = inspect_file(image, channels, span)
    if found.broken:
        return Inspection(broken=f"{escape_name(image.name)} ({found.broken})")
    if found.unknown:
        return Inspection(error=found.unknown)
    if not mask.stat().st_size:
        return Inspection(broken=f"{escape_name(mask.name)} (empty file)")
    try:
        values = open_mask(mask)
        with open_file(image) as raw, Image.open(raw) as file:
            upright = ImageOps.exif_transpose(file)
    except ArgumentError as error:
        if error.got:
            return Inspection(error=error)
        reason = error.problem.replace(f"{mask} ", "")
        return Inspection(broken=f"{escape_name(mask.name)} ({reason})")
    numbers, counts = np.unique(values, return_counts=True)
    height, width = values.shape
    return Inspection(
        sizes=((upright.height, upright.width), (height, width)),
        counts=Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True))),
    )


def first_error(pairs: list[Pair], found: list[Inspection]) -> ArgumentError | None:
    """Return the error that the pairs of all data have together, or None."""
    errors = [each.error for each in found if each.error]
    if errors and isinstance(errors[0], UnknownSpanError):
        return errors[0]
    if errors:
        more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
        first = errors[0]
        return ArgumentError(
            "path", first.problem, got=f"{first.got}{more}", fits=first.fits, fix=first.fix
        )
    wrong = []
    for (image, mask), each in zip(pairs, found, strict=True):
        if each.sizes[0] != each.sizes[1]:
            wrong.append((image, mask, each.sizes))
    if not wrong:
        return None
    image, mask, ((high, wide), (tall, broad)) = wrong[0]
    return ArgumentError(
        "path",
        f"{len(wrong)} of {len(found)} masks have another size than their images",
        got=f"{mask.name} is {tall} × {broad}, {image.name} is {high} × {wide}",
        fits="a mask of the height and width of its image",
    )
