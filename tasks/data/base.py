"""The base of the data modules: read once, state facts, and save what prediction needs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from blocks.support.files import read_file
from tasks.data.readers.base import Reader
from tasks.data.sampler import Order
from tasks.data.split import stratify
from tasks.data.text.tokenizer import Tokenizer
from tasks.errors import ArgumentError

READER, TOKENIZER = "reader.json", "tokenizer.json"


@dataclass(frozen=True)
class RawSample:
    """One sample before normalisation and tokenisation, for the report.

    Args:
        image: (channels, height, width) in [0, 1].
        text: a text, or a question about the image.
        signal: (tokens,), the values of a signal.
    """

    image: Tensor | None = None
    text: str | None = None
    signal: Tensor | None = None


class DataModule:
    """Base of the data modules. A subclass reads the data and returns the loaders of its parts.

    It does not import Lightning, whose class `tasks.lightning.Data` puts around it for a training.

    Attributes:
        trainer: Lightning's trainer, once a training or a test has begun.
        quick: whether reading takes at most a second, as for generated data.
        reader: the class that makes batches of raw input for a trained network, if there is one.
        noun: the column of predictions.csv that `names` fills.
        notes: what the user should know about the data.
        classes: the names of the classes by number, where samples have classes.
        tokenizer: of a finished run, set before reading; otherwise trained on the training part.
        seed: seed of the order of the samples.
        sampling: None: each training sample once an epoch; balanced: each class equally often.
        batch_axes: entry of a batch that is no input of a network -> its axes after the batch,
            whose sizes are facts.
    """

    seed = 0
    batch_axes: ClassVar[Mapping[str, tuple[str, ...]]] = {"label": ()}
    sampling: Literal["balanced"] | None = None

    quick: ClassVar[bool] = False
    reader: ClassVar[type[Reader] | None] = None
    noun: ClassVar[str] = "file"

    def __init__(self) -> None:
        self.trainer: Any = None
        self.notes: list[str] = []
        self.classes: list[str] = []
        self.tokenizer: Any = None

    @classmethod
    def is_quick(cls, section: Mapping[str, Any]) -> bool:
        """Return whether the data of a section `data` of the YAML are read within a second."""
        return cls.quick

    def read(self) -> None:
        """Read the data, once.

        Raises:
            ArgumentError: the data cannot be read.
        """
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """Return what the network depends on: shapes, lengths, vocabulary, number of classes."""
        raise NotImplementedError

    def sizes(self) -> dict[str, int]:
        """Return the number of samples in each part."""
        raise NotImplementedError

    def names(self, part: str) -> list[str] | None:
        """Return the name of each sample of a part, e.g. its file; None where they have none."""
        return None

    def raw_sample(self, part: str, index: int) -> RawSample:
        """Return one sample as it was read, for the report; an empty one cannot be shown."""
        return RawSample()

    def reading(self, trainer: Any) -> str:
        """Return which other processes read the data, in a few words; empty for data in memory."""
        return ""

    def reader_arguments(self) -> dict[str, Any]:
        """Return the arguments of the reader as plain values: statistics of the training part,
        sizes, lengths.
        """
        return {}

    def save(self, place: Path) -> None:
        """Write into the run folder what prediction needs without the data."""
        if self.tokenizer is not None:
            self.tokenizer.save(place / TOKENIZER)
        if self.reader is not None:
            entries = {"classes": self.classes, "reader": self.reader_arguments()}
            content = json.dumps(entries, indent=1, ensure_ascii=False)
            (place / READER).write_text(content + "\n", encoding="utf-8", errors="backslashreplace")

    def restore(self, place: Path) -> None:
        """Load from the run folder, before reading, what must be as in training."""
        if (place / TOKENIZER).exists():
            self.tokenizer = Tokenizer.load(place / TOKENIZER)

    def training_labels(self) -> Tensor:
        """Return the classes of the training samples: (samples,), or (samples, classes) of several
        labels.
        """
        parts: Any = getattr(self, "parts")  # noqa: B009
        return parts["train"]["label"]

    def share(self) -> tuple[int, int]:
        """Return the number of the share of the data that this process reads, and the number of
        shares. Devices that split a layer read the same share.
        """
        found = None
        if self.trainer:
            found = getattr(self.trainer.strategy, "distributed_sampler_kwargs", None)
        if not found:
            return 0, 1
        return found["rank"], found["num_replicas"]

    def order(self, part: str, *, shuffle: bool | None = None) -> Order:
        """Return the order of the samples of a part that this process reads.

        Args:
            part: train, val or test.
            shuffle: a new order in each epoch; None for the training only.
        """
        rank, world = self.share()
        is_training = part == "train"
        if shuffle is None:
            shuffle = is_training
        strata = None
        if is_training and shuffle and self.sampling == "balanced":
            strata = stratify(self.training_labels())
        return Order(
            self.sizes()[part],
            shuffle=shuffle,
            seed=self.seed,
            rank=rank,
            world=world,
            strata=strata,
        )

    def loader(self, part: str) -> Any:
        """Return the batches of a part; those of the training are shuffled and augmented."""
        raise NotImplementedError

    def plain_loader(self, part: str) -> Any:
        """Return the batches of a part in the order of the data, without augmentation."""
        raise NotImplementedError

    def reads_in_order(self) -> bool:
        """Return whether there is a `plain_loader`."""
        return type(self).plain_loader is not DataModule.plain_loader

    def setup(self, stage: str) -> None:
        self.read()

    def train_dataloader(self) -> Any:
        return self.loader("train")

    def val_dataloader(self) -> Any:
        return self.loader("val")

    def test_dataloader(self) -> Any:
        return self.loader("test")


def read_reader_file(place: Path) -> dict[str, Any]:
    """Return what `DataModule.save` wrote into a run folder: the names of the "classes", and the
    arguments of the "reader".

    Raises:
        ArgumentError: the file is missing or damaged.
    """
    path = place / READER
    try:
        saved = json.loads(read_file(path))
        return {"reader": dict(saved["reader"]), "classes": list(map(str, saved["classes"]))}
    except FileNotFoundError as error:
        problem = f"{place} has no {READER}, which describes its data"
        fix = "train it again: older runs do not write it"
        raise ArgumentError("run", problem, fix=fix) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArgumentError("run", f"{path} is damaged: {error}", fix="take another run") from error
