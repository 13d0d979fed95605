"""What every data module has in common: it reads once, says what it read, and keeps what prediction
needs.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
from torch import Tensor

from blocks.support.files import read_file
from tasks.data.readers.base import Reader
from tasks.data.text.tokenizer import Tokenizer
from tasks.errors import ArgumentError

READER, TOKENIZER = "reader.json", "tokenizer.json"


@dataclass(frozen=True)
class RawSample:
    """One sample before normalisation and tokenisation, for people to look at.

    Args:
        image: (channels, height, width) in [0, 1].
        text: a text, or a question about the image.
        signal: (tokens,), the values of a signal.
    """

    image: Tensor | None = None
    text: str | None = None
    signal: Tensor | None = None


class DataModule(pl.LightningDataModule):
    """Base of the data modules. A subclass reads, and makes the loaders of its parts.

    `reader` is the class that makes batches of raw input for a trained network, None where there is
    none; `kept` gives its arguments. `noun` is the column of predictions.csv that `names` fills.
    """

    quick: ClassVar[bool] = (
        False  # whether reading takes no longer than a second: made, or part of a package
    )
    reader: ClassVar[type[Reader] | None] = None
    noun: ClassVar[str] = "file"

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []  # what a user should know about the data
        self.decided = ""  # the note that says how a table was read
        self.classes: list[str] = []  # by number, where samples have classes
        self.tokenizer: Any = (
            None  # of a finished run, set before reading; otherwise trained on the training part
        )

    def read(self) -> None:
        """Read the data, once; raises ArgumentError for what cannot be read."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """What the network has to know: shapes, lengths, vocabulary, the number of classes."""
        raise NotImplementedError

    def sizes(self) -> dict[str, int]:
        """Number of samples in each part."""
        raise NotImplementedError

    def names(self, part: str) -> list[str] | None:
        """What people call each sample of a part: its file, its text. None where they have no
        names.
        """
        return None

    def raw_sample(self, part: str, index: int) -> RawSample:
        """Return one sample as it was read, for the report."""
        raise NotImplementedError

    def reading(self, trainer: pl.Trainer | None) -> str:
        """Who reads the data beside the process that trains, in a few words; nobody where they are
        held in memory.
        """
        return ""

    def kept(self) -> dict[str, Any]:
        """The arguments of the reader as plain values: what was measured on the training part,
        sizes, lengths.
        """
        return {}

    def save(self, place: Path) -> None:
        """Leave in the run folder what a trained network needs when the data are gone."""
        if self.tokenizer is not None:
            self.tokenizer.save(place / TOKENIZER)
        if self.reader is not None:
            content = json.dumps(
                {"classes": self.classes, "reader": self.kept()}, indent=1, ensure_ascii=False
            )
            (place / READER).write_text(content + "\n", encoding="utf-8", errors="backslashreplace")

    def restore(self, place: Path) -> None:
        """Take from the run folder, before reading, what must be as it was in training."""
        if (place / TOKENIZER).exists():
            self.tokenizer = Tokenizer.load(place / TOKENIZER)

    def share(self) -> tuple[int, int]:
        """Which part of the data this process sees, and of how many; devices that divide layers see
        the same.
        """
        found = (
            getattr(self.trainer.strategy, "distributed_sampler_kwargs", None)
            if self.trainer
            else None
        )
        return (found["rank"], found["num_replicas"]) if found else (0, 1)

    def setup(self, stage: str) -> None:
        self.read()


def read_kept(place: Path) -> dict[str, Any]:
    """What `DataModule.save` left in a run folder: the names of the "classes", and the arguments of
    the "reader".
    """
    path = place / READER
    try:
        kept = json.loads(read_file(path))
        return {"reader": dict(kept["reader"]), "classes": [str(name) for name in kept["classes"]]}
    except FileNotFoundError as error:
        fix = "train it again: older runs do not keep it"
        raise ArgumentError(
            "run", f"{place} has no {READER}, which tells what its data were", fix=fix
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArgumentError("run", f"{path} is damaged: {error}", fix="take another run") from error
