"""A table of the user's own: .csv, .tsv, .jsonl or .parquet, with numbers and categories."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.data.features.module import Features
from tasks.data.features.rows import read_columns
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
        options: those of `Features`.
    """

    def __init__(
        self, *, path: str, header: Header = "auto", delimiter: str = "auto", **options: Any
    ):
        super().__init__(**options)
        self.path, self.header, self.delimiter = Path(path).expanduser(), header, delimiter

    def load(self) -> tuple[Mapping[str, Sequence[str]], list[str]]:
        table = read_table(self.path, 2, self.delimiter)
        rows = read_columns(
            table, self.header, [*(self.target or ()), *self.categories, *self.exclude]
        )
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
        return rows.columns, list(map(str, rows.lines))
