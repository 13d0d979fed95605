"""Numbers and categories in the columns of a data set: `data=hub_table`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.data.features.module import Features
from tasks.data.hub.columns import describe_columns, is_class
from tasks.data.hub.source import HubSource
from tasks.data.split import PARTS
from tasks.data.tables.column import Column
from tasks.data.tables.parquet import read_cells
from tasks.errors import ArgumentError


class HubTable(Features):
    """A table from a data set of the Hugging Face Hub, or from files of its kinds.

    Args:
        path: a folder, a file, or several files: .parquet, .arrow, .jsonl, .csv, or what
            `save_to_disk` wrote.
        name: USER/NAME on the Hub instead, read where its cache on this machine has it.
        revision: of a name: a branch, a tag or a commit; None is main.
        subset: the subset, where there are several.
        download: fetch a name that is not in the cache.
        splits: the splits of "train", "val" and "test"; None: by their names. Missing ones are cut
            from the training part.
        options: those of `Features`.
    """

    def __init__(
        self,
        path: str | Sequence[str] | None = None,
        *,
        name: str | None = None,
        revision: str | None = None,
        subset: str | None = None,
        download: bool = False,
        splits: Mapping[str, str | None] | None = None,
        **options: Any,
    ):
        self.source = HubSource(path, name, revision, subset, splits, download)
        super().__init__(**options)

    def load(self) -> tuple[dict[str, list[str]], list[str]]:
        parts, _, notes = self.source.open()
        self.notes += notes
        columns: dict[str, list[str]] = {}
        names = []
        part_of: list[str] = []
        for part in PARTS:
            if part not in parts:
                continue
            cells = read_columns(parts[part])
            if columns and list(cells) != list(columns):
                problem = f"the part {part} has other columns than the training part"
                raise ArgumentError("path", problem, got=describe_columns(parts[part].features))
            for name, column in cells.items():
                columns.setdefault(name, []).extend(column)
            names += [f"{part}:{row}" for row in range(len(parts[part]))]
            part_of += [part] * len(parts[part])
        if len(columns) < 2 or not names:
            raise ArgumentError(
                "path",
                f"{self.source.shown} has no rows of features and a target",
                got=describe_columns(parts["train"].features),
                fits="a column for each feature, and one for the target",
            )
        self.part_of = np.array(part_of)
        return columns, names


def read_columns(rows: Any) -> dict[str, Column]:
    """Return the cells of the columns that hold single values; classes by their names."""
    from pyarrow import array, compute

    table = rows.with_format("arrow")[:]
    for number, (name, feature) in enumerate(rows.features.items()):
        if is_class(feature):
            codes = table[name].combine_chunks()
            codes = compute.if_else(compute.less(codes, 0), None, codes)
            cells = compute.take(array(feature.names), codes)
            table = table.set_column(number, name, cells)
    names, cells = read_cells(table)
    return dict(zip(names, cells, strict=True))
