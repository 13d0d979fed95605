"""Regression, and tables of numbers and categories."""

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score

from blocks.__main__ import main as ask
from blocks.graph import ConfigError, build, compose
from tasks.__main__ import main
from tasks.commands.predict_items import predict_items, read_items
from tasks.data.features.embedded import Embedded
from tasks.data.features.encoding import Category, Encoding, Number, measure
from tasks.data.features.table import TableFile
from tasks.data.readers.table import TableReader
from tasks.errors import ArgumentError
from tasks.learn.metrics.running import Determination
from tasks.learn.regress import Regress
from tasks.optimize.schedule import Constant
from tasks.run import run_folder
from tasks.run.evaluate import evaluate_run
from tasks.run.load_run import open_run
from tasks.run.train import train

HOUSES = [
    ["id", "area", "rooms", "town", "price"],
    *[
        [f"h{number:04d}", str(30 + number), str(number % 5), "AB"[number % 2], str(50 * number)]
        for number in range(120)
    ],
]


def write_table(folder, rows, name="houses.csv"):
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


# Columns ------------------------------------------------------------------------------------------


def test_numbers_are_standardised_and_categories_have_codes_of_one_vocabulary():
    columns = {
        "size": ["1", "3", "5", "100"],
        "colour": ["red", "blue", "red", "green"],
        "shape": ["x", "y", "x", "x"],
    }
    encoding, notes = measure(columns, [0, 1, 2])
    assert notes == []
    assert encoding.numbers == (Number("size", 3.0, pytest.approx((8 / 3) ** 0.5)),)
    assert encoding.categories == (
        Category("colour", ("blue", "red"), 1),
        Category("shape", ("x", "y"), 4),
    )
    found = encoding.encode(columns, 4)
    assert found["numbers"][:3].mean() == pytest.approx(0, abs=1e-6)
    assert found["numbers"][:3].std(correction=0) == pytest.approx(1)
    # red is 3, blue 2, the unknown green 1; x is 5, y 6
    assert found["categories"].tolist() == [[3, 5], [2, 6], [3, 5], [1, 5]]
    assert encoding.facts() == {
        "numbers": {"features": 1},
        "categories": {"columns": 2, "dtype": "int", "vocab": 7},
    }
    assert Encoding.from_plain(json.loads(json.dumps(encoding.to_plain()))) == encoding


def test_a_missing_number_is_the_mean_and_is_marked():
    encoding, notes = measure({"size": ["1", "NA", "3", ""]}, [0, 1, 2, 3])
    found = encoding.encode({"size": ["1", "NA", "2"]}, 3)["numbers"]
    assert found.tolist() == [[-1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    assert notes == ["column size: 2 of 4 missing, the mean in their place"]


def test_columns_that_say_nothing_are_left_out_and_named():
    rows = range(200)
    columns = {
        "id": [f"n{number}" for number in rows],
        "empty": [""] * 200,
        "kind": ["ab"[number % 2] for number in rows],
        "code": [str(number % 3) for number in rows],
    }
    encoding, notes = measure(columns, rows, ["code"])
    assert encoding.names == ["kind", "code"]
    assert [column.values for column in encoding.categories] == [("a", "b"), ("0", "1", "2")]
    assert notes == [
        "column id: 200 different texts in 200 rows: left out",
        "column empty is empty: left out",
    ]


def test_a_table_without_categories_has_a_column_of_zeros():
    encoding, _ = measure({"size": ["1", "2"]}, [0, 1])
    assert encoding.facts()["categories"] == {"columns": 1, "dtype": "int", "vocab": 1}
    assert encoding.encode({"size": ["1"]}, 1)["categories"].tolist() == [[0]]


# Tables -------------------------------------------------------------------------------------------


def test_a_table_is_read_and_what_was_decided_is_noted(tmp_path):
    rows = [list(row) for row in HOUSES]
    rows[8][4] = "soon"  # line 9
    rows[11] = rows[11][:2]
    rows[21][1] = "large"
    rows[30] = [""] * 5  # a line of delimiters, as programs for tables write them
    data = TableFile(path=str(write_table(tmp_path, rows)))
    assert data.facts() == {
        "numbers": {"features": 2},
        "categories": {"columns": 1, "dtype": "int", "vocab": 4},
        "targets": 1,
    }
    assert sum(data.sizes().values()) == 116
    assert data.notes[0] == "target: price; 2 numbers: area, rooms; 1 categories: town (2)"
    assert "1 line left out: 12 (2 columns, not 5)" in data.notes
    noted = "9 (price is no number), 22 (area is no number: 'large'), 31 (price is missing)"
    assert f"3 lines left out: {noted}" in data.notes
    assert data.names("test")[0].isdecimal()


@pytest.mark.parametrize(
    ("name", "mark", "cells", "values", "note"),
    [
        ("a.csv", ",", ['"1,234"', '"12,000.5"', "7"], [1234, 12000.5, 7], True),
        ("a.csv", ",", ['"0,25"', '"1,234"', "7"], [0.25, 1.234, 7], False),
        ("a.csv", ";", ["1,234", "12,5", "7"], [1.234, 12.5, 7], False),
        ("a.tsv", "\t", ["1.234,5", "12,5", "7"], [1234.5, 12.5, 7], False),
    ],
)
def test_commas_in_numbers_are_read_as_their_column_means_them(
    tmp_path, name, mark, cells, values, note
):
    lines = [mark.join(("size", "colour", "price"))]
    for number in range(30):
        lines.append(mark.join((cells[number % 3], "ab"[number % 2], str(number))))
    path = tmp_path / name
    path.write_text("\n".join(lines), encoding="utf-8")
    data = TableFile(path=str(path), target="price")
    columns, _ = data.load()
    assert list(map(float, columns["size"][:3])) == values
    assert ("commas group thousands in size" in data.notes) == note


def test_a_header_is_known_by_the_names_that_are_given(tmp_path):
    """Words above words look like a row; the target's name, and a run's columns, say otherwise."""
    rows = [
        ["town", "kind", "sort"],
        *[["AB"[n % 2], "xyz"[n % 3], "uv"[n % 2]] for n in range(40)],
    ]
    data = TableFile(path=str(write_table(tmp_path, rows)), target="sort")
    data.read()
    assert sorted(data.classes) == ["u", "v"]
    reader = TableReader(**json.loads(json.dumps(data.reader_arguments())))
    items = list(reader.items(str(write_table(tmp_path, rows[:3], "new.csv"))))
    assert [item.error for item in items] == [None, None]


def test_the_parts_do_not_depend_on_the_seed_and_do_not_overlap(tmp_path):
    path = str(write_table(tmp_path, HOUSES))
    one, other = TableFile(path=path, seed=1), TableFile(path=path, seed=2)
    one.read()
    other.read()
    assert one.rows == other.rows
    assert len({name for names in one.rows.values() for name in names}) == 120


def test_a_text_is_a_class_and_a_number_may_be_one(tmp_path):
    path = str(write_table(tmp_path, HOUSES))
    assert TableFile(path=path, target="town").facts()["classes"] == 2
    assert TableFile(path=path, target="rooms", kind="classes").facts()["classes"] == 5
    assert TableFile(path=path, target=["rooms", "price"]).facts()["targets"] == 2


@pytest.mark.parametrize(
    ("options", "text"),
    {
        (("target", "prize"),): "^there is no such column; got prize; "
        "fits: id, area, rooms, town, price$",
        (("exclude", ("no",)),): "there is no such column",
        (("target", ("town", "id")),): "classes are in one column",
        (("target", ("price", "price")),): "a column is named twice; got price, price",
        (("exclude", ("id", "area", "rooms", "town")),): "^no column is left to predict from; "
        "got target=price; columns: id, area, rooms, town, price; ",
        (("delimiter", "dot"),): "no such delimiter",
        (("kind", "colours"),): "kind",
    }.items(),
)
def test_an_argument_that_fits_no_column_is_named(tmp_path, options, text):
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in options}
    with pytest.raises(ArgumentError, match=text):
        TableFile(path=str(write_table(tmp_path, HOUSES)), **given).read()


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([["a", "b"]], "no rows of features and a target"),
        ([["a", "a"], ["1", "2"], ["3", "4"]], "two columns have one name"),
        ([["a", "b"], *[["x", ""]] * 9], "no row has a target"),
        ([["a", "b"], ["1", "2"], ["3", "4"]], "^too few rows for the part val; got 2 rows; "),
    ],
)
def test_a_table_from_which_nothing_can_be_learned_is_refused(tmp_path, rows, text):
    with pytest.raises(ArgumentError, match=text):
        TableFile(path=str(write_table(tmp_path, rows)), header=True).read()


def test_objects_a_line_are_a_table(tmp_path):
    path = tmp_path / "houses.jsonl"
    names, *rows = HOUSES
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert TableFile(path=str(path)).facts()["targets"] == 1


def test_the_embedded_tables_are_those_of_scikit_learn():
    data = Embedded(name="diabetes")
    assert data.facts()["numbers"] == {"features": 10}
    assert sum(data.sizes().values()) == 442
    target = torch.cat([part["target"] for part in data.parts.values()])
    mean, std = data.target_scale()[1:]
    assert float((target.double() * std + mean).sum()) == pytest.approx(67243, rel=1e-6)
    assert Embedded(name="wine").facts()["classes"] == 3


def test_rows_for_prediction_are_read_by_the_names_of_their_columns(tmp_path):
    data = TableFile(path=str(write_table(tmp_path, HOUSES)))
    data.read()
    reader = TableReader(**json.loads(json.dumps(data.reader_arguments())))
    rows = [
        ["town", "rooms", "area"],
        ["A", "2", "30"],
        ["C", "2", "31"],
        ["A", "two", "30"],
        ["A"],
        ["", "", ""],
    ]
    items = list(reader.items(str(write_table(tmp_path, rows, "new.csv"))))
    assert [item.name.rpartition(":")[2] for item in items] == ["2", "3", "4", "5", "6"]
    assert [item.error for item in items] == [
        None,
        None,
        "rooms is no number: 'two'",
        "1 columns, not 3",
        None,
    ]
    assert items[1].note == "not in training: town 'C'"
    batch = reader.batch([items[0].sample, items[1].sample])
    assert batch["numbers"].shape == (2, 2)
    assert batch["categories"].tolist() == [[2], [1]]
    few = list(reader.items(str(write_table(tmp_path, [["area"], ["1"]], "few.csv"))))
    assert [item.error for item in few] == ["the columns rooms, town are missing"]
    spoken = io.StringIO("area,rooms,town\n40,1,B\n")
    assert [item.error for item in reader.lines(spoken)] == [None]


# The task -----------------------------------------------------------------------------------------


def make_task(**options):
    network = torch.nn.Linear(3, 2)
    network.input_names = ("numbers",)
    return Regress(
        network, optimizer=torch.optim.SGD, schedule=Constant(), facts={"targets": 2}, **options
    )


def test_each_loss_is_the_formula_that_it_names():
    predicted, target = torch.randn(2, 7, 2, dtype=torch.float64)
    error = (target - predicted).numpy()
    squared = make_task(loss="squared").loss(predicted, target)
    assert float(squared) == pytest.approx(float((error**2).mean()))
    absolute = make_task(loss="absolute").loss(predicted, target)
    assert float(absolute) == pytest.approx(float(np.abs(error).mean()))
    small = np.abs(error) <= 0.7
    huber = np.where(small, 0.5 * error**2, 0.7 * (np.abs(error) - 0.35)).mean()
    assert float(make_task(loss="huber", delta=0.7).loss(predicted, target)) == pytest.approx(huber)
    pinball = np.where(error >= 0, 0.9 * error, -0.1 * error).mean()
    with pytest.raises(ArgumentError, match="quantile belongs to the loss quantile"):
        make_task(loss="huber", quantile=0.9)
    quantile = make_task(loss="quantile", quantile=0.9).loss(predicted, target)
    assert float(quantile) == pytest.approx(pinball)


@pytest.mark.parametrize(
    "options", [{"loss": "cubed"}, {"loss": "huber", "delta": 0.0}, {"quantile": 1.0}]
)
def test_a_loss_that_there_is_not_is_refused(options):
    with pytest.raises(ArgumentError):
        make_task(**options)


def test_r2_is_that_of_scikit_learn_and_no_number_for_one_sample():
    predicted = torch.randn(30, 2)
    target = predicted + torch.randn(30, 2) * torch.tensor([0.5, 100.0])
    metric = Determination(2)
    metric.update(predicted[:11], target[:11])
    metric.update(predicted[11:], target[11:])
    assert float(metric.compute()) == pytest.approx(r2_score(target, predicted), abs=1e-4)
    alone = Determination(2)
    alone.update(predicted[:1], target[:1])
    assert alone.compute().isnan()


def test_a_model_whose_outputs_are_not_the_targets_is_refused():
    words = ["data=diabetes", "task=regress", "model=table_mlp", "model.graph.head.features=3"]
    from tasks.run.contract import check_contract

    composed = compose(words)
    from blocks.graph import plan

    facts = Embedded(name="diabetes").facts()
    with pytest.raises(ConfigError, match="Regress needs the output logits"):
        check_contract(composed, plan(composed, facts), facts)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    words = ["experiment=diabetes", "trainer.max_epochs=4", "model.params.dim=32"]
    composed = compose([*words, "callbacks.progress.style=none", f"runs={folder}"])
    known = run_folder.describe_start(composed.config, words, folder)
    metrics = train(composed, folder, run_folder.Record(folder, **known))
    return SimpleNamespace(folder=folder, metrics=metrics)


def read_predictions(folder):
    with (folder / "predictions.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_metrics_are_in_the_units_of_the_data(finished):
    rows = read_predictions(finished.folder)
    true = [float(row["progression"]) for row in rows]
    guess = [float(row["predicted progression"]) for row in rows]
    assert min(true) >= 25
    assert max(true) <= 346
    assert finished.metrics["test/mae"] == pytest.approx(mean_absolute_error(true, guess), abs=1e-3)
    assert finished.metrics["test/r2"] == pytest.approx(r2_score(true, guess), abs=1e-4)
    assert 0.2 < finished.metrics["test/r2"] < 0.7


def test_the_report_shows_predicted_and_true_numbers(finished):
    page = (finished.folder / "report.html").read_text(encoding="utf-8")
    for title in ("Predicted and true", "Targets", "Largest errors"):
        assert f">{title}<" in page
    assert (finished.folder / "predicted.svg").read_text(encoding="utf-8").startswith("<svg")


def test_evaluation_gives_the_metrics_of_the_run(finished):
    metrics = evaluate_run(open_run(finished.folder), {})
    for name in ("test/mae", "test/rmse", "test/r2", "test/loss"):
        assert metrics[name] == pytest.approx(finished.metrics[name], rel=1e-5)


def test_predictions_are_those_of_the_test(finished, tmp_path, capsys):
    data = Embedded(name="diabetes")
    columns, _ = data.load()
    rows = read_predictions(finished.folder)[:3]
    chosen = [int(row["row"]) - 1 for row in rows]
    names = [name for name in columns if name != "progression"]
    table = [names, *[[columns[name][row] for name in names] for row in chosen]]
    path = write_table(tmp_path, table, "new.csv")
    assert main(["predict", str(finished.folder), str(path)]) == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for row, answer in zip(rows, found, strict=True):
        expected = float(row["predicted progression"])
        assert float(answer["progression"]) == pytest.approx(expected, rel=1e-4)
    run = open_run(finished.folder)
    assert len(list(predict_items(run, read_items(run, [str(path)]), 1, 2))) == 3
    assert main(["predict", str(finished.folder), str(path), "--json"]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    assert set(line["predictions"]) == {"progression"}


@pytest.mark.parametrize("model", ["table_mlp", "ft_transformer"])
def test_a_model_learns_a_small_table_by_heart(model):
    torch.manual_seed(0)
    facts = {
        "numbers": {"features": 3},
        "categories": {"columns": 2, "dtype": "int", "vocab": 9},
        "targets": 1,
    }
    network = build(model, ["params.dropout=0.0"], facts)
    numbers, codes = torch.randn(16, 3), torch.randint(9, (16, 2))
    target = torch.randn(16, 1)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(150):
        loss = (network(numbers=numbers, categories=codes)["logits"] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.02


def test_tokens_of_features_are_the_formula():
    from blocks.embedding import FeatureTokens

    block = FeatureTokens(3, 4)
    x = torch.randn(2, 3)
    expected = torch.einsum("bf,fd->bfd", x, block.weight) + block.bias
    assert torch.equal(block(x), expected)


def test_a_task_that_does_not_fit_the_target_is_answered_with_the_one_that_does(tmp_path, capsys):
    rows = [[str(row), "AB"[row % 2]] for row in range(40)]
    path = write_table(tmp_path, [["area", "town"], *rows])
    for words, fix in (
        (("task=regress", "data.target=town"), "task=classify, or data.kind=numbers"),
        (("task=classify", "data.target=area"), "task=regress, or data.kind=classes"),
    ):
        given = ["model=table_mlp", "data=table", f"data.path={path}", *words]
        assert ask(["check", *given]) == 2
        assert f"  fix       {fix} where its " in capsys.readouterr().out
