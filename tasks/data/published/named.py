"""MNIST, Fashion-MNIST and CIFAR-10 by name, where they lie on this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tasks.data.images.arrays import Arrays
from tasks.data.published.cifar import read_cifar
from tasks.errors import ArgumentError, must_be_one_of


@dataclass(frozen=True)
class Known:
    """A published data set.

    Args:
        title: its name.
        places: where it usually lies.
        image: channels, height and width.
        classes: the names of its classes.
        fetch: the command that fetches it.
    """

    title: str
    places: tuple[str, ...]
    image: tuple[int, int, int]
    classes: tuple[str, ...]
    fetch: str


KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
KNOWN = {
    "mnist": Known(
        "MNIST",
        ("data/mnist.npz", "data/mnist", "data/MNIST/raw", "~/.keras/datasets/mnist.npz"),
        (1, 28, 28),
        tuple("0123456789"),
        f"curl --create-dirs -o data/mnist.npz {KERAS}/mnist.npz",
    ),
    "fashion_mnist": Known(
        "Fashion-MNIST",
        ("data/fashion_mnist", "data/FashionMNIST/raw", "~/.keras/datasets/fashion-mnist"),
        (1, 28, 28),
        (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        f'curl --create-dirs --output-dir data/fashion_mnist --remote-name-all "{KERAS}/'
        '{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"',
    ),
    "cifar10": Known(
        "CIFAR-10",
        ("data/cifar10", "data/cifar-10-batches-bin"),
        (3, 32, 32),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        "mkdir -p data && curl https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
        " | tar xz -C data",
    ),
}


class Named(Arrays):
    """A published data set of images. Nothing is downloaded: where it is missing, the error names
    the places and the command that fetches it.

    Args:
        name: mnist, fashion_mnist or cifar10.
        path: a folder or a .npz file; None: the usual places.
        options: those of `Arrays`.
    """

    def __init__(
        self,
        *,
        name: Literal["mnist", "fashion_mnist", "cifar10"],
        path: str | None = None,
        **options: Any,
    ):
        must_be_one_of("name", name, tuple(KNOWN))
        self.known, self.is_cifar = KNOWN[name], name == "cifar10"
        super().__init__(str(find_place(self.known, path)), **options)

    def _read_raw(self) -> dict[str, dict[str, np.ndarray]]:
        if not self.path.exists():
            raise missing(self.known, [str(self.path)])
        if not self.is_cifar:
            raw = super()._read_raw()
        else:
            raw = read_cifar(self.path)
            self.values = np.arange(len(self.known.classes))
        size = raw["train"]["image"].shape[1:]
        if size not in (self.known.image, self.known.image[1:]):
            text = f"{self.path} is not {self.known.title}: its images have another shape"
            fits = " x ".join(map(str, self.known.image))
            raise ArgumentError("path", text, got=" x ".join(map(str, size)), fits=fits)
        if self.values.tolist() != list(range(len(self.known.classes))):
            text = f"{self.path} is not {self.known.title}: its classes differ"
            raise ArgumentError("path", text, got=str(self.values.tolist()), fits="0 to 9")
        self.classes = list(self.known.classes)
        return raw


def find_place(known: Known, path: str | None) -> Path:
    """Return the given place, or the first usual one that exists, or the first of all."""
    if path is not None:
        return Path(path).expanduser()
    places = [Path(place).expanduser() for place in known.places]
    for place in places:
        if place.exists():
            return place
    raise missing(known, list(known.places))


def missing(known: Known, places: list[str]) -> ArgumentError:
    """Return the error that says where a data set was looked for, and what fetches it."""
    return ArgumentError(
        "path",
        f"{known.title} is not on this machine",
        got=f"looked for {', '.join(places)}",
        fits="data.path=FOLDER_OR_FILE",
        fix=known.fetch,
    )
