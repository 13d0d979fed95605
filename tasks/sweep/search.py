"""Search for good settings with Optuna.

A study is one SQLite file in the folder of the sweep, so that it outlives its processes. Several
processes may work on it; each trial is one run.
"""

import math
import os
import socket
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from tasks.errors import ArgumentError, must_be_one_of
from tasks.run import run_folder
from tasks.sweep.results import read_validation

STUDY = "study.db"
NAME = "sweep"
DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {"max": "maximize", "min": "minimize"}
SAMPLERS = ("tpe", "random", "grid", "cmaes", "nsga2")
PRUNERS = ("none", "median", "hyperband")
GRID_LIMIT = 64  # values of one key in a grid
IMPORTANCE_TRIALS = 4  # finished trials that the importance needs

Space = dict[str, BaseDistribution]


def open_study(
    folder: Path,
    goal: Mapping[str, str],
    space: Space,
    sampler: str = "tpe",
    pruner: str = "none",
    seed: int = 0,
) -> optuna.Study:
    """Open the study in a folder, or create it.

    Args:
        folder: of the sweep.
        goal: figure -> "max" or "min"; several figures make a Pareto front.
        space: key -> its distribution.
        sampler: one of `SAMPLERS`.
        pruner: one of `PRUNERS`; stops a run whose validation is behind that of others at the same
            epoch.
        seed: of the sampler.

    Raises:
        ArgumentError: an unknown sampler or pruner; a goal that reads the test; an endless grid.
    """
    must_be_one_of("sampler", sampler, SAMPLERS)
    must_be_one_of("pruner", pruner, PRUNERS)
    check_goal(goal, pruner)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.create_study(
            study_name=NAME,
            storage=f"sqlite:///{(folder / STUDY).absolute()}",
            load_if_exists=True,
            directions=[DIRECTIONS[direction] for direction in goal.values()],
            sampler=make_sampler(sampler, space, seed),
            pruner=make_pruner(pruner),
        )


def check_goal(goal: Mapping[str, str], pruner: str) -> None:
    """Raise an ArgumentError for a goal that is empty, reads the test, or cannot be pruned by."""
    if not goal:
        raise ArgumentError("goal", "a search needs a goal", fits="maximize=[val/accuracy]")
    for name, direction in goal.items():
        must_be_one_of("goal", direction, tuple(DIRECTIONS))
        if name.startswith("test/"):
            raise ArgumentError(
                "goal",
                "the test evaluates the result of a search and must not guide it",
                got=name,
                fits=name.replace("test/", "val/"),
            )
    if pruner != "none" and (len(goal) > 1 or not next(iter(goal)).startswith("val/")):
        raise ArgumentError(
            "pruner",
            "a pruner compares one figure of the validation",
            got=", ".join(goal),
            fits="one goal such as val/loss",
        )


def make_sampler(name: str, space: Space, seed: int) -> optuna.samplers.BaseSampler:
    """Return the sampler, which chooses the next settings."""
    samplers = optuna.samplers
    if name == "grid":
        grid = {key: grid_values(key, distribution) for key, distribution in space.items()}
        return samplers.GridSampler(grid, seed=seed)
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    if name == "nsga2":
        return samplers.NSGAIISampler(seed=seed)
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    return samplers.TPESampler(seed=seed, constant_liar=True)


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    """Return the pruner, which stops runs early."""
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner()
    return optuna.pruners.NopPruner()


# Search space -------------------------------------------------------------------------------------


def grid_values(key: str, distribution: BaseDistribution) -> list[Any]:
    """Return the values of a key in a grid.

    Raises:
        ArgumentError: the distribution has too many values.
    """
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution) and not distribution.log:
        values = list(range(distribution.low, distribution.high + 1, distribution.step))
        if len(values) <= GRID_LIMIT:
            return values
    raise ArgumentError(
        "sampler",
        f"{key} has no short list of values for a grid",
        got=str(distribution),
        fits=f"{key}=1,2,3, or sampler=tpe",
    )


def categories(values: Sequence[str]) -> CategoricalDistribution:
    """Return the distribution over values as they stand on the command line."""
    return CategoricalDistribution(list(values))


def interval(low: float, high: float, log: bool = False) -> BaseDistribution:
    """Return the distribution over the numbers from `low` to `high`; whole numbers if both are."""
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def stepped_range(low: float, high: float, step: float) -> BaseDistribution:
    """Return the distribution over low, low + step, ... below `high`, as `range` on the command
    line.
    """
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, int):
        last = low + (high - 1 - low) // step * step
        return IntDistribution(low, last, step=step)
    low, step = float(low), float(step)
    count = -(-(float(high) - low) // step) - 1
    return FloatDistribution(low, low + count * step, step=step)


# Trials -------------------------------------------------------------------------------------------


def record_owner(trial: optuna.Trial, overrides: Sequence[str]) -> None:
    """Record which process works on a trial, so that others notice when it is gone."""
    trial.set_user_attr("overrides", list(overrides))
    trial.set_user_attr("host", socket.gethostname())
    trial.set_user_attr("process", os.getpid())


def fail_abandoned(study: optuna.Study) -> int:
    """Mark the trials whose process is gone as failed, and queue their settings again.

    Returns:
        The number of such trials.
    """
    running = study.get_trials(states=(TrialState.RUNNING,))
    abandoned = [trial for trial in running if is_abandoned(trial)]
    for trial in abandoned:
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return len(abandoned)


def is_abandoned(trial: FrozenTrial) -> bool:
    """Return whether the process that works on a trial, on this machine, has ended."""
    process = trial.user_attrs.get("process")
    if process is None or process == os.getpid():
        return False
    if trial.user_attrs.get("host") != socket.gethostname():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def count_started(study: optuna.Study) -> int:
    """Return the number of trials that run or have run, without failed ones."""
    excluded = (TrialState.WAITING, TrialState.FAIL)
    return sum(trial.state not in excluded for trial in study.get_trials(deepcopy=False))


def report_trial(study: optuna.Study, number: int, folder: Path, goal: Mapping[str, str]) -> None:
    """Report the result of a run to the study.

    Args:
        number: of the trial.
        folder: of the run.
        goal: figure -> "max" or "min".
    """
    if study.get_trials(deepcopy=False)[number].user_attrs.get("pruned") is not None:
        study.tell(number, state=TrialState.PRUNED)
        return
    record = run_folder.read_record(folder)
    figures = [math.nan]
    if record is not None and record["status"] == "finished":
        figures = [read_figure(name, record, folder) for name in goal]
    if any(map(math.isnan, figures)):
        study.tell(number, state=TrialState.FAIL)
    else:
        study.tell(number, figures)


def read_figure(name: str, record: Mapping[str, Any], folder: Path) -> float:
    """Return a figure of a finished run, from its record or from the validation of its best epoch.

    Raises:
        ArgumentError: the run has no such figure.
    """
    if isinstance(record.get(name), int | float):
        return float(record[name])
    metrics = read_validation(folder, record.get("best epoch"))
    if name not in metrics:
        fits = ", ".join([*sorted(metrics), "parameters", "seconds"])
        raise ArgumentError("goal", "the runs do not have this figure", got=name, fits=fits)
    return metrics[name]


def list_jobs(study: optuna.Study) -> list[dict[str, Any]]:
    """Return the trials as jobs of a sweep, for its plan."""
    jobs = []
    for trial in study.get_trials():
        if "overrides" in trial.user_attrs:
            overrides = trial.user_attrs["overrides"]
            jobs.append({"overrides": overrides, "folder": str(trial.number)})
    return jobs


def find_best(study: optuna.Study) -> list[FrozenTrial]:
    """Return the best trial, or those on the Pareto front of several goals."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    return study.best_trials


def measure_importance(study: optuna.Study) -> dict[str, float]:
    """Return the share of each setting in the first goal; empty with too few trials."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    different = {tuple(trial.values) for trial in finished}
    if len(finished) < IMPORTANCE_TRIALS or len(different) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(study, target=lambda trial: trial.values[0])
