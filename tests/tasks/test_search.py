"""The study behind a search: what may be chosen, what counts, and what becomes of trials that
nobody works on.
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna", reason="the extra search is not installed")
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from tasks.errors import ArgumentError  # noqa: E402
from tasks.run import run_folder  # noqa: E402
from tasks.sweep import search  # noqa: E402, table

ROOT = Path(__file__).resolve().parents[2]
GOAL = {"val/accuracy": "max"}
SPACE = {"lr": FloatDistribution(1e-4, 1e-1, log=True), "depth": IntDistribution(1, 8)}


def finished(place, number, **epochs):
    """A run whose second of three epochs was kept."""
    record = run_folder.Record(place / str(number))
    record.add(
        **{"status": "finished", "best epoch": 2, "parameters": 100 * (number + 1), "seconds": 1.0}
    )
    with (place / str(number) / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["epoch", *epochs])
        writer.writeheader()
        for epoch, values in enumerate(zip(*epochs.values(), strict=True), 1):
            writer.writerow({"epoch": epoch, **dict(zip(epochs, values, strict=True))})


def asked(study, place, value):
    trial = study.ask(SPACE)
    search.record_owner(trial, [f"lr={trial.params['lr']}"])
    finished(place, trial.number, **{"val/accuracy": (0.1, value, 0.9)})
    return trial


def test_what_the_command_line_says_becomes_a_distribution():
    assert search.interval(1, 9) == IntDistribution(1, 9)
    assert search.interval(1e-4, 1e-2, log=True) == FloatDistribution(1e-4, 1e-2, log=True)
    assert search.stepped_range(1, 9, 3) == IntDistribution(1, 7, step=3)  # without its end
    assert search.stepped_range(0.0, 0.5, 0.25) == FloatDistribution(0.0, 0.25, step=0.25)
    assert search.categories(["a", "[1,2]"]) == CategoricalDistribution(["a", "[1,2]"])


def test_the_figure_is_that_of_the_epoch_that_was_kept(tmp_path):
    study = search.open_study(tmp_path, GOAL, SPACE)
    search.report_trial(study, asked(study, tmp_path, 0.4).number, tmp_path / "0", GOAL)
    search.report_trial(study, asked(study, tmp_path, 0.7).number, tmp_path / "1", GOAL)
    assert [trial.value for trial in study.trials] == [0.4, 0.7]
    (best,) = search.find_best(study)
    assert best.number == 1


def test_several_goals_make_a_front(tmp_path):
    goal = {"val/accuracy": "max", "parameters": "min"}
    study = search.open_study(tmp_path, goal, SPACE, "nsga2")
    for value in (0.5, 0.4, 0.8):  # the second is larger and worse than the first
        trial = asked(study, tmp_path, value)
        search.report_trial(study, trial.number, tmp_path / str(trial.number), goal)
    assert {trial.number for trial in search.find_best(study)} == {0, 2}


def test_a_run_that_failed_counts_for_nothing_and_one_that_was_pruned_is_done(tmp_path):
    study = search.open_study(tmp_path, GOAL, SPACE)
    failed, pruned = study.ask(SPACE), study.ask(SPACE)
    run_folder.Record(tmp_path / "0").add(status="failed", error="no way")
    pruned.set_user_attr("pruned", 3)
    for number in (failed.number, pruned.number):
        search.report_trial(study, number, tmp_path / str(number), GOAL)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.PRUNED]
    assert search.count_started(study) == 1


def test_trials_of_a_process_that_is_gone_are_tried_again(tmp_path):
    study = search.open_study(tmp_path, GOAL, SPACE)
    mine, gone = study.ask(SPACE), study.ask(SPACE)
    search.record_owner(mine, [])
    search.record_owner(gone, [])
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone.set_user_attr("process", ended.pid)
    again = search.open_study(tmp_path, GOAL, SPACE)  # another process opens it
    assert (search.fail_abandoned(again), search.fail_abandoned(again)) == (1, 0)
    assert [trial.state for trial in again.trials] == [
        TrialState.RUNNING,
        TrialState.FAIL,
        TrialState.WAITING,
    ]
    assert again.ask(SPACE).params == gone.params


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            {"goal": {"test/accuracy": "max"}},
            "the test evaluates the result of a search and must not guide it; got test/accuracy; "
            "fits: val/accuracy",
        ),
        ({"goal": {}}, "a search needs a goal; fits: maximize=[val/accuracy]"),
        (
            {"sampler": "luck"},
            "sampler is none of its choices; got sampler=luck; fits: tpe, random, grid, cmaes, "
            "nsga2",
        ),
        (
            {"goal": {"parameters": "min"}, "pruner": "median"},
            "a pruner compares one figure of the validation; got parameters; fits: one goal "
            "such as val/loss",
        ),
        ({"sampler": "grid"}, "lr has no short list of values for a grid"),
    ],
)
def test_what_cannot_be_searched_is_told(tmp_path, words, told):
    with pytest.raises(ArgumentError) as error:
        search.open_study(tmp_path, **{"goal": GOAL, "space": SPACE, **words})
    assert str(error.value).startswith(told)


def test_a_figure_that_the_runs_do_not_have_is_told(tmp_path):
    finished(tmp_path, 0, **{"val/loss": (3, 2, 1)})
    with pytest.raises(ArgumentError, match="the runs do not have this figure; got val/bleu"):
        search.read_figure("val/bleu", run_folder.read_record(tmp_path / "0"), tmp_path / "0")


@pytest.mark.slow
def test_a_search_prunes_ends_with_its_best_and_goes_on(tmp_path):
    words = [
        "-m",
        "hydra/sweeper=search",
        "hydra.sweeper.trials=6",
        "hydra.sweeper.pruner=median",
        "trainer=debug",
        "trainer.max_epochs=3",
        "model.params.dim=16",
        "optimizer.lr=tag(log,interval(1e-5,1e-1))",
        "model.params.depth=int(interval(1,3))",
    ]

    def start(*more):
        command = [sys.executable, str(ROOT / "train.py"), *words, *more]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            encoding="utf-8",
            capture_output=True,
            timeout=600,
        )

    first = start()
    assert first.returncode == 0, first.stderr
    assert "best: trial " in first.stdout
    (table,) = tmp_path.rglob("sweep.csv")
    assert len(table.read_text(encoding="utf-8").splitlines()) == 7
    words[2] = "hydra.sweeper.trials=6"
    again = start("resume=true")
    assert again.stdout.startswith("6 trials, 6 done, sweep folder ")
