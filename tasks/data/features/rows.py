"""The columns of a table: their names, their cells, and how their numbers are written."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tasks.data.tables.cells import collect_columns, strip_cells
from tasks.data.tables.column import Column
from tasks.data.tables.columns import name_columns
from tasks.data.tables.header import find_header
from tasks.data.tables.table import Bad, RowsOfColumns, Table
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

    columns: dict[str, Sequence[str]]
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
    cells, lines = collect_cells(table, found, len(names), bad)
    columns = dict(zip(names, cells, strict=True))
    grouped = []
    for name, column in columns.items():
        if holds_comma(column):
            columns[name], is_grouped = write_numbers(column, table)
            if is_grouped:
                grouped.append(name)
    return Rows(columns, lines, bad, grouped)


def collect_cells(
    table: Table, header: bool, width: int, bad: list[Bad]
) -> tuple[Sequence[Sequence[str]], list[int]]:
    """Return the cells of each column, and the line of each row; adds the other lines to `bad`.

    Args:
        table: as it was parsed.
        header: whether its first row is none.
        width: the number of columns.
        bad: lines that are no rows.
    """
    if isinstance(table.rows, RowsOfColumns):
        return table.rows.columns, list(range(1, len(table.rows) + 1))
    if table.rows and table.is_even and width == table.width:
        lines = [line for line, _ in table.rows[header:]]
        if header:
            return table.body, lines
        return collect_columns([row for _, row in table.rows], width), lines
    good = []
    lines = []
    for line, row in table.rows[header:]:
        if len(row) == width:
            lines.append(line)
            good.append(row)
        else:
            bad.append((line, f"{len(row)} columns, not {width}"))
    return collect_columns(good, width), lines


def write_numbers(cells: Sequence[str], table: Table) -> tuple[list[str], bool]:
    """Return the cells of a column, numbers with a decimal point, and whether commas grouped the
    thousands.
    """
    if groups_thousands(cells, table):
        return [cell.replace(",", "") for cell in cells], True
    return list(map(write_decimal_point, cells)), False


def holds_comma(cells: Sequence[str]) -> bool:
    """Return whether a comma is in a column; numbers of a Parquet file have none."""
    if isinstance(cells, Column) and "numbers" in vars(cells):
        return False
    return "," in "\n".join(cells)


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
