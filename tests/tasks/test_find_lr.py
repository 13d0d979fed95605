"""The search for a learning rate: its rule, and the run that follows it."""

import csv
import json
import math
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from blocks.graph import ConfigError, compose
from tasks.learn.base import Task
from tasks.process.signals import Interrupted
from tasks.resume import adopt, checkpoint
from tasks.run import run_folder, train
from tasks.run.sections import check_sections
from tasks.tune import learning_rate
from tasks.tune.learning_rate import must_be_new, must_follow
from tasks.tune.rate_curve import (
    STEPS,
    LearningRateError,
    has_diverged,
    rate_of_step,
    smooth_losses,
    suggest_rate,
)

SMALL = [
    "model=mlp",
    "trainer.threads=1",
    "data.batch_size=32",
    "callbacks.progress.style=none",
    "callbacks.nodes=null",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=6",
    "trainer.limit_val_batches=2",
    "trainer.limit_test_batches=1",
]
FIND = "trainer.find_lr=true"


def learn(place, *words):
    words = [*SMALL, *words]
    composed = compose(words)
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), place)
    resumed = (place / run_folder.RECORD).is_file()
    return train.train(composed, place, run_folder.Record(place, resumed=resumed, **known))


def record_of(place):
    return json.loads((place / "run.json").read_text(encoding="utf-8"))


def content_of(place):
    return torch.load(place / "checkpoints" / "last.ckpt", weights_only=True)


def must_be_equal(first, second):
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name
    states = [each["optimizer_states"][0] for each in (first, second)]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    for key, state in states[0]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, states[1]["state"][key][name])


# The rule -----------------------------------------------------------------------------------------


def quadratic(curvature):
    """Return the losses of gradient descent on a noisy parabola of this curvature: the first loss,
    and the noise at each rate relative to the curvature, are the same for each.
    """
    noise = np.random.default_rng(0).normal(size=2 * STEPS)
    shift = round(20 * math.log10(curvature))
    x = 3.0 / curvature**0.5
    losses = []
    for step in range(STEPS):
        target = 0.1 * noise[step + shift] / curvature**0.5
        losses.append(1 + curvature / 2 * (x - target) ** 2)
        x -= rate_of_step(step) * curvature * (x - target)
        if has_diverged(losses):
            break
    return losses


def test_the_rate_follows_the_curvature_and_stays_below_the_bound_of_stability():
    rates = []
    for curvature in (10.0, 100.0, 1000.0):
        found = suggest_rate(quadratic(curvature))
        assert found.diverged
        assert 0.1 / curvature < found.rate < 2 / curvature
        rates.append(found.rate * curvature)
    assert rates == pytest.approx([rates[0]] * 3, rel=0.01)


def test_rates_rise_by_equal_factors():
    rates = [rate_of_step(step) for step in range(STEPS)]
    assert rates[0] == pytest.approx(1e-6)
    assert rates[-1] == pytest.approx(10)
    assert np.diff(np.log(rates)) == pytest.approx(math.log(10) / 20)


def test_smoothing_keeps_a_line_and_delays_nothing():
    line = np.linspace(3, 2, 101)
    assert smooth_losses(line)[24:-24] == pytest.approx(line[24:-24], abs=1e-12)
    dip = 2 - np.exp(-0.5 * ((np.arange(101) - 60) / 8) ** 2)
    assert int(smooth_losses(dip).argmin()) == 60


def test_a_loss_that_never_falls_is_told():
    losses = (2.3 + 0.1 * np.random.default_rng(0).normal(size=STEPS)).tolist()
    with pytest.raises(LearningRateError) as error:
        suggest_rate(losses)
    text = str(error.value)
    assert text.startswith("the loss does not fall at any learning rate from 1e-06 up to 10\n")
    assert "\n  fix       look at find_lr.svg in the run folder; larger batches" in text
    with pytest.raises(LearningRateError, match=r"up to 1\.58e-06, where it diverges"):
        suggest_rate([2.3, 2.4, 2.5, 2.6, 2.7, math.nan])


def test_a_network_that_diverges_at_once_is_told():
    assert has_diverged([math.nan])
    with pytest.raises(LearningRateError) as error:
        suggest_rate([math.nan])
    assert str(error.value) == (
        "the loss is not finite at a learning rate of 1e-06, in the first step of the search\n"
        "  fix       a rate does not help: look at the data, at weights.load and at "
        "trainer.precision"
    )


def test_a_search_without_batches_is_told():
    with pytest.raises(LearningRateError, match="no batch to train on"):
        suggest_rate([])


@pytest.mark.parametrize("first", [2.3, 1e-3, -3.0])
def test_the_search_ends_far_above_the_first_loss(first):
    steady = [first] * 20
    assert not has_diverged(steady)
    assert not has_diverged([*steady, *[first + 0.9 * abs(first)] * 5])
    assert has_diverged([*steady, *[first + 1.1 * abs(first)] * 5])
    assert not has_diverged([*steady, first + 4 * abs(first)])  # one batch


# A run --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A run that found its rate, with two rates of parameters, and its checkpoint."""
    place = tmp_path_factory.mktemp("found")
    with pytest.MonkeyPatch.context() as patch:
        groups = []
        end = learning_rate.Ramp.on_train_batch_end

        def watched(self, trainer, *rest):
            groups.append([group["lr"] for group in trainer.optimizers[0].param_groups])
            end(self, trainer, *rest)

        patch.setattr(learning_rate.Ramp, "on_train_batch_end", watched)
        metrics = learn(place, FIND, "+weights.learning_rate={head: 10}")
    return place, metrics, groups


@pytest.mark.slow
def test_the_run_equals_one_with_the_rate_to_the_bit(found, tmp_path):
    place, metrics, _ = found
    rate = record_of(place)["find_lr"]["lr"]
    given = learn(tmp_path, f"optimizer.lr={rate}", "+weights.learning_rate={head: 10}")
    assert given == metrics
    must_be_equal(content_of(place), content_of(tmp_path))


def test_groups_keep_their_ratio_in_the_search(found):
    _, _, groups = found
    ratios = {round(max(rates) / min(rates), 9) for rates in groups}
    assert ratios == {10.0}
    assert groups[0] != groups[-1]


def test_the_run_records_the_rate_and_the_curve(found):
    place, _, _ = found
    record = record_of(place)
    rate = record["find_lr"]["lr"]
    config = yaml.safe_load((place / "config.yaml").read_text(encoding="utf-8"))
    assert config["optimizer"]["lr"] == rate
    assert content_of(place)["hyper_parameters"]["config"]["optimizer"]["lr"] == rate
    (note,) = [note for note in record["notes"] if "find_lr" in note]
    assert note.startswith(f"optimizer.lr={rate:g} by trainer.find_lr: the rate with the lowest")
    with (place / "find_lr.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == record["find_lr"]["steps"]
    smooth = [float(row["smooth"]) for row in rows]
    best = float(rows[int(np.argmin(smooth))]["lr"])
    assert rate == pytest.approx(best, rel=0.01)
    assert f"optimizer.lr {rate:g}</text>" in (place / "find_lr.svg").read_text(encoding="utf-8")
    report = (place / "report.html").read_text(encoding="utf-8")
    assert f"optimizer.lr {rate:g}</text>" in report
    assert note in report


# Mistakes -----------------------------------------------------------------------------------------


def refuse(*words):
    with pytest.raises(ConfigError) as error:
        check_sections(compose([FIND, *words]))
    return str(error.value)


def test_rates_that_contradict_the_search_are_told():
    words = [FIND, "optimizer=muon", "optimizer.lr=0.1", "optimizer.adamw_lr=0.001", "tune=true"]
    with pytest.raises(ConfigError) as error:
        check_sections(compose(words))
    first, second, third = str(error.value).split("\n\n")
    assert first == (
        "the command line: optimizer.lr=0.1  optimizer.lr\n"
        "  find_lr chooses optimizer.lr, which is given, too\n"
        "  got       optimizer.lr=0.1, trainer.find_lr=true\n"
        "  fix       one of them"
    )
    assert "find_lr finds one rate, and adamw_lr is a second one" in second
    assert "tune measures batch sizes and trains nothing" in third


def test_a_run_that_continues_is_told(tmp_path):
    with pytest.raises(ConfigError) as error:
        must_be_new(compose([f"ckpt_path={tmp_path / 'last.ckpt'}"]))
    text = str(error.value)
    assert "chooses the learning rate of a new run, and this one is continued\n" in text
    assert text.endswith("  fix       trainer.find_lr=false")


class OwnOptimizer(Task):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_task_with_an_optimizer_of_its_own_is_told():
    composed = compose([])
    network = torch.nn.Linear(3, 5)
    make = torch.optim.SGD
    must_follow(composed, Task(network, optimizer=make, facts={}))
    with pytest.raises(ConfigError, match="this task has its own\n  got       OwnOptimizer"):
        must_follow(composed, OwnOptimizer(network, optimizer=make, facts={}))


# Slow: whole searches -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["data.mixup=0.2", "callbacks=ema", "schedule=one_cycle", "weights.layer_decay=null"],
        ["trainer.accumulate_grad_batches=2", "optimizer=muon", "trainer.precision=bf16-mixed"],
        ["experiment=recall", "model=gpt", "model.params.depth=1", "data.lag=5", "data.train=64"],
        ["task=objective", "+task.loss={a: {block: CrossEntropy, in: [logits, batch.label]}}"],
    ],
)
def test_every_kind_of_run_equals_one_with_the_rate(words, tmp_path):
    small = [word for word in SMALL if "model" not in word or "experiment=recall" not in words]
    first, second = tmp_path / "first", tmp_path / "second"

    def run(place, *more):
        composed = compose([*small, *words, *more])
        place.mkdir()
        known = run_folder.describe_start(composed.config, [], place)
        return train.train(composed, place, run_folder.Record(place, **known))

    metrics = run(first, FIND)
    assert run(second, f"optimizer.lr={record_of(first)['find_lr']['lr']}") == metrics
    must_be_equal(content_of(first), content_of(second))


@pytest.mark.slow
def test_a_resumed_run_keeps_the_rate(tmp_path, monkeypatch, capsys):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    learn(whole, FIND)
    save = checkpoint.Checkpoint.on_train_epoch_end

    def stop(self, *rest):
        save(self, *rest)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "on_train_epoch_end", stop)
        with pytest.raises(Interrupted):
            learn(stopped, FIND)
    rate = record_of(stopped)["find_lr"]["lr"]
    capsys.readouterr()
    learn(stopped, FIND, f"resume={stopped}")
    printed = capsys.readouterr().out
    assert "finding the learning rate" not in printed
    assert "differs" not in printed
    assert record_of(stopped)["find_lr"]["lr"] == rate == record_of(whole)["find_lr"]["lr"]
    must_be_equal(content_of(whole), content_of(stopped))


@pytest.mark.slow
def test_two_processes_find_one_rate(tmp_path):
    words = [*SMALL, "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
    command = [sys.executable, "train.py", *words]
    rates, contents = [], []
    for place, word in ((tmp_path / "first", FIND), (tmp_path / "second", None)):
        word = word or f"optimizer.lr={rates[0]}"
        subprocess.run([*command, word, f"hydra.run.dir={place}"], check=True)
        rates.append(record_of(place).get("find_lr", {}).get("lr"))
        contents.append(content_of(place))
    must_be_equal(*contents)


@pytest.mark.slow
def test_the_curve_of_a_failed_search_is_kept(tmp_path, monkeypatch):
    add = Task.total_loss
    monkeypatch.setattr(Task, "total_loss", lambda self, *rest: add(self, *rest) * math.nan)
    with pytest.raises(LearningRateError, match="the loss is not finite"):
        learn(tmp_path, FIND)
    assert "no finite loss" in (tmp_path / "find_lr.svg").read_text(encoding="utf-8")
    table = (tmp_path / "find_lr.csv").read_text(encoding="utf-8")
    assert table == "lr,loss,smooth\n1e-06,nan,\n"
    assert "find_lr" not in record_of(tmp_path)
