"""The schema of what is not a model: it is current, every shipped YAML fits, and typical mistakes
do not.
"""

import json
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from blocks.graph import conf_folder
from tasks.__main__ import main
from tasks.config.schema import schemas

SCHEMAS = schemas()
COMMITTED = Path(__file__).parents[2] / "docs" / "schema"
SECTIONS = (
    "data",
    "task",
    "optimizer",
    "schedule",
    "trainer",
    "callbacks",
    "logger",
    "experiment",
    "weights",
)
HYDRA = sorted((conf_folder() / "hydra").glob("*/*.yaml"))
FILES = [
    *HYDRA,
    *(file for section in SECTIONS for file in sorted((conf_folder() / section).rglob("*.yaml"))),
]


def told(name, text):
    registry = Registry().with_resources(
        (key, Resource.from_contents(schema)) for key, schema in SCHEMAS.items()
    )
    validator = Draft7Validator(SCHEMAS[name], registry=registry)

    def behind(error):
        return [error.message, *(line for inner in error.context for line in behind(inner))]

    return "\n".join(
        line for error in validator.iter_errors(yaml.safe_load(text)) for line in behind(error)
    )


def test_the_committed_schemas_are_current(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tasks", "schema", "-o", str(tmp_path)])
    assert main() == 0
    for name in SCHEMAS:
        assert (tmp_path / name).read_text("utf-8") == (COMMITTED / name).read_text("utf-8"), (
            "run `make schema`"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_fits(path):
    folder = path.relative_to(conf_folder()).parts[0]
    assert told(f"{folder}.json", path.read_text("utf-8")) == ""


def test_every_yaml_has_a_schema():
    models = {*conf_folder().glob("model/**/*.yaml")}
    assert {*conf_folder().rglob("*.yaml")} == {*FILES, *models, conf_folder() / "train.yaml"}


def test_what_is_composed_first_fits():
    assert told("train.json", (conf_folder() / "train.yaml").read_text("utf-8")) == ""


ADAMW = "_target_: torch.optim.AdamW\n"
DIGITS = "_target_: tasks.data.images.digits.Digits\n"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("weights.json", "map: {a: {form: b}}", "'form' was unexpected"),
        (
            "weights.json",
            "map: {a: {from: b, fit: square}}",
            "not one of ['grid', 'window', 'first', 'own']",
        ),
        (
            "hydra.json",
            "_target_: hydra_plugins.dougong.TableSweeper\nparam: 1",
            "'param' was unexpected",
        ),
        ("hydra.json", "version: 1\nhandler: {}", "'handler' was unexpected"),
        ("optimizer.json", ADAMW + "lr: high", "'high' is not of type 'number'"),
        ("optimizer.json", ADAMW + "momentum: 0.9", "'momentum' was unexpected"),
        ("optimizer.json", "_target_: torch.load", "'torch.load' is not one of"),
        ("data.json", DIGITS + "batch_size: 6.5", "6.5 is not of type 'integer'"),
        (
            "data.json",
            "_target_: tasks.data.sequences.recall.Recall\nkind: backwards",
            "'backwards' is not one of",
        ),
        ("callbacks.json", "checkpoint: {_target_: os.system}", "'os.system' is not one of"),
        ("experiment.json", "optimiser: {lr: 1}", "'optimiser' was unexpected"),
        ("experiment.json", "defaults: [{override /data: digit}]", "'digit' is not one of"),
    ],
)
def test_a_mistake_is_flagged(name, text, expected):
    assert expected in told(name, text)


@pytest.mark.parametrize("value", ["${optimizer.lr}", "???", "0.1"])
def test_what_comes_later_may_stand_for_any_value(value):
    assert told("data.json", DIGITS + f"val: {value}") == ""


def test_an_argument_says_what_its_docstring_says():
    cases = SCHEMAS["data.json"]["allOf"]
    digits = next(case["then"] for case in cases if "Digits" in json.dumps(case.get("if")))
    assert (
        digits["properties"]["batch_size"]["description"] == "Samples in a batch, of each process."
    )
