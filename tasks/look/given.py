"""What a network is to look at: a sample of the test, a picture that was drawn, a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from tasks.data.base import TOKENIZER
from tasks.data.readers.image import ImageReader
from tasks.data.readers.text import TextReader
from tasks.data.text.tokenizer import START, Tokenizer
from tasks.errors import ArgumentError
from tasks.run.evaluate import reopen_data
from tasks.run.load_run import Finished

LONGEST = 2000  # characters of a sentence
LARGEST = 256  # pixels of a side of a picture


@dataclass(frozen=True)
class Given:
    """An input of a network, and how it is shown.

    Args:
        batch: one row each, by name.
        image: (channels, height, width) in [0, 1].
        tokens: the names of the tokens.
        truth: the class, where it is known.
    """

    batch: Mapping[str, Tensor]
    image: Tensor | None = None
    tokens: Sequence[str] | None = None
    truth: str = ""


class Inputs:
    """Makes inputs for a run.

    Args:
        run: from `open_run`.
    """

    def __init__(self, run: Finished):
        self.run = run
        self._data: Any = None

    @property
    def kind(self) -> str:
        """What the network takes: "image", "text" or "sample", which is a row of the data alone."""
        if (self.run.folder / TOKENIZER).is_file() and "tokens" in self._names:
            return "text"
        if "image" in self.run.facts and self._names == ("image",):
            return "image"
        return "sample"

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.run.network.input_names)

    def keep_data(self, before: "Inputs") -> None:
        """Take over the data that were read for an earlier checkpoint of the same run."""
        self._data = before._data

    def draw(self, pixels: Sequence[Sequence[int]]) -> Given:
        """Return a picture of rows of grey values from 0 to 255.

        Raises:
            ArgumentError: the rows are no picture, or the network takes none.
        """
        widths = {len(row) for row in pixels}
        if len(widths) != 1 or not 0 < len(pixels) <= LARGEST or not 0 < max(widths) <= LARGEST:
            raise ArgumentError("pixels", f"no picture of at most {LARGEST} x {LARGEST} pixels")
        reader = self.run.reader
        if not isinstance(reader, ImageReader):
            raise ArgumentError("pixels", "this network takes no picture alone")
        values = torch.tensor(pixels, dtype=torch.float32).clamp(0, 255).byte()
        picture = Image.fromarray(values.numpy())
        if reader.channels == 3:
            picture = picture.convert("RGB")
        image = reader.fit(picture)
        return Given(reader.batch([image]), image=image)

    def read(self, sentence: str) -> Given:
        """Return a sentence.

        Raises:
            ArgumentError: the network takes none, or nothing is left of it.
        """
        text = sentence[:LONGEST]
        tokenizer = self.run.tokenizer
        if "classes" in self.run.facts and isinstance(self.run.reader, TextReader):
            (item,) = self.run.reader.lines([text])
            if item.error:
                raise ArgumentError("sentence", item.error)
            return Given(
                self.run.reader.batch([item.sample]), tokens=_names(tokenizer, item.sample)
            )
        most = int(self.run.facts["tokens"]["tokens"])
        numbers = [START, *tokenizer.encode(text)][:most]
        batch = {"tokens": torch.tensor([numbers])}
        if "padding_mask" in self._names:
            batch["padding_mask"] = torch.ones_like(batch["tokens"], dtype=torch.bool)
        return Given(batch, tokens=_names(tokenizer, numbers))

    def sample(self, index: int) -> Given:
        """Return a sample of the test.

        Raises:
            ArgumentError: there is none of this number.
            ConfigError: the data cannot be read.
        """
        if self._data is None:
            _, self._data = reopen_data(self.run, {})
        data = self._data
        if not 0 <= index < data.sizes()["test"]:
            fits = f"0 to {data.sizes()['test'] - 1}"
            raise ArgumentError("index", "no such sample", got=str(index), fits=fits)
        batch = read_row(data, index)
        truth, raw = "", data.raw_sample("test", index)
        label = batch.get("label")
        if label is not None and label.numel() == 1 and data.classes:
            truth = str(data.classes[int(label)])
        tokens = None
        if "tokens" in batch and data.tokenizer is not None:
            tokens = _names(data.tokenizer, batch["tokens"][0].tolist())
        return Given(batch, image=raw.image, tokens=tokens, truth=truth)


def read_row(data: Any, index: int) -> dict[str, Tensor]:
    """Return a sample of the test as a batch of one, without augmentation.

    Raises:
        ArgumentError: there is none of this number.
    """
    batches = data.loader("test")  # in the order of the data
    if data.reads_in_order():
        batches = data.plain_loader("test")
    seen = 0
    for batch in batches:
        size = len(next(iter(batch.values())))
        if index < seen + size:
            at = index - seen
            return {name: value[at : at + 1] for name, value in batch.items()}
        seen += size
    raise ArgumentError("index", "no such sample", got=str(index))


def _names(tokenizer: Tokenizer, numbers: Sequence[int]) -> list[str]:
    return [tokenizer.name(number) for number in numbers]
