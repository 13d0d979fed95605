"""Read Parquet files as tables, by the library pyarrow."""

from pathlib import Path
from typing import Any

from blocks.support.files import check_growth, open_file
from tasks.data.tables.table import Row, Table
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
    rows: list[Row] = []
    for number, cells in enumerate(zip(*columns, strict=True), 1):
        rows.append((number, list(cells)))
    return Table(path, KIND, rows, keys=names)


def read_cells(table: Any) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns of an Arrow table that hold single values, and their cells.

    Numbers are written so that reading them gives the same number.
    """
    from pyarrow import types

    names = []
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind):
            continue
        if types.is_floating(kind):
            cells = ["" if value is None else repr(value) for value in column.to_pylist()]
        else:
            cells = [value or "" for value in column.cast("string").to_pylist()]
        names.append(field.name)
        columns.append(cells)
    return names, columns
