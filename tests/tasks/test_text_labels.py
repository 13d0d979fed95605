"""Texts with several labels: where they come from, what is refused, and a run."""

import csv
import json
import random
from types import SimpleNamespace

import pytest
import torch

from blocks.graph import compose
from tasks.__main__ import main
from tasks.data.text.labelled import Labelled
from tasks.errors import ArgumentError
from tasks.run import run_folder
from tasks.run.evaluate import evaluate_run
from tasks.run.load_run import open_run
from tasks.run.train import train

COUNT = 120
WORDS = {"animal": ["cat", "dog", "cow"], "colour": ["red", "blue", "green"]}
FILLERS = ["the", "a", "this", "that", "over", "under", "near", "very"]
OPTIONS = {"text": "text", "tokenizer": "words", "length": 8}


def make_rows(kind):
    source = random.Random(0)
    header = {"cell": ["text", "tags"], "columns": ["text", "animal", "colour"]}
    rows = [header[kind]]
    for number in range(COUNT):
        words = [*source.choices(FILLERS, k=4), str(number)]
        held = [name for bit, name in enumerate(WORDS) if number >> bit & 1]
        words += [source.choice(WORDS[name]) for name in held]
        source.shuffle(words)
        cells = [" | ".join(held)]
        if kind == "columns":
            cells = [str(int(name in held)) for name in WORDS]
        rows.append([" ".join(words), *cells])
    return rows


def write_table(folder, rows, name="texts.csv"):
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def test_a_cell_and_columns_are_the_same_labels(tmp_path):
    path = write_table(tmp_path, make_rows("cell"))
    one = Labelled(path, label="tags", separator="|", **OPTIONS)
    path = write_table(tmp_path, make_rows("columns"), "b.csv")
    other = Labelled(path, label=["animal", "colour"], **OPTIONS)
    assert one.facts() == other.facts()
    assert one.facts()["label"] == {"classes": 2, "dtype": "int"}
    assert one.classes == other.classes == ["animal", "colour"]
    assert sum(one.sizes().values()) == COUNT
    assert f"{COUNT // 4} of {COUNT} texts have no label" in one.notes
    for part in ("train", "val", "test"):
        assert one.names(part) == other.names(part)
        assert torch.equal(one.parts[part]["label"], other.parts[part]["label"])
        for text, label in zip(one.names(part), one.parts[part]["label"], strict=True):
            held = [bool(set(words) & set(text.split())) for words in WORDS.values()]
            assert label.tolist() == list(map(int, held))


def test_a_cell_that_is_neither_0_nor_1_is_counted_and_left_out(tmp_path):
    rows = make_rows("columns")
    rows[3][1], rows[7][2] = "2", ""
    data = Labelled(write_table(tmp_path, rows), label=["animal", "colour"], **OPTIONS)
    data.read()
    assert sum(data.sizes().values()) == COUNT - 2
    note = "2 lines left out: 4 (animal is neither 0 nor 1: '2'), 8 (colour is neither 0 nor 1: '')"
    assert note in data.notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "tags", "separator": " "}, "labels are separated by a mark; got ' '"),
        ({"label": ["a", "b"], "separator": "|"}, "a separator divides the labels of one column"),
        ({"label": ["tags", "b"]}, "FILE has no column b; fits: text, tags"),
        ({"label": "text", "text": "tags", "separator": "~~"}, "FILE has no rows with texts"),
    ],
)
def test_options_of_labels_that_do_not_fit_are_refused(tmp_path, options, message):
    rows = [[text, ""] for text, _ in make_rows("cell")]
    rows[0][1] = "tags"
    path = write_table(tmp_path, rows)
    with pytest.raises(ArgumentError) as caught:
        Labelled(path, **OPTIONS | options).read()
    assert str(caught.value).startswith(message.replace("FILE", path))


def test_a_single_label_is_too_few(tmp_path):
    rows = make_rows("cell")
    for row in rows[1:]:
        row[1] = "animal"
    path = write_table(tmp_path, rows)
    message = f"{path}: there are fewer than two labels; got animal; fits: two labels or more"
    with pytest.raises(ArgumentError) as caught:
        Labelled(path, label="tags", separator="|", **OPTIONS).read()
    assert str(caught.value) == message


# A run --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("texts")
    folder = place / "run"
    folder.mkdir()
    table = write_table(place, make_rows("cell"))
    words = [
        "model=encoder",
        "data=labelled",
        f"data.path={table}",
        "data.text=text",
        "data.label=tags",
        "data.separator=|",
        "data.tokenizer=words",
        "data.length=8",
        "data.batch_size=8",
        "task.kind=multilabel",
        "task.label_smoothing=0",
        "model.params.depth=1",
        "optimizer.lr=3e-3",
        "trainer.max_epochs=10",
        "callbacks.progress.style=none",
        f"runs={folder}",
    ]
    composed = compose(words)
    known = run_folder.describe_start(composed.config, words, folder)
    metrics = train(composed, folder, run_folder.Record(folder, **known))
    return SimpleNamespace(folder=folder, metrics=metrics, table=table)


@pytest.mark.slow
def test_a_run_is_evaluated_again_and_predicts_labels(finished, capsys):
    metrics = evaluate_run(open_run(finished.folder), {})
    assert metrics == pytest.approx(finished.metrics, rel=1e-5)
    assert metrics["test/map"] > 0.9
    capsys.readouterr()
    assert main(["predict", str(finished.folder), "the red dog", "--json"]) == 0
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert {each["class"] for each in line["predictions"]} == set(WORDS)


@pytest.mark.slow
def test_a_label_that_training_lacks_is_refused_with_its_line(finished, tmp_path, capsys):
    rows = make_rows("cell")
    rows[7][1] = "animal | place"
    table = write_table(tmp_path, rows)
    assert main(["evaluate", str(finished.folder), f"data.path={table}"]) == 2
    assert capsys.readouterr().err.endswith(
        f"data.path\n  {table}, line 8: 1 of 120 rows have a label that training lacks\n"
        "  got       place\n  fits      animal, colour\n  fix       correct or delete the rows\n"
    )
