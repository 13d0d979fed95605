"""Read the wanted columns of a table file, row by row."""

from pathlib import Path

from blocks.support.files import read_file
from tasks.data.tables.columns import Layout, find_layout
from tasks.data.tables.parquet import read_parquet
from tasks.data.tables.table import PARQUET, Bad, Table, check_suffix, parse_table
from tasks.data.tables.wanted import Header, Wanted
from tasks.errors import ArgumentError

UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks
UTF_8 = "utf-8-sig"
BAD_SHOWN = 5  # lines in a note


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        ArgumentError: the file cannot be read, or is in another encoding.
    """
    try:
        content = read_file(path)
    except OSError as error:
        raise ArgumentError(
            "path", f"{path} cannot be read: {error.strerror}", fix="data.path=FILE"
        ) from error
    try:
        return content.decode(find_encoding(content))
    except UnicodeDecodeError as error:
        raise wrong_encoding(path, error) from error


def find_encoding(start: bytes) -> str:
    """Return the encoding of a text that begins with these bytes, for a codec."""
    if start.startswith(UTF_16):
        return "utf-16"
    return UTF_8


def wrong_encoding(path: Path, error: UnicodeDecodeError, line: int = 1) -> ArgumentError:
    """Return an error that names the byte and the line where a file is in another encoding.

    Args:
        path: the file.
        error: of the codec.
        line: where the bytes begin that the codec was given.
    """
    encoding, name = UTF_8, "UTF-8"
    if error.encoding.startswith("utf-16"):
        encoding, name = error.encoding, "UTF-16"
    before = error.object[: error.start].decode(encoding, errors="ignore")
    command = f"iconv -f WINDOWS-1252 -t UTF-8 {path.name} > new{path.suffix}"
    return ArgumentError(
        "path",
        f"{path} is not in {name}",
        got=f"byte {error.object[error.start]:#04x} in line {line + before.count(chr(10))}",
        fix=f"save it as UTF-8, e.g. {command}",
    )


def read_table(path: Path, columns: int, delimiter: str = "auto") -> Table:
    """Parse the table in a file; raises ArgumentError as `read_text` and `parse_table`."""
    check_suffix(path)
    if path.suffix.lower() == PARQUET:
        return read_parquet(path)
    return parse_table(read_text(path), path, columns, delimiter)


def read_rows(
    path: Path, wanted: list[Wanted], header: Header = "auto", delimiter: str = "auto"
) -> tuple[list[list[str]], list[str], Layout]:
    """Read the wanted columns of a file.

    Args:
        path: .tsv, .csv, .jsonl or .parquet.
        wanted: the columns.
        header: whether the first row names the columns; "auto" looks at it.
        delimiter: comma, tab, semicolon or pipe; "auto" looks at the rows.

    Returns:
        The cells of each row, notes on lines that were left out, and the layout of the table.

    Raises:
        ArgumentError: the file cannot be read or decoded, its suffix is unknown, a column is
            missing, or there are no rows.
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
    notes = []
    if bad:
        notes.append(describe_bad(bad))
    if not found:
        got = "; ".join(filter(None, [*notes, table.tried]))
        text = f"{path} has no rows with texts"
        raise ArgumentError("path", text, got=got or None, fits="one pair a line")
    return found, notes, layout


def describe_bad(lines: list[Bad]) -> str:
    """Describe the lines that were left out."""
    shown = ", ".join(f"{number} ({reason})" for number, reason in sorted(lines)[:BAD_SHOWN])
    if len(lines) > BAD_SHOWN:
        shown += ", ..."
    noun = "line"
    if len(lines) > 1:
        noun = "lines"
    return f"{len(lines)} {noun} left out: {shown}"
