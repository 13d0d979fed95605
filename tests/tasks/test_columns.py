"""Columns that are read as a whole hold what their cells hold one by one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.features.rows import read_columns
from tasks.data.tables.cells import MISSING, collect_columns, is_number, is_numeric
from tasks.data.tables.column import Column, as_column, is_missing, parse_number
from tasks.data.tables.parquet import read_parquet

STRANGE = """1| 2.5 |-3e-5|1_000|1,5|inf|-inf|nan| NaN ||?|na|None|red|-|12x|٣|0x10|1e999|\x1f"""
CELLS = st.sampled_from([*STRANGE.split("|"), "9007199254740993"])
COLUMN = st.lists(CELLS, max_size=9)


@settings(deadline=None)
@given(COLUMN)
def test_a_column_is_parsed_as_its_cells_are(cells):
    column = as_column(cells)
    assert list(column) == cells
    np.testing.assert_array_equal(column.numbers, [parse_number(cell) for cell in cells])
    assert column.missing.tolist() == [is_missing(cell) for cell in cells]
    filled = [cell for cell in cells if cell.strip().lower() not in MISSING]
    assert is_numeric(cells) == (bool(filled) and all(map(is_number, filled)))
    rows = np.arange(len(cells))[::-2]
    taken = column.take(rows)
    assert list(taken) == cells[::-2]
    np.testing.assert_array_equal(taken.numbers, column.numbers[rows])


@settings(deadline=None)
@given(st.lists(st.lists(st.one_of(CELLS, st.none()), min_size=1, max_size=4), max_size=6))
def test_rows_become_columns(rows):
    for width in (1, 3):
        expected = [[row[at] or "" for row in rows if at < len(row)] for at in range(width)]
        assert collect_columns(rows, width) == expected


def test_numbers_of_parquet_are_those_of_their_cells(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        "whole": arrow.array([1, None, 9007199254740993, -5], arrow.int64()),
        "large": arrow.array([2**64 - 1, 0, 9007199254740993, 1], arrow.uint64()),
        "single": arrow.array([0.1, None, math.nan, math.inf], arrow.float32()),
        "double": arrow.array([0.1, -0.0, 1e308, 5e-324], arrow.float64()),
        "packed": arrow.array([0.25, 7.5, 0.25, None]).dictionary_encode(),
        "text": arrow.array(["1,234", "2,000", None, "5"]),
        "truth": arrow.array([True, False, None, True]),
    }
    path = tmp_path / "x.parquet"
    parquet.write_table(arrow.table(columns), path)
    table = read_parquet(path)
    expected = {}
    for name, column in columns.items():
        values = column.to_pylist()
        if name in ("single", "double", "packed"):
            expected[name] = ["" if value is None else repr(value) for value in values]
        else:
            expected[name] = ["" if value is None else str(value) for value in values]
    expected["text"] = ["1234", "2000", "", "5"]  # thousands
    expected["truth"] = ["true", "false", "", "true"]
    rows = read_columns(table)
    assert rows.grouped == ["text"]
    for name, cells in expected.items():
        column = as_column(rows.columns[name])
        numbers, missing = column.numbers, column.missing
        assert list(column) == cells
        np.testing.assert_array_equal(numbers, [parse_number(cell) for cell in cells])
        assert missing.tolist() == [is_missing(cell) for cell in cells]
    assert table.rows[2] == (3, [column[2] for column in table.rows.columns])
    assert len(table.rows[1:]) == 3


def test_numbers_are_not_written_as_texts_before_a_cell_is_asked_for():
    def refuse():
        raise AssertionError

    column = Column(refuse, 2, np.array([1.0, 2.0]), np.array([False, False]))
    assert column.take(np.array([1])).numbers.tolist() == [2]
