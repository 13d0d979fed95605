"""Images in arrays: one .npz file, or a folder of IDX files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.data.images import idx, npz
from tasks.data.images.decode import rescale
from tasks.data.images.in_memory import InMemoryImages
from tasks.data.split import check_classes, check_parts, split_missing
from tasks.data.walk import escape_name, list_first, visible_children
from tasks.errors import ArgumentError

Raw = dict[str, dict[str, np.ndarray]]  # the arrays of each part: image and label

IMAGES = ("x", "image", "images", "data")
LABELS = ("y", "label", "labels", "target", "targets")
PARTS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "t10k", "testing"),
}
CLASSES_SHOWN, FILES_SHOWN = 12, 6  # names in a message


class Arrays(InMemoryImages):
    """MNIST, Fashion-MNIST and other data in arrays of images and labels.

    Args:
        path: a .npz file with x_train, y_train, x_test, y_test (or images and labels, without
            parts), or a folder with IDX files such as train-images-idx3-ubyte.gz and
            train-labels-idx1-ubyte.gz.

    The other arguments are those of `InMemoryImages`. Parts that are missing are split off the
    training part.
    """

    def __init__(self, path: str, **options: Any):
        super().__init__(**options)
        self.path = Path(path).expanduser()

    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        parts = {name: self._pair(name, arrays) for name, arrays in self._read_raw().items()}
        check_classes(self.classes, len(parts["train"][1]), "image")
        self._rescale_floats(parts)
        image, label = parts["train"]
        chosen = split_missing(label, list(parts), self.val, self.test, self.split_seed)
        for name, index in chosen.items():
            parts[name] = image[index], label[index]
        sizes = {name: len(label) for name, (_, label) in parts.items()}
        check_parts(sizes, {"val": self.val, "test": self.test}, self.classes, "image")
        return parts

    def _read_raw(self) -> Raw:
        """Read the arrays of each part, and name the classes."""
        if not self.path.exists():
            got, fix = f"path={self.path}", "data.path=FILE.npz, or data.path=FOLDER with IDX files"
            raise ArgumentError("path", f"{self.path} does not exist", got=got, fix=fix)
        if self.path.is_dir():
            self._note_hidden()
            raw = read_idx_parts(self.path)
        else:
            raw = read_npz_parts(self.path)
        check_types(raw, self.path)
        self.values = np.unique(raw["train"]["label"])
        if not np.issubdtype(self.values.dtype, np.integer):
            text = f"{self.path}: labels must be whole numbers, one for each image"
            raise ArgumentError("path", text, got=f"labels of type {self.values.dtype}")
        self.classes = list(map(str, self.values))
        return raw

    def _note_hidden(self) -> None:
        hidden = []
        for file in self.path.iterdir():
            if idx.is_idx_name(file) and file.name.startswith("."):
                hidden.append(escape_name(file.name))
        if hidden:
            self.notes.append(f"{len(hidden)} hidden files are left out: {list_first(hidden)}")

    def _pair(self, part: str, arrays: dict[str, np.ndarray]) -> tuple[Tensor, Tensor]:
        """Return the images of a part and the numbers of their classes; raises ArgumentError."""
        image = npz.as_images(arrays["image"], self.path)
        label = arrays["label"].reshape(-1)
        where = f"{self.path}: the {part} part"
        if len(image) != len(label):
            got = f"{len(image):,} images, {len(label):,} labels"
            raise ArgumentError("path", f"{where} needs one label for each image", got=got)
        if not len(image):
            raise ArgumentError("path", f"{where} has no images")
        bad = ~image.flatten(1).isfinite().all(1)  # bytes always are
        if bad.any():
            first = bad.tolist().index(True)
            raise ArgumentError(
                "path",
                f"{where} has values that are not finite",
                got=f"{int(bad.sum()):,} of {len(image):,} images, the first is number {first}",
                fits="numbers without NaN and infinity",
            )
        strange = np.setdiff1d(label, self.values)
        if len(strange):
            known = ", ".join(self.classes[:CLASSES_SHOWN])
            got = f"label {strange[0]}, training has {known}"
            raise ArgumentError("path", f"{where} has a class that training lacks", got=got)
        return image, torch.from_numpy(np.searchsorted(self.values, label))

    def _rescale_floats(self, parts: dict[str, tuple[Tensor, Tensor]]) -> None:
        """Map images that are neither bytes nor in [0, 1] by the range of the training part."""
        image = parts["train"][0]
        if self.scale is None:
            if image.dtype == torch.uint8 or (image.min() >= 0 and image.max() <= 1):
                return
            self.scale = [float(image.min()), float(image.max())]
        for name, (image, label) in parts.items():
            parts[name] = rescale(image, self.scale), label


def check_types(raw: Raw, path: Path) -> None:
    """Raise an ArgumentError if bytes, whole numbers and fractions meet in one file.

    One scale would not fit all parts.
    """
    types = {name: found["image"].dtype for name, found in raw.items()}
    if len(set(map(value_kind, types.values()))) > 1:
        raise ArgumentError(
            "path",
            f"{path}: the images of its parts differ in type",
            got=", ".join(f"{name} {kind}" for name, kind in types.items()),
            fits="one type",
            fix="save the images of all parts with the same type",
        )


def value_kind(kind: np.dtype) -> str:
    """Return the letter of a type; signed and unsigned numbers are alike, but bytes are not."""
    if kind == np.uint8:
        return "byte"
    return kind.kind.replace("u", "i")


def read_npz_parts(path: Path) -> Raw:
    """Read the parts of a .npz file."""
    arrays = npz.read_npz(path)
    raw: Raw = {}
    for name, array in arrays.items():
        words = set(name.lower().replace("-", "_").split("_"))
        kind = find_kind(words)
        if kind:
            raw.setdefault(find_part(words), {})[kind] = array
    got = f"the arrays {', '.join(arrays) or 'none'}"
    check_complete(raw, path, got, "x_train, y_train, x_test, y_test")
    return raw


def find_kind(words: set[str]) -> str | None:
    """Return whether the words of a name are those of images or of labels."""
    if words.intersection(IMAGES):
        return "image"
    if words.intersection(LABELS):
        return "label"
    return None


def find_part(words: Iterable[str] | str) -> str:
    """Return the part named by one of the words, or by a part of a text; else "train"."""
    for part, names in PARTS.items():
        if any(name in words for name in names):
            return part
    return "train"


def read_idx_parts(path: Path) -> Raw:
    """Read the parts of a folder of IDX files."""
    raw: Raw = {}
    files = list(filter(idx.is_idx_name, visible_children(path)))
    for file in files:
        name = file.name.lower()
        for kind in ("image", "label"):
            if kind in name:
                arrays = raw.setdefault(find_part(name), {})
                if kind not in arrays:  # the same file may lie there packed and unpacked
                    arrays[kind] = idx.read_idx(file)
                break
    got = ", ".join(file.name for file in files[:FILES_SHOWN]) or "no IDX file"
    fits = "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz"
    check_complete(raw, path, got, fits)
    return raw


def check_complete(raw: Raw, path: Path, got: str, fits: str) -> None:
    """Raise an ArgumentError unless there is a training part, and each has images and labels."""
    if "train" not in raw:
        raise ArgumentError("path", f"{path} has no training images and labels", got=got, fits=fits)
    for name, arrays in raw.items():
        for kind in ("image", "label"):
            if kind not in arrays:
                text = f"{path}: the {name} part has no {kind}s"
                raise ArgumentError("path", text, got=got, fits=fits)
