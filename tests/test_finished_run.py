"""A run folder that release 0.1.0 wrote opens, is evaluated and resumed."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from tasks.config.targets import RENAMED, TARGETS, update_targets
from tasks.run.load_run import open_run

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "tests" / "data" / "run_of_0_1_0"


@pytest.fixture
def run(tmp_path):
    """A copy that may be written to."""
    return shutil.copytree(RUN, tmp_path / "run")


def start(program, *words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *program, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8")


def test_it_names_modules_of_that_release():
    """Otherwise the tests below prove nothing."""
    text = (RUN / "config.yaml").read_text(encoding="utf-8")
    assert "tasks.data.digits.Digits" in text
    assert "tasks.classify.Classify" in text


def test_every_name_in_it_is_found_today():
    config = yaml.safe_load((RUN / "config.yaml").read_text(encoding="utf-8"))
    update_targets(config)
    for section, names in TARGETS.items():
        for name in names_in(config.get(section)):
            assert name in names, section


def names_in(section):
    if not isinstance(section, dict):
        return
    if "_target_" in section:
        yield section["_target_"]
    for value in section.values():
        yield from names_in(value)


def test_every_earlier_name_leads_to_one_of_today():
    today = {name for names in TARGETS.values() for name in names}
    assert set(RENAMED.values()) <= today
    assert not set(RENAMED) & today


def test_names_are_replaced_at_any_depth():
    section = {"callbacks": {"bar": {"_target_": "tasks.progress.Progress", "every": 2}}}
    update_targets(section)
    name = section["callbacks"]["bar"]["_target_"]
    assert name in TARGETS["callbacks"]


def test_it_opens(run):
    found = open_run(run)
    assert found.classes == [str(digit) for digit in range(10)]
    image = torch.zeros(1, 1, 8, 8)
    assert found.network(image=image)["logits"].shape == (1, 10)


def test_it_is_evaluated_as_it_was_tested(run):
    done = start(["-m", "tasks"], "evaluate", str(run))
    assert done.returncode == 0, done.stderr
    before = json.loads((RUN / "run.json").read_text(encoding="utf-8"))["test"]
    assert f"{before['test/accuracy']:.4f}" in done.stdout


def test_it_is_resumed(run):
    done = start(["train.py"], f"resume={run}", "trainer.max_epochs=3")
    assert done.returncode == 0, done.stderr
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "finished"
    before, after = losses(RUN), losses(run)
    assert len(before) == 2
    assert after[:2] == before
    assert len(after) == 3


def losses(run: Path) -> list[tuple[str, str]]:
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [(row["train/loss"], row["val/loss"]) for row in csv.DictReader(file)]
