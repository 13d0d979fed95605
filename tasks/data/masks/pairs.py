"""Find the pairs of image and mask of a folder, and look into the masks."""

import concurrent.futures
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from blocks.support.files import open_file
from tasks.data.images.decode import Span, UnknownSpanError
from tasks.data.images.listing.files import SUFFIXES
from tasks.data.images.listing.inspect import inspect_file, merge_span_errors
from tasks.data.masks.places import EXAMPLE, Pair
from tasks.data.walk import Walk, escape_name, list_first
from tasks.errors import ArgumentError

MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")  # of Pillow, with one number a pixel
ALPHA = ("LA", "La", "PA")  # one number a pixel, and its opacity
LOSSY = ("JPEG", "MPO", "JPEG2000")  # kinds of files
LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp", "tiff_sgilog", "tiff_sgilog24")  # ways to compress one
TRIED = 100  # masks whose names are compared with those of the images


def find_pairs(places: Pair, suffix: str, root: Path, left_out: list[str]) -> list[Pair]:
    """Return images and masks whose names are equal, but for `suffix` and the kind of file.

    Args:
        places: the folders of images and of masks; they may be one, where there is a suffix.
        suffix: what follows the name of the image in that of a mask, such as "_mask".
        root: the folder of all.
        left_out: gets what has no counterpart, or is no image.

    Raises:
        ArgumentError: there is no pair, or two files have the same name.
    """
    masks = read_names(places[1], suffix, root, left_out)
    images = read_names(places[0], "", root, left_out)
    if places[0].samefile(places[1]):
        images = {name: path for name, path in images.items() if path not in masks.values()}
    for option, folder, found in zip(("images", "masks"), places, (images, masks), strict=True):
        if not found and not (suffix and images):
            raise lacks_files(option, folder)
    pairs = []
    for name in sorted(images.keys() | masks.keys()):
        if name not in masks:
            left_out.append(f"{short_name(images[name], root)} (no mask)")
        elif name not in images:
            left_out.append(f"{short_name(masks[name], root)} (no image)")
        else:
            pairs.append((images[name], masks[name]))
    if not pairs:
        raise lacks_pairs(places, suffix, list(images), list(masks))
    return pairs


def read_names(folder: Path, suffix: str, root: Path, left_out: list[str]) -> dict[str, Path]:
    """Return the image files below a folder by their names without suffix and kind of file."""
    found: dict[str, Path] = {}
    walk = Walk(folder)
    prefix = short_name(folder, root)
    left_out += [f"{prefix}/{name}" for name in walk.left_out]
    for name in walk.names:
        stem, kind = os.path.splitext(name)
        if kind.lower() not in SUFFIXES:
            left_out.append(f"{prefix}/{escape_name(name)} (no image)")
            continue
        if not stem.endswith(suffix):
            left_out.append(f"{prefix}/{escape_name(name)} (without {suffix})")
            continue
        stem = stem.removesuffix(suffix)
        if stem in found:
            raise ArgumentError(
                "path",
                f"two files of {folder} have the same name",
                got=f"{short_name(found[stem], root)} and {prefix}/{escape_name(name)}",
                fits="one file of a name, whatever its kind",
                fix="rename or remove one of them",
            )
        found[stem] = folder / name
    return found


def short_name(path: Path, root: Path) -> str:
    """Return the path of a file below the folder of all, to be shown."""
    return escape_name(path.relative_to(root))


def lacks_files(option: str, folder: Path) -> ArgumentError:
    """Return an error for a folder without images or without masks, by the option of its name."""
    walk = Walk(folder)
    held = [*map(escape_name, walk.names), *walk.left_out]
    return ArgumentError(
        "path",
        f"there are no {option} in {folder}",
        got=f"it holds {list_first(held) or 'nothing'}",
        fits=f"{EXAMPLE}; files with one of {' '.join(SUFFIXES)}",
        fix=f"put the {option} there, or data.{option}=NAME, where they lie elsewhere",
    )


def lacks_pairs(places: Pair, suffix: str, images: list[str], masks: list[str]) -> ArgumentError:
    """Return an error for images and masks of which no two have the same name."""
    fix = "give each mask the name of its image"
    guess = guess_suffix(images, masks)
    if guess:
        fix = f"data.suffix={guess}"
    elif suffix and not masks:
        fix = 'data.suffix="", or what follows the name of the image in that of its mask'
    shown = list_first(list(map(escape_name, images)))
    found = list_first(list(map(escape_name, masks)))
    if not masks:
        found = f"none that ends with {suffix}"
    return ArgumentError(
        "path",
        f"no image of {places[0]} has a mask in {places[1]}",
        got=f"images: {shown}; masks: {found}",
        fits="street/1.jpg in the one and street/1.png in the other",
        fix=fix,
    )


def guess_suffix(images: Iterable[str], masks: list[str]) -> str:
    """Return what most masks have after the name of an image; empty where none has."""
    known, rests = set(images), Counter[str]()
    for mask in masks[:TRIED]:
        for end in range(len(mask) - 1, 0, -1):
            if mask[:end] in known:
                rests[mask[end:]] += 1
                break
    return max(rests, key=rests.__getitem__, default="")


def open_mask(path: Path) -> np.ndarray:
    """Return the values of a mask (height, width): a palette's numbers, or grey values.

    Raises:
        ArgumentError: the file cannot be read, has several numbers a pixel, or is compressed so
            that its values have changed.
    """
    try:
        with open_file(path) as raw, Image.open(raw) as file:
            must_be_mask(path, file)
            return np.asarray(ImageOps.exif_transpose(file)).astype(np.int64)
    except ArgumentError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = re.sub(r"<_io\.BufferedReader[^>]*>", path.name, str(error))
        raise ArgumentError("path", f"{path} cannot be read: {reason}") from error


def must_be_mask(path: Path, file: Image.Image) -> None:
    """Raise an ArgumentError unless an image has one whole number a pixel, kept as it was
    written.
    """
    fits = "a PNG file with a palette or with grey values"
    compression = file.info.get("compression", "")
    if file.format in LOSSY or (file.format == "TIFF" and compression in LOSSY_TIFF):
        kind = " ".join(filter(None, (file.format, compression)))
        raise ArgumentError(
            "path",
            f"{path} is compressed with loss, which changes the classes of pixels",
            got=f"a mask of the kind {kind}",
            fits=fits,
            fix="write the masks as PNG from what they were made of; if only the JPEG files are "
            "left, round each value to that of the nearest class first",
        )
    if file.mode in MODES:
        return
    fix = "write the number of the class of each pixel, not its colour"
    if file.mode in ALPHA:
        fix = "write the masks without opacity"
    elif file.mode == "F":
        fix = "write the number of the class of each pixel as a whole number"
    elif file.mode in ("RGB", "RGBA") and is_grey(file):
        fix = 'write the masks as grey: Image.open(PATH).convert("RGB").getchannel(0).save(PATH)'
    raise ArgumentError(
        "path",
        f"{path} is no mask: a mask has one number a pixel",
        got=f"an image of the kind {file.mode}",
        fits=fits,
        fix=fix,
    )


def is_stretched(file: Image.Image) -> bool:
    """Return whether Pillow stretches the grey values of a file that is not loaded yet: those of 2
    or 4 bits, and those of a PGM file with another maximum than 255 or 65535.
    """
    for tile in getattr(file, "tile", ()):
        if tile.args in ("L;2", "L;4"):
            return True
        if tile.codec_name.startswith("ppm") and tile.args[0] in ("L", "I"):
            return tile.args[1] not in (255, 65535)
    return False


def is_grey(file: Image.Image) -> bool:
    """Return whether the three colours of each pixel are equal."""
    colours = np.asarray(file.convert("RGB"))
    return bool((colours == colours[..., :1]).all())


@dataclass(frozen=True)
class Inspection:
    """What decoding a pair has shown.

    Args:
        broken: the name of a file that cannot be used, with the reason, or None.
        error: an error for all of the data, or None.
        sizes: (height, width) of image and mask.
        counts: the number of pixels by their value in the mask.
        frames: the most images that one of the two files holds.
        is_stretched: whether the grey values of the mask were stretched to 0 to 255 as it was read.
    """

    broken: str | None = None
    error: ArgumentError | None = None
    sizes: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    counts: Counter[int] = field(default_factory=Counter)
    frames: int = 1
    is_stretched: bool = False


def inspect_pairs(
    pairs: list[Pair], root: Path, channels: int, span: Span | None
) -> list[Inspection]:
    """Decode every image and mask once."""
    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("ignore")
        return list(pool.map(lambda pair: inspect_pair(pair, root, channels, span), pairs))


def inspect_pair(pair: Pair, root: Path, channels: int, span: Span | None) -> Inspection:
    """Decode an image and its mask once."""
    image, mask = pair
    found = inspect_file(image, channels, span)
    if found.broken:
        return Inspection(broken=f"{short_name(image, root)} ({found.broken})")
    if found.unknown:
        return Inspection(error=found.unknown)
    try:
        if not mask.stat().st_size:
            return Inspection(broken=f"{short_name(mask, root)} (empty file)")
        values = open_mask(mask)
        with open_file(mask) as raw, Image.open(raw) as file:
            frames = max(found.frames, getattr(file, "n_frames", 1))
            stretched = is_stretched(file)
        with open_file(image) as raw, Image.open(raw) as file:
            upright = ImageOps.exif_transpose(file)
    except ArgumentError as error:
        if error.got:
            return Inspection(error=error)
        reason = error.problem.replace(f"{mask} ", "")
        return Inspection(broken=f"{short_name(mask, root)} ({reason})")
    numbers, counts = np.unique(values, return_counts=True)
    height, width = values.shape
    return Inspection(
        sizes=((upright.height, upright.width), (height, width)),
        counts=Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True))),
        frames=frames,
        is_stretched=stretched,
    )


def first_error(pairs: list[Pair], root: Path, found: list[Inspection]) -> ArgumentError | None:
    """Return the error that the pairs of all data have together, or None."""
    errors = [each.error for each in found if each.error]
    unknown = [error for error in errors if isinstance(error, UnknownSpanError)]
    if unknown:
        return merge_span_errors(unknown)
    if errors:
        more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
        first = errors[0]
        return ArgumentError(
            "path", first.problem, got=f"{first.got}{more}", fits=first.fits, fix=first.fix
        )
    wrong = []
    for pair, each in zip(pairs, found, strict=True):
        if each.sizes[0] != each.sizes[1]:
            wrong.append(size_error(pair, root, *each.sizes))
    if not wrong:
        return None
    first = wrong[0]
    problem = f"{len(wrong)} of {len(found)} masks have another size than their images"
    return ArgumentError("path", problem, got=first.got, fits=first.fits, fix=first.fix)


def size_error(
    pair: Pair, root: Path, image: tuple[int, int], mask: tuple[int, int]
) -> ArgumentError:
    """Return an error for a pair whose sizes (height, width) differ."""
    name, other = short_name(pair[1], root), short_name(pair[0], root)
    fix = "scale each mask to its image, to the nearest pixel, or remove the pair"
    if mask == image[::-1]:
        fix = "turn the mask as its image is, or remove the pair"
    return ArgumentError(
        "path",
        f"{pair[1]} has another size than its image",
        got=f"{name} is {mask[0]}x{mask[1]}, {other} is {image[0]}x{image[1]}",
        fits="a mask of the height and width of its image",
        fix=fix,
    )
