"""Which image files a folder holds, and which of them are broken."""

import concurrent.futures
import warnings
from pathlib import Path

from PIL import Image

from tasks.errors import ArgumentError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}

Samples = list[tuple[Path, str]]


def scan(folder: Path) -> dict[str, Samples]:
    """The files of each part with their classes; one part "train" where the folder has no parts."""
    if not folder.exists():
        raise ArgumentError("path", f"{folder} does not exist", got=f"path={folder}", fix="data.path=FOLDER")
    if not folder.is_dir():
        raise ArgumentError("path", f"{folder} is a file, not a folder", fits="FOLDER/CLASS/IMAGE.jpg, say")
    below = {child.name.lower(): child for child in sorted(folder.iterdir()) if child.is_dir()}
    parts = {part: below[name] for part, names in FOLDERS.items() for name in names if name in below}
    if "train" not in parts:
        return {"train": samples(folder)}
    return {part: samples(place) for part, place in parts.items()}


def samples(folder: Path) -> Samples:
    """Image files of a folder of class folders, sorted, each with the name of its class."""
    classes = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    found = [
        (file, place.name)
        for place in classes
        for file in sorted(place.rglob("*"))
        if file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith(".")
    ]
    if not found:
        held = ", ".join(sorted(child.name for child in folder.iterdir())[:6]) or "nothing"
        fits = f"{folder.name}/CLASS/IMAGE with one of {' '.join(SUFFIXES)}"
        raise ArgumentError("path", f"no images in {folder}", got=f"it holds {held}", fits=fits)
    empty = [place.name for place in classes if all(name != place.name for _, name in found)]
    if empty:
        got = ", ".join(empty[:6])
        raise ArgumentError("path", f"class folders of {folder} have no images", got=got, fix="fill or delete them")
    return found


def broken(parts: dict[str, Samples]) -> dict[Path, str]:
    """The files that cannot be decoded, with the reason."""
    files = [file for found in parts.values() for file, _ in found]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        reasons = pool.map(reason, files)
        return {file: text for file, text in zip(files, reasons, strict=True) if text}


def reason(file: Path) -> str | None:
    """Why a file cannot be decoded, or None."""
    if not file.stat().st_size:
        return "empty file"
    try:
        with warnings.catch_warnings(), Image.open(file) as image:
            warnings.simplefilter("ignore")
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"{type(error).__name__}: {error}".replace(str(file), file.name)
    return None
