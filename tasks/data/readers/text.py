"""Read texts from the command line, from tables and from standard input for a trained network."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from tasks.data.base import TOKENIZER
from tasks.data.readers.base import Item, Reader, existing_path, without_path
from tasks.data.sequences.base import pad_rows
from tasks.data.tables.columns import Layout, find_layout
from tasks.data.tables.rows import read_table, read_text
from tasks.data.tables.table import TABLES, Table
from tasks.data.tables.wanted import TEXTS, Header, Wanted
from tasks.data.text.tokenizer import PAD, Tokenizer
from tasks.errors import ArgumentError

LINES = (".txt", ".text")
SUFFIXES = (*TABLES, *LINES)


class TextReader(Reader):
    """An argument that names a file is read, any other argument is a text itself.

    Tables are read row by row, .txt line by line. A folder is written with a slash, `reviews/`: a
    single word is a text, whatever files there are.

    Args:
        tokenizer: that of training.
        length: the most tokens of a text; longer ones are cut, as in training.
        column: the column of the texts in the training file: its name, or its number from 1 if it
            had none.
    """

    def __init__(self, tokenizer: Tokenizer, *, length: int, column: str | int | None = None):
        self.tokenizer, self.length, self.column = tokenizer, length, column
        self.header: Header = "auto"
        self.wanted: str | None = None

    @classmethod
    def open(cls, place: Path, kept: dict[str, Any]) -> "TextReader":
        return cls(Tokenizer.load(place / TOKENIZER), **kept)

    def choose(self, text: str | None, header: Header) -> None:
        self.wanted, self.header = text, header

    def items(self, given: str) -> Iterator[Item]:
        suffix = Path(given).suffix.lower()
        path = None
        if suffix or has_separator(given):
            path = existing_path(given)
        if path is None:
            yield self._argument(given)
        elif path.is_dir():
            files = [file for file in self.files_below(path) if file.suffix.lower() in SUFFIXES]
            for file in files:
                yield from self.items(str(file))
            if not files:
                yield Item(given, error=f"no texts in this folder; fits: {' '.join(SUFFIXES)}")
        elif suffix in TABLES:
            yield from self._table(path)
        elif suffix in LINES:
            yield from self._text_file(path)
        else:
            error = f"no file of texts: {path.suffix or 'no ending'}; fits: {' '.join(SUFFIXES)}"
            yield Item(given, error=error)

    def lines(self, lines: Iterable[str]) -> Iterator[Item]:
        """Yield each line as a text, whatever files there are."""
        for line in lines:
            yield self._text(line.rstrip("\r\n"))

    def batch(self, samples: list[list[int]]) -> dict[str, Tensor]:
        tokens = pad_rows(samples, max(map(len, samples)), PAD)
        return {"tokens": tokens, "padding_mask": tokens != PAD}

    def _argument(self, given: str) -> Item:
        """Return a text, with a note if it looks like the name of a file."""
        item = self._text(given)
        named = Path(given).suffix.lower() in SUFFIXES or has_separator(given)
        if named and item.error is None and not any(map(str.isspace, given)):
            return replace(item, note="no such file or folder, so it is judged as a text")
        return item

    def _text(self, text: str) -> Item:
        if not text.strip():
            return Item(text, error="an empty text")
        try:
            return Item(text, self.tokenizer.encode(text)[: self.length])
        except UnicodeEncodeError:  # an argument in another encoding than that of the terminal
            name = text.encode("utf-8", "replace").decode()
            return Item(name, error="a text that is not in UTF-8")

    def _text_file(self, path: Path) -> Iterator[Item]:
        try:
            lines = read_text(path).removesuffix("\n").split("\n")
        except ArgumentError as error:
            yield unreadable(path, error)
            return
        yield from self.lines(lines)

    def _table(self, path: Path) -> Iterator[Item]:
        try:
            table = read_table(path, 1)
            layout = self._layout(table)
        except ArgumentError as error:
            yield unreadable(path, error)
            return
        note = None
        if layout.guessed:
            note = f"{layout}; to overrule: --header, --text COLUMN"
        found: list[tuple[int, list[str] | str]] = [*table.bad, *layout.cells()]
        for line, cells in sorted(found, key=lambda pair: pair[0]):
            if isinstance(cells, str):
                item = Item(f"{path}:{line}", error=cells)
            else:
                item = self._text(cells[0])
            yield replace(item, note=note)
            note = None

    def _layout(self, table: Table) -> Layout:
        """Find the texts: in the given column, in that of training, or in the likeliest one."""
        if not table.rows:
            raise ArgumentError("path", "an empty file")
        usual: tuple[str, ...] = TEXTS
        if isinstance(self.column, str):
            usual = (self.column.lower(), *TEXTS)
        wanted = Wanted("text", self.wanted, usual)
        layout = find_layout(table, [wanted], self.header)
        if layout.names is None:
            if isinstance(self.column, int) and self.wanted is None:
                numbered = replace(wanted, given=min(self.column, table.width))
                return find_layout(table, [numbered], self.header)
        elif len(layout.names) > 1 and layout.guessed and isinstance(self.column, str):
            names = ", ".join(name[:30] for name in layout.names)
            raise ArgumentError("path", f"no column {self.column}", got=names, fix="--text COLUMN")
        return layout


def unreadable(path: Path, error: ArgumentError) -> Item:
    """Return the item of a file that cannot be read."""
    text = without_path(error.problem, path)
    if error.got:
        text += f": {error.got}"
    return Item(str(path), error=text)


def has_separator(given: str) -> bool:
    """Whether an argument has a slash, as a path."""
    return "/" in given or os.sep in given
