"""A study chooses for each arm on the validation, and tests it with other seeds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scipy import stats

from blocks.graph import ConfigError, compose
from tasks.run.sections import check_sections
from tasks.sweep import plan
from tasks.sweep.intervals import mean_interval
from tasks.sweep.study import TRIED, Study

ROOT = Path(__file__).parents[2]
RATES = {"optimizer.lr": [0.1, 0.01]}
COMBINATIONS = [
    ["model=a", "data.lag=5", "seed=0"],
    ["model=a", "data.lag=5", "seed=1"],
    ["model=b", "data.lag=5", "seed=0"],
    ["model=b", "data.lag=9", "seed=0"],
]


def test_arms_are_the_combinations_without_their_seeds():
    arms = Study(choose=RATES, by="val/loss").list_arms(COMBINATIONS)
    assert arms == [["model=a", "data.lag=5"], ["model=b", "data.lag=5"], ["model=b", "data.lag=9"]]


def test_named_arms_take_the_place_of_the_keys_that_they_set():
    study = Study(choose=RATES, by="val/loss", arms={"x": ["model=c", "+model.bias=1"], "y": []})
    arms = study.list_arms(COMBINATIONS)
    assert arms[:2] == [
        ["data.lag=5", "model=c", "+model.bias=1", "study.arm=x"],
        ["data.lag=9", "model=c", "+model.bias=1", "study.arm=x"],
    ]
    assert arms[2:][0] == ["model=a", "data.lag=5", "study.arm=y"]


def test_a_key_of_the_command_line_is_not_tried():
    study = Study(choose=RATES | {"data.batch_size": [8, 16]}, by="val/loss")
    assert study.list_trials(["model=a", "optimizer.lr=1"]) == [
        ["model=a", "optimizer.lr=1", "data.batch_size=8"],
        ["model=a", "optimizer.lr=1", "data.batch_size=16"],
    ]


def rows(metric, **values):
    return [
        {
            "overrides": ["model=a", f"optimizer.lr={rate}", f"seed={n}"],
            **({metric: v} if v else {}),
        }
        for rate, found in values.items()
        for n, v in enumerate(found)
    ]


@pytest.mark.parametrize(("by", "best"), [("val/loss", "low"), ("val/accuracy", "high")])
def test_the_best_mean_is_picked_and_what_failed_is_left_out(by, best):
    study = Study(choose={"optimizer.lr": ["low", "high", "failed"]}, by=by)
    trials = study.list_trials(["model=a"])
    found = rows(by, low=[0.2, 0.4], high=[0.1, 0.6], failed=[0.01, None])
    assert study.pick(trials, found) == ["model=a", f"optimizer.lr={best}"]
    assert study.pick(trials[2:], found) is None


WRONG = {
    "a metric of the test": (
        {"choose": RATES, "by": "test/accuracy"},
        "study.by=test/accuracy is no metric of the validation",
    ),
    "no values": ({"choose": {"optimizer.lr": []}, "by": "val/loss"}, "lists no value"),
    "no seed": ({"choose": RATES, "by": "val/loss", "seeds": []}, "study.seeds is empty"),
    "a key": ({"choose": RATES, "by": "val/loss", "rates": 1}, "Study has no argument rates"),
    "no mapping": ("val/loss", "study must be a mapping"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_study_is_told_before_the_first_run(case):
    section, words = WRONG[case]
    composed = compose([])
    composed.config["study"] = section
    with pytest.raises(ConfigError) as error:
        check_sections(composed)
    assert words in str(error.value)


def test_the_interval_is_that_of_the_t_test():
    numbers = [0.1, 0.3, 0.2, 0.25, 0.05]
    expected = stats.ttest_1samp(numbers, 0).confidence_interval(0.95)
    assert mean_interval(numbers) == pytest.approx((expected.low, expected.high))
    assert mean_interval([0.5, 0.5]) == (0.5, 0.5)


@pytest.mark.slow
def test_a_study_chooses_then_tests_and_goes_on_where_it_was_stopped(tmp_path):
    words = ["-m", "hydra/sweeper=study", "trainer=debug", "model.params.depth=1,2", "seed=0,1"]
    section = "study={choose: {optimizer.lr: [1e-6, 0.003]}, by: val/loss, seeds: [7]}"

    def start(*more):
        return subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *words, "hydra.sweep.dir=place", *more],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            encoding="utf-8",
            capture_output=True,
            timeout=600,
        )

    told = start()
    assert told.returncode == 2
    assert "hydra/sweeper=study needs a section study" in told.stderr
    assert not (tmp_path / "place").exists()
    first = start(section)
    assert first.returncode == 0, first.stdout + first.stderr
    place = tmp_path / "place"
    tried = plan.read_rows(place / TRIED)
    assert [row["overrides"][-1] for row in tried] == ["seed=7"] * 4
    tested = plan.read_rows(place)
    assert [row["status"] for row in tested] == ["finished"] * 4
    for number, row in enumerate(tested):
        pair = tried[2 * (number // 2) : 2 * (number // 2) + 2]
        best = min(pair, key=lambda each: each["val/loss"])
        assert row["overrides"] == [*best["overrides"][:-1], f"seed={number % 2}"]
    again = start(section, "resume=true")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("4 runs, 4 done") == 2
