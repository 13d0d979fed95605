"""Read the rows of a table for prediction."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tasks.data.features.encoding import Encoding
from tasks.data.features.rows import read_columns
from tasks.data.readers.base import Item, Reader
from tasks.data.tables.rows import read_table
from tasks.data.tables.table import Table, parse_table
from tasks.errors import ArgumentError

Row = dict[str, list[str]]  # a table with one row


class TableReader(Reader):
    """Read rows from tables and from standard input; their columns are found by their names.

    Args:
        encoding: how columns become features, as `Encoding.to_plain` has it.
        targets: the columns that are predicted; they may be missing.
        mean: of each target that is a number.
        std: of each target that is a number.
    """

    def __init__(
        self,
        encoding: dict[str, Any],
        targets: list[str],
        mean: list[float] | None = None,
        std: list[float] | None = None,
    ):
        self.encoding = Encoding.from_plain(encoding)
        self.targets, self.mean, self.std = targets, mean or [], std or []

    def tensor(self, name: str) -> Tensor:
        """Return "mean" or "std" of the targets."""
        return torch.tensor(getattr(self, name), dtype=torch.float64)

    def to_units(self, value: Tensor) -> Tensor:
        return value.double() * self.tensor("std") + self.tensor("mean")

    def items(self, given: str) -> Iterator[Item]:
        try:
            table = read_table(Path(given), len(self.encoding.names))
            yield from self._rows(table, f"{given}:")
        except ArgumentError as error:
            yield Item(given, error=error.problem)

    def lines(self, lines: Iterable[str]) -> Iterator[Item]:
        try:
            table = parse_table("".join(lines), Path("lines.csv"), len(self.encoding.names))
            yield from self._rows(table, "line ")
        except ArgumentError as error:
            yield Item("-", error=error.problem)

    def _rows(self, table: Table, prefix: str) -> Iterator[Item]:
        wanted = self.encoding.names
        rows = read_columns(table, named=wanted)
        missing = [name for name in wanted if name not in rows.columns]
        if missing:
            error = f"the columns {', '.join(missing)} are missing"
            yield Item(prefix.rstrip(": "), error=error)
            return
        faults = dict(rows.bad)
        numbers = {line: number for number, line in enumerate(rows.lines)}
        for line in sorted({*faults, *numbers}):
            name = f"{prefix}{line}"
            if line in faults:
                yield Item(name, error=faults[line])
                continue
            number = numbers[line]
            fault = self.encoding.find_fault(rows.columns, number)
            if fault is not None:
                yield Item(name, error=fault)
                continue
            unknown = self.encoding.unknown(rows.columns, number)
            note = f"not in training: {', '.join(unknown)}" if unknown else None
            row: Row = {column: [rows.columns[column][number]] for column in wanted}
            yield Item(name, sample=row, note=note)

    def batch(self, samples: list[Any]) -> dict[str, Tensor]:
        columns: Row = {}
        for name in self.encoding.names:
            columns[name] = [sample[name][0] for sample in samples]
        return self.encoding.encode(columns, len(samples))
