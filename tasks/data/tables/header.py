"""Whether the first row of a table names its columns."""

from collections import Counter
from collections.abc import Sequence

from tasks.data.tables.cells import (
    FEW_ROWS,
    MISSING,
    Cells,
    are_names,
    are_words,
    is_label,
    is_numeric,
    strip_cells,
)
from tasks.data.tables.table import Row, Table
from tasks.data.tables.wanted import Header, Wanted

SINGLE = 0.01  # share of rows that may be single words, or of labels that occur once
FEW_TEXTS = 5  # rows below which nothing follows from texts


def find_header(
    table: Table, first: Cells, wanted: list[Wanted], header: Header
) -> tuple[bool, str]:
    """Decide whether the first row names the columns.

    Args:
        table: as it was parsed; its rows have no keys of their own.
        first: the cells of the first row.
        wanted: the columns that are needed.
        header: the decision of the user; "auto" looks at the rows.

    Returns:
        The decision, and the reason for it.
    """
    if isinstance(header, bool):
        return header, f"header={str(header).lower()}"
    if any(want.has_name() for want in wanted):
        return True, "columns are given by name"
    usual = usual_names(first, wanted)
    if usual and len(usual) == len(wanted):
        return True, f"it holds {' and '.join(dict.fromkeys(usual))}"
    columns = [list(map(str.strip, cells)) for cells in table.body]
    if first == list(map(str, range(len(first)))) and not all(map(is_numeric, columns)):
        return True, "it numbers the columns"
    if not are_names(first):
        return False, "its cells are not names"
    if any(cell and cell in column for cell, column in zip(first, columns, strict=True)):
        return False, "its cells occur again below"
    reason = reason_for_header(table, first, columns, usual)
    return bool(reason), reason or "it looks like the rows below it"


def usual_names(first: Cells, wanted: list[Wanted]) -> list[str]:
    """Return the usual name of each wanted column that is found in the first row."""
    found = []
    for want in wanted:
        index = want.find_usual(first)
        if index is not None:
            found.append(first[index].lower())
    return found


def reason_for_header(
    table: Table, first: Cells, columns: list[Cells], usual: list[str]
) -> str | None:
    """Return what distinguishes a row of names from the rows below it; None if nothing does."""
    for cell, column in zip(first, columns, strict=True):
        if cell.lower() not in MISSING and is_numeric(column):
            return f"{cell} stands above numbers"
    if usual:
        return f"it holds {usual[0]}"
    for cell, column in zip(first, columns, strict=True):
        once = list(Counter(column).values()).count(1)
        if cell and is_label(column) and once <= SINGLE * len(column):
            return f"{cell} occurs once, the values below it repeat"
    rest = table.rows[1:]
    if len(rest) >= FEW_TEXTS and are_words(first) and are_texts(rest):
        return "it holds single words, the rows below it texts"
    return None


def are_texts(rows: Sequence[Row]) -> bool:
    """Whether nearly all rows hold longer texts than single words, and all of the first ones."""
    single = [are_words(strip_cells(cells)) for _, cells in rows]
    return not any(single[:FEW_ROWS]) and sum(single) <= SINGLE * len(rows)
