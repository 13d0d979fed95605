"""Averages of weights and early stopping: parity with torch, resumed runs, what is exported."""

import signal

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from blocks.graph import ConfigError, assemble, compose
from tasks.callbacks.weight_average import WeightAverage, network_of
from tasks.process.signals import Interrupted
from tasks.resume import adopt, checkpoint, checkpoint_file
from tasks.run import load_run, run_folder, train

SMALL = [
    "model=cnn",  # has batch norm
    "model.params.width=4",
    "model.params.depths=[1]",
    "trainer.threads=1",
    "data.batch_size=16",
    "callbacks.progress.style=none",
    "callbacks.nodes=null",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=6",
    "+trainer.val_check_interval=3",
    "trainer.limit_val_batches=2",
    "trainer.limit_test_batches=1",
    "callbacks.checkpoint.every_steps=1",
]
EMA = ["callbacks=ema", "callbacks.ema.decay=0.9", "callbacks.ema.warmup=false"]


def learn(place, *words):
    words = [*SMALL, *words]
    composed = compose(words)
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), place)
    resumed = (place / run_folder.RECORD).is_file()
    train.train(composed, place, run_folder.Record(place, resumed=resumed, **known))


def content_of(place):
    return torch.load(place / "checkpoints" / "last.ckpt", weights_only=True)


def record_weights(monkeypatch):
    """Return the list that the weights after each step will be appended to."""
    seen, update = [], WeightAverage._update

    def recorded(self, trainer, module):
        if not seen or trainer.global_step > seen[-1][0]:
            weights = {name: each.clone() for name, each in network_of(module).state_dict().items()}
            seen.append((trainer.global_step, weights))
        update(self, trainer, module)

    monkeypatch.setattr(WeightAverage, "_update", recorded)
    return seen


def averaged(seen, network, mean):
    """Return the state of torch's AveragedModel after all weights that were seen."""
    reference = AveragedModel(network, multi_avg_fn=mean, use_buffers=True)
    for _, weights in seen:
        network.load_state_dict(weights)
        reference.update_parameters(network)
    return reference.module.state_dict()


def network_without_weights():
    return assemble(compose([*SMALL, *EMA]))


def test_an_ema_is_that_of_torch_and_its_formula(tmp_path, monkeypatch):
    seen = record_weights(monkeypatch)
    learn(tmp_path, *EMA)
    assert [step for step, _ in seen] == list(range(1, 13))
    found = content_of(tmp_path)
    expected = averaged(seen, network_without_weights(), get_ema_multi_avg_fn(0.9))
    for name, value in expected.items():
        assert value.equal(found["state_dict"][f"network.{name}"]), name
    by_hand = seen[0][1]["head.weight"]
    for _, weights in seen[1:]:
        by_hand = 0.9 * by_hand + 0.1 * weights["head.weight"]
    torch.testing.assert_close(found["state_dict"]["network.head.weight"], by_hand)
    # the weights themselves are beside it
    for name, value in seen[-1][1].items():
        assert value.equal(found["average"]["weights"][f"network.{name}"]), name


def test_a_warm_up_of_the_decay_follows_its_formula():
    torch.manual_seed(0)
    callback, weights = WeightAverage(0.999), torch.randn(7, 3)
    by_hand, average = weights[0].clone(), [weights[0].clone()]
    for count in range(1, 7):
        decay = (1 + count) / (10 + count)
        by_hand = decay * by_hand + (1 - decay) * weights[count]
        callback._add(average, [weights[count]], torch.tensor(count))
    torch.testing.assert_close(average[0], by_hand)


def test_swa_is_the_mean_of_the_last_epochs(tmp_path, monkeypatch):
    seen = record_weights(monkeypatch)
    words = ["callbacks=swa", "callbacks.swa.start=0.4", "trainer.max_epochs=4"]
    learn(tmp_path, *words)
    assert [step for step, _ in seen] == [6, 12, 18, 24]
    found = content_of(tmp_path)["state_dict"]
    mean = torch.stack([weights["head.weight"] for _, weights in seen[1:]]).mean(0)
    torch.testing.assert_close(found["network.head.weight"], mean)
    expected = averaged(seen[1:], network_without_weights(), None)
    assert expected["head.weight"].equal(found["network.head.weight"])


def test_the_average_is_evaluated_tested_and_opened(tmp_path, monkeypatch):
    tested = []

    def look(self, *rest):
        tested.append({name: each.clone() for name, each in self.network.state_dict().items()})

    monkeypatch.setattr("tasks.learn.base.Task.on_validation_start", look)
    monkeypatch.setattr("tasks.learn.base.Task.on_test_start", look)
    monkeypatch.setattr("tasks.learn.classify.Classify.on_test_start", look)
    seen = record_weights(monkeypatch)
    learn(tmp_path, *EMA)
    network = network_without_weights()
    for number, step in enumerate((3, 6, 9, 12)):
        expected = averaged(seen[:step], network, get_ema_multi_avg_fn(0.9))
        for name, value in expected.items():
            assert value.equal(tested[number][name]), (step, name)
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    opened = load_run.open_run(tmp_path).network.state_dict()
    for name, value in tested[4].items():
        assert value.equal(best[f"network.{name}"]), name
        assert value.equal(opened[name]), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    learn(place, *EMA)
    return place


def must_be_equal(first, second):
    whole, cut = content_of(first), content_of(second)
    for name, value in whole["state_dict"].items():
        assert value.equal(cut["state_dict"][name]), name
    for name, value in whole["average"]["weights"].items():
        assert value.equal(cut["average"]["weights"][name]), name
    assert whole["average"]["count"] == cut["average"]["count"]
    rows = []
    for place in (first, second):
        lines = (place / "metrics.csv").read_text(encoding="utf-8").splitlines()
        rows.append([line.split(",")[:2] + line.split(",")[3:] for line in lines])
    assert rows[0] == rows[1]


@pytest.mark.parametrize("saves", [2, 3, 8])  # within an epoch; before a validation; in the second
def test_a_run_that_was_killed_goes_on_to_the_bit(whole, tmp_path, monkeypatch, saves):
    save, done = checkpoint.Checkpoint._save, []

    def die(self, trainer, module, point, **options):
        save(self, trainer, module, point, **options)
        done.append(point)
        if len(done) == saves:
            raise ZeroDivisionError

    monkeypatch.setattr(checkpoint.Checkpoint, "_save", die)
    with pytest.raises(ZeroDivisionError):
        learn(tmp_path, *EMA)
    monkeypatch.undo()
    learn(tmp_path, *EMA, f"resume='{tmp_path}'")
    must_be_equal(whole, tmp_path)


def test_a_run_that_was_stopped_in_a_validation_goes_on_to_the_bit(whole, tmp_path, monkeypatch):
    def signalled(self, trainer, module, *rest):
        self.guard.stop = self.guard.stop or int(signal.SIGTERM)

    monkeypatch.setattr(
        checkpoint.Checkpoint, "on_validation_batch_start", signalled, raising=False
    )
    with pytest.raises(Interrupted):
        learn(tmp_path, *EMA)
    monkeypatch.undo()
    content = checkpoint_file.load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert content["dougong"]["point"] == "before a validation"
    learn(tmp_path, *EMA, f"resume='{tmp_path}'")
    must_be_equal(whole, tmp_path)


def test_before_an_average_begins_the_weights_are_evaluated_and_saved(tmp_path):
    learn(tmp_path / "late", *EMA, "callbacks.ema.start=11")
    learn(tmp_path / "never", *EMA, "callbacks.ema.start=12")
    learn(tmp_path / "plain")
    late, never, plain = (content_of(tmp_path / name) for name in ("late", "never", "plain"))
    for name, value in plain["state_dict"].items():
        assert value.equal(never["state_dict"][name]), name
        assert value.equal(late["state_dict"][name]), name  # one update: the last weights
    assert "average" not in never
    assert late["average"]["count"] == 1


def test_options_are_combined(tmp_path, capsys):
    words = ["callbacks=[ema,early_stopping]", "callbacks.early_stopping.patience=1"]
    words += ["callbacks.early_stopping.min_delta=99", "callbacks.progress.style=lines"]
    learn(tmp_path, *words, "trainer.max_epochs=9")
    assert content_of(tmp_path)["average"]["count"] == 6
    said = capsys.readouterr().out
    assert "stopped early in epoch 2/9: Monitored metric val/loss did not improve" in said


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["callbacks=ema", "callbacks.ema.decay=1.0"],
            "  decay must be in [0, 1)\n  got       decay=1.0\n  fits      e.g. 0.1",
        ),
        (["callbacks=ema", "callbacks.ema.every_steps=0"], "  every_steps must be positive\n"),
        (
            ["callbacks=swa", "callbacks.swa.start=1.5"],
            "  start must be a share in [0, 1) or a whole number of steps\n",
        ),
        (
            ["callbacks=ema", "trainer=fsdp", "trainer.accelerator=cpu", "trainer.devices=1"],
            "  an average needs whole weights, and this strategy cuts them among devices\n"
            "  got       trainer.strategy=fsdp\n"
            "  fix       callbacks.ema=null, or trainer=ddp",
        ),
        (
            ["callbacks=early_stopping", "callbacks.early_stopping.monitor=val/acuracy"],
            "  nothing logs this metric\n  got       val/acuracy\n",
        ),
    ],
)
def test_a_wrong_callback_is_told(tmp_path, words, text):
    with pytest.raises(ConfigError) as error:
        learn(tmp_path, *words)
    assert text in str(error.value)
