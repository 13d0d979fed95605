"""Texts in pairs and texts with labels from the files that people have."""

from pathlib import Path

from blocks.support.files import read_file
from tasks.data.tables.columns import Given, Header, Layout, Wanted, find_layout
from tasks.data.tables.table import Bad, Table, check_suffix, parse_table
from tasks.errors import ArgumentError

SOURCES, TARGETS = (
    ("source", "src", "input", "from"),
    ("target", "tgt", "output", "to", "translation"),
)
TEXTS = ("text", "sentence", "review", "content")
LABELS = ("label", "class", "category", "target", "sentiment", "labels")


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark; raises ArgumentError."""
    try:
        content = read_file(path)
    except OSError as error:
        raise ArgumentError(
            "path", f"{path} cannot be read: {error.strerror}", fix="data.path=FILE"
        ) from error
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, errors="ignore")
        line = before.count("\n") + 1
        got = f"byte {content[error.start]:#04x} in line {line}"
        fix = (
            f"save it as UTF-8: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > new{path.suffix}, say"
        )
        raise ArgumentError(
            "path", f"{path} is not in {encoding.upper()[:6].rstrip('-')}", got=got, fix=fix
        ) from error


def read_table(path: Path, columns: int, delimiter: str = "auto") -> Table:
    """The table in a file; raises ArgumentError as `read_text` and `parse_table`."""
    check_suffix(path)
    return parse_table(read_text(path), path, columns, delimiter)


def read_rows(
    path: Path, wanted: list[Wanted], header: Header = "auto", delimiter: str = "auto"
) -> tuple[list[list[str]], list[str], Layout]:
    """The columns that are wanted, row by row, notes on lines that were left out, and what was
    decided.

    Args:
        path: .tsv, .csv or .jsonl.
        wanted: the columns.
        header: whether the first row names the columns; "auto" looks at it.
        delimiter: comma, tab, semicolon or pipe; "auto" looks at the rows.

    Raises:
        ArgumentError: a file that cannot be read or decoded, an unknown ending, a column that is
            not there, no rows.
    """
    table = read_table(path, len(wanted), delimiter)
    layout = find_layout(table, wanted, header)
    found: list[list[str]] = []
    bad = list(table.bad)
    for line, cells in layout.cells():
        if isinstance(cells, str):
            bad.append((line, cells))
        else:
            found.append(cells)
    if not found:
        got = "; ".join(part for part in (describe_bad(bad), table.tried) if part)
        raise ArgumentError(
            "path", f"{path} has no rows with texts", got=got or None, fits="one pair a line"
        )
    return found, [describe_bad(bad)] if bad else [], layout


def describe_bad(lines: list[Bad]) -> str:
    """A note on what was left out."""
    if not lines:
        return ""
    shown = ", ".join(f"{number} ({why})" for number, why in sorted(lines)[:5])
    more = ", ..." if len(lines) > 5 else ""
    return f"{len(lines)} line{'s' * (len(lines) > 1)} left out: {shown}{more}"


def wanted_pair(source: Given = None, target: Given = None) -> list[Wanted]:
    """The columns of a table of pairs."""
    return [Wanted("source", source, SOURCES), Wanted("target", target, TARGETS)]


def wanted_labelled(text: Given = None, label: Given = None) -> list[Wanted]:
    """The columns of a table of texts with labels."""
    return [Wanted("text", text, TEXTS), Wanted("label", label, LABELS, label=True)]


def read_pairs(
    path: Path, source: Given = None, target: Given = None, header: Header = "auto"
) -> tuple[list[tuple[str, str]], list[str]]:
    """Pairs of texts from a file, and notes on lines that were left out; raises ArgumentError as
    `read_rows`.
    """
    rows, notes, _ = read_rows(path, wanted_pair(source, target), header)
    return [(row[0], row[1]) for row in rows], notes


def read_labelled(
    path: Path, text: Given = None, label: Given = None, header: Header = "auto"
) -> tuple[list[tuple[str, str]], list[str]]:
    """Texts with their labels, and notes on lines that were left out; raises ArgumentError as
    `read_rows`.
    """
    rows, notes, _ = read_rows(path, wanted_labelled(text, label), header)
    return [(row[0], row[1]) for row in rows], notes
