"""Rows of the tables that people have: files with a delimiter, and one JSON object a line."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tasks.errors import ArgumentError

DELIMITERS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "pipe"}
WHOLE = "\x1f"  # the delimiter of a table with one column: a control character that no text has
OWN = {
    ".csv": ",",
    ".tsv": "\t",
    ".tab": "\t",
}  # what a suffix stands for, where the rows leave it open
JSON = (".jsonl", ".ndjson")
TABLES = (".csv", ".tsv", ".tab", *JSON)
SAMPLE = 1000  # rows that choose the delimiter
AGREE, TIGHT = (
    0.5,
    0.9,
)  # of rows with the same number of cells, and of cells without a blank before them
QUOTED = r'"[^"]*(?:""[^"]*)*"'  # and nothing behind it
CELL = re.compile(
    rf"(?:(?P<quoted>{QUOTED})(?=[\t\r\n]|\Z)|(?P<plain>[^\t\r\n]*))(?P<end>\t|\r\n|\r|\n|\Z)"
)
LONGEST = 1 << 30  # characters of one cell; the csv module's own limit is 131,072

Row = tuple[
    int, list[str | None]
]  # the line it begins at, and its cells; None where an object has no such key
Bad = tuple[int, str]  # a line and what is wrong with it


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Args:
        path: the file.
        kind: how its cells are told apart, as a note says it.
        rows: all of them; the first may be a header.
        bad: lines that are no rows.
        keys: the names of the columns where each row names its own.
        tried: the number of columns that each delimiter gives.
    """

    path: Path
    kind: str
    rows: list[Row]
    bad: list[Bad] = field(default_factory=list)
    keys: list[str] | None = None
    tried: str = ""

    @property
    def width(self) -> int:
        """The number of columns of most rows."""
        return commonest([len(cells) for _, cells in self.rows])


def check_suffix(path: Path) -> None:
    """Raise an ArgumentError for a file that is no table by its suffix."""
    if path.suffix.lower() not in TABLES:
        got = path.suffix or "no ending"
        raise ArgumentError("path", f"{path} is no table of texts", got=got, fits=" ".join(TABLES))


def parse_table(text: str, path: Path, columns: int, delimiter: str = "auto") -> Table:
    """The table in a text.

    Args:
        text: the content of the file.
        path: its suffix says JSON or not, and the delimiter where the rows leave it open.
        columns: how many columns the reader needs.
        delimiter: comma, tab, semicolon or pipe; "auto" looks at the rows.

    Raises:
        ArgumentError: a NUL byte, an unclosed quote, an unknown delimiter.
    """
    marks = {"auto": None, **{name: mark for mark, name in DELIMITERS.items()}}
    if delimiter not in marks:
        raise ArgumentError(
            "delimiter", "no such delimiter", got=repr(delimiter), fits=", ".join(marks)
        )
    suffix = path.suffix.lower()
    if "\0" in text:
        got = f"line {count_breaks(text[: text.index(chr(0))]) + 1}"
        raise ArgumentError("path", f"{path} is not a text: a NUL byte", got=got)
    if suffix in JSON:
        return parse_objects(text, path)
    found = {mark: list(islice(split_rows(text, mark), SAMPLE)) for mark in DELIMITERS}
    mark = marks[delimiter] or choose_delimiter(found, OWN[suffix], columns)
    rows = list(split_rows(text, mark))
    if rows and mark != "\t" and any(count_breaks(cell or "") for cell in rows[-1][1]):
        check_last_quote(text, mark, path, rows[-1][0])
    tried = ", ".join(
        f"{name} {commonest(widths(found[mark]))}" for mark, name in DELIMITERS.items()
    )
    kind = f"{DELIMITERS[mark]}-separated" if mark in DELIMITERS else "one column"
    return Table(path, kind, rows, tried=f"columns by delimiter: {tried}")


def choose_delimiter(found: dict[str, list[Row]], own: str, columns: int) -> str:
    """The delimiter whose rows agree best on their number of cells.

    Equal delimiters are told apart by what follows them, as in prose a comma has a blank behind it,
    then by the suffix.
    """
    rated = {mark: rate_delimiter(rows) for mark, rows in found.items()}
    least = max(columns, 2)
    fit = [mark for mark in found if commonest(widths(found[mark])) >= least]
    if columns == 1:  # a text must not be cut in two because it holds a comma
        fit = [mark for mark in fit if rated[mark] >= (AGREE, 0) and rated[mark][1] >= TIGHT]
        fit = [mark for mark in fit if len(found[mark][0][1]) > 1]
        return max(fit, key=lambda mark: (*rated[mark], mark == own), default=WHOLE)
    return max(fit, key=lambda mark: (*rated[mark], mark == own), default=own)


def rate_delimiter(rows: list[Row]) -> tuple[float, float]:
    """The share of rows with the commonest number of cells, and of cells that no blank sets off."""
    counts = widths(rows)
    inner = [cell for _, cells in rows for cell in cells[1:] if cell and cell.strip()]
    tight = sum(not cell.startswith(" ") for cell in inner)
    return counts.count(commonest(counts)) / max(len(counts), 1), tight / max(len(inner), 1)


def widths(rows: list[Row]) -> list[int]:
    """The number of cells of each row."""
    return [len(cells) for _, cells in rows]


def commonest(counts: list[int]) -> int:
    """The number that occurs most often; 0 where there is none."""
    return Counter(counts).most_common(1)[0][0] if counts else 0


def split_rows(text: str, mark: str) -> Iterator[Row]:
    """The rows of a table with their lines; rows without any text are left out."""
    for line, cells in split_tabs(text) if mark == "\t" else split_quoted(text, mark):
        if any(cell.strip() for cell in cells):
            yield line, list(cells)


def split_tabs(text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table with tabs.

    A cell is unquoted only where its quotes begin and end it: most such files are written without
    any quoting, and a stray quote must not swallow the lines behind it.
    """
    cells: list[str] = []
    line = first = 1
    for found in CELL.finditer(text):
        quoted, end = found["quoted"], found["end"]
        cells.append(found["plain"] if quoted is None else quoted[1:-1].replace('""', '"'))
        line += count_breaks(found[0])
        if end != "\t":
            yield first, cells
            cells, first = [], line


def split_quoted(text: str, mark: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table whose quoted cells may hold delimiters and line breaks."""
    csv.field_size_limit(LONGEST)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=False)
    line = 1
    for cells in reader:
        yield line, cells
        line = reader.line_num + 1


def count_breaks(text: str) -> int:
    """How many lines end in a text, whatever ends them."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def check_last_quote(text: str, mark: str, path: Path, number: int) -> None:
    """Raise an ArgumentError where the last row runs to the end of the file in search of a
    quote.
    """
    lines = list(io.StringIO(text, newline=""))[number - 1 :]
    try:
        list(csv.reader(lines, delimiter=mark, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error):
            fix = 'close the quote, or double the ones that are meant: ""'
            got = f"the row that begins in line {number}"
            raise ArgumentError(
                "path", f"{path}: a quote is never closed", got=got, fix=fix
            ) from error


def parse_objects(text: str, path: Path) -> Table:
    """The objects of a .jsonl file; numbers are read as they are written, and what is no text is
    empty.
    """
    found: list[tuple[int, dict[str, str]]] = []
    bad: list[Bad] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            bad.append((number, "no JSON"))
            continue
        if not isinstance(value, dict):
            bad.append((number, "no object"))
        elif re.search(
            "[\ud800-\udfff]", "".join(cell for cell in value.values() if isinstance(cell, str))
        ):
            bad.append((number, "half a character"))
        else:
            found.append((number, {name: as_text(cell) for name, cell in value.items()}))
    keys = list(dict.fromkeys(key for _, row in found for key in row))
    rows: list[Row] = [(number, [row.get(key) for key in keys]) for number, row in found]
    return Table(path, "one JSON object a line", rows, bad, keys)


def as_text(value: object) -> str:
    """A value of a JSON object as a text: 1 for 1, and nothing for null, lists and objects."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else ""
