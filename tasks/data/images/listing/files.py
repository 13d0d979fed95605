"""Find the image files of a folder."""

import os
from pathlib import Path

from blocks.support.files import kind_of
from tasks.data.images.listing.index import LEAST, Scan, find_reason_against, load_index, save_index
from tasks.data.images.listing.samples import Samples
from tasks.data.walk import (
    Walk,
    escape_name,
    follow_link,
    join_names,
    list_first,
    stamp_of,
    visible_children,
)
from tasks.errors import ArgumentError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
SHOWN = 6  # names in a message


def must_be_folder(folder: Path, example: str) -> None:
    """Raise an ArgumentError unless a path is a folder; `example` is what lies in such a one."""
    if not folder.exists():
        got, fix = f"path={folder}", "data.path=FOLDER"
        raise ArgumentError("path", f"{folder} does not exist", got=got, fix=fix)
    if not folder.is_dir():
        kind = kind_of(folder) or "a file"
        fits = f"a folder such as {example}"
        raise ArgumentError("path", f"{folder} is {kind}, not a folder", fits=fits)


def scan_folder(folder: Path) -> Scan:
    """Find the images of a folder, by its index if there is one that holds.

    Returns:
        The files of each part with the names of their classes, a single part "train" if the folder
        has no parts; and what is left out.

    Raises:
        ArgumentError: no such folder, or no images in it.
    """
    must_be_folder(folder, "FOLDER/CLASS/IMAGE.jpg")
    scan = Scan()
    scan.folders[""] = stamp_of(folder)
    record_links(folder, "", scan)
    parts = find_parts(folder)
    if folder not in parts.values():
        scan.left_out += list_beside(folder, list(parts.values()))
    for part, place in parts.items():
        scan.parts[part] = collect_samples(place, folder, scan)
    return scan


def find_images(folder: Path, *, index: bool = True) -> tuple[Scan, str | None]:
    """Find the images of a folder as `scan_folder`, by an index where it is large.

    Returns:
        What the folder holds, and a note on its index, or None.
    """
    if not index:
        return scan_folder(folder), None
    loaded = load_index(folder)
    if loaded:
        scan, place = loaded
        return scan, f"{scan.size():,} images by the index {place}"
    scan = scan_folder(folder)
    if scan.size() < LEAST:
        return scan, None
    reason = find_reason_against(scan)
    if reason:
        return scan, f"{scan.size():,} images; no index of the folder is written: {reason}"
    written = save_index(folder, scan)
    if written:
        return scan, f"{scan.size():,} images; their index is written to {written}"
    return scan, f"{scan.size():,} images; their index could not be written"


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


def collect_samples(folder: Path, root: Path, scan: Scan) -> Samples:
    """Return the image files of a folder of class folders, sorted, each with its class.

    What was read and what is left out is added to `scan`, by its path from `root`.

    Raises:
        ArgumentError: there are no images, or a class folder has none.
    """
    prefix = folder.relative_to(root)
    if prefix != Path():
        scan.folders[plain_name(prefix)] = stamp_of(folder)
        record_links(folder, plain_name(prefix), scan)
    scan.left_out += [escape_name(prefix / name) for name in list_hidden(folder)]
    children = visible_children(folder)
    for child in filter(is_image, children):
        scan.left_out.append(f"{escape_name(child.relative_to(root))} (in no class folder)")
    names: list[str] = []
    classes: list[str] = []
    empty = []
    for child in filter(Path.is_dir, children):
        images = collect_images(child, plain_name(prefix / child.name), scan)
        names += images
        classes += [escape_name(child.name)] * len(images)
        if not images:
            empty.append(child.name)
    if not names:
        raise no_images(folder, children, scan.left_out)
    if empty:
        text, fix = f"class folders of {folder} have no images", "fill or delete them"
        raise ArgumentError("path", text, got=", ".join(empty[:SHOWN]), fix=fix)
    return Samples.pack(root, names, classes)


def collect_images(folder: Path, prefix: str, scan: Scan) -> list[str]:
    """Return the image files below a class folder, each by `prefix` and its name; add the rest to
    `scan`.
    """
    walk = Walk(folder)
    images = []
    for name in walk.names:
        if os.path.splitext(name)[1].lower() in SUFFIXES:
            images.append(f"{prefix}/{name}")
        else:
            scan.left_out.append(f"{escape_name(f'{prefix}/{name}')} (no image)")
    scan.left_out += [f"{escape_name(prefix)}/{name}" for name in walk.left_out]
    for name, stamp in walk.folders.items():
        scan.folders[f"{prefix}/{name}".rstrip("/")] = stamp
    for name, kind in walk.links.items():
        scan.links[f"{prefix}/{name}"] = kind
    scan.is_complete = scan.is_complete and walk.is_complete
    return images


def record_links(folder: Path, prefix: str, scan: Scan) -> None:
    """Add the links in a folder of class folders to `scan`, with what they lead to."""
    for child in folder.iterdir():
        if child.is_symlink():
            scan.links[join_names(prefix, child.name)] = follow_link(str(child))


def plain_name(path: Path) -> str:
    """Return a relative path with "/" between its parts; the empty text for the root."""
    name = path.as_posix()
    return "" if name == "." else name


def no_images(folder: Path, children: list[Path], left_out: list[str]) -> ArgumentError:
    """Return an error that says what a folder without images holds."""
    got = f"it holds {', '.join(child.name for child in children[:SHOWN]) or 'nothing'}"
    if left_out:
        got += f"; left out: {list_first(left_out)}"
    fits = f"{folder.name}/CLASS/IMAGE with one of {' '.join(SUFFIXES)}"
    return ArgumentError("path", f"no images in {folder}", got=got, fits=fits)
