"""What the cells of a row or of a column are: names, numbers, classes, texts."""

import math
import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

Cells = list[str]

FEW_ROWS = 20  # a shorter column is too small for shares
NAME = re.compile(r"[^\W\d][\w ./#()\[\]:-]{0,39}")
WORD = re.compile(r"[^\W\d][\w-]*")
MISSING = ("", "-", "?", "na", "n/a", "nan", "null", "none")


def strip_cells(row: Sequence[str | None]) -> Cells:
    """Return the cells of a row without the blanks around them."""
    return [(cell or "").strip() for cell in row]


def collect_columns(rows: Sequence[Sequence[str | None]], width: int) -> list[Cells]:
    """Return the cells of each of `width` columns; a short row adds to the first ones only."""
    if rows and all(map(width.__eq__, map(len, rows))):
        # quicker than zip(*rows), which takes the rows apart side by side
        return [fill_cells(list(map(itemgetter(index), rows))) for index in range(width)]
    columns: list[Cells] = [[] for _ in range(width)]
    for row in rows:
        for column, cell in zip(columns, row, strict=False):
            column.append(cell or "")
    return columns


def fill_cells(cells: list[Any]) -> Cells:
    """Return the cells of a column; those that an object has not, None, are empty."""
    if None in cells:
        return [cell or "" for cell in cells]
    return cells


def are_names(cells: Cells) -> bool:
    """Whether cells could name columns: short, different, neither numbers nor sentences."""
    names = list(filter(None, cells))
    return bool(names) and len(set(names)) == len(names) and all(map(is_name, names))


def is_name(cell: str) -> bool:
    """Whether a cell could be the name of a column."""
    return bool(NAME.fullmatch(cell)) and len(cell.split()) <= 4 and cell[-1] not in ".:"


def are_words(cells: Cells) -> bool:
    """Whether every cell is a single word, or empty."""
    return all(not cell or WORD.fullmatch(cell) for cell in cells)


def is_label(column: Cells) -> bool:
    """Whether a column holds classes: few values that repeat.

    Measurements, which are many different numbers, are not classes.
    """
    filled = list(filter(None, map(str.strip, column)))
    different = len(set(filled))
    if different <= 1:
        return False
    if is_numeric(filled) and different > max(FEW_ROWS, math.isqrt(len(filled))):
        return False
    if len(filled) < FEW_ROWS:
        return different < len(filled)
    return 2 * different <= len(filled)


def is_numeric(column: Cells) -> bool:
    """Whether a column holds numbers, apart from cells that mark a missing value."""
    try:
        numbers = list(map(float, column))
    except ValueError:
        numbers = []
    if any(map(math.isfinite, numbers)):
        return True  # all are numbers; of the marks of missing values float reads "nan"
    filled = [cell for cell in column if cell.strip().lower() not in MISSING]
    return bool(filled) and all(map(is_number, filled))


def is_number(cell: str) -> bool:
    """Whether a cell is a number."""
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def describe_column(column: Cells) -> str:
    """Describe what a column holds in a few words."""
    filled = list(filter(str.strip, column))
    if not filled:
        return "empty"
    kind = "texts"
    if is_numeric(column):
        kind = "numbers"
    return f"{len(set(filled)):,} different {kind} in {len(filled):,} rows"
