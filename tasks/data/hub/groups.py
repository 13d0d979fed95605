"""Row groups of Parquet files: counted without reading them, and read one by one."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tasks.data.hub.client import import_datasets
from tasks.errors import ArgumentError

OPEN = 4  # files that are kept open


class RowGroups:
    """The row groups of some Parquet files.

    Args:
        files: in the order of their rows.

    Attributes:
        rows: (groups,), the rows of each group.
        bytes: (groups,), what each group needs in memory.
        features: the type of each column.

    Raises:
        ArgumentError: a file cannot be read, or has other columns than the first one.
    """

    def __init__(self, files: Sequence[Path]):
        datasets = import_datasets()  # brings pyarrow
        self.files = list(files)
        self.opened: OrderedDict[int, Any] = OrderedDict()
        places, rows, sizes = [], [], []
        self.features: dict[str, Any] = {}
        for number, file in enumerate(self.files):
            content = self._open(number)
            features = datasets.Features.from_arrow_schema(content.schema_arrow)
            self.features = self.features or features
            if features != self.features:
                raise ArgumentError(
                    "path",
                    f"{file} has other columns than {self.files[0]}",
                    got=", ".join(features),
                    fits=", ".join(self.features),
                )
            for index in range(content.metadata.num_row_groups):
                group = content.metadata.row_group(index)
                places.append((number, index))
                rows.append(group.num_rows)
                sizes.append(group.total_byte_size)
        self.places = np.array(places, np.int32).reshape(-1, 2)
        self.rows, self.bytes = np.array(rows, np.int64), np.array(sizes, np.int64)

    def read(self, group: int, columns: Sequence[str]) -> Any:
        """Return some columns of a row group, a `pyarrow.Table`.

        Raises:
            ArgumentError: the file is damaged.
        """
        number, index = self.places[group].tolist()
        try:
            return self._open(number).read_row_group(index, list(columns), use_threads=False)
        except (OSError, ValueError) as error:  # those of pyarrow are among them
            raise unreadable(self.files[number], error) from error

    def columns(self, names: Sequence[str]) -> Iterator[Any]:
        """Yield some columns of one group after the other."""
        for group in range(len(self.rows)):
            yield self.read(group, names)

    def _open(self, number: int) -> Any:
        from pyarrow import parquet

        if number in self.opened:
            self.opened.move_to_end(number)
            return self.opened[number]
        try:
            self.opened[number] = parquet.ParquetFile(self.files[number])
        except (OSError, ValueError) as error:
            raise unreadable(self.files[number], error) from error
        if len(self.opened) > OPEN:
            self.opened.popitem(last=False)
        return self.opened[number]


def unreadable(file: Path, error: Exception) -> ArgumentError:
    """Return the error for a file that is damaged."""
    reason = str(error).strip().splitlines()[0][:200]
    return ArgumentError("path", f"{file} cannot be read as Parquet: {reason}")


def describe_groups(splits: Iterable[RowGroups], buffer: int) -> str:
    """Return a note on what a stream needs in memory."""
    count = rows = size = 0
    for groups in splits:
        count += len(groups.rows)
        rows, size = max(rows, *groups.rows.tolist()), max(size, *groups.bytes.tolist())
    return (
        f"streamed: {count:,} row groups of up to {rows:,} rows and {size / 2**20:.3g} MB; "
        f"{buffer:,} rows are shuffled together"
    )
