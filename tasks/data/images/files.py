"""Find the image files of a folder, and those of them that cannot be used."""

import concurrent.futures
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from blocks.support.files import kind_of, open_file
from tasks.data.images.decode import Span, UnknownSpanError, open_image
from tasks.data.walk import Walk, escape_name, list_first, visible_children
from tasks.errors import ArgumentError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
SHOWN = 6  # names in a message

Samples = list[tuple[Path, str]]


def scan_folder(folder: Path) -> tuple[dict[str, Samples], list[str]]:
    """Find the images of a folder.

    Returns:
        The files of each part with the names of their classes, a single part "train" if the folder
        has no parts; and what is left out.

    Raises:
        ArgumentError: no such folder, or no images in it.
    """
    if not folder.exists():
        got, fix = f"path={folder}", "data.path=FOLDER"
        raise ArgumentError("path", f"{folder} does not exist", got=got, fix=fix)
    if not folder.is_dir():
        kind = kind_of(folder) or "a file"
        fits = "a folder such as FOLDER/CLASS/IMAGE.jpg"
        raise ArgumentError("path", f"{folder} is {kind}, not a folder", fits=fits)
    parts = find_parts(folder)
    left_out: list[str] = []
    if folder not in parts.values():
        left_out += list_beside(folder, list(parts.values()))
    found = {part: collect_samples(place, folder, left_out) for part, place in parts.items()}
    return found, left_out


def find_parts(folder: Path) -> dict[str, Path]:
    """Return the folder of each part; all of it is "train" if it has no folder of that name."""
    below = {}
    for child in visible_children(folder):
        if child.is_dir():
            below[child.name.lower()] = child
    parts = {}
    for part, names in FOLDERS.items():
        for name in names:
            if name in below:
                parts[part] = below[name]
    if "train" not in parts:
        return {"train": folder}
    return parts


def list_beside(folder: Path, parts: list[Path]) -> list[str]:
    """List what lies beside the folders of the parts, each name with the reason."""
    names = list_hidden(folder)
    known = ", ".join(escape_name(part.name) for part in parts)
    for child in visible_children(folder):
        if child not in parts and (child.is_dir() or is_image(child)):
            names.append(f"{escape_name(child.name)} (beside {known})")
    return names


def is_image(path: Path) -> bool:
    """Whether a path is that of an image, by its suffix."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def list_hidden(folder: Path) -> list[str]:
    """List the names in a folder that begin with a dot, each with the reason."""
    hidden = filter(lambda path: path.name.startswith("."), folder.iterdir())
    return [f"{escape_name(path.name)} (hidden)" for path in hidden]


def collect_samples(folder: Path, root: Path, left_out: list[str]) -> Samples:
    """Return the image files of a folder of class folders, sorted, each with its class.

    What is left out is added to `left_out`, by its path from `root`.

    Raises:
        ArgumentError: there are no images, or a class folder has none.
    """
    left_out += [escape_name((folder / name).relative_to(root)) for name in list_hidden(folder)]
    children = visible_children(folder)
    for child in filter(is_image, children):
        left_out.append(f"{escape_name(child.relative_to(root))} (in no class folder)")
    found: Samples = []
    empty = []
    for child in filter(Path.is_dir, children):
        images = collect_images(child, root, left_out)
        found += [(file, escape_name(child.name)) for file in images]
        if not images:
            empty.append(child.name)
    if not found:
        raise no_images(folder, children, left_out)
    if empty:
        text, fix = f"class folders of {folder} have no images", "fill or delete them"
        raise ArgumentError("path", text, got=", ".join(empty[:SHOWN]), fix=fix)
    return found


def collect_images(folder: Path, root: Path, left_out: list[str]) -> list[Path]:
    """Return the image files below a class folder; add the rest to `left_out`."""
    walk = Walk(folder)
    images = []
    for file in walk.files:
        if is_image(file):
            images.append(file)
        else:
            left_out.append(f"{escape_name(file.relative_to(root))} (no image)")
    left_out += [escape_name((folder / name).relative_to(root)) for name in walk.left_out]
    return images


def no_images(folder: Path, children: list[Path], left_out: list[str]) -> ArgumentError:
    """Return an error that says what a folder without images holds."""
    got = f"it holds {', '.join(child.name for child in children[:SHOWN]) or 'nothing'}"
    if left_out:
        got += f"; left out: {list_first(left_out)}"
    fits = f"{folder.name}/CLASS/IMAGE with one of {' '.join(SUFFIXES)}"
    return ArgumentError("path", f"no images in {folder}", got=got, fits=fits)


@dataclass(frozen=True)
class Inspection:
    """What decoding a file has shown.

    Args:
        broken: why it cannot be used, or None.
        unknown: the error if its values of black and white are unknown.
        frames: how many images it holds.
    """

    broken: str | None = None
    unknown: UnknownSpanError | None = None
    frames: int = 1


def inspect_files(
    parts: dict[str, Samples], channels: int, span: Span | None
) -> dict[Path, Inspection]:
    """Decode every file once."""
    files = [file for found in parts.values() for file, _ in found]
    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(4) as pool:
        warnings.simplefilter("ignore")
        found = pool.map(lambda file: inspect_file(file, channels, span), files)
        return dict(zip(files, found, strict=True))


def inspect_file(file: Path, channels: int, span: Span | None) -> Inspection:
    """Decode a file once."""
    try:
        if not file.stat().st_size and kind_of(file) is None:
            return Inspection("empty file")
        open_image(file, channels, span)
        with open_file(file) as raw, Image.open(raw) as image:
            return Inspection(frames=getattr(image, "n_frames", 1))
    except UnknownSpanError as error:
        return Inspection(unknown=error)
    except ArgumentError as error:
        return Inspection(error.problem.replace(f"{file} ", ""))
    except (OSError, SyntaxError, ValueError) as error:
        return Inspection(str(error).replace(f"{file} ", ""))
