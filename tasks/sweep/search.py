"""Looking for good settings with Optuna: what may be chosen, what is better, and a study that
outlives its processes.

A study is one SQLite file in the folder of the sweep. Several processes may work on it, each trial
is one run.
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
from tasks.sweep import results

STUDY = "study.db"
NAME = "sweep"
WAYS: dict[str, Literal["maximize", "minimize"]] = {"max": "maximize", "min": "minimize"}
SAMPLERS = ("tpe", "random", "grid", "cmaes", "nsga2")
PRUNERS = ("none", "median", "hyperband")
LEVELS = 64  # a grid of more than so many values of one key is a mistake

Space = dict[str, BaseDistribution]


def open_study(
    place: Path,
    goal: Mapping[str, str],
    space: Space,
    sampler: str = "tpe",
    pruner: str = "none",
    seed: int = 0,
) -> optuna.Study:
    """The study in a folder, new or gone on with.

    Args:
        place: the folder of the sweep.
        goal: column -> max or min; several make a front of Pareto.
        space: key -> what it may be.
        sampler: one of `SAMPLERS`.
        pruner: one of `PRUNERS`; stops a run whose validation lags behind that of others at the
            same epoch.
        seed: of the sampler.

    Raises:
        ArgumentError: a word that is none of the choices; a goal that looks at the test; a grid
            without end.
    """
    must_be_one_of("sampler", sampler, SAMPLERS)
    must_be_one_of("pruner", pruner, PRUNERS)
    check_goal(goal, pruner)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.create_study(
            study_name=NAME,
            storage=storage(place),
            load_if_exists=True,
            directions=[WAYS[way] for way in goal.values()],
            sampler=make_sampler(sampler, space, seed),
            pruner=make_pruner(pruner),
        )


def storage(place: Path) -> str:
    """Where the study of a sweep is."""
    return f"sqlite:///{(place / STUDY).absolute()}"


def check_goal(goal: Mapping[str, str], pruner: str) -> None:
    """Raise an ArgumentError for a goal that cannot be, or must not be."""
    if not goal:
        raise ArgumentError("goal", "a search needs a goal", fits="maximize=[val/accuracy]")
    for name, way in goal.items():
        must_be_one_of("goal", way, tuple(WAYS))
        if name.startswith("test/"):
            got, fits = name, name.replace("test/", "val/")
            raise ArgumentError(
                "goal", "the test judges what was found; it must not choose", got=got, fits=fits
            )
    if pruner != "none" and (len(goal) > 1 or not next(iter(goal)).startswith("val/")):
        fits = "one goal such as val/loss"
        raise ArgumentError(
            "pruner",
            "a pruner compares one figure of the validation",
            got=", ".join(goal),
            fits=fits,
        )


def make_sampler(name: str, space: Space, seed: int) -> optuna.samplers.BaseSampler:
    """What chooses the next settings."""
    samplers = optuna.samplers
    if name == "grid":
        return samplers.GridSampler(
            {key: levels(key, each) for key, each in space.items()}, seed=seed
        )
    if name == "cmaes":
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
    if name == "nsga2":
        return samplers.NSGAIISampler(seed=seed)
    return (
        samplers.RandomSampler(seed=seed)
        if name == "random"
        else samplers.TPESampler(seed=seed, constant_liar=True)
    )


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    """What ends a run before its time."""
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)
    return optuna.pruners.HyperbandPruner() if name == "hyperband" else optuna.pruners.NopPruner()


def levels(key: str, each: BaseDistribution) -> list[Any]:
    """The values of a grid."""
    if isinstance(each, CategoricalDistribution):
        return list(each.choices)
    if isinstance(each, IntDistribution) and not each.log:
        found = list(range(each.low, each.high + 1, each.step))
        if len(found) <= LEVELS:
            return found
    text = f"{key} has no short list of values for a grid"
    raise ArgumentError("sampler", text, got=str(each), fits=f"{key}=1,2,3, or sampler=tpe")


def choices(values: Sequence[str]) -> CategoricalDistribution:
    """Some texts, as they stand on the command line."""
    return CategoricalDistribution(list(values))


def between(low: float, high: float, log: bool = False) -> BaseDistribution:
    """All numbers from `low` to `high`; whole ones if both are."""
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def steps(low: float, high: float, step: float) -> BaseDistribution:
    """low, low + step, ... below `high`, as `range` has it on the command line."""
    if all(isinstance(number, int) for number in (low, high, step)):
        return IntDistribution(
            int(low), int(low) + (int(high) - 1 - int(low)) // int(step) * int(step), step=int(step)
        )
    count = -(-(float(high) - float(low)) // float(step)) - 1
    return FloatDistribution(float(low), float(low) + count * float(step), step=float(step))


def mine(trial: optuna.Trial, overrides: Sequence[str]) -> None:
    """Write down who works on a trial, so that others can tell when nobody does any more."""
    trial.set_user_attr("overrides", list(overrides))
    trial.set_user_attr("host", socket.gethostname())
    trial.set_user_attr("process", os.getpid())


def reap(study: optuna.Study) -> int:
    """Let the trials whose process is gone count as failed, and try their settings again; how many
    there were.
    """
    gone = [trial for trial in study.get_trials(states=(TrialState.RUNNING,)) if abandoned(trial)]
    for trial in gone:
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return len(gone)


def abandoned(trial: FrozenTrial) -> bool:
    """Whether the process that asked for a trial on this machine has ended."""
    process = trial.user_attrs.get("process")
    if (
        process is None
        or trial.user_attrs.get("host") != socket.gethostname()
        or process == os.getpid()
    ):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def done(study: optuna.Study) -> int:
    """How many trials have had their turn, or are having it."""
    return sum(
        trial.state not in (TrialState.WAITING, TrialState.FAIL)
        for trial in study.get_trials(deepcopy=False)
    )


def tell(study: optuna.Study, number: int, place: Path, goal: Mapping[str, str]) -> None:
    """Tell the study what became of a run."""
    record = run_folder.read(place)
    pruned = study.get_trials(deepcopy=False)[number].user_attrs.get("pruned")
    if pruned is not None:
        study.tell(number, state=TrialState.PRUNED)
        return
    figures = [math.nan]
    if record is not None and record["status"] == "finished":
        figures = [figure(name, record, place) for name in goal]
    if any(map(math.isnan, figures)):
        study.tell(number, state=TrialState.FAIL)
    else:
        study.tell(number, figures)


def figure(name: str, record: Mapping[str, Any], place: Path) -> float:
    """A figure of a finished run: of its record, or of the validation at the epoch that was kept.

    Raises:
        ArgumentError: the run has no such figure.
    """
    if isinstance(record.get(name), int | float):
        return float(record[name])
    found = results.validated(place, record.get("best epoch"))
    if name not in found:
        fits = ", ".join([*sorted(found), "parameters", "seconds"])
        raise ArgumentError("goal", "the runs do not have this figure", got=name, fits=fits)
    return found[name]


def jobs(study: optuna.Study) -> list[dict[str, Any]]:
    """The trials as jobs of a sweep, for its table."""
    trials = [trial for trial in study.get_trials() if "overrides" in trial.user_attrs]
    return [
        {"overrides": trial.user_attrs["overrides"], "folder": str(trial.number)}
        for trial in trials
    ]


def best(study: optuna.Study) -> list[FrozenTrial]:
    """The best trial, or the front of those that no other beats in every goal."""
    if not any(trial.state is TrialState.COMPLETE for trial in study.get_trials(deepcopy=False)):
        return []
    return study.best_trials


def importance(study: optuna.Study) -> dict[str, float]:
    """Which settings explain the first goal, as shares of one; empty where there is too little to
    tell.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < 4 or len({tuple(trial.values) for trial in finished}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(study, target=lambda trial: trial.values[0])
