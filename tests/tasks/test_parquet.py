"""Tables in Parquet files: the same as in .csv, and what is wrong with a file."""

import builtins
import datetime

import numpy as np
import pytest

from tasks.data.features.table import TableFile
from tasks.data.readers.table import TableReader
from tasks.data.tables.rows import read_table
from tasks.errors import ArgumentError
from tasks.resume.state import data_fingerprint

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def write(path, **columns):
    parquet.write_table(arrow.table(columns), path)


def make_columns(rows=61):
    source = np.random.default_rng(0)
    size = source.normal(size=rows)
    colour = source.choice(["red", "green", "blue"], rows).tolist()
    colour[3] = None
    count = source.integers(0, 900_000, rows).tolist()
    count[5] = None
    return {"size": size, "colour": colour, "count": count, "price": 3 * size + 0.1}


def test_a_table_is_the_same_as_in_csv(tmp_path):
    columns = make_columns()
    write(tmp_path / "a.parquet", **columns)
    lines = [",".join(columns)]
    for cells in zip(*columns.values(), strict=True):
        lines.append(",".join("" if cell is None else str(cell) for cell in cells))
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = [TableFile(path=str(tmp_path / name)) for name in ("a.parquet", "a.csv")]
    for data in found:
        data.read()
    assert data_fingerprint(found[0]) == data_fingerprint(found[1])
    assert found[0].notes == found[1].notes
    assert found[0].facts() == found[1].facts()


def test_a_row_is_predicted_from_parquet(tmp_path):
    write(tmp_path / "a.parquet", **make_columns())
    data = TableFile(path=str(tmp_path / "a.parquet"))
    data.read()
    reader = TableReader(**data.reader_arguments())
    items = list(reader.items(str(tmp_path / "a.parquet")))
    assert len(items) == 61
    assert items[0].name == f"{tmp_path / 'a.parquet'}:1"
    row = int(data.names("test")[0]) - 1
    batch = reader.batch([items[row].sample])
    for name in ("numbers", "categories"):
        assert batch[name][0].equal(data.parts["test"][name][0])


def test_cells_of_each_type(tmp_path):
    file = tmp_path / "a.parquet"
    write(
        file,
        whole=arrow.array([2**53 + 1, None], "int64"),
        small=arrow.array([0.1, None], "float32"),
        exact=arrow.array([0.1, 1e300], "float64"),
        flag=[True, None],
        day=[datetime.date(2026, 11, 26), None],
        kind=arrow.array(["a", "b"]).dictionary_encode(),
        nested=[[1], [2]],
        content=[b"\xff", b""],
    )
    table = read_table(file, 2)
    assert table.keys == ["whole", "small", "exact", "flag", "day", "kind"]
    assert [cells for _, cells in table.rows] == [
        ["9007199254740993", "0.10000000149011612", "0.1", "true", "2026-11-26", "a"],
        ["", "", "1e+300", "", "", "b"],
    ]


@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_a_damaged_file_is_reported(tmp_path, share):
    file = tmp_path / "a.parquet"
    write(file, **make_columns())
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArgumentError) as error:
        TableFile(path=str(file)).read()
    assert error.value.problem.startswith(f"{file} cannot be read as Parquet: ")
    assert error.value.fix == "data.path=FILE.parquet"


def test_a_file_that_is_not_there_or_has_no_rows_is_reported(tmp_path):
    with pytest.raises(ArgumentError, match="cannot be read as Parquet"):
        TableFile(path=str(tmp_path / "no.parquet")).read()
    write(tmp_path / "a.parquet", a=arrow.array([], "float64"), b=arrow.array([], "float64"))
    with pytest.raises(ArgumentError, match="has no rows of features and a target"):
        TableFile(path=str(tmp_path / "a.parquet")).read()
    write(tmp_path / "b.parquet", nested=[[1], [2]])
    with pytest.raises(ArgumentError) as error:
        TableFile(path=str(tmp_path / "b.parquet")).read()
    assert str(error.value) == (
        f"{tmp_path}/b.parquet has no columns of numbers and texts; "
        "got nested: list<element: int64>"
    )


def test_a_missing_package_is_named_with_the_command(tmp_path, monkeypatch):
    write(tmp_path / "a.parquet", **make_columns())
    load = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ArgumentError) as error:
        TableFile(path=str(tmp_path / "a.parquet")).read()
    assert str(error.value) == (
        f"{tmp_path}/a.parquet is a Parquet file, which the package pyarrow reads; "
        "got no package pyarrow; fix: pip install -c constraints.txt -e '.[parquet]'"
    )
