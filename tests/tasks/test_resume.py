import json
import math
import re
import shutil
import signal

import pytest
import torch
import yaml

from blocks.graph import ConfigError, compose, plan
from tasks.callbacks.logger import CsvLogger
from tasks.data.sampler import Order, Workers
from tasks.errors import ArgumentError
from tasks.learn.classify import Classify
from tasks.process.signals import Interrupted
from tasks.resume import adopt, checkpoint, checkpoint_file, start
from tasks.run import run_folder, train

SMALL = [
    *(
        "model.params.depth=1",
        "model.params.dim=16",
        "model.params.dropout=0.1",
        "callbacks.progress.style=none",
    ),
    *(
        "trainer.max_epochs=2",
        "trainer.limit_train_batches=7",
        "trainer.limit_val_batches=2",
        "callbacks.nodes=null",
    ),
    *(
        "trainer.limit_test_batches=1",
        "+trainer.val_check_interval=3",
        "callbacks.checkpoint.every_steps=1",
    ),
]


def learn(place, *words, small=SMALL):
    words = [*small, *words]
    composed = compose(words)
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), place)
    train.train(
        composed,
        place,
        run_folder.Record(place, resumed=(place / run_folder.RECORD).is_file(), **known),
    )


def state(place):
    """All that a run has learned, and the rows of its metrics but for the clock."""
    found = torch.load(place / "checkpoints" / "last.ckpt", weights_only=True)
    tensors = dict(found["state_dict"])
    for number, entries in found["optimizer_states"][0]["state"].items():
        tensors |= {f"{number}.{name}": torch.as_tensor(value) for name, value in entries.items()}
    lines = [
        line.split(",") for line in (place / "metrics.csv").read_text(encoding="utf-8").splitlines()
    ]
    return tensors, [line[:2] + line[3:] for line in lines]


def learn_in_two(place, monkeypatch, saves, *words):
    """A run that ends after some saves, and its continuation."""
    save, points = checkpoint.Checkpoint._save, []

    def die(self, trainer, module, point, **options):
        save(self, trainer, module, point, **options)
        points.append(point)
        if len(points) == saves:
            raise ZeroDivisionError

    monkeypatch.setattr(checkpoint.Checkpoint, "_save", die)
    with pytest.raises(ZeroDivisionError):
        learn(place, *words)
    monkeypatch.undo()
    learn(place, *words, f"resume='{place}'")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    learn(place)
    return place


@pytest.mark.parametrize(
    "saves", [2, 3, 9]
)  # after a step; after a validation within the epoch, which another follows; in the second epoch
def test_a_run_that_ended_after_any_save_goes_on_as_if_it_had_not(
    whole, tmp_path, monkeypatch, saves
):
    learn_in_two(tmp_path, monkeypatch, saves)
    tensors, rows = state(whole)
    found, again = state(tmp_path)
    assert {name for name in tensors if not tensors[name].equal(found[name])} == set()
    assert again == rows
    assert (
        json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["sessions"][-1]["status"]
        == "finished"
    )


@pytest.mark.slow
def test_noise_of_a_model_goes_on_as_it_would_have(tmp_path, monkeypatch):
    words = [
        "+model.graph.noise={block: Random, shape: [1, 16], in: position, after: position}",
        "+model.graph.noisy={block: Add, in: [position, noise], after: noise}",
        "+model.graph.dropout.in=noisy",
    ]
    learn(tmp_path / "whole", *words)
    learn_in_two(tmp_path / "cut", monkeypatch, 3, *words)
    tensors, rows = state(tmp_path / "whole")
    found, again = state(tmp_path / "cut")
    assert {name for name in tensors if not tensors[name].equal(found[name])} == set()
    assert again == rows


def test_a_signal_in_a_validation_is_heeded_within_a_batch(whole, tmp_path, monkeypatch):
    def signalled(self, trainer, module, *rest):
        self.guard.stop = self.guard.stop or int(signal.SIGTERM)

    monkeypatch.setattr(
        checkpoint.Checkpoint, "on_validation_batch_start", signalled, raising=False
    )
    with pytest.raises(Interrupted) as stopped:
        learn(tmp_path)
    monkeypatch.undo()
    assert stopped.value.status == 143
    content = checkpoint_file.load_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert (content["global_step"], content["dougong"]["point"]) == (3, "before a validation")
    learn(tmp_path, f"resume='{tmp_path}'")
    tensors, rows = state(whole)
    found, again = state(tmp_path)
    assert all(tensors[name].equal(found[name]) for name in tensors)
    assert again == rows


def test_a_changed_graph_is_told_and_the_rest_can_be_carried_over(whole, tmp_path, capsys):
    words = [f"ckpt_path='{whole / 'checkpoints' / 'last.ckpt'}'", "model.params.depth=2"]
    with pytest.raises(ConfigError) as error:
        learn(tmp_path / "refused", *words)
    assert "  the graph is not the one of " in str(error.value)
    assert "new       layers.1.attention.norm.weight (16,)" in str(error.value)
    assert (
        "carry_over=true starts a new run with what fits (20 of 20 tensors), or the old model"
        in str(error.value)
    )
    # a new run may be shorter than the old one was
    learn(tmp_path / "carried", *words, "carry_over=true", "trainer.max_epochs=0")
    assert "20 of 32 tensors carried over from" in capsys.readouterr().out
    learn(tmp_path / "carried", *words, "carry_over=true", "trainer.max_epochs=1")
    assert "20 of 32 tensors carried over from" in capsys.readouterr().out


def test_what_differs_is_named(whole, tmp_path):
    network = plan(
        compose(SMALL), {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 10}
    ).materialise()
    path = whole / "checkpoints" / "last.ckpt"
    config = yaml.safe_load((whole / "config.yaml").read_text(encoding="utf-8"))
    kept = checkpoint_file.load_checkpoint(path)["dougong"]
    same = {
        "config": config,
        "environment": kept["environment"],
        "network": network,
        "data": kept["data"],
    }
    assert start.examine_checkpoint(path, **same).differences == []
    config["optimizer"]["lr"], config["trainer"]["gradient_clip_val"] = 0.5, 2.0
    environment = {**kept["environment"], "threads": 97}
    now = {**same, "environment": environment, "data": "another"}
    assert start.examine_checkpoint(path, **now).differences == [
        "optimizer.lr: 0.5, before 0.003 (without effect: the optimiser continues as it was saved)",
        "trainer.gradient_clip_val: 2.0, before 1.0",
        f"threads: 97, before {kept['environment']['threads']}",
        "data: the samples differ from those before",
    ]
    config["trainer"]["max_epochs"] = 0
    found = start.examine_checkpoint(path, **same)
    with pytest.raises(
        ArgumentError,
        match=r"the run is beyond the end that is set: .*trainer.max_epochs=0, epoch 2",
    ):
        start.check_end(found, config["trainer"])


def test_what_cannot_be_learned_any_more_is_refused(whole):
    kept = {name: (whole / name).read_bytes() for name in ("run.json", "config.yaml")}
    with pytest.raises(ConfigError) as error:
        learn(whole, f"resume={whole}", "seed=5")
    assert (
        "the run is over: nothing would be trained with this\n  got       data.seed: 5, before 0"
        in str(error.value)
    )
    for name, text in kept.items():
        (whole / name).write_bytes(text)  # as the front door does: the next test


def test_a_start_that_was_a_mistake_leaves_what_was_there(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "finished", "seed": 0}', encoding="utf-8")
    (tmp_path / "config.yaml").write_text("seed: 0\n", encoding="utf-8")
    record = run_folder.Record(tmp_path, resumed=True, seed=5)
    (tmp_path / "config.yaml").write_text("seed: 5\n", encoding="utf-8")
    record.take_back()
    assert (tmp_path / "config.yaml").read_text(encoding="utf-8") == "seed: 0\n"
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == {
        "status": "finished",
        "seed": 0,
    }


def test_the_command_of_a_run_is_taken_over_and_can_be_changed(tmp_path):
    run_folder.Record(tmp_path, overrides=["model=cnn", "+trainer.max_time=1", "seed=3"])
    new = [f"resume='{tmp_path}'", "seed=5", "trainer.max_epochs=7"]
    assert adopt.read_overrides(new) == ["model=cnn", "+trainer.max_time=1"]
    assert adopt.read_overrides([*new, "~trainer.max_time"]) == ["model=cnn", "+trainer.max_time=1"]
    run_folder.Record(tmp_path, overrides=["~model.graph.norm", "model=cnn"])
    assert adopt.read_overrides([*new, "~model.graph.norm"]) == ["model=cnn"]
    run_folder.Record(tmp_path, overrides=["+trainer.max_time=1", "~trainer.max_time"])
    assert adopt.read_overrides([*new, "~trainer.max_time"]) == ["+trainer.max_time=1"]
    run_folder.Record(tmp_path, overrides=["model=cnn"])
    assert adopt.read_overrides(["seed=5"]) == []
    assert adopt.run_overrides([*new, "hydra.run.dir=x", "ckpt_path=best"]) == [
        "seed=5",
        "trainer.max_epochs=7",
    ]
    assert adopt.requested_folder(["resume=true"]) is None  # a word of sweeps
    with pytest.raises(ArgumentError, match="holds no run that can be resumed"):
        adopt.read_overrides([f"resume={tmp_path / 'nowhere'}"])


def test_a_run_folder_of_somebody_else_says_nothing_that_acts(tmp_path):
    words = [
        "model=cnn",
        "runs=/srv",
        "hydra.run.dir=/srv",
        "resume=/srv",
        "+logger.csv.token=***",
        3,
    ]
    (tmp_path / "run.json").write_text(json.dumps({"overrides": words}), encoding="utf-8")
    assert adopt.read_overrides([f"resume='{tmp_path}'"]) == ["model=cnn"]
    (tmp_path / "run.json").write_text(
        json.dumps({"overrides": ["library=[evil]"]}), encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="a run folder may not set library: it lets code run"):
        compose([f"resume='{tmp_path}'"], adopted=adopt.read_overrides([f"resume='{tmp_path}'"]))
    (tmp_path / "metrics.csv").symlink_to("/srv/elsewhere")
    with pytest.raises(
        ArgumentError, match=r"metrics.csv is a link that leads out of the run folder; got /srv/e"
    ):
        adopt.read_overrides([f"resume='{tmp_path}'"])


def test_a_damaged_checkpoint_is_named_with_those_that_are_whole(tmp_path):
    place = tmp_path / "checkpoints"
    place.mkdir()
    for name in ("best", "last"):
        checkpoint_file.save_checkpoint({"epoch": 1}, place / f"{name}.ckpt")
    (place / "last.ckpt").write_bytes(b"PK")
    with pytest.raises(ArgumentError) as error:
        start.find_checkpoint(tmp_path, None)
    assert str(error.value) == (
        f"the checkpoint {place / 'last.ckpt'} cannot be used: it is no whole archive (File is "
        "not a zip file); "
        "fits: best.ckpt, the newest first; fix: ckpt_path=intact takes the newest that is whole"
    )
    assert (
        start.find_checkpoint(tmp_path, "intact")
        == start.find_checkpoint(tmp_path, "best")
        == place / "best.ckpt"
    )
    with pytest.raises(ArgumentError, match="ckpt_path=best does not say of which run"):
        start.find_checkpoint(None, "best")


def test_a_loader_begins_behind_what_was_taken_in_its_epoch_only():
    loader = Workers(
        torch.utils.data.DataLoader(
            Numbers(), batch_size=3, sampler=Order(17, shuffle=True, seed=2)
        )
    )
    loader.sampler.set_epoch(4)
    batches = [batch.tolist() for batch in loader]
    loader.load_state_dict({"epoch": 4, "batch": 2})
    for _ in range(2):  # as often as Lightning asks
        assert [batch.tolist() for batch in loader] == batches[2:]
    assert loader.state_dict() == {"epoch": 4, "batch": 6}
    loader.sampler.set_epoch(5)
    assert len(list(loader)) == 6


class Numbers(torch.utils.data.Dataset):
    def __getitem__(self, key):
        return key[0] * 100 + key[1]

    def __len__(self):
        return 17


def test_rows_of_a_checkpoint_replace_those_that_came_after_it(tmp_path):
    logger = CsvLogger(str(tmp_path))
    for epoch in range(3):
        logger.log_metrics({"val/loss": 1 / (epoch + 1), "epoch": epoch}, step=7 * epoch)
    kept = logger.copy_rows()[:2]
    later = CsvLogger(str(tmp_path))
    later.restore(kept)
    later.log_metrics({"val/loss": 0.25, "epoch": 2}, step=20)
    later.save()
    lines = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2", "3"]
    assert lines[3].endswith(",0.25")


@pytest.mark.parametrize(
    ("mode", "scores", "kept"),
    [
        ("min", [math.nan, 0.9, 0.5, math.nan, 0.6], [0, 1, 2]),
        ("max", [math.nan, math.nan, 0.5, math.nan, 0.4, 0.6], [0, 2, 5]),
        ("min", [math.inf, 0.5, -math.inf], [0, 1, 2]),
        ("max", [-math.inf, math.nan, 0.5], [0, 2]),
    ],
)
def test_any_number_is_better_than_none(mode, scores, kept):
    best, found = None, []
    for number, score in enumerate(scores):
        if checkpoint.is_better(score, best, mode):
            best = score
            found.append(number)
    assert found == kept


def test_a_first_validation_that_is_no_number_is_not_the_best_for_ever(tmp_path, monkeypatch):
    losses = iter([math.nan, 0.9, 0.5, 0.7])
    monkeypatch.setattr(Classify, "metric_names", lambda self: ["val/score"])
    monkeypatch.setattr(
        Classify, "on_validation_epoch_end", lambda self: self.log("val/score", next(losses))
    )
    learn(
        tmp_path,
        "trainer.max_epochs=4",
        "trainer.val_check_interval=7",
        "callbacks.checkpoint.monitor=val/score",
    )
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["best epoch"] == 3


def test_what_is_shown_of_a_resumed_run_is_what_is_shown_of_one_nobody_touched(
    tmp_path, monkeypatch
):
    words = [word for word in SMALL if word != "callbacks.nodes=null"] + [
        "callbacks.nodes.samples=5"
    ]
    learn(tmp_path / "whole", small=words)
    save, saved = checkpoint.Checkpoint._save, []

    def die(self, *given, **options):
        save(self, *given, **options)
        saved.append(1)
        if len(saved) == 12:  # in the second epoch
            raise ZeroDivisionError

    monkeypatch.setattr(checkpoint.Checkpoint, "_save", die)
    place = tmp_path / "again"
    with pytest.raises(ZeroDivisionError):
        learn(place, small=words)
    monkeypatch.undo()
    learn(place, f"resume='{place}'", small=words)
    for name in ("nodes.csv", "gradients.svg", "updates.svg", "curves.svg", "predictions.csv"):
        assert (tmp_path / "whole" / name).read_text(encoding="utf-8") == (place / name).read_text(
            encoding="utf-8"
        ), name
    pages = [
        re.split("Run it again", (path / "report.html").read_text(encoding="utf-8"))[0]
        for path in (tmp_path / "whole", place)
    ]
    speed = r"\d+ s\b|(?:samples|tokens) per second</dt><dd>[\d,]+|waiting for data</dt><dd>\d+%"
    ours, theirs = (re.sub(speed, "", page) for page in pages)
    assert ours == theirs


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            [],
            r"schedule  step 15, .* rate 0.00171, before 3e-05, 57 times as high; "
            r"schedule.rewarm=0.1 lets it rise",
        ),
        (
            ["schedule.rewarm=0.5"],
            r"before 3e-05; rises to 0.003 and falls again \(schedule.rewarm=0.5\)",
        ),
    ],
)
def test_a_run_that_goes_further_says_what_its_rate_does(whole, tmp_path, capsys, words, text):
    place = tmp_path / "further"
    shutil.copytree(whole, place)
    learn(place, f"resume='{place}'", "trainer.max_epochs=4", *words)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("schedule")]
    assert re.search(text, line)
    learn(
        place, f"resume='{place}'", "trainer.max_epochs=4", *words
    )  # a second time nothing is left to be said
    assert "schedule  step" not in capsys.readouterr().out


def test_a_run_that_was_stopped_goes_on_where_what_stopped_it_is_lifted(tmp_path):
    stop = "monitor: val/loss, mode: max, patience: 1, min_delta: 99"
    stop = f"{{_target_: pytorch_lightning.callbacks.EarlyStopping, {stop}}}"
    words = [word for word in SMALL if "val_check" not in word and "max_epochs" not in word]
    words += ["trainer.max_epochs=4", "model.params.dim=8"]
    learn(tmp_path, f"+callbacks.stop={stop}", small=words)
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 1
    learn(tmp_path, f"+callbacks.stop={stop}", f"resume='{tmp_path}'", small=words)
    assert torch.load(last, weights_only=True)["epoch"] == 1
    learn(tmp_path, f"resume='{tmp_path}'", small=words)
    assert torch.load(last, weights_only=True)["epoch"] == 3
