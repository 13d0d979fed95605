"""Which image files a folder holds, and which of them cannot be used."""

import concurrent.futures
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from blocks.support.files import kind_of, open_file
from tasks.data.images.decode import Span, UnknownSpanError, opened
from tasks.data.walk import Walk, listed, shown, visible
from tasks.errors import ArgumentError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}

Samples = list[tuple[Path, str]]


def scan(folder: Path) -> tuple[dict[str, Samples], list[str]]:
    """The files of each part with their classes, one part "train" where the folder has no parts;
    what is left out.
    """
    if not folder.exists():
        raise ArgumentError(
            "path", f"{folder} does not exist", got=f"path={folder}", fix="data.path=FOLDER"
        )
    if not folder.is_dir():
        kind = kind_of(folder) or "a file"
        raise ArgumentError(
            "path", f"{folder} is {kind}, not a folder", fits="FOLDER/CLASS/IMAGE.jpg, say"
        )
    below = {child.name.lower(): child for child in visible(folder) if child.is_dir()}
    parts = {
        part: below[name] for part, names in FOLDERS.items() for name in names if name in below
    }
    if "train" not in parts:
        parts = {"train": folder}
    left_out: list[str] = []
    if folder not in parts.values():
        left_out += hidden(folder)
        unused = [child for child in visible(folder) if child not in parts.values()]
        known = ", ".join(shown(place.name) for place in parts.values())
        left_out += [
            f"{shown(child.name)} (beside {known})"
            for child in unused
            if child.is_dir() or is_image(child)
        ]
    found = {part: samples(place, folder, left_out) for part, place in parts.items()}
    return found, left_out


def is_image(path: Path) -> bool:
    """Whether a path is that of an image, by its suffix."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def hidden(folder: Path) -> list[str]:
    """The names in a folder that begin with a dot."""
    return [
        f"{shown(path.name)} (hidden)" for path in folder.iterdir() if path.name.startswith(".")
    ]


def samples(folder: Path, root: Path, left_out: list[str]) -> Samples:
    """Image files of a folder of class folders, sorted, each with the name of its class.

    What is left out is added to `left_out` by its name from `root`.
    """
    left_out += [shown((folder / name).relative_to(root)) for name in hidden(folder)]
    beside = [child for child in visible(folder) if is_image(child)]
    left_out += [f"{shown(file.relative_to(root))} (in no class folder)" for file in beside]
    classes = [child for child in visible(folder) if child.is_dir()]
    found: Samples = []
    empty = []
    for place in classes:
        walk = Walk(place)
        images = [file for file in walk.files if is_image(file)]
        others = [file for file in walk.files if not is_image(file)]
        left_out += [f"{shown(file.relative_to(root))} (no image)" for file in others]
        found += [(file, shown(place.name)) for file in images]
        left_out += [shown((place / name).relative_to(root)) for name in walk.left_out]
        if not images:
            empty.append(place.name)
    if not found:
        held = ", ".join(child.name for child in visible(folder)[:6]) or "nothing"
        held += f"; left out: {listed(left_out)}" if left_out else ""
        fits = f"{folder.name}/CLASS/IMAGE with one of {' '.join(SUFFIXES)}"
        raise ArgumentError("path", f"no images in {folder}", got=f"it holds {held}", fits=fits)
    if empty:
        got = ", ".join(empty[:6])
        raise ArgumentError(
            "path", f"class folders of {folder} have no images", got=got, fix="fill or delete them"
        )
    return found


@dataclass(frozen=True)
class Looked:
    """What decoding a file once has shown.

    Args:
        broken: why it cannot be used, or None.
        unknown: that its values of black and white are not known.
        frames: how many images it holds.
    """

    broken: str | None = None
    unknown: UnknownSpanError | None = None
    frames: int = 1


def look_at(parts: dict[str, Samples], channels: int, span: Span | None) -> dict[Path, Looked]:
    """Decode every file once."""
    files = [file for found in parts.values() for file, _ in found]
    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("ignore")
        return dict(
            zip(files, pool.map(lambda file: looked(file, channels, span), files), strict=True)
        )


def looked(file: Path, channels: int, span: Span | None) -> Looked:
    """Decode a file once."""
    try:
        if not file.stat().st_size and kind_of(file) is None:
            return Looked("empty file")
        opened(file, channels, span)
        with open_file(file) as raw, Image.open(raw) as image:
            return Looked(frames=getattr(image, "n_frames", 1))
    except UnknownSpanError as error:
        return Looked(unknown=error)
    except (ArgumentError, OSError, SyntaxError, ValueError) as error:
        problem = error.problem if isinstance(error, ArgumentError) else str(error)
        return Looked(problem.replace(f"{file} ", ""))
