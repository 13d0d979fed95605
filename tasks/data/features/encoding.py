"""How the columns of a table become tensors: measured on the training part, kept for prediction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasks.data.tables.column import as_column, is_missing, parse_number

Columns = Mapping[str, Sequence[str]]  # name -> the cells of all rows
LEAST_NUMBERS = 0.95  # share of the cells of a column of numbers; the others are mistakes
MOST_SHARE = 0.5  # a text column with more different values than this share of the rows ...
MOST_VALUES = 50  # ... and than this number names rows rather than categories


@dataclass(frozen=True)
class Number:
    """A column of numbers.

    Args:
        name: of the column.
        mean: of the training part, which stands for missing cells.
        std: of the training part.
        marks_missing: whether a further feature is 1 where the cell is missing.
    """

    name: str
    mean: float
    std: float
    marks_missing: bool = False


@dataclass(frozen=True)
class Category:
    """A column of categories.

    Args:
        name: of the column.
        values: the categories of the training part; their codes begin at 1.
        first: the code of an unknown category in the vocabulary that all columns share.
    """

    name: str
    values: tuple[str, ...]
    first: int = 0


@dataclass(frozen=True)
class Encoding:
    """The features of a table.

    Args:
        numbers: the columns of numbers.
        categories: the columns of categories.
    """

    numbers: tuple[Number, ...] = ()
    categories: tuple[Category, ...] = ()
    codes: list[dict[str, int]] = field(default_factory=list, compare=False)

    def __post_init__(self) -> None:
        for column in self.categories:
            pairs = enumerate(column.values, column.first + 1)
            self.codes.append({value: code for code, value in pairs})

    @property
    def names(self) -> list[str]:
        """The columns that are read, numbers first."""
        numbers = [column.name for column in self.numbers]
        return [*numbers, *(column.name for column in self.categories)]

    def facts(self) -> dict[str, Any]:
        """Return the shapes of the two inputs. Each has one column or more: where a table has no
        categories, or no numbers, it is one of zeros.
        """
        marks = sum(column.marks_missing for column in self.numbers)
        vocab = 1 + sum(1 + len(column.values) for column in self.categories)
        return {
            "numbers": {"features": max(1, len(self.numbers) + marks)},
            "categories": {"columns": max(1, len(self.categories)), "dtype": "int", "vocab": vocab},
        }

    def encode(self, columns: Columns, rows: int) -> dict[str, Tensor]:
        """Return "numbers" (rows, features), standardised, and "categories" (rows, columns).

        Args:
            columns: the cells, checked by `find_fault`.
            rows: how many there are.
        """
        features = []
        marks = []
        for column in self.numbers:
            value = torch.from_numpy(as_column(columns[column.name]).numbers).float()
            missing = value.isnan()
            features.append(((value - column.mean) / column.std).where(~missing, 0.0))
            if column.marks_missing:
                marks.append(missing.to(value.dtype))
        numbers = torch.zeros(rows, 1)
        if features:
            numbers = torch.stack([*features, *marks], 1).float()
        codes = torch.zeros(rows, max(1, len(self.categories)), dtype=torch.long)
        for index, category in enumerate(self.categories):
            cells = columns[category.name]
            known = {}
            for cell in set(cells):
                known[cell] = self.codes[index].get(clean_category(cell), category.first)
            codes[:, index] = torch.tensor(list(map(known.__getitem__, cells)))
        return {"numbers": numbers, "categories": codes}

    def unknown(self, columns: Columns, row: int) -> list[str]:
        """Return the categories of a row that training did not have: "colour 'mauve'"."""
        found = []
        for known, column in zip(self.codes, self.categories, strict=True):
            cell = clean_category(columns[column.name][row])
            if cell not in known:
                found.append(f"{column.name} {cell!r}" if cell else f"{column.name} (missing)")
        return found

    def find_fault(self, columns: Columns, row: int) -> str | None:
        """Return why a row has no features: a cell that is no finite number; None if it has."""
        return find_bad_number({column.name: columns[column.name] for column in self.numbers}, row)

    def to_plain(self) -> dict[str, Any]:
        """Return the encoding as plain values, for JSON."""
        return {
            "numbers": [asdict(column) for column in self.numbers],
            "categories": [asdict(column) for column in self.categories],
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Encoding":
        """Return the encoding that `to_plain` made plain."""
        numbers = tuple(Number(**column) for column in values["numbers"])
        categories = []
        for column in values["categories"]:
            categories.append(Category(**{**column, "values": tuple(column["values"])}))
        return cls(numbers, tuple(categories))


def measure(
    columns: Columns, train: Sequence[int], categorical: Sequence[str] = ()
) -> tuple[Encoding, list[str]]:
    """Measure the encoding of columns on the training part.

    Args:
        columns: the cells of all features.
        train: the rows of the training part.
        categorical: columns of numbers that are categories.

    Returns:
        The encoding, and notes on columns that are left out and on missing values.
    """
    numbers: list[Number] = []
    categories: list[Category] = []
    notes = []
    first = 1  # code 0 stands in the column of a table without categories
    rows = np.asarray(train, np.int64)
    for name, cells in columns.items():
        chosen = as_column(cells).take(rows)
        missing = int(chosen.missing.sum())
        if missing == len(chosen):
            notes.append(f"column {name} is empty: left out")
            continue
        if holds_numbers(chosen) and name not in categorical:
            numbers.append(measure_number(name, chosen))
            if missing:
                count = f"{missing:,} of {len(chosen):,} missing"
                notes.append(f"column {name}: {count}, the mean in their place")
            continue
        values = set(map(clean_category, set(chosen)))
        if len(values) > max(MOST_VALUES, MOST_SHARE * len(chosen)):
            notes.append(
                f"column {name}: {len(values):,} different texts in {len(chosen):,} rows: left out"
            )
            continue
        if missing:
            notes.append(
                f"column {name}: {missing:,} of {len(chosen):,} missing, a category of their own"
            )
        categories.append(Category(name, tuple(sorted(values)), first))
        first += 1 + len(values)
    return Encoding(tuple(numbers), tuple(categories)), notes


def measure_number(name: str, cells: Sequence[str]) -> Number:
    """Measure a column of numbers; a constant one has the standard deviation 1."""
    values = torch.from_numpy(as_column(cells).numbers)
    known = values[values.isfinite()]
    std = float(known.std(correction=0))
    return Number(name, float(known.mean()), std or 1.0, len(known) < len(values))


def find_bad_number(numbers: Columns, row: int) -> str | None:
    """Return what is wrong with a cell in a column of numbers; None if nothing is."""
    for name, cells in numbers.items():
        cell = cells[row]
        if not math.isfinite(parse_number(cell)) and not is_missing(cell):
            return f"{name} is no number: {cell.strip()[:40]!r}"
    return None


def holds_numbers(cells: Sequence[str]) -> bool:
    """Return whether nearly all cells of a column that are not missing are numbers."""
    column = as_column(cells)
    numbers = len(column) - int(np.isnan(column.numbers).sum())
    filled = len(column) - int(column.missing.sum())
    return filled > 0 and numbers >= LEAST_NUMBERS * filled


def clean_category(cell: str) -> str:
    """Return the category in a cell; a missing one is the empty text."""
    return "" if is_missing(cell) else cell.strip()
