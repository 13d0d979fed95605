"""Turn raw input into batches of a trained network, for `python -m tasks predict`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tasks.data.tables.wanted import Header
from tasks.data.walk import Walk, list_first
from tasks.errors import ArgumentError


@dataclass(frozen=True)
class Item:
    """One input of a prediction.

    Args:
        name: what people call it: a path, a text, `FILE.npz:x_test[12]`.
        sample: what `Reader.batch` takes; None if there is an error.
        error: why it cannot be read.
        note: what was decided about it, for standard error.
        size: height and width of an image as it is in its file.
    """

    name: str
    sample: Any = None
    error: str | None = None
    note: str | None = None
    size: tuple[int, int] | None = None


class Reader:
    """Base of the readers.

    A data module names its reader class in `reader`, and gives its arguments in `kept`; they are
    plain values, which the run folder keeps as JSON.

    A subclass says what an argument of the command line stands for (`items`) and how samples become
    a batch (`batch`), as in the test part of training. Nothing else knows about kinds of input: a
    new data module brings a new reader and changes no command. `items` does not raise for bad
    input: it yields an `Item` with an error, and continues.
    """

    targets: Sequence[str] = ()  # the names of the numbers that are predicted

    def to_units(self, value: Tensor) -> Tensor:
        """Return predicted numbers (batch, targets) in the units of the data."""
        raise NotImplementedError

    @classmethod
    def open(cls, place: Path, kept: dict[str, Any]) -> "Reader":
        """Return the reader of a finished run.

        Args:
            place: the run folder.
            kept: the arguments from its data module.
        """
        return cls(**kept)

    def files_below(self, folder: Path) -> list[Path]:
        """Return the files below a folder; hidden ones are reported on standard error."""
        walk = Walk(folder)
        if walk.left_out:
            text = f"{folder}: left out {len(walk.left_out)}: {list_first(walk.left_out)}"
            print(text, file=sys.stderr)
        return walk.files

    def ask(self, question: str) -> None:
        """Set the question of every item; raises ArgumentError if the data have no questions."""
        raise ArgumentError(
            "question", "this run answers no questions", fits="a run of task=answer"
        )

    def choose(self, text: str | None, header: Header) -> None:
        """Set the column of the texts, and whether tables have a header.

        Raises:
            ArgumentError: the reader reads no tables of texts.
        """
        raise ArgumentError(
            "text", "this run reads no tables of texts", fits="a run of data=labelled"
        )

    def compare(self, captions: Sequence[str]) -> None:
        """Set the texts that images are compared with.

        Raises:
            ArgumentError: the run compares no texts, or one cannot be read.
        """
        raise ArgumentError(
            "caption", "this run compares no texts", fits="a run of task=contrast_pairs"
        )

    def items(self, given: str) -> Iterator[Item]:
        """Yield what an argument stands for, in a fixed order: a file, a folder's files, a text."""
        raise NotImplementedError

    def lines(self, lines: Iterable[str]) -> Iterator[Item]:
        """Yield what the lines of standard input stand for; each is an argument."""
        for line in lines:
            yield from self.items(line.rstrip("\r\n"))

    def batch(self, samples: list[Any]) -> dict[str, Tensor]:
        """Return the inputs of the network by name; the first axis is the samples."""
        raise NotImplementedError


def existing_path(given: str) -> Path | None:
    """Return the file or folder of a name; None if there is none, as for a text."""
    try:
        path = Path(given).expanduser()
        # an empty name would be the working directory
        if given.strip() and not is_root(path) and path.exists():
            return path
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, no such user
        pass
    return None


def is_root(path: Path) -> bool:
    """Whether a path is the root of a file system or a drive, which nobody means to read whole."""
    full = path.resolve()
    return full == full.parent


def without_path(text: str, path: Path) -> str:
    """Return a message without the path that it begins with, as the item has it as its name."""
    return text.replace(f"{path} ", "").replace(f"{path}: ", "")
