"""Rows of texts from the files that people have: tables with commas or tabs, and one JSON object a line."""

import csv
import io
import json
from pathlib import Path

from tasks.errors import ArgumentError

Row = tuple[int, dict[str, str] | list[str]]  # the line it begins at, and its cells, by name where they have names
SOURCES, TARGETS = ("source", "src", "input", "from"), ("target", "tgt", "output", "to", "translation")
TEXTS, LABELS = ("text", "sentence", "review", "content"), ("label", "class", "category", "target")
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
        line = content.count(b"\n", 0, error.start) + 1
        got = f"byte {content[error.start]:#04x} in line {line}"
        fix = f"save it as UTF-8: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > new{path.suffix}, say"
        raise ArgumentError("path", f"{path} is not in UTF-8", got=got, fix=fix) from error


def read_rows(path: Path, names: tuple[tuple[str | None, tuple[str, ...]], ...]) -> tuple[list[list[str]], list[str]]:
    """The columns that are wanted, row by row, and notes on lines that were left out.

    Args:
        path: .tsv, .csv or .jsonl.
        names: of each wanted column the name that the user gave, and the names it usually has.

    Raises:
        ArgumentError: a file that cannot be read or decoded, an unknown ending, a column that is not there, no rows.
    """
    kinds = {".tsv": tabular, ".tab": tabular, ".csv": tabular, ".jsonl": objects, ".ndjson": objects}
    read = kinds.get(path.suffix.lower())
    if read is None:
        raise ArgumentError(
            "path", f"{path} is no table of texts", got=path.suffix or "no ending", fits=" ".join(kinds)
        )
    rows, bad = read(read_text(path), path)
    found, lines = [], list(bad)
    columns = header(path, rows, names)
    for line, row in rows[1:] if isinstance(columns[0], str) and isinstance(rows[0][1], list) else rows:
        cells = pick(row, columns, rows[0][1])
        if cells is None:
            lines.append((line, "a column is missing"))
        elif not all(cell.strip() for cell in cells):
            lines.append((line, "an empty text"))
        else:
            found.append(cells)
    if not found:
        raise ArgumentError("path", f"{path} has no rows with texts", fits="one pair a line")
    return found, [told(lines)] if lines else []


def header(path: Path, rows: list[Row], names) -> list[str | int]:
    """Which columns are wanted: by name where there are names, else by place."""
    if not rows:
        raise ArgumentError("path", f"{path} is empty", fits="one pair a line")
    first = rows[0][1]
    there = list(first)
    lower = {cell.strip().lower(): cell for cell in there}
    asked = any(given for given, _ in names)
    usual = [next((lower[name] for name in known if name in lower), None) for _, known in names]
    if isinstance(first, list) and not asked and None in usual:
        return list(range(len(names)))
    chosen: list[str | int] = []
    for (given, known), guess in zip(names, usual, strict=True):
        name = given if given is not None else guess
        if name is None or name not in there:
            shown = ", ".join(cell[:30] for cell in there[:12])
            raise ArgumentError(known[0], f"{path} has no column {name or known[0]}", fits=shown)
        chosen.append(name)
    return chosen


def pick(row: dict[str, str] | list[str], columns: list[str | int], first) -> list[str] | None:
    """The wanted cells of a row, or None where it is too short."""
    if isinstance(row, dict):
        return [row[str(name)] for name in columns] if all(name in row for name in columns) else None
    places = [first.index(name) if isinstance(name, str) else name for name in columns]
    return [row[place] for place in places] if max(places) < len(row) else None


def tabular(text: str, path: Path) -> tuple[list[Row], list[tuple[int, str]]]:
    """The rows of a table, with the line each begins at. Cells in quotes may hold tabs, commas and line breaks."""
    csv.field_size_limit(LONGEST)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ArgumentError("path", f"{path} is not a text: a NUL byte", got=f"line {line}")
    mark = "," if path.suffix.lower() == ".csv" else "\t"
    if mark == "," and ";" in text.partition("\n")[0] and "," not in text.partition("\n")[0]:
        mark = ";"  # as spreadsheets write where the comma is for decimals
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=False)
    rows: list[Row] = []
    line = 1
    for cells in reader:
        if any(cells):
            rows.append((line, cells))
        line = reader.line_num + 1
    return rows, []


def objects(text: str, path: Path) -> tuple[list[Row], list[tuple[int, str]]]:
    """The objects of a .jsonl file; values that are no texts are read as they are written."""
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
        if isinstance(value, dict):
            rows.append((number, {name: cell if isinstance(cell, str) else str(cell) for name, cell in value.items()}))
        else:
            bad.append((number, "no object"))
    return rows, bad


def told(lines: list[tuple[int, str]]) -> str:
    """A note on what was left out."""
    shown = ", ".join(f"{number} ({why})" for number, why in sorted(lines)[:5])
    more = ", ..." if len(lines) > 5 else ""
    return f"{len(lines)} line{'s' * (len(lines) > 1)} left out: {shown}{more}"


def read_pairs(
    path: Path, source: str | None = None, target: str | None = None
) -> tuple[list[tuple[str, str]], list[str]]:
    """Pairs of texts from a file, and notes on lines that were left out; raises ArgumentError as `read_rows`."""
    rows, notes = read_rows(path, ((source, SOURCES), (target, TARGETS)))
    return [(row[0], row[1]) for row in rows], notes


def read_labelled(
    path: Path, text: str | None = None, label: str | None = None
) -> tuple[list[tuple[str, str]], list[str]]:
    """Texts with their labels, and notes on lines that were left out; raises ArgumentError as `read_rows`."""
    rows, notes = read_rows(path, ((text, TEXTS), (label, LABELS)))
    return [(row[0], row[1]) for row in rows], notes
