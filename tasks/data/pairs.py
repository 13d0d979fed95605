"""Rows of texts from the files that people have: tables with commas or tabs, and one JSON object a line."""

import csv
import io
import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from tasks.errors import ArgumentError

Row = tuple[int, dict[str, str] | list[str]]  # the line it begins at, and its cells, by name where they have names
Names = tuple[tuple[str | None, tuple[str, ...]], ...]  # of each column the name that is asked for, and the usual ones
SOURCES, TARGETS = ("source", "src", "input", "from"), ("target", "tgt", "output", "to", "translation")
TEXTS, LABELS = ("text", "sentence", "review", "content"), ("label", "class", "category", "target")
QUOTED = r'"[^"]*(?:""[^"]*)*"'  # and nothing behind it
CELL = re.compile(rf"(?:(?P<quoted>{QUOTED})(?=[\t\r\n]|\Z)|(?P<plain>[^\t\r\n]*))(?P<end>\t|\r\n|\r|\n|\Z)")
LONGEST = 1 << 30  # characters of one cell; the csv module's own limit is 131,072


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark; raises ArgumentError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArgumentError("path", f"{path} cannot be read: {error.strerror}", fix="data.path=FILE") from error
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, errors="ignore")
        line = before.count("\n") + 1
        got = f"byte {content[error.start]:#04x} in line {line}"
        fix = f"save it as UTF-8: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > new{path.suffix}, say"
        raise ArgumentError("path", f"{path} is not in {encoding.upper()[:6].rstrip('-')}", got=got, fix=fix) from error


def parsed(path: Path) -> tuple[list[Row], list[tuple[int, str]]]:
    """All rows of a file, and the lines that are none with the reason; raises ArgumentError for what is no table."""
    kinds = {".tsv": tabs, ".tab": tabs, ".csv": commas, ".jsonl": objects, ".ndjson": objects}
    read = kinds.get(path.suffix.lower())
    if read is None:
        raise ArgumentError(
            "path", f"{path} is no table of texts", got=path.suffix or "no ending", fits=" ".join(kinds)
        )
    text = read_text(path)
    if "\0" in text:
        got = f"line {breaks(text[: text.index(chr(0))]) + 1}"
        raise ArgumentError("path", f"{path} is not a text: a NUL byte", got=got)
    return read(text, path)


def chosen(rows: list[Row], columns: list[str | int]) -> Iterator[tuple[int, list[str] | str]]:
    """The wanted cells of each row with its line, or why there are none; a row of names is left out."""
    for line, row in rows[1:] if isinstance(columns[0], str) and isinstance(rows[0][1], list) else rows:
        cells = pick(row, columns, rows[0][1])
        if cells is None:
            yield line, "a column is missing"
        else:
            yield line, cells if all(cell.strip() for cell in cells) else "an empty text"


def read_rows(path: Path, names: Names) -> tuple[list[list[str]], list[str], list[str | int]]:
    """The columns that are wanted, row by row, notes on lines that were left out, and which columns they are.

    Args:
        path: .tsv, .csv or .jsonl.
        names: of each wanted column the name that the user gave, and the names it usually has.

    Raises:
        ArgumentError: a file that cannot be read or decoded, an unknown ending, a column that is not there, no rows.
    """
    rows, bad = parsed(path)
    columns = header(path, rows, names)
    found = []
    for line, cells in chosen(rows, columns):
        bad.append((line, cells)) if isinstance(cells, str) else found.append(cells)
    if not found:
        raise ArgumentError("path", f"{path} has no rows with texts", fits="one pair a line")
    return found, [told(bad)] if bad else [], columns


def header(path: Path, rows: list[Row], names: Names) -> list[str | int]:
    """Which columns are wanted: by name where there are names, else by place."""
    if not rows:
        raise ArgumentError("path", f"{path} is empty", fits="one pair a line")
    first = rows[0][1]
    there = column_names(rows)
    lower = {name.lower(): name for name in there}
    asked = any(given for given, _ in names)
    usual = [next((lower[name] for name in known if name in lower), None) for _, known in names]
    if isinstance(first, list) and not asked and None in usual:
        return list(range(len(names)))
    columns: list[str | int] = []
    for (given, known), guess in zip(names, usual, strict=True):
        name = given if given is not None else guess
        if name is None or name not in there:
            shown = ", ".join(cell[:30] for cell in there[:12])
            raise ArgumentError(known[0], f"{path} has no column {name or known[0]}", fits=shown)
        columns.append(name)
    return columns


def column_names(rows: list[Row]) -> list[str]:
    """The names of the columns: those of the first row, or the keys of all objects."""
    first = rows[0][1]
    if isinstance(first, list):
        return [cell.strip() for cell in first]
    return list(dict.fromkeys(chain(*(row for _, row in rows))))


def pick(row: dict[str, str] | list[str], columns: list[str | int], first) -> list[str] | None:
    """The wanted cells of a row, or None where it is too short."""
    if isinstance(row, dict):
        return [row[str(name)] for name in columns] if all(name in row for name in columns) else None
    head = [cell.strip() for cell in first]
    places = [head.index(name) if isinstance(name, str) else name for name in columns]
    return [row[place] for place in places] if max(places) < len(row) else None


def tabs(text: str, path: Path) -> tuple[list[Row], list[tuple[int, str]]]:
    """The rows of a table with tabs, with the line each begins at.

    A cell is unquoted only where its quotes begin and end it: most such files are written without any quoting, and a
    stray quote must not swallow the lines behind it.
    """
    rows: list[Row] = []
    cells: list[str] = []
    line = first = 1
    for found in CELL.finditer(text):
        quoted, end = found["quoted"], found["end"]
        cells.append(found["plain"] if quoted is None else quoted[1:-1].replace('""', '"'))
        line += breaks(found[0])
        if end == "\t":
            continue
        if any(cell.strip() for cell in cells):
            rows.append((first, cells))
        cells, first = [], line
    return rows, []


def breaks(text: str) -> int:
    """How many lines end in a text, whatever ends them."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def commas(text: str, path: Path) -> tuple[list[Row], list[tuple[int, str]]]:
    """The rows of a table with commas, with the line each begins at; quoted cells may hold commas and line breaks."""
    csv.field_size_limit(LONGEST)
    mark = ","
    if ";" in text.partition("\n")[0] and "," not in text.partition("\n")[0]:
        mark = ";"  # as spreadsheets write where the comma is for decimals
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=False)
    rows: list[Row] = []
    last = line = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            rows.append((line, cells))
        last, line = line, reader.line_num + 1
    if rows and line - last > 1:
        closed(list(io.StringIO(text, newline=""))[last - 1 :], mark, path, last)
    return rows, []


def closed(lines: list[str], mark: str, path: Path, number: int) -> None:
    """Raise an ArgumentError where the last row of a table runs to the end of the file in search of a quote."""
    try:
        list(csv.reader(lines, delimiter=mark, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error):
            fix = 'close the quote, or double the ones that are meant: ""'
            got = f"the row that begins in line {number}"
            raise ArgumentError("path", f"{path}: a quote is never closed", got=got, fix=fix) from error


def objects(text: str, path: Path) -> tuple[list[Row], list[tuple[int, str]]]:
    """The objects of a .jsonl file; numbers are read as they are written, and what is no text is empty."""
    rows: list[Row] = []
    bad = []
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
        elif re.search("[\ud800-\udfff]", "".join(cell for cell in value.values() if isinstance(cell, str))):
            bad.append((number, "half a character"))
        else:
            rows.append((number, {name: written(cell) for name, cell in value.items()}))
    return rows, bad


def written(value: object) -> str:
    """A value of a JSON object as a text: 1 for 1, and nothing for null, lists and objects."""
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else ""


def told(lines: list[tuple[int, str]]) -> str:
    """A note on what was left out."""
    shown = ", ".join(f"{number} ({why})" for number, why in sorted(lines)[:5])
    more = ", ..." if len(lines) > 5 else ""
    return f"{len(lines)} line{'s' * (len(lines) > 1)} left out: {shown}{more}"


def read_pairs(
    path: Path, source: str | None = None, target: str | None = None
) -> tuple[list[tuple[str, str]], list[str]]:
    """Pairs of texts from a file, and notes on lines that were left out; raises ArgumentError as `read_rows`."""
    rows, notes, _ = read_rows(path, ((source, SOURCES), (target, TARGETS)))
    return [(row[0], row[1]) for row in rows], notes


def read_labelled(
    path: Path, text: str | None = None, label: str | None = None
) -> tuple[list[tuple[str, str]], list[str]]:
    """Texts with their labels, and notes on lines that were left out; raises ArgumentError as `read_rows`."""
    rows, notes, _ = read_rows(path, ((text, TEXTS), (label, LABELS)))
    return [(row[0], row[1]) for row in rows], notes
