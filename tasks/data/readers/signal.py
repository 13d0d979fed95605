"""Read signals for prediction: a CSV file, one signal a line."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blocks.support.files import read_file
from tasks.data.readers.base import Item, Reader


class SignalReader(Reader):
    """Read signals from .csv files and from standard input.

    Each line is one signal: numbers between commas, semicolons, blanks or tabs.

    Args:
        tokens: how many numbers a signal has.
    """

    def __init__(self, tokens: int):
        self.tokens = tokens

    def items(self, given: str) -> Iterator[Item]:
        path = Path(given)
        try:
            lines = read_file(path).decode("utf-8-sig").splitlines()
        except OSError as error:
            yield self._unreadable(given, str(error.strerror))
        except UnicodeDecodeError:
            yield self._unreadable(given, "it is no text")
        else:
            yield from self._numbered(lines, f"{given}:")

    def _unreadable(self, given: str, reason: str) -> Item:
        fits = f"a CSV file, {self.tokens} numbers a line"
        return Item(given, error=f"{reason}; what fits: {fits}")

    def lines(self, lines: Iterable[str]) -> Iterator[Item]:
        yield from self._numbered(lines, "line ")

    def _numbered(self, lines: Iterable[str], prefix: str) -> Iterator[Item]:
        for number, line in enumerate(lines, 1):
            cells = line.replace(",", " ").replace(";", " ").split()
            if number == 1 and cells and not any(map(is_number, cells)):
                continue  # the names of the columns
            if cells:
                yield self._item(f"{prefix}{number}", cells)

    def _item(self, name: str, cells: list[str]) -> Item:
        for cell in cells:
            if not is_number(cell):
                return Item(name, error=f"{cell!r} is no number")
        if len(cells) != self.tokens:
            return Item(name, error=f"{len(cells)} numbers; a signal of this run has {self.tokens}")
        return Item(name, sample=list(map(float, cells)))

    def batch(self, samples: list[Any]) -> dict[str, Tensor]:
        return {"signal": torch.tensor(samples)[:, :, None]}


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number."""
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
