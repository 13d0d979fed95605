"""Images listed in a table: their classes and labels, what is refused, and a run."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from blocks.graph import compose
from tasks.__main__ import main
from tasks.data.images.image_folder import Images
from tasks.errors import ArgumentError
from tasks.resume import adopt, checkpoint
from tasks.run import run_folder
from tasks.run.evaluate import evaluate_run
from tasks.run.load_run import open_run
from tasks.run.train import train

COUNT = 48
SMALL = {"size": 4, "channels": 1, "workers": 0}


def write_images(folder, count=COUNT):
    """Write images whose left and right halves are bright or not, by their number."""
    (folder / "photos").mkdir(exist_ok=True)
    source = np.random.default_rng(0)
    for number in range(count):
        image = source.integers(0, 60, (4, 4), np.uint8)
        for bit, part in enumerate((slice(0, 2), slice(2, 4))):
            image[:, part] += np.uint8(180 * (number >> bit & 1))
        Image.fromarray(image).save(folder / "photos" / f"{number}.png")


def name_labels(number):
    return [name for bit, name in enumerate(("left", "right")) if number >> bit & 1]


def make_rows(kind):
    header = {"class": ["path", "label"], "cell": ["path", "tags"]}
    rows = [header.get(kind, ["path", "left", "right"])]
    for number in range(COUNT):
        held = name_labels(number)
        cells = {"class": ["+".join(held) or "none"], "cell": ["; ".join(held)]}
        flags = [str(int(name in held)) for name in ("left", "right")]
        rows.append([f"photos/{number}.png", *cells.get(kind, flags)])
    return rows


def write_table(folder, rows, name="labels.csv"):
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return str(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    write_images(folder)
    return folder


def test_a_class_by_a_table_is_that_of_the_row(place):
    data = Images(table=write_table(place, make_rows("class"), "class.csv"), **SMALL)
    assert data.facts() == {
        "image": {"channels": 1, "height": 4, "width": 4},
        "classes": 4,
    }
    assert data.classes == ["left", "left+right", "none", "right"]
    assert sum(data.sizes().values()) == COUNT
    for part in ("train", "val", "test"):
        labels = data._labels(data.parts[part]).tolist()
        for name, label in zip(data.names(part), labels, strict=True):
            number = int(name.removeprefix("photos/").removesuffix(".png"))
            assert data.classes[label] == ("+".join(name_labels(number)) or "none")
    assert data.notes[0].endswith("class.csv; path: label")


def test_a_cell_and_columns_are_the_same_labels(place):
    one = Images(table=write_table(place, make_rows("cell"), "cell.csv"), separator=";", **SMALL)
    table = write_table(place, make_rows("columns"), "columns.csv")
    other = Images(place, table=table, image="path", label=["left", "right"], **SMALL)
    assert one.facts() == other.facts()
    assert one.facts()["label"] == {"classes": 2, "dtype": "int"}
    assert one.classes == other.classes == ["left", "right"]
    for part in ("train", "val", "test"):
        assert one.names(part) == other.names(part)
        assert torch.equal(one._labels(one.parts[part]), other._labels(other.parts[part]))
    batch = next(iter(other.plain_loader("train")))
    for index, label, image in zip(batch["index"], batch["label"], batch["image"], strict=True):
        assert label.shape == (2,)
        number = int(other.names("train")[int(index)].removeprefix("photos/").split(".")[0])
        assert label.tolist() == [number & 1, number >> 1 & 1]
        # (x - 0.5) / 0.5 of a bright half is above 0
        assert [float(image[..., :2].mean()) > 0, float(image[..., 2:].mean()) > 0] == [
            bool(number & 1),
            bool(number >> 1 & 1),
        ]
    assert f"{COUNT // 4} of {COUNT} images have no label" in one.notes


def test_paths_may_be_absolute_and_begin_in_another_folder(place, tmp_path):
    rows = make_rows("class")
    for row in rows[1:]:
        row[0] = str(place / row[0])
    absolute = Images(table=write_table(tmp_path, rows), **SMALL)
    beside = Images(place, table=write_table(tmp_path, make_rows("class"), "b.csv"), **SMALL)
    absolute.read()
    beside.read()
    first = [path.resolve() for path, _ in absolute.parts["test"]]
    assert first == [path.resolve() for path, _ in beside.parts["test"]]


def test_rows_that_repeat_an_image_are_counted(place):
    rows = make_rows("class")
    table = write_table(place, [*rows, rows[3], ["./photos/5.png", rows[6][1]]], "twice.csv")
    data = Images(table=table, **SMALL)
    data.read()
    assert sum(data.sizes().values()) == COUNT
    assert "2 rows repeat an image; each is taken once" in data.notes


def change(kind, *cells, options=None):
    return {"kind": kind, "cells": cells, "options": options or {}}


REFUSED = {
    "T, line 1: there is no such column; got animal; fits: path, label; "
    "fix: data.label=COLUMN, or name the column in the table": change(
        "class", options={"label": "animal"}
    ),
    "T, line 1: there is no such column; got cat; fits: path, left, right; "
    "fix: data.label=COLUMN, or name the column in the table": change(
        "columns", options={"label": ["left", "cat"]}
    ),
    "T, line 1: no column is known to hold the labels; got columns path, left, right; "
    "fits: path, left, right; fix: data.label=COLUMN": change("columns"),
    "T, line 4: 2 of 48 rows name no file; got photos/x.png; fits: files below F; "
    "fix: data.path=FOLDER that the paths begin in": change(
        "class", (3, 0, "photos/x.png"), (9, 0, "photos/y.png")
    ),
    "T, line 3: 2 of 48 rows have no label; got label is empty; fits: a label for each image; "
    "fix: fill or delete the rows": change("class", (2, 1, " "), (7, 1, "")),
    "T, line 3: 1 of 48 rows have no label; got right is neither 0 nor 1: 'x'; "
    "fits: a label for each image; fix: fill or delete the rows": change(
        "columns", (2, 2, "x"), options={"label": ["left", "right"]}
    ),
    "T, line 6: 1 of 48 rows repeat an image with other labels; got photos/0.png, as line 2; "
    "fits: one row for each image; fix: correct or delete the rows": change(
        "class", (5, 0, "photos/0.png"), (5, 1, "left")
    ),
    "a separator divides the labels of one column; got label=left, right; "
    "fits: one column; or separator=null": change(
        "columns", options={"label": ["left", "right"], "separator": ";"}
    ),
    "T: there are fewer than two labels; got left; fits: two labels or more": change(
        "cell", *[(row, 1, "left") for row in range(1, COUNT + 1)], options={"separator": ";"}
    ),
}


@pytest.mark.parametrize("message", REFUSED, ids=lambda message: message[:50])
def test_a_table_that_does_not_do_is_refused(place, message):
    case = REFUSED[message]
    rows = make_rows(case["kind"])
    for row, column, cell in case["cells"]:
        rows[row][column] = cell
    table = write_table(place, rows, "bad.csv")
    with pytest.raises(ArgumentError) as caught:
        Images(table=table, **case["options"], **SMALL).read()
    assert str(caught.value) == message.replace("T", table, 1).replace(" F;", f" {place};")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "path is missing; fix: data.path=FOLDER, or data.table=FILE"),
        ({"path": "a", "label": "x"}, "label is of a table of images; got label=x, table=null"),
        ({"table": "no.csv"}, "no.csv cannot be read: No such file or directory; fix: data.table"),
        ({"table": "no.txt"}, "no.txt is no table of texts; got .txt"),
    ],
)
def test_options_of_a_table_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ArgumentError) as caught:
        Images(**options).read()
    assert str(caught.value).startswith(message)


# A run --------------------------------------------------------------------------------------------


def run_words(table, *more):
    return [
        "model=mlp",
        "data=images",
        f"data.table={table}",
        "data.size=4",
        "data.channels=1",
        "data.crop=1",
        "data.flip=false",
        "data.workers=0",
        "data.batch_size=8",
        "data.test=0.25",
        "callbacks.progress.style=none",
        "optimizer.lr=1e-2",
        *more,
    ]


@pytest.fixture(scope="module")
def finished(place):
    folder = place / "run"
    folder.mkdir()
    table = write_table(place, make_rows("cell"), "run.csv")
    words = run_words(
        table,
        "data.separator=;",
        "task.kind=multilabel",
        "task.label_smoothing=0",
        "trainer.max_epochs=12",
        f"runs={folder}",
    )
    composed = compose(words)
    known = run_folder.describe_start(composed.config, words, folder)
    metrics = train(composed, folder, run_folder.Record(folder, **known))
    return SimpleNamespace(folder=folder, metrics=metrics, table=table)


@pytest.mark.slow
def test_a_run_learns_the_labels_and_is_evaluated_again(finished):
    assert finished.metrics["test/map"] > 0.99
    metrics = evaluate_run(open_run(finished.folder), {})
    assert metrics == pytest.approx(finished.metrics, rel=1e-5)


@pytest.mark.slow
def test_a_prediction_names_the_labels_of_a_file(finished, place, capsys):
    files = [str(place / "photos" / f"{number}.png") for number in (1, 2, 3)]
    assert main(["predict", str(finished.folder), *files, "--json"]) == 0
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    found = [sorted(each["class"] for each in line["predictions"]) for line in lines]
    assert found == [["left"], ["right"], ["left", "right"]]


@pytest.mark.slow
def test_a_class_that_training_lacks_is_refused_with_its_line(finished, place, capsys):
    rows = make_rows("cell")
    rows[7][1] = "left; top"
    table = write_table(place, rows, "other.csv")
    assert main(["evaluate", str(finished.folder), f"data.table={table}"]) == 2
    assert capsys.readouterr().err.endswith(
        f"data.table\n  {table}, line 8: 1 of 48 rows have a class that training lacks\n"
        "  got       top\n  fits      left, right\n  fix       correct or delete the rows\n"
    )


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_if_it_had_not(place, tmp_path, monkeypatch):
    table = write_table(place, make_rows("columns"), "resumed.csv")
    words = run_words(
        table,
        "data.label=[left,right]",
        "data.crop=0.5",
        "data.flip=true",
        "data.sampling=balanced",
        "task.kind=multilabel",
        "trainer.max_epochs=2",
    )
    learn(tmp_path / "whole", words)
    save, points = checkpoint.Checkpoint._save, []

    def die(self, trainer, module, point, **options):
        save(self, trainer, module, point, **options)
        points.append(point)
        if len(points) == 2:
            raise ZeroDivisionError

    monkeypatch.setattr(checkpoint.Checkpoint, "_save", die)
    words.append("callbacks.checkpoint.every_steps=1")
    with pytest.raises(ZeroDivisionError):
        learn(tmp_path / "stopped", words)
    monkeypatch.undo()
    learn(tmp_path / "stopped", [*words, f"resume='{tmp_path / 'stopped'}'"])
    whole, found = map(load_weights, (tmp_path / "whole", tmp_path / "stopped"))
    assert {name for name in whole if not whole[name].equal(found[name])} == set()


def learn(folder, words):
    folder.mkdir(exist_ok=True)
    composed = compose(words)
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), folder)
    is_resumed = (folder / run_folder.RECORD).is_file()
    train(composed, folder, run_folder.Record(folder, resumed=is_resumed, **known))


def load_weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
