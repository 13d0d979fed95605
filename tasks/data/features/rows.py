"""The rows of a table, and the names of its columns."""

from tasks.data.tables.cells import strip_cells
from tasks.data.tables.columns import name_columns
from tasks.data.tables.header import find_header
from tasks.data.tables.table import Table
from tasks.data.tables.wanted import Header
from tasks.errors import ArgumentError


def split_header(
    table: Table, header: Header = "auto"
) -> tuple[list[str], list[tuple[int, list[str]]], list[tuple[int, str]]]:
    """Return the names of the columns, the rows with their lines, and the lines that are no rows.

    Raises:
        ArgumentError: two columns have one name.
    """
    bad = list(table.bad)
    found = False
    names = table.keys
    if names is None and table.rows:
        first = strip_cells(table.rows[0][1])
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
    rows = []
    for line, cells in table.rows[found:]:
        if len(cells) != len(names):
            bad.append((line, f"{len(cells)} columns, not {len(names)}"))
        else:
            rows.append((line, [cell or "" for cell in cells]))
    return names, rows, bad
