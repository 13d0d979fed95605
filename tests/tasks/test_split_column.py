"""A column that states the part of each row: tables and images by a table."""

import numpy as np
import pytest
from PIL import Image

from tasks.data.features.table import TableFile
from tasks.data.images.image_folder import Images
from tasks.data.split import PARTS
from tasks.errors import ArgumentError

WORDS = ("train", "Training", " val ", "validation", "dev", "test")
STATED = {"train": (0, 1), "val": (2, 3, 4), "test": (5,)}


def write_rows(folder, words, targets=None):
    """Write a row for each word; the feature is the number of the row."""
    lines = ["size,part,kind"]
    for row, word in enumerate(words):
        kind = "ab"[row // len(WORDS) % 2]
        lines.append(f"{row},{word},{targets[row] if targets else kind}")
    path = folder / "rows.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def write_images(folder, words, classes="ab"):
    lines = ["path,kind,part"]
    for row, word in enumerate(words):
        Image.fromarray(np.full((4, 4), row, np.uint8)).save(folder / f"{row}.png")
        lines.append(f"{row}.png,{classes[row // len(WORDS) % len(classes)]},{word}")
    path = folder / "images.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return {
        "table": str(path), "label": "kind", "split_column": "part", "size": 4, "channels": 1,
        "workers": 0,
    }  # fmt: skip


def rows_of(data):
    data.read()
    return {
        part: sorted(int(name.partition(".")[0]) for name in data.names(part)) for part in PARTS
    }


def told(data):
    with pytest.raises(ArgumentError) as caught:
        data.read()
    return str(caught.value)


def test_rows_are_in_the_part_that_they_state(tmp_path):
    expected = {}
    for part, numbers in STATED.items():
        expected[part] = [row for row in range(24) if row % len(WORDS) in numbers]
    table = TableFile(path=write_rows(tmp_path, WORDS * 4), split_column="part", split_seed=7)
    found = rows_of(table)
    lines = {part: [row + 2 for row in rows] for part, rows in expected.items()}
    assert found == lines
    assert table.targets == ["kind"]
    assert table.encoding.names == ["size"]
    assert table.encoding.numbers[0].mean == np.mean(expected["train"])
    assert rows_of(Images(**write_images(tmp_path, WORDS * 4), split_seed=7)) == expected


def test_a_part_that_no_row_states_is_cut_from_the_training_part(tmp_path):
    words = ("train", "train", "test") * 20
    table = TableFile(path=write_rows(tmp_path, words), split_column="part", val=0.25)
    for data in (table, Images(**write_images(tmp_path, words), val=0.25)):
        data.read()
        assert data.sizes() == {"train": 30, "val": 10, "test": 20}


@pytest.mark.parametrize("kind", ["table", "images"])
def test_wrong_parts_are_told(tmp_path, kind):
    def read(words):
        if kind == "table":
            return TableFile(path=write_rows(tmp_path, words), split_column="part")
        return Images(**write_images(tmp_path, words))

    path = tmp_path / ("rows.csv" if kind == "table" else "images.csv")
    assert told(read((*WORDS * 2, "tset", "", "train"))) == (
        f"{path}, line 14: 2 of 15 rows name no part; got 'tset'; "
        "fits: train, training, val, valid, validation, dev, test, testing"
    )
    assert told(read(("val", "test") * 6)) == (
        f"{path} has no row of the part train; got test, val; "
        "fits: rows of train; val and test are cut from them where they are not there"
    )


def test_a_part_whose_rows_cannot_be_used_is_told(tmp_path):
    targets = ["x" if word == "test" else str(row) for row, word in enumerate(WORDS * 4)]
    path = write_rows(tmp_path, WORDS * 4, targets)
    message = told(TableFile(path=path, split_column="part", kind="numbers"))
    assert message.startswith(
        "no row of the part test can be used; got 4 lines left out: 7 (kind is no number), "
    )


def test_a_column_that_is_not_there_is_told(tmp_path):
    path = write_rows(tmp_path, WORDS)
    assert told(TableFile(path=path, split_column="set")) == (
        f"{path} has no such column; got set; fits: size, part, kind"
    )
    options = write_images(tmp_path, WORDS) | {"split_column": "set"}
    assert told(Images(**options)).startswith(
        f"{options['table']}, line 1: there is no such column; got set; fits: path, kind, part"
    )
    with pytest.raises(ArgumentError, match="split_column is of a table of images"):
        Images(str(tmp_path), split_column="part")


def test_an_image_in_two_parts_or_of_an_unknown_class_is_told(tmp_path):
    options = write_images(tmp_path, WORDS * 4)
    with open(options["table"], "a", encoding="utf-8") as file:
        file.write("\n0.png,a,test\n")
    assert "1 of 25 rows repeat an image in another part; got 0.png, as line 2" in told(
        Images(**options)
    )
    options = write_images(tmp_path, ("train", "test") * 6, classes="ac")
    content = (tmp_path / "images.csv").read_text(encoding="utf-8")
    (tmp_path / "images.csv").write_text(
        content.replace("1.png,a,test", "1.png,new,test", 1), encoding="utf-8"
    )
    message = told(Images(**options))
    assert message.endswith("has a class that training lacks; got new; training has a, c")
