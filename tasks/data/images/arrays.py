"""Images in arrays, as people have them on disk: one .npz file, or a folder of IDX files."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.data.images import idx, npz
from tasks.data.images.decode import on_scale
from tasks.data.images.in_memory import HeldImages
from tasks.data.split import check_classes, check_parts, part, split
from tasks.data.walk import listed, shown, visible
from tasks.errors import ArgumentError

Raw = dict[str, dict[str, np.ndarray]]

IMAGES = ("x", "image", "images", "data")
LABELS = ("y", "label", "labels", "target", "targets")
PARTS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "t10k", "testing"),
}


class Arrays(HeldImages):
    """MNIST, Fashion-MNIST and whatever else comes as arrays of images and labels.

    Args:
        path: a .npz file with x_train, y_train, x_test, y_test (or images and labels, without
            parts), or a folder with IDX files such as train-images-idx3-ubyte.gz and
            train-labels-idx1-ubyte.gz.

    The other arguments are those of `HeldImages`. Parts that are missing are split off the training
    part.
    """

    def __init__(self, path: str, **options: Any):
        super().__init__(**options)
        self.path = Path(path).expanduser()

    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        if not self.path.exists():
            fix = "data.path=FILE.npz, or data.path=FOLDER with IDX files"
            raise ArgumentError(
                "path", f"{self.path} does not exist", got=f"path={self.path}", fix=fix
            )
        raw = self._read_folder() if self.path.is_dir() else read_npz(self.path)
        check_types(raw, self.path)
        pairs = {
            name: (npz.images(found["image"], self.path), found["label"].reshape(-1))
            for name, found in raw.items()
        }
        self._name_classes(pairs)
        numbers = {name: self._number(name, image, label) for name, (image, label) in pairs.items()}
        check_classes(self.classes, len(pairs["train"][1]), "image")
        parts = self._completed(self._on_one_scale(numbers))
        sizes = {name: len(label) for name, (_, label) in parts.items()}
        check_parts(sizes, {"val": self.val, "test": self.test}, self.classes, "image")
        return parts

    def _read_folder(self) -> Raw:
        hidden = [
            shown(file.name)
            for file in self.path.iterdir()
            if idx.is_idx_name(file) and file.name.startswith(".")
        ]
        if hidden:
            self.notes.append(f"{len(hidden)} hidden files are left out: {listed(hidden)}")
        return read_folder(self.path)

    def _on_one_scale(
        self, pairs: dict[str, tuple[Tensor, Tensor]]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Float images in [0, 1], by the smallest and the largest value of the training part; bytes
        stay bytes.
        """
        image = pairs["train"][0]
        if self.scale is None:
            if image.dtype == torch.uint8 or (image.min() >= 0 and image.max() <= 1):
                return pairs
            self.scale = [float(image.min()), float(image.max())]
        return {
            name: (on_scale(image, self.scale), label) for name, (image, label) in pairs.items()
        }

    def _name_classes(self, pairs: dict[str, tuple[Tensor, np.ndarray]]) -> None:
        self.values = np.unique(pairs["train"][1])
        if not np.issubdtype(self.values.dtype, np.integer):
            got = f"labels of type {self.values.dtype}"
            raise ArgumentError(
                "path", f"{self.path}: labels must be whole numbers, one for each image", got=got
            )
        self.classes = [str(value) for value in self.values]

    def _number(self, name: str, image: Tensor, label: np.ndarray) -> tuple[Tensor, Tensor]:
        if len(image) != len(label):
            got = f"{len(image):,} images, {len(label):,} labels"
            raise ArgumentError(
                "path", f"{self.path}: the {name} part needs one label for each image", got=got
            )
        if not len(image):
            raise ArgumentError("path", f"{self.path}: the {name} part has no images")
        bad = ~image.flatten(1).isfinite().all(1)  # bytes always are
        if bad.any():
            got = (
                f"{int(bad.sum()):,} of {len(image):,} images, the first is number "
                f"{bad.tolist().index(True)}"
            )
            text, fits = "has values that are not finite", "numbers without NaN and infinity"
            raise ArgumentError("path", f"{self.path}: the {name} part {text}", got=got, fits=fits)
        strange = np.setdiff1d(label, self.values)
        if len(strange):
            got = f"label {strange[0]}, training has {', '.join(self.classes[:12])}"
            raise ArgumentError(
                "path", f"{self.path}: the {name} part has a class that training lacks", got=got
            )
        return image, torch.from_numpy(np.searchsorted(self.values, label))

    def _completed(
        self, pairs: dict[str, tuple[Tensor, Tensor]]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        image, label = pairs["train"]
        if "test" not in pairs and "val" not in pairs:
            chosen = split(label, self.val, self.test, self.split_seed)
            return {name: (image[index], label[index]) for name, index in chosen.items()}
        for name, share in (("test", self.test), ("val", self.val)):
            if name not in pairs:
                image, label = pairs["train"]
                stay, take = part(label, share, self.split_seed)
                pairs |= {"train": (image[stay], label[stay]), name: (image[take], label[take])}
        return pairs


def check_types(raw: Raw, path: Path) -> None:
    """Raise an ArgumentError where bytes, whole numbers and fractions meet: one scale would not fit
    all parts.
    """
    types = {name: found["image"].dtype for name, found in raw.items()}
    if len({kind == np.uint8 or kind.kind.replace("u", "i") for kind in types.values()}) > 1:
        got = ", ".join(f"{name} {kind}" for name, kind in types.items())
        fix = "save the images of all parts with the same type"
        raise ArgumentError(
            "path",
            f"{path}: the images of its parts differ in type",
            got=got,
            fits="one type",
            fix=fix,
        )


def read_npz(path: Path) -> Raw:
    """The parts in a .npz file."""
    found = npz.read(path)
    raw: Raw = {}
    for name, value in found.items():
        words = name.lower().replace("-", "_").split("_")
        kind = (
            "image" if set(words) & set(IMAGES) else "label" if set(words) & set(LABELS) else None
        )
        place = next((part for part, names in PARTS.items() if set(words) & set(names)), "train")
        if kind:
            raw.setdefault(place, {})[kind] = value
    return checked(
        raw, path, f"the arrays {', '.join(found) or 'none'}", "x_train, y_train, x_test, y_test"
    )


def read_folder(path: Path) -> Raw:
    """The parts in a folder of IDX files."""
    raw: Raw = {}
    files = [file for file in visible(path) if idx.is_idx_name(file)]
    for file in files:
        name = file.name.lower()
        kind = "image" if "image" in name else "label" if "label" in name else None
        place = next(
            (part for part, names in PARTS.items() if any(word in name for word in names)), "train"
        )
        if kind:
            if kind in raw.get(place, {}):
                continue  # the same file, packed and unpacked side by side
            raw.setdefault(place, {})[kind] = idx.read(file)
    seen = ", ".join(file.name for file in files[:6]) or "no IDX file"
    return checked(raw, path, seen, "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz")


def checked(raw: Raw, path: Path, got: str, fits: str) -> Raw:
    """The parts, if training is among them and each has images and labels."""
    if "train" not in raw:
        raise ArgumentError("path", f"{path} has no training images and labels", got=got, fits=fits)
    for name, found in raw.items():
        for kind in ("image", "label"):
            if kind not in found:
                raise ArgumentError(
                    "path", f"{path}: the {name} part has no {kind}s", got=got, fits=fits
                )
    return raw
