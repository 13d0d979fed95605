"""Every limit of the trainer leaves a run that ends well, with its report; what nothing can come of
is told before.
"""

import json

import pytest

from blocks.graph import ConfigError, compose
from tasks.run import run_folder, train
from tasks.run.data_facts import read_data

QUIET = ["callbacks.progress.style=none", "trainer.max_epochs=1"]
SMALL = ["model.params.depth=1", "model.params.dim=16"]
PAIRS = ["experiment=translate", *SMALL, "data.train=64", "data.test=24", "data.batch_size=8"]
FEW = [
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=2",
]


def learn(place, *words):
    words = [*QUIET, *words]
    composed = compose(words)
    return train.train(
        composed,
        place,
        run_folder.Record(place, **run_folder.describe_start(composed.config, words, place)),
    )


@pytest.mark.parametrize(
    "words",
    [
        [*PAIRS, *FEW],
        ["experiment=recall", "data.train=64", "data.test=64", "data.lag=6", *FEW],
        [*SMALL, *FEW, "trainer.limit_val_batches=0"],
        [*SMALL, *FEW, "trainer.limit_train_batches=0"],
        [*SMALL, *FEW, "trainer.max_steps=1"],
        [*SMALL, *FEW, "trainer.num_sanity_val_steps=2", "+trainer.limit_predict_batches=1"],
        [*SMALL, *FEW, "+trainer.fast_dev_run=true"],
        [*SMALL, *FEW, "callbacks.checkpoint=null"],
    ],
)
def test_a_run_of_few_batches_has_its_report(tmp_path, words):
    assert learn(tmp_path, *words)
    assert "Learning curves" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "checkpoints").is_dir() == ("callbacks.checkpoint=null" not in words)


@pytest.mark.parametrize("words", [SMALL, PAIRS])
def test_a_run_without_a_test_says_so(tmp_path, words):
    assert learn(tmp_path, *words, *FEW, "trainer.limit_test_batches=0") == {}
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["status"] == "finished"
    assert "not tested" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_translations_of_a_report_are_those_of_their_sources(tmp_path):
    learn(tmp_path, *PAIRS, *FEW)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    composed = compose([*QUIET, *PAIRS])
    data = read_data(composed)
    shown = [data.shown(row.tolist()) for row in data.parts["test"]["source"][:12]]
    places = [page.find(f"<td>{source}</td>") for source in shown]
    assert -1 not in places
    assert places == sorted(places)


def stop(metric):
    return (
        "+callbacks.stop={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: "
        + metric
        + "}"
    )


@pytest.mark.parametrize(
    ("words", "fits"),
    [
        ([stop("val/acuracy")], "fits      did you mean val/accuracy?"),
        (
            [stop("perplexity"), "trainer.limit_val_batches=0"],
            "fits      train/loss, train/accuracy, train/learning rate",
        ),
        (["callbacks.checkpoint.monitor=val/los"], "fits      did you mean val/loss?"),
        ([stop("val/loss"), "trainer.limit_val_batches=0"], "fits      did you mean train/loss?"),
    ],
)
def test_a_metric_that_nobody_logs_is_told_before_training(tmp_path, monkeypatch, words, fits):
    monkeypatch.setattr(
        "pytorch_lightning.Trainer.fit", lambda *given, **named: pytest.fail("it trains")
    )
    with pytest.raises(ConfigError, match="nothing logs this metric") as error:
        learn(tmp_path, *SMALL, *words)
    assert fits in str(error.value)


def test_time_may_be_all_that_ends_a_run(tmp_path, monkeypatch):
    learn(
        tmp_path / "timed", *SMALL, *FEW, "trainer.max_epochs=-1", "+trainer.max_time=00:00:00:01"
    )
    with pytest.raises(ConfigError, match="needs to know where the training ends"):
        learn(tmp_path / "endless", *SMALL, *FEW, "trainer.max_epochs=-1")
