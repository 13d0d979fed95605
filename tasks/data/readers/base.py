"""How raw input becomes what a trained network takes: what `python -m tasks predict` asks of each
kind of data.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tasks.data.tables.wanted import Header
from tasks.data.walk import Walk, listed
from tasks.errors import ArgumentError


@dataclass(frozen=True)
class Item:
    """One thing to judge.

    Args:
        name: what people call it: a path, a text, `FILE.npz:x_test[12]`.
        sample: what `Reader.batch` takes; None where there is an error.
        error: why it cannot be judged.
        note: what was decided about it, for standard error.
    """

    name: str
    sample: Any = None
    error: str | None = None
    note: str | None = None


class Reader:
    """Base of the readers. A data module names its own in `reader`, and in `kept` the arguments
    to make it again.

    A subclass says what an argument of the command line stands for (`items`) and how samples become
    a batch (`batch`), just as in the test part of training. Nothing else knows about kinds of
    input: a new data module brings a new reader and changes no command. `items` raises nothing for
    bad input: it gives an `Item` with an error, and goes on.

    Args: plain values, as JSON has them; they are kept in the run folder.
    """

    @classmethod
    def open(cls, place: Path, kept: dict[str, Any]) -> "Reader":
        """The reader of a finished run: its folder, and what its data module kept."""
        return cls(**kept)

    def below(self, folder: Path) -> list[Path]:
        """The files below a folder; what is hidden is left out, with a line on standard error."""
        walk = Walk(folder)
        if walk.left_out:
            print(
                f"{folder}: left out {len(walk.left_out)}: {listed(walk.left_out)}", file=sys.stderr
            )
        return walk.files

    def ask(self, question: str) -> None:
        """Take the question that goes with every item; raises ArgumentError where the data have
        none.
        """
        raise ArgumentError(
            "question", "this run answers no questions", fits="a run of task=answer"
        )

    def choose(self, text: str | None, header: Header) -> None:
        """Take the column of the texts and whether tables have a header; raises ArgumentError where
        there are none.
        """
        raise ArgumentError(
            "text", "this run reads no tables of texts", fits="a run of data=labelled"
        )

    def items(self, given: str) -> Iterator[Item]:
        """What an argument stands for: a file, a folder with many, a text. In an order that does
        not change.
        """
        raise NotImplementedError

    def lines(self, lines: Iterable[str]) -> Iterator[Item]:
        """What the lines of standard input stand for: arguments, one a line."""
        for line in lines:
            yield from self.items(line.rstrip("\r\n"))

    def batch(self, samples: list[Any]) -> dict[str, Tensor]:
        """The inputs of the network by name, the first axis the samples."""
        raise NotImplementedError


def existing(given: str) -> Path | None:
    """The file or folder of a name; None where there is none, as for a text that is no name at
    all.
    """
    try:
        path = Path(given).expanduser()
        fit = (
            given.strip() and not is_root(path) and path.exists()
        )  # nothing would be the folder where we stand
        return path if fit else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, no such user
        return None


def is_root(path: Path) -> bool:
    """Whether a path is the root of a file system or a drive, below which nobody means to read
    everything.
    """
    full = path.resolve()
    return full == full.parent
