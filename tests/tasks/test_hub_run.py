"""Runs on data of the Hub, in memory and streamed, and on shards: learned, resumed to the bit, on
two processes, evaluated, predicted, exported and reported.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from blocks.graph import compose
from tasks.__main__ import main
from tasks.resume import adopt, checkpoint
from tasks.run import run_folder
from tasks.run.evaluate import evaluate_run
from tasks.run.load_run import open_run
from tasks.run.train import train
from tests.tasks.image_sets import write_parquet, write_shards

ROOT = Path(__file__).parents[2]
CASES = {
    "hub": ("data=hub", "data.path={place}/hub"),
    "shards": ("data=shards", "data.path={place}/shards", "data.buffer=30"),
    "stream": ("data=hub", "data.path={place}/hub", "data.streaming=true", "data.buffer=30"),
}
SMALL = (
    *("model=mlp", "data.size=6", "data.batch_size=8", "data.workers=0", "data.crop=0.5"),
    *("trainer.max_epochs=6", "optimizer.lr=1e-2", "schedule=constant", "data.flip=false"),
    "callbacks.progress.style=none",
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("sets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder / "cache"))
        patch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
        write_parquet(folder / "hub")
        write_shards(folder / "shards")
        yield folder


def words_of(case, place, *more):
    words = [word.format(place=place) for word in CASES[case]]
    return [*SMALL, *words, *more]


def learn(folder, words):
    folder.mkdir(exist_ok=True)
    composed = compose(words)
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), folder)
    is_resumed = (folder / run_folder.RECORD).is_file()
    return train(composed, folder, run_folder.Record(folder, resumed=is_resumed, **known))


def load_weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.fixture(scope="module", params=CASES)
def finished(request, place, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "run"
    metrics = learn(folder, words_of(request.param, place))
    return request.param, folder, metrics


def test_a_run_learns_is_evaluated_exported_and_reported(finished, tmp_path):
    _, folder, metrics = finished
    assert metrics["test/accuracy"] > 0.9
    again = evaluate_run(open_run(folder), {})
    assert again == pytest.approx(metrics, rel=1e-5)
    for kind in ("safetensors", "onnx"):
        assert main(["export", str(folder), "--to", kind, "-o", str(tmp_path / f"a.{kind}")]) == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"{metrics['test/accuracy']:.4f}" in page


def test_an_image_file_is_predicted(finished, place, capsys):
    _, folder, _ = finished
    files = sorted((place / "hub" / "files").glob("*.png"))
    capsys.readouterr()
    assert main(["predict", str(folder), *map(str, files), "--json"]) == 0
    lines = list(map(json.loads, capsys.readouterr().out.splitlines()))
    best = [max(line["predictions"], key=lambda each: each["probability"]) for line in lines]
    assert [each["class"] for each in best] == [file.stem for file in files]


def test_a_run_that_was_stopped_ends_as_if_it_had_not(finished, place, tmp_path, monkeypatch):
    case, folder, _ = finished
    words = words_of(case, place)
    save, points = checkpoint.Checkpoint._save, []

    def die(self, trainer, module, point, **options):
        save(self, trainer, module, point, **options)
        points.append(point)
        if len(points) == 5:
            raise ZeroDivisionError

    monkeypatch.setattr(checkpoint.Checkpoint, "_save", die)
    stopped = [*words, "callbacks.checkpoint.every_steps=3"]
    with pytest.raises(ZeroDivisionError):
        learn(tmp_path / "stopped", stopped)
    monkeypatch.undo()
    learn(tmp_path / "stopped", [*stopped, f"resume='{tmp_path / 'stopped'}'"])
    whole, found = load_weights(folder), load_weights(tmp_path / "stopped")
    assert {name for name in whole if not whole[name].equal(found[name])} == set()


def test_two_processes_share_the_images(finished, place, tmp_path):
    case, _, _ = finished
    ddp = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    words = words_of(case, place, *ddp, "trainer.precision=32-true")
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *words, f"hydra.run.dir={tmp_path / 'run'}"],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        env={**os.environ, "HF_DATASETS_CACHE": str(place / "cache")},
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["status"] == "finished"
    assert record["test"]["test/accuracy"] > 0.9
    again = evaluate_run(open_run(tmp_path / "run"), {})  # in one process
    assert again == pytest.approx(record["test"], rel=1e-5)
