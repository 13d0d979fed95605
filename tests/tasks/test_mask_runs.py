"""Runs on masks of the user's own: resumed, reported, and on two processes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blocks.graph import compose
from tasks.resume import adopt, checkpoint
from tasks.run import run_folder
from tasks.run.evaluate import evaluate_run
from tasks.run.load_run import open_run
from tasks.run.train import train

ROOT = Path(__file__).parents[2]
PAIRS = 43  # 26 for training, 4 and 13, which two processes cannot share evenly


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """The command line of a small run on squares of two colours, with pixels that are ignored."""
    folder = tmp_path_factory.mktemp("squares")
    source = np.random.default_rng(0)
    for number in range(PAIRS):
        cells = source.integers(0, 3, (2, 3))
        mask = cells.repeat(8, 0).repeat(8, 1).astype(np.uint8)
        image = (100 * mask[..., None] + source.integers(0, 50, (16, 24, 3))).astype(np.uint8)
        mask[0] = 255
        for name, values in (("images", image), ("masks", mask)):
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(values).save(folder / name / f"{number}.png")
    return [
        "model=unet",
        "model.params.width=2",
        "task=segment",
        "data=masks",
        f"data.path={folder}",
        "data.size=16",
        "data.batch_size=8",
        "data.test=0.3",
        "data.workers=0",
        "data.classes=[sky,grass,road]",
        "trainer.max_epochs=2",
        "trainer.precision=32-true",
        "optimizer.lr=0.01",
        "callbacks.progress.style=none",
    ]


def learn(folder, words):
    folder.mkdir(exist_ok=True)
    composed = compose(words)
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), folder)
    is_resumed = (folder / run_folder.RECORD).is_file()
    train(composed, folder, run_folder.Record(folder, resumed=is_resumed, **known))


def load_weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def read_record(folder):
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_if_it_had_not(words, tmp_path, monkeypatch):
    learn(tmp_path / "whole", words)
    save, points = checkpoint.Checkpoint._save, []

    def die(self, trainer, module, point, **options):
        save(self, trainer, module, point, **options)
        points.append(point)
        if len(points) == 2:
            raise ZeroDivisionError

    monkeypatch.setattr(checkpoint.Checkpoint, "_save", die)
    stopped = [*words, "callbacks.checkpoint.every_steps=1"]
    with pytest.raises(ZeroDivisionError):
        learn(tmp_path / "stopped", stopped)
    monkeypatch.undo()
    learn(tmp_path / "stopped", [*stopped, f"resume='{tmp_path / 'stopped'}'"])
    whole, found = map(load_weights, (tmp_path / "whole", tmp_path / "stopped"))
    assert {name for name in whole if not whole[name].equal(found[name])} == set()
    assert read_record(tmp_path / "whole")["test"] == read_record(tmp_path / "stopped")["test"]
    page = (tmp_path / "stopped" / "report.html").read_text(encoding="utf-8")
    for text in ("First test images", "Fewest pixels right", "no colour: sky", "grass", "road"):
        assert text in page


@pytest.mark.slow
def test_two_processes_are_tested_as_one(words, tmp_path):
    """No pair is left out or counted twice, and the loss is that of all pixels."""
    together = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    together += ["trainer.max_epochs=1", f"hydra.run.dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *words, *together],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    tested = read_record(tmp_path / "run")["test"]
    rows = (tmp_path / "run" / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 13
    assert evaluate_run(open_run(tmp_path / "run"), {}) == pytest.approx(tested, abs=1e-6)
