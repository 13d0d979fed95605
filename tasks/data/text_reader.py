"""Texts from the command line, from tables and from standard input, as a trained network takes them."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from tasks.data.pairs import TEXTS, Row, chosen, column_names, parsed, read_text
from tasks.data.reader import Item, Reader, existing
from tasks.data.sequences import padded
from tasks.data.tokenizer import PAD, Tokenizer
from tasks.errors import ArgumentError

TABLES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson")
LINES = (".txt", ".text")


class TextReader(Reader):
    """An argument that names a file is read: tables row by row, .txt line by line; any other argument is a text itself.

    A folder is written with a slash, `reviews/`: a single word is a text, whatever lies around.

    Args:
        tokenizer: that of training.
        length: the most tokens of a text; what is longer is cut, as in training.
        column: the column of the texts in the training file; None where it had no names.
    """

    def __init__(self, tokenizer: Tokenizer, *, length: int, column: str | None = None):
        self.tokenizer, self.length, self.column = tokenizer, length, column

    @classmethod
    def open(cls, place: Path, kept: dict[str, Any]) -> "TextReader":
        return cls(Tokenizer.load(place / "tokenizer.json"), **kept)

    def items(self, given: str) -> Iterator[Item]:
        kind = Path(given).suffix.lower()
        path = existing(given) if kind or "/" in given or os.sep in given else None
        if path is None:
            looks_like_a_file = kind in (*TABLES, *LINES) and not any(map(str.isspace, given))
            yield Item(given, error="no such file") if looks_like_a_file else self._text(given)
        elif path.is_dir():
            files = [file for file in sorted(path.rglob("*")) if is_file_of_texts(file)]
            for file in files:
                yield from self.items(str(file))
            if not files:
                yield Item(given, error=f"no texts in this folder; fits: {' '.join((*TABLES, *LINES))}")
        elif kind in (*TABLES, *LINES):
            yield from self._file(path)
        else:
            error = f"no file of texts: {path.suffix or 'no ending'}; fits: {' '.join((*TABLES, *LINES))}"
            yield Item(given, error=error)

    def lines(self, lines: Iterable[str]) -> Iterator[Item]:
        """Each line is a text, whatever files there are."""
        for line in lines:
            yield self._text(line.rstrip("\r\n"))

    def batch(self, samples: list[list[int]]) -> dict[str, Tensor]:
        tokens = padded(samples, max(map(len, samples)), PAD)
        return {"tokens": tokens, "padding_mask": tokens != PAD}

    def _text(self, text: str) -> Item:
        if not text.strip():
            return Item(text, error="an empty text")
        try:
            return Item(text, self.tokenizer.encode(text)[: self.length])
        except UnicodeEncodeError:  # an argument in another encoding than the terminal says
            return Item(text.encode("utf-8", "replace").decode(), error="a text that is not in UTF-8")

    def _file(self, path: Path) -> Iterator[Item]:
        try:
            if path.suffix.lower() in LINES:
                yield from self.lines(read_text(path).removesuffix("\n").split("\n"))
                return
            rows, bad = parsed(path)
            column = self._column(rows)
        except ArgumentError as error:
            got = f": {error.got}" if error.got else ""
            yield Item(str(path), error=error.problem.replace(f"{path} ", "").replace(f"{path}: ", "") + got)
            return
        found: list[tuple[int, list[str] | str]] = [*bad, *chosen(rows, [column])]
        for line, cells in sorted(found, key=lambda pair: pair[0]):
            yield Item(f"{path}:{line}", error=cells) if isinstance(cells, str) else self._text(cells[0])

    def _column(self, rows: list[Row]) -> str | int:
        """Where the texts stand: under the name of training, or a usual one, or first."""
        if not rows:
            raise ArgumentError("path", "an empty file")
        names = column_names(rows)
        known = {name.lower(): name for name in names}
        usual = [name for name in (self.column or "", *TEXTS) if name.lower() in known]
        if self.column in names or usual:
            return str(self.column) if self.column in names else known[usual[0].lower()]
        if isinstance(rows[0][1], list) and (self.column is None or len(names) == 1):
            return 0
        wanted = self.column or TEXTS[0]
        raise ArgumentError("path", f"no column {wanted}", got=", ".join(name[:30] for name in names[:12]))


def is_file_of_texts(path: Path) -> bool:
    """Whether a file found in a folder holds texts, by its name."""
    return path.suffix.lower() in (*TABLES, *LINES) and path.is_file() and not path.name.startswith(".")
