"""An image and a question as people have them for prediction."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks.data.base import TOKENIZER
from tasks.data.images.decode import as_tensor, middle, opened
from tasks.data.readers.base import Item, Reader
from tasks.data.tables.rows import read_table
from tasks.data.text.tokenizer import PAD, UNKNOWN, Tokenizer
from tasks.errors import ArgumentError

TABLES = (".csv", ".jsonl")


class QuestionReader(Reader):
    """Image files with the question of `--question`, or tables (.csv, .jsonl) with the columns
    image and question.

    Args:
        tokenizer: of the run.
        height: of an image as the network gets it; others are cut to the middle and scaled, and
            made grey.
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
        _, error = self._tokens(question)
        if error:
            raise ArgumentError("question", f"the question cannot be read: {error}", got=question)

    def items(self, given: str) -> Iterator[Item]:
        path = Path(given).expanduser()
        if path.suffix.lower() in TABLES:
            yield from self._table(path)
        elif self.question is None:
            yield Item(
                given,
                error='no question: --question "how many sevens", or a table with image and '
                "question",
            )
        else:
            yield self._item(given, path, self.question)

    def _table(self, path: Path) -> Iterator[Item]:
        try:
            found = rows(path)
        except ArgumentError as error:
            yield Item(str(path), error=str(error).replace(f"{path} ", ""))
            return
        for number, row in enumerate(found, 1):
            name = f"{path}[{number}]"
            if not (row.get("image") and row.get("question")):
                yield Item(
                    name, error="it needs an image and a question; fits: columns of these names"
                )
            else:
                yield self._item(name, path.parent / str(row["image"]), str(row["question"]))

    def _item(self, name: str, path: Path, question: str) -> Item:
        tokens, error = self._tokens(question)
        if error:
            return Item(name, error=error)
        if not path.exists():
            return Item(name, error=f"no such file: {path}")
        try:
            image = as_tensor(middle(opened(path, 1), self.size), 1)
        except (RuntimeError, OSError, ValueError) as broken:
            return Item(name, error=str(broken))
        return Item(name, (image, tokens))

    def _tokens(self, question: str) -> tuple[list[int], str | None]:
        """The tokens of a question, or what is wrong with it."""
        words = question.lower().replace("?", " ").replace(".", " ").split()
        ids = self.tokenizer.encode(" ".join(words))
        strange = [word for word in words if UNKNOWN in self.tokenizer.encode(f" {word}")]
        strange = [word for word in strange if word != words[0] or UNKNOWN in ids[:1]]
        if not words:
            return [], "the question is empty"
        if strange or UNKNOWN in ids:
            return (
                [],
                f"training never saw {', '.join(map(repr, strange)) or 'a word where it stands'}",
            )
        if len(ids) > self.length:
            return [], f"{len(ids)} words, the longest question of training had {self.length}"
        return ids, None

    def batch(self, samples: list[Any]) -> dict[str, Tensor]:
        images, questions = zip(*samples, strict=True)
        longest = max(map(len, questions))
        tokens = torch.tensor([[*ids, *[PAD] * (longest - len(ids))] for ids in questions])
        return {"image": torch.stack(images), "question": tokens, "question_mask": tokens != PAD}


def rows(path: Path) -> list[dict[str, str | None]]:
    """The rows of a table by the names of its columns, empty for a line that is none; raises
    ArgumentError.
    """
    table = read_table(path, 2)
    names, found = table.keys, table.rows
    if names is None and found:
        names, found = [(cell or "").strip() for cell in found[0][1]], found[1:]
    named = [(line, dict(zip(names or [], cells, strict=False))) for line, cells in found]
    bad: list[tuple[int, dict[str, str | None]]] = [(line, {}) for line, _ in table.bad]
    return [row for _, row in sorted(named + bad, key=lambda pair: pair[0])]
