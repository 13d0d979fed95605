"""Read Parquet files as tables, by the library pyarrow."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from blocks.support.files import check_growth, open_file
from tasks.data.tables.column import Column
from tasks.data.tables.table import RowsOfColumns, Table
from tasks.errors import ArgumentError

KIND = "Parquet"


def read_parquet(path: Path) -> Table:
    """Return the columns of a Parquet file as cells of text; null is an empty cell.

    A column of lists, structures or bytes is no column of a table.

    Raises:
        ArgumentError: pyarrow is not installed, or the file cannot be read.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise ArgumentError(
            "path",
            f"{path} is a Parquet file, which the package pyarrow reads",
            got="no package pyarrow",
            fix="pip install -c constraints.txt -e '.[parquet]'",
        ) from error
    try:
        with open_file(path) as file, parquet.ParquetFile(file) as content:
            found = content.metadata
            groups = [found.row_group(index) for index in range(found.num_row_groups)]
            packed = path.stat().st_size
            check_growth(path, sum(group.total_byte_size for group in groups), packed)
            table = content.read()
        names, columns = read_cells(table)
    except (OSError, arrow.ArrowException) as error:
        raise ArgumentError(
            "path", f"{path} cannot be read as Parquet: {error}", fix="data.path=FILE.parquet"
        ) from error
    if table.num_columns and not names:
        raise ArgumentError(
            "path",
            f"{path} has no columns of numbers and texts",
            got=", ".join(f"{column.name}: {column.type}" for column in table.schema),
        )
    return Table(path, KIND, RowsOfColumns(columns), keys=names)


def read_cells(table: Any) -> tuple[list[str], list[Column]]:
    """Return the names of the columns of an Arrow table that hold single values, and their cells.

    Numbers are written so that reading them gives the same number, and only if a cell is asked for.
    """
    from pyarrow import types

    names = []
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind):
            continue
        names.append(field.name)
        if types.is_floating(kind) or types.is_integer(kind):
            columns.append(make_number_column(column.cast(kind)))
        else:
            columns.append(Column(partial(write_cells, column), len(column)))
    return names, columns


def make_number_column(column: Any) -> Column:
    """Return a column of numbers; null and NaN are missing."""
    from pyarrow import types

    numbers = np.array(column.cast("float64", safe=False).to_numpy(), np.float64)
    write = write_cells
    if types.is_floating(column.type):
        write = write_floats
    return Column(partial(write, column), len(column), numbers, np.isnan(numbers))


def write_floats(column: Any) -> list[str]:
    """Return the cells of a column of floating-point numbers."""
    return ["" if value is None else repr(value) for value in column.to_pylist()]


def write_cells(column: Any) -> list[str]:
    """Return the cells of a column of other values."""
    return [value or "" for value in column.cast("string").to_pylist()]
