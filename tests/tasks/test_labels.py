"""Several labels: where they come from, and a run from start to end."""

import csv
import io
import json
import random
from types import SimpleNamespace

import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from blocks.graph import compose
from tasks.__main__ import main
from tasks.data.features.table import TableFile
from tasks.data.images.canvas_labels import CanvasLabels
from tasks.data.labels import describe_labels, encode_labels, read_flag, split_cell
from tasks.errors import ArgumentError
from tasks.export.formats import describe_run
from tasks.learn.classify import Classify
from tasks.run import run_folder
from tasks.run.evaluate import evaluate_run
from tasks.run.load_run import open_run
from tasks.run.train import train

ROWS = 240


def make_rows(separated):
    """A row has each label by its own numbers, so that it can be learned."""
    source = random.Random(0)
    rows = [["x", "y", "tags"] if separated else ["x", "y", "big", "high", "far"]]
    for _ in range(ROWS):
        x, y = source.gauss(0, 1), source.gauss(0, 1)
        held = {"big": x > 0, "high": y > 0.3, "far": x * x + y * y > 2}
        cells = [f"{x:.4f}", f"{y:.4f}"]
        if separated:
            rows.append([*cells, "; ".join(name for name in held if held[name])])
        else:
            rows.append([*cells, *(str(int(value)) for value in held.values())])
    return rows


def write_table(folder, rows, name="rows.csv"):
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return str(path)


# Labels in tables ---------------------------------------------------------------------------------


def test_a_cell_is_split_and_a_flag_is_read():
    assert split_cell(" b; a;a;", ";") == ["a", "b"]
    assert split_cell("  ", ";") == []
    assert [read_flag(cell) for cell in ("1", " No ", "TRUE", "2", "")] == [
        True,
        False,
        True,
        None,
        None,
    ]
    label = encode_labels([["b"], [], ["a", "b"]], ["a", "b", "c"])
    assert label.tolist() == [[0, 1, 0], [0, 0, 0], [1, 1, 0]]
    assert describe_labels(label, ["a", "b", "c"], "row") == [
        "1 of 3 rows have no label",
        "labels with too few rows to be in every part: a (1), b (2), c (0)",
    ]


def test_one_column_and_several_columns_are_the_same_labels(tmp_path):
    one = TableFile(path=write_table(tmp_path, make_rows(True)), target="tags", separator=";")
    names = ["big", "far", "high"]
    path = write_table(tmp_path, make_rows(False), "b.csv")
    other = TableFile(path=path, target=names, kind="labels")
    assert one.facts() == other.facts()
    assert one.facts()["classes"] == 3
    assert one.facts()["label"] == {"classes": 3, "dtype": "int"}
    assert one.classes == other.classes == names
    for part in ("train", "val", "test"):
        assert torch.equal(one.parts[part]["label"], other.parts[part]["label"])
    assert any("rows have no label" in note for note in one.notes)


def test_a_cell_that_is_neither_0_nor_1_is_counted_and_left_out(tmp_path):
    rows = make_rows(False)
    rows[3][2], rows[7][4] = "2", ""
    data = TableFile(path=write_table(tmp_path, rows), target=["big", "high", "far"], kind="labels")
    data.read()
    assert sum(data.sizes().values()) == ROWS - 2
    note = "2 lines left out: 4 (big is neither 0 nor 1: '2'), 8 (far is neither 0 nor 1: '')"
    assert note in data.notes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "labels"}, "labels in one column are separated; got target=tags"),
        ({"separator": " "}, "labels are separated by a mark; got ' '"),
        ({"separator": ";", "kind": "classes"}, "a separator divides the labels of one column"),
        ({"separator": ";", "target": ["x", "tags"]}, "a separator divides the labels of one"),
        ({"separator": ";", "target": "tag"}, "there is no such column; got tag"),
    ],
)
def test_options_of_labels_that_do_not_fit_are_refused(tmp_path, options, message):
    with pytest.raises(ArgumentError, match=f"^{message}"):
        TableFile(path=write_table(tmp_path, make_rows(True)), **options).read()


def test_the_labels_of_a_canvas_are_the_digits_of_its_mask():
    options = {"size": 24, "digits": 3, "largest": 10, "train": 20, "val": 5, "test": 5}
    data = CanvasLabels(**options)
    assert data.facts()["label"] == {"classes": 10, "dtype": "int"}
    masks = super(CanvasLabels, data).load()
    for part, (_, mask) in masks.items():
        for row, label in zip(mask, data.parts[part]["label"], strict=True):
            held = sorted(set(row.unique().tolist()) - {0})
            assert (label.nonzero()[:, 0] + 1).tolist() == held
    assert data.training_labels().sum(1).min() >= 1


# A run --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("labels")
    folder = place / "run"
    folder.mkdir()
    table = write_table(place, make_rows(True))
    words = [
        "model=table_mlp",
        "data=table",
        f"data.path={table}",
        "data.target=tags",
        "data.separator=;",
        "task.kind=multilabel",
        "task.label_smoothing=0",
        "task.metrics=[map,f1,auroc,calibration]",
        "optimizer.lr=3e-3",
        "trainer.max_epochs=6",
        "callbacks.progress.style=none",
        f"runs={folder}",
    ]
    composed = compose(words)
    known = run_folder.describe_start(composed.config, words, folder)
    metrics = train(composed, folder, run_folder.Record(folder, **known))
    return SimpleNamespace(folder=folder, metrics=metrics, table=table)


def read_predictions(folder):
    with (folder / "predictions.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_metrics_of_the_test_are_those_of_its_predictions(finished):
    rows = read_predictions(finished.folder)
    names = ["big", "far", "high"]
    share = [[float(row[f"p({name})"]) for name in names] for row in rows]
    true = [[int(name in row["labels"].split(";")) for name in names] for row in rows]
    guess = [[int(name in row["predictions"].split(";")) for name in names] for row in rows]
    assert finished.metrics["test/f1"] == pytest.approx(f1_score(true, guess, average="macro"))
    average = average_precision_score(true, share, average="macro")
    assert finished.metrics["test/map"] == pytest.approx(average, abs=5e-3)
    assert average > 0.8
    thresholds = open_run(finished.folder).thresholds
    for row, probabilities in zip(rows, share, strict=True):
        held = zip(names, probabilities, thresholds, strict=True)
        assert row["predictions"] == ";".join(name for name, p, least in held if p >= least)


def test_the_threshold_of_the_best_validation_is_kept(finished):
    run = open_run(finished.folder)
    record = run_folder.read_record(finished.folder)
    rows = run_folder.read_metrics(finished.folder)
    logged = {row["epoch"]: row["val/threshold"] for row in rows if "val/threshold" in row}
    assert run.thresholds == pytest.approx([logged[record["best epoch"]]] * 3, abs=1e-6)
    described = describe_run(run)
    assert described["thresholds"] == dict(zip(run.classes, run.thresholds, strict=True))
    page = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert "average precision" in page
    assert f'<td class="number">{run.thresholds[0]:.2f}</td>' in page


def test_evaluation_gives_the_metrics_of_the_run(finished):
    metrics = evaluate_run(open_run(finished.folder), {})
    assert metrics == pytest.approx(finished.metrics, rel=1e-5)


def test_evaluation_counts_the_rows_that_it_leaves_out(finished, tmp_path, capsys):
    rows = make_rows(True)
    rows[4][0], rows[9][2] = "none of these", ""
    path = write_table(tmp_path, rows)
    assert main(["evaluate", str(finished.folder), f"data.path={path}"]) == 0
    notes = capsys.readouterr().err.splitlines()
    assert "note: 1 line left out: 5 (x is no number: 'none of these')" in notes
    assert any(note.endswith(" of 239 rows have no label") for note in notes)
    rows[9][2] = "huge; big"
    path = write_table(tmp_path, rows)
    assert main(["evaluate", str(finished.folder), f"data.path={path}"]) == 2
    message = capsys.readouterr().err
    assert "data.target\n  the run knows no such labels\n  got       huge\n" in message


def test_prediction_writes_the_labels_above_the_threshold(finished, capsys):
    assert main(["predict", str(finished.folder), finished.table]) == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    by_row = {row["input"].rpartition(":")[2]: row for row in found}
    for row in read_predictions(finished.folder):
        answer = by_row[row["row"]]
        assert set(answer["labels"].split(";")) == set(row["predictions"].split(";"))
        shares = list(map(float, filter(None, answer["probabilities"].split(";"))))
        assert shares == sorted(shares, reverse=True)
    assert main(["predict", str(finished.folder), finished.table, "--json"]) == 0
    lines = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert [";".join(each["class"] for each in line["predictions"]) for line in lines] == [
        row["labels"] for row in found
    ]
    assert main(["predict", str(finished.folder), finished.table, "--top", "2"]) == 2
    assert "a run with several labels predicts those above" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "these data have several labels for each sample"),
        ({"kind": "multilabel", "class_weights": {"huge": 3}}, "there is no such class; got huge"),
    ],
)
def test_a_task_that_does_not_fit_the_labels_is_refused(options, message):
    facts = {"classes": 3, "label": {"classes": 3, "dtype": "int"}}
    task = Classify(torch.nn.Identity(), optimizer=torch.optim.SGD, facts=facts, **options)
    with pytest.raises(ArgumentError, match=message):
        task.check(SimpleNamespace(classes=["big", "far", "high"]))
