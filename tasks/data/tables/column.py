"""A column of a table: its cells, and the numbers in them, which are parsed once."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import overload

import numpy as np

from tasks.data.tables.cells import MISSING


class Column(Sequence[str]):
    """The cells of a column. What is known of them is computed when it is asked for, and kept.

    Args:
        read: returns the cells.
        size: how many there are.
        numbers: those of the cells, where they are known without reading them.
        missing: whether each cell is missing, where that is known.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[str]],
        size: int,
        numbers: np.ndarray | None = None,
        missing: np.ndarray | None = None,
    ):
        self._read, self._size = read, size
        if numbers is not None:
            self.numbers = numbers
        if missing is not None:
            self.missing = missing

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self.cells[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self.cells)

    @cached_property
    def cells(self) -> Sequence[str]:
        """The cells as texts."""
        return self._read()

    @cached_property
    def numbers(self) -> np.ndarray:
        """The number in each cell (rows,), float64; NaN where there is none."""
        try:
            return np.fromiter(map(float, self.cells), np.float64, self._size)
        except ValueError:
            known = {cell: parse_number(cell) for cell in set(self.cells)}
            return np.fromiter(map(known.__getitem__, self.cells), np.float64, self._size)

    @cached_property
    def missing(self) -> np.ndarray:
        """Whether each cell marks a missing value (rows,)."""
        if not np.isnan(self.numbers).any():  # no mark is a number
            return np.zeros(self._size, bool)
        marks = set(filter(is_missing, set(self.cells)))
        return np.fromiter(map(marks.__contains__, self.cells), bool, self._size)

    def take(self, rows: np.ndarray) -> "Column":
        """Return the column of some rows (rows,)."""

        def read() -> list[str]:
            return list(map(self.cells.__getitem__, rows.tolist()))

        return Column(read, len(rows), self.numbers[rows], self.missing[rows])


def as_column(cells: Sequence[str]) -> Column:
    """Return cells as a column."""
    if isinstance(cells, Column):
        return cells
    return Column(lambda: cells, len(cells))


def is_missing(cell: str) -> bool:
    """Return whether a cell marks a missing value."""
    return cell.strip().lower() in MISSING


def parse_number(cell: str) -> float:
    """Return the number in a cell; NaN where there is none."""
    try:
        return float(cell)
    except ValueError:
        return math.nan
