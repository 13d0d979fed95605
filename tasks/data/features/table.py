"""A table of the user's own: .csv, .tsv or .jsonl, with numbers and categories."""

from pathlib import Path
from typing import Any

from tasks.data.features.module import Features
from tasks.data.features.rows import split_header
from tasks.data.tables.rows import describe_bad, read_table
from tasks.data.tables.wanted import Header
from tasks.errors import ArgumentError


class TableFile(Features):
    """A table in a file: `data=table data.path=FILE`.

    Args:
        path: .csv, .tsv, .tab, .jsonl or .ndjson.
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

    def load(self) -> tuple[dict[str, list[str]], list[str]]:
        table = read_table(self.path, 2, self.delimiter)
        names, rows, bad = split_header(table, self.header)
        if bad:
            self.notes.append(describe_bad(bad))
        if not rows or len(names) < 2:
            raise ArgumentError(
                "path",
                f"{self.path} has no rows of features and a target",
                got=table.tried or None,
                fits="a column for each feature, and one for the target",
            )
        columns = {name: [row[index] for _, row in rows] for index, name in enumerate(names)}
        return columns, [str(line) for line, _ in rows]
