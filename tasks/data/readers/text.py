"""Texts from the command line, from tables and from standard input, as a trained network takes
them.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from tasks.data.readers.base import Item, Reader, existing
from tasks.data.sequences.base import padded
from tasks.data.tables.columns import Layout, find_layout
from tasks.data.tables.rows import read_table, read_text
from tasks.data.tables.table import TABLES, Table
from tasks.data.tables.wanted import TEXTS, Header, Wanted
from tasks.data.text.tokenizer import PAD, Tokenizer
from tasks.errors import ArgumentError

LINES = (".txt", ".text")


class TextReader(Reader):
    """An argument that names a file is read: tables row by row, .txt line by line; any other
    argument is a text itself.

    A folder is written with a slash, `reviews/`: a single word is a text, whatever lies around.

    Args:
        tokenizer: that of training.
        length: the most tokens of a text; what is longer is cut, as in training.
        column: the column of the texts in the training file: its name, or its number from 1 where
            it had none.
    """

    def __init__(self, tokenizer: Tokenizer, *, length: int, column: str | int | None = None):
        self.tokenizer, self.length, self.column = tokenizer, length, column
        self.header: Header = "auto"
        self.asked: str | None = None

    @classmethod
    def open(cls, place: Path, kept: dict[str, Any]) -> "TextReader":
        return cls(Tokenizer.load(place / "tokenizer.json"), **kept)

    def choose(self, text: str | None, header: Header) -> None:
        self.asked, self.header = text, header

    def items(self, given: str) -> Iterator[Item]:
        kind = Path(given).suffix.lower()
        path = existing(given) if kind or "/" in given or os.sep in given else None
        if path is None:
            item = self._text(given)
            looks_like_a_path = kind in (*TABLES, *LINES) or "/" in given or os.sep in given
            if looks_like_a_path and item.error is None and not any(map(str.isspace, given)):
                item = replace(item, note="no such file or folder, so it is judged as a text")
            yield item
        elif path.is_dir():
            files = [file for file in self.below(path) if is_file_of_texts(file)]
            for file in files:
                yield from self.items(str(file))
            if not files:
                yield Item(
                    given, error=f"no texts in this folder; fits: {' '.join((*TABLES, *LINES))}"
                )
        elif kind in (*TABLES, *LINES):
            yield from self._file(path)
        else:
            error = (
                f"no file of texts: {path.suffix or 'no ending'}; fits: "
                f"{' '.join((*TABLES, *LINES))}"
            )
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
            return Item(
                text.encode("utf-8", "replace").decode(), error="a text that is not in UTF-8"
            )

    def _file(self, path: Path) -> Iterator[Item]:
        try:
            if path.suffix.lower() in LINES:
                yield from self.lines(read_text(path).removesuffix("\n").split("\n"))
                return
            table = read_table(path, 1)
            layout = self._layout(table)
        except ArgumentError as error:
            got = f": {error.got}" if error.got else ""
            yield Item(
                str(path),
                error=error.problem.replace(f"{path} ", "").replace(f"{path}: ", "") + got,
            )
            return
        note = f"{layout}; to overrule: --header, --text COLUMN" if layout.guessed else None
        found: list[tuple[int, list[str] | str]] = [*table.bad, *layout.cells()]
        for line, cells in sorted(found, key=lambda pair: pair[0]):
            item = (
                Item(f"{path}:{line}", error=cells)
                if isinstance(cells, str)
                else self._text(cells[0])
            )
            yield replace(item, note=note)
            note = None

    def _layout(self, table: Table) -> Layout:
        """Where the texts are: in the column that the user names, that of training, or the one that
        looks so.
        """
        if not table.rows:
            raise ArgumentError("path", "an empty file")
        usual = (self.column.lower(), *TEXTS) if isinstance(self.column, str) else TEXTS
        wanted = Wanted("text", self.asked, usual)
        layout = find_layout(table, [wanted], self.header)
        if layout.names is None and isinstance(self.column, int) and self.asked is None:
            layout = find_layout(
                table, [replace(wanted, given=min(self.column, table.width))], self.header
            )
        several = layout.names is not None and len(layout.names) > 1
        if several and layout.guessed and isinstance(self.column, str):
            names = ", ".join(name[:30] for name in layout.names or [])
            raise ArgumentError("path", f"no column {self.column}", got=names, fix="--text COLUMN")
        return layout


def is_file_of_texts(path: Path) -> bool:
    """Whether a file found in a folder holds texts, by its name."""
    return path.suffix.lower() in (*TABLES, *LINES)
