"""MNIST, Fashion-MNIST and CIFAR-10 by name, where they lie on this machine."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tasks.data.images.arrays import Arrays
from tasks.data.published import cifar
from tasks.data.walk import visible_children
from tasks.errors import ArgumentError, must_be_one_of

KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
ROOTS = ("data", "~/.keras/datasets")
IDX = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CIFAR = (*cifar.FILES["train"], *cifar.FILES["test"])


@dataclass(frozen=True)
class Published:
    """A published data set.

    Args:
        title: its name.
        image: channels, height and width.
        classes: the names of its classes.
        places: where it usually lies, below a root: a .npz file, or a folder.
        files: what a folder has to contain.
        fits: the same in words.
        fetch: the command that fetches it into {root}.
    """

    title: str
    image: tuple[int, int, int]
    classes: tuple[str, ...]
    places: tuple[str, ...]
    files: tuple[str, ...]
    fits: str
    fetch: str


PUBLISHED = {
    "mnist": Published(
        "MNIST",
        (1, 28, 28),
        tuple("0123456789"),
        ("mnist.npz", "mnist", "MNIST/raw"),
        IDX,
        f"a .npz file, or a folder with {', '.join(IDX)}, compressed or not",
        f"curl --create-dirs -o {{root}}/mnist.npz {KERAS}/mnist.npz",
    ),
    "fashion_mnist": Published(
        "Fashion-MNIST",
        (1, 28, 28),
        (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        ("fashion_mnist.npz", "fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
        IDX,
        f"a .npz file, or a folder with {', '.join(IDX)}, compressed or not",
        "curl --create-dirs --output-dir {root}/fashion_mnist --remote-name-all "
        f"'{KERAS}/{{{{train,t10k}}}}-{{{{images-idx3,labels-idx1}}}}-ubyte.gz'",
    ),
    "cifar10": Published(
        "CIFAR-10",
        (3, 32, 32),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        ("cifar-10-batches-bin", "cifar10"),
        CIFAR,
        f"a folder with the binary version: {', '.join(CIFAR)}",
        "mkdir -p {root} && curl https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
        " | tar xz -C {root}",
    ),
}


class Named(Arrays):
    """A published data set of images, which is read where it lies; nothing is downloaded.

    Args:
        name: mnist, fashion_mnist or cifar10.
        path: the data set, or a folder that has it in one of the usual places; None: these places
            below `data` and `~/.keras/datasets`.

    The other arguments are those of `InMemoryImages`.

    Raises:
        ArgumentError: when read, if the data set is not there; the message names the places, the
            files and the command that fetches them.
    """

    def __init__(
        self,
        *,
        name: Literal["mnist", "fashion_mnist", "cifar10"],
        path: str | None = None,
        **options: Any,
    ):
        must_be_one_of("name", name, tuple(PUBLISHED))
        super().__init__(path or ROOTS[0], **options)
        self.published, self.given = PUBLISHED[name], path

    def _read_raw(self) -> dict[str, dict[str, np.ndarray]]:
        self.path = find_place(self.published, self.given)
        self.notes.append(f"{self.published.title} is read from {self.path}")
        if self.published.files == CIFAR:
            raw = cifar.read_cifar(self.path)
            self.values = np.arange(cifar.CLASSES)
        else:
            raw = super()._read_raw()
        self._check(raw)
        self.classes = list(self.published.classes)
        return raw

    def _check(self, raw: dict[str, dict[str, np.ndarray]]) -> None:
        """Raise an ArgumentError unless images and labels are those of this data set."""
        text = f"{self.path} is not {self.published.title}"
        if "test" not in raw:
            raise ArgumentError("path", f"{text}: it has no test part", fits=self.published.fits)
        for part, arrays in raw.items():
            size, expected = arrays["image"].shape[1:], self.published.image
            if size not in (expected, expected[1:]):
                raise ArgumentError(
                    "path",
                    f"{text}: the images of the {part} part have another shape",
                    got=" x ".join(map(str, size)),
                    fits=" x ".join(map(str, expected)),
                )
        values = self.values.tolist()
        if values != list(range(len(self.published.classes))):
            got = f"the labels {', '.join(map(str, values[:12]))}"
            raise ArgumentError("path", f"{text}: its classes differ", got=got, fits="0 to 9")


def find_place(published: Published, path: str | None) -> Path:
    """Return where a data set lies.

    Args:
        published: the data set.
        path: itself, or a folder that has it in one of its usual places; None: below `ROOTS`.

    Raises:
        ArgumentError: no place has all of its files.
    """
    if path is None:
        root, places = Path(ROOTS[0]), []
        roots = [Path(each).expanduser() for each in ROOTS]
    else:
        root = Path(path).expanduser()
        roots, places = [root], [root]
        if root.suffix == ".npz":
            root, roots = root.parent, []
    for each in roots:
        places += [each / place for place in published.places]
    lacking = []
    for place in places:
        missing = find_missing(published, place)
        if not missing:
            return place
        if len(missing) < len(published.files):
            lacking.append(f"{place} lacks {', '.join(missing)}")
        elif (place / "data_batch_1").is_file():
            lacking.append(f"{place} has the Python version, which is pickled and could run code")
    raise ArgumentError(
        "path",
        f"{published.title} is not on this machine",
        got="; ".join([f"looked for {', '.join(map(str, places))}", *lacking]),
        fits=published.fits,
        fix=published.fetch.format(root=shlex.quote(str(root))),
    )


def find_missing(published: Published, place: Path) -> list[str]:
    """Return the files that a place lacks; none for a .npz file of a data set that has one."""
    if place.exists() and not place.is_dir() and published.files == IDX:
        return []
    found = set()
    if place.is_dir():
        for file in visible_children(place):
            found.add(file.name.removesuffix(".gz").replace(".idx", "-idx"))
    return [name for name in published.files if name not in found]
