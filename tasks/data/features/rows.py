"""The columns of a table: their names, their cells, and how their numbers are written."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tasks.data.tables.cells import strip_cells
from tasks.data.tables.columns import name_columns
from tasks.data.tables.header import find_header
from tasks.data.tables.table import Bad, Table
from tasks.data.tables.wanted import Header
from tasks.errors import ArgumentError

GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")  # 1,234,567.8
DECIMAL = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+")  # 1234,5 and 1.234,5


@dataclass(frozen=True)
class Rows:
    """The rows of a table.

    Args:
        columns: the cells of each column by its name; numbers have a decimal point.
        lines: the line of each row in the file.
        bad: lines that are no rows.
        grouped: columns in whose numbers commas group the thousands.
    """

    columns: dict[str, list[str]]
    lines: list[int]
    bad: list[Bad]
    grouped: list[str]


def read_columns(table: Table, header: Header = "auto", named: Collection[str] = ()) -> Rows:
    """Read the columns of a table.

    Args:
        table: as it was parsed.
        header: whether the first row names the columns; "auto" looks at it.
        named: names that a header has.

    Raises:
        ArgumentError: two columns have one name.
    """
    bad = list(table.bad)
    found = False
    names = table.keys
    if names is None and table.rows:
        first = strip_cells(table.rows[0][1])
        if header == "auto" and any(name in first for name in named):
            header = True
        found, _ = find_header(table, first, [], header)
        names = [str(number) for number in range(1, table.width + 1)]
        if found:
            names = name_columns(table, first)
    names = names or []
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ArgumentError(
            "path", f"{table.path}: two columns have one name", got=", ".join(double[:5])
        )
    columns: dict[str, list[str]] = {name: [] for name in names}
    lines = []
    for line, cells in table.rows[found:]:
        if len(cells) != len(names):
            bad.append((line, f"{len(cells)} columns, not {len(names)}"))
            continue
        lines.append(line)
        for name, cell in zip(names, cells, strict=True):
            columns[name].append(cell or "")
    grouped = []
    for name, column in columns.items():
        if groups_thousands(column, table):
            columns[name] = [cell.replace(",", "") for cell in column]
            grouped.append(name)
        else:
            columns[name] = list(map(write_decimal_point, column))
    return Rows(columns, lines, bad, grouped)


def groups_thousands(cells: Sequence[str], table: Table) -> bool:
    """Return whether commas group the thousands of the numbers of a column.

    They do where commas separate the cells, or the rows are objects, and every cell with a comma
    has three digits behind each. Elsewhere a comma is the decimal mark.
    """
    if table.keys is None and not table.kind.startswith("comma"):
        return False
    with_comma = [cell.strip() for cell in cells if "," in cell]
    return bool(with_comma) and all(map(GROUPED.fullmatch, with_comma))


def write_decimal_point(cell: str) -> str:
    """Return a number with a decimal point in place of a comma; other cells as they are."""
    if DECIMAL.fullmatch(cell.strip()):
        return cell.replace(".", "").replace(",", ".")
    return cell
