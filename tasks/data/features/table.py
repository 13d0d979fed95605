"""A table of the user's own: .csv, .tsv, .jsonl or .parquet, with numbers and categories."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.data.features.module import SHOWN, Features
from tasks.data.features.rows import read_columns
from tasks.data.quick import is_small
from tasks.data.split import read_parts
from tasks.data.tables.rows import describe_bad, read_table
from tasks.data.tables.wanted import Header
from tasks.errors import ArgumentError


class TableFile(Features):
    """A table in a file: `data=table data.path=FILE`.

    Args:
        path: .csv, .tsv, .tab, .jsonl, .ndjson or .parquet.
        header: whether the first row names the columns; "auto" looks at it. Columns without names
            are "1", "2", ...
        delimiter: comma, tab, semicolon or pipe; "auto" looks at the rows.
        split_column: the column that states the part of each row: train, val or test. A part that
            no row has is cut from the training part. None: all rows are split by chance.
        options: those of `Features`.
    """

    def __init__(
        self,
        *,
        path: str,
        header: Header = "auto",
        delimiter: str = "auto",
        split_column: str | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        self.split_column = split_column
        self.path, self.header, self.delimiter = Path(path).expanduser(), header, delimiter

    @classmethod
    def is_quick(cls, section: Mapping[str, Any]) -> bool:
        return is_small(section.get("path"))

    def load(self) -> tuple[Mapping[str, Sequence[str]], list[str]]:
        table = read_table(self.path, 2, self.delimiter)
        named = [*(self.target or ()), *self.categories, *self.exclude]
        named += filter(None, [self.split_column])
        rows = read_columns(table, self.header, named)
        if rows.bad:
            self.notes.append(describe_bad(rows.bad))
        if rows.grouped:
            self.notes.append(f"commas group thousands in {', '.join(rows.grouped)}")
        if not rows.lines or len(rows.columns) < 2:
            raise ArgumentError(
                "path",
                f"{self.path} has no rows of features and a target",
                got=table.tried or None,
                fits="a column for each feature, and one for the target",
            )
        if self.split_column is not None:
            if self.split_column not in rows.columns:
                fits = ", ".join(list(rows.columns)[:SHOWN])
                text = f"{self.path} has no such column"
                raise ArgumentError("split_column", text, got=self.split_column, fits=fits)
            cells = rows.columns.pop(self.split_column)
            self.part_of = read_parts(cells, rows.lines, self.path)
        return rows.columns, list(map(str, rows.lines))
