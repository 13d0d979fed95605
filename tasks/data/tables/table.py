"""Parse the tables that people have: files with a delimiter, and one JSON object a line."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, overload

from tasks.data.tables.cells import Cells, collect_columns
from tasks.errors import ArgumentError

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}
ONE_COLUMN = "one column"
NO_DELIMITER = "\x1f"  # a control character that no text has
USUAL_DELIMITER = {".csv": "comma", ".tsv": "tab", ".tab": "tab"}  # if the rows do not decide
JSON = (".jsonl", ".ndjson")
PARQUET = ".parquet"
TABLES = (*USUAL_DELIMITER, *JSON, PARQUET)
SAMPLE = 1000  # rows that choose the delimiter
AGREE = 0.5  # least share of rows with the same number of cells
TIGHT = 0.9  # least share of cells without a blank before them
QUOTED = r'"[^"]*(?:""[^"]*)*"'  # and nothing behind it
CELL = re.compile(
    rf"(?:(?P<quoted>{QUOTED})(?=[\t\r\n]|\Z)|(?P<plain>[^\t\r\n]*))(?P<end>\t|\r\n|\r|\n|\Z)"
)
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
LONGEST_CELL = 1 << 30  # characters; the limit of the csv module is 131,072

# the line where it begins, and its cells; None where an object has no such key
Row = tuple[int, list[str | None]]
TextRow = tuple[int, list[Any]]  # one without None
Bad = tuple[int, str]  # a line, and what is wrong with it


class RowsOfColumns(Sequence[Row]):
    """The rows of a table that is kept as columns; each is made when it is asked for.

    Args:
        columns: of equal length, one or more.
    """

    def __init__(self, columns: Sequence[Sequence[str]]):
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return list(map(self.__getitem__, range(len(self))[index]))
        return index + 1, [column[index] for column in self.columns]


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Args:
        path: the file.
        kind: how its cells are separated, for a note.
        rows: all rows; the first may be a header.
        bad: lines that are no rows.
        keys: the names of the columns, if the rows are objects.
        tried: the number of columns for each delimiter.
    """

    path: Path
    kind: str
    rows: Sequence[Row]
    bad: list[Bad] = field(default_factory=list)
    keys: list[str] | None = None
    tried: str = ""

    @cached_property
    def width(self) -> int:
        """The number of columns of most rows."""
        return commonest_width(self.rows)

    @cached_property
    def body(self) -> list[Cells]:
        """The cells of each column below the first row; a short row adds to the first ones only."""
        return collect_columns([row for _, row in self.rows[1:]], len(self.rows[0][1]))

    @cached_property
    def is_even(self) -> bool:
        """Whether all rows have the same number of cells."""
        return all(len(row) == self.width for _, row in self.rows)


def check_suffix(path: Path) -> None:
    """Raise an ArgumentError if the suffix is not that of a table."""
    if path.suffix.lower() not in TABLES:
        got = path.suffix or "no ending"
        raise ArgumentError("path", f"{path} is no table of texts", got=got, fits=" ".join(TABLES))


def parse_table(text: str, path: Path, columns: int, delimiter: str = "auto") -> Table:
    """Parse the table in a text.

    Args:
        text: the content of the file.
        path: its suffix decides whether the rows are JSON, and the delimiter if the rows do not.
        columns: how many columns the reader needs.
        delimiter: comma, tab, semicolon or pipe; "auto" looks at the rows.

    Raises:
        ArgumentError: a NUL byte, an unclosed quote, or an unknown delimiter.
    """
    choices = ("auto", *DELIMITERS)
    if delimiter not in choices:
        fits = ", ".join(choices)
        raise ArgumentError("delimiter", "no such delimiter", got=repr(delimiter), fits=fits)
    if "\0" in text:
        got = f"line {count_breaks(text[: text.index(chr(0))]) + 1}"
        raise ArgumentError("path", f"{path} is not a text: a NUL byte", got=got)
    suffix = path.suffix.lower()
    if suffix in JSON:
        return parse_objects(text, path)
    samples: dict[str, list[Row]] = {}
    widths = []
    for name, mark in DELIMITERS.items():
        samples[name] = list(islice(split_rows(text, mark), SAMPLE))
        widths.append(f"{name} {commonest_width(samples[name])}")
    if delimiter == "auto":
        delimiter = choose_delimiter(samples, USUAL_DELIMITER[suffix], columns)
    mark = DELIMITERS.get(delimiter, NO_DELIMITER)
    rows = list(split_rows(text, mark))
    if mark != "\t":
        check_last_quote(text, mark, path, rows)
    kind = delimiter
    if delimiter in DELIMITERS:
        kind = f"{delimiter}-separated"
    return Table(path, kind, rows, tried=f"columns by delimiter: {', '.join(widths)}")


def choose_delimiter(samples: dict[str, list[Row]], usual: str, columns: int) -> str:
    """Return the name of the delimiter whose rows agree best on their number of cells.

    Of equal ones, the one followed by the fewest blanks is taken, as prose has a blank after each
    comma; then the usual one of the suffix.
    """

    ranks = {}
    for name, rows in samples.items():
        agree, tight = rate_delimiter(rows)
        if commonest_width(rows) < max(columns, 2):
            continue
        # a text must not be cut in two because it holds a comma
        if columns == 1 and (agree < AGREE or tight < TIGHT or len(rows[0][1]) == 1):
            continue
        ranks[name] = (agree, tight, name == usual)
    default = usual
    if columns == 1:
        default = ONE_COLUMN
    return max(ranks, key=ranks.__getitem__, default=default)


def rate_delimiter(rows: list[Row]) -> tuple[float, float]:
    """Return the share of rows of the commonest width, and of cells without a blank before them."""
    width = commonest_width(rows)
    agree = cells = tight = 0
    for _, row in rows:
        agree += len(row) == width
        for cell in row[1:]:
            if cell and cell.strip():
                cells += 1
                tight += not cell.startswith(" ")
    return agree / max(len(rows), 1), tight / max(cells, 1)


def commonest_width(rows: Sequence[Row]) -> int:
    """Return the number of cells that occurs most often; 0 if there are no rows."""
    if not rows:
        return 0
    if isinstance(rows, RowsOfColumns):
        return len(rows.columns)
    return Counter(len(cells) for _, cells in rows).most_common(1)[0][0]


def split_rows(text: str, mark: str) -> Iterator[Row]:
    """Yield the rows of a table with their lines; lines without any text are left out."""
    split = split_quoted(text, mark)
    if mark == "\t":
        split = split_tabs(text)
    for row in split:
        cells = row[1]
        if len(cells) > 1 or any(map(str.strip, cells)):
            yield row


def split_tabs(text: str) -> Iterator[TextRow]:
    """Yield the rows of a table with tabs.

    A cell is unquoted only if it begins and ends with a quote: most such files are written without
    any quoting, and a stray quote must not swallow the lines behind it.
    """
    cells: list[str] = []
    line = first = 1
    for found in CELL.finditer(text):
        quoted = found["quoted"]
        if quoted is None:
            cells.append(found["plain"])
        else:
            cells.append(quoted[1:-1].replace('""', '"'))
        line += count_breaks(found[0])
        if found["end"] != "\t":
            yield first, cells
            cells, first = [], line


def split_quoted(text: str, mark: str) -> Iterator[TextRow]:
    """Yield the rows of a table whose quoted cells may hold delimiters and line breaks."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=False)
    line = 1
    for cells in reader:
        yield line, cells
        line = reader.line_num + 1


def count_breaks(text: str) -> int:
    """Count the line breaks of a text: LF, CR or CRLF."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def check_last_quote(text: str, mark: str, path: Path, rows: list[Row]) -> None:
    """Raise an ArgumentError if the last row runs to the end of the file in search of a quote."""
    if not rows or not any(count_breaks(cell or "") for cell in rows[-1][1]):
        return
    line = rows[-1][0]
    lines = list(io.StringIO(text, newline=""))[line - 1 :]
    try:
        list(csv.reader(lines, delimiter=mark, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise ArgumentError(
                "path",
                f"{path}: a quote is never closed",
                got=f"the row that begins in line {line}",
                fix='close the quote, or double the ones that are meant: ""',
            ) from error


def parse_objects(text: str, path: Path) -> Table:
    """Parse the objects of a .jsonl file; their keys are the columns."""
    found: list[tuple[int, dict[str, str]]] = []
    bad: list[Bad] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        cells = parse_object(line)
        if isinstance(cells, str):
            bad.append((number, cells))
        else:
            found.append((number, cells))
    keys: dict[str, None] = {}  # in the order of their first appearance
    for _, cells in found:
        keys |= dict.fromkeys(cells)
    rows: list[Row] = [(number, list(map(cells.get, keys))) for number, cells in found]
    return Table(path, "one JSON object a line", rows, bad, list(keys))


def parse_object(line: str) -> dict[str, str] | str:
    """Return the texts of a JSON object, or what is wrong with it."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return "no JSON"
    if not isinstance(value, dict):
        return "no object"
    cells = {key: as_text(cell) for key, cell in value.items()}
    if any(map(HALF_CHARACTER.search, cells.values())):
        return "half a character"
    return cells


def as_text(value: object) -> str:
    """Return a value of a JSON object as a text; null, lists and objects become empty."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return ""
