"""Read an image and a question for prediction."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks.data.base import TOKENIZER
from tasks.data.images.decode import center_crop, open_image, to_tensor
from tasks.data.readers.base import Item, Reader, without_path
from tasks.data.sequences.base import pad_rows
from tasks.data.tables.cells import strip_cells
from tasks.data.tables.rows import read_table
from tasks.data.text.tokenizer import PAD, UNKNOWN, Tokenizer
from tasks.errors import ArgumentError

TABLES = (".csv", ".jsonl")


class QuestionReader(Reader):
    """Image files with the question of `--question`, or tables with columns image and question.

    Args:
        tokenizer: of the run.
        height: of an image as the network gets it; others are cropped to the centre and scaled,
            and made grey.
        width: the same.
        length: the most tokens of a question.
    """

    def __init__(self, *, tokenizer: Tokenizer, height: int, width: int, length: int):
        self.tokenizer, self.size, self.length = tokenizer, (height, width), length
        self.question: str | None = None

    @classmethod
    def open(cls, place: Path, kept: dict[str, Any]) -> "QuestionReader":
        return cls(tokenizer=Tokenizer.load(place / TOKENIZER), **kept)

    def ask(self, question: str) -> None:
        self.question = question
        _, error = self._encode(question)
        if error:
            raise ArgumentError("question", f"the question cannot be read: {error}", got=question)

    def items(self, given: str) -> Iterator[Item]:
        path = Path(given).expanduser()
        if path.suffix.lower() in TABLES:
            yield from self._table(path)
        elif self.question is None:
            fix = '--question "how many sevens", or a table with image and question'
            yield Item(given, error=f"no question: {fix}")
        else:
            yield self._item(given, path, self.question)

    def _table(self, path: Path) -> Iterator[Item]:
        try:
            rows = read_named_rows(path)
        except ArgumentError as error:
            yield Item(str(path), error=without_path(str(error), path))
            return
        for number, row in enumerate(rows, 1):
            name = f"{path}[{number}]"
            image, question = row.get("image"), row.get("question")
            if image and question:
                yield self._item(name, path.parent / image, question)
            else:
                fits = "columns of these names"
                yield Item(name, error=f"it needs an image and a question; fits: {fits}")

    def _item(self, name: str, path: Path, question: str) -> Item:
        tokens, error = self._encode(question)
        if error:
            return Item(name, error=error)
        if not path.exists():
            return Item(name, error=f"no such file: {path}")
        try:
            image = to_tensor(center_crop(open_image(path, 1), self.size), 1)
        except (RuntimeError, OSError, ValueError) as broken:
            return Item(name, error=str(broken))
        return Item(name, (image, tokens))

    def _encode(self, question: str) -> tuple[list[int], str | None]:
        """Return the tokens of a question, or what is wrong with it."""
        words = question.lower().replace("?", " ").replace(".", " ").split()
        if not words:
            return [], "the question is empty"
        ids = self.tokenizer.encode(" ".join(words))
        unknown = []
        for word in words:
            starts = word == words[0] and UNKNOWN not in ids[:1]  # known without a blank before it
            if UNKNOWN in self.tokenizer.encode(f" {word}") and not starts:
                unknown.append(repr(word))
        if unknown or UNKNOWN in ids:
            return [], f"training never saw {', '.join(unknown) or 'a word where it stands'}"
        if len(ids) > self.length:
            return [], f"{len(ids)} words, the longest question of training had {self.length}"
        return ids, None

    def batch(self, samples: list[Any]) -> dict[str, Tensor]:
        images, questions = zip(*samples, strict=True)
        tokens = pad_rows(questions, max(map(len, questions)), PAD)
        return {"image": torch.stack(images), "question": tokens, "question_mask": tokens != PAD}


def read_named_rows(path: Path) -> list[dict[str, str | None]]:
    """Return the rows of a table by the names of its columns; a bad line is empty.

    Raises:
        ArgumentError: the file cannot be read, or is no table.
    """
    table = read_table(path, 2)
    names, rows = table.keys, table.rows
    if names is None and rows:
        names, rows = strip_cells(rows[0][1]), rows[1:]
    found: dict[int, dict[str, str | None]] = {line: {} for line, _ in table.bad}
    for line, cells in rows:
        found[line] = dict(zip(names or [], cells, strict=False))
    return [found[line] for line in sorted(found)]
