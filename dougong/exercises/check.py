"""Compare an answer, a model or a finished run, with the conditions of an exercise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dougong.exercises.read import Condition, Exercise


@dataclass(frozen=True)
class Finding:
    """What was found for a condition.

    Args:
        condition: what was asked.
        found: the value of its measure, or why there is none.
        holds: whether the condition is met.
        bound: the number that a condition "times the start" means; None for the others.
    """

    condition: Condition
    found: Any
    holds: bool
    bound: float | None = None


def check_model(exercise: Exercise, overrides: Sequence[str]) -> list[Finding]:
    """Return the findings for a model that is built and not trained.

    Args:
        exercise: the question.
        overrides: the reader's; they follow those of the start.

    Raises:
        ConfigError: the model does not compose.
    """
    start = describe_model(*exercise.start)
    model = describe_model(*exercise.start, *overrides)
    findings = []
    for condition in exercise.conditions:
        if condition.is_score:
            findings.append(Finding(condition, "no run: train it and name its folder", False))
        else:
            findings.append(compare(condition, read_measure(condition, model), start))
    return findings


def check_run(exercise: Exercise, folder: Path) -> list[Finding]:
    """Return the findings for a finished run.

    Args:
        exercise: the question.
        folder: of the run, whose command line has to begin from the choices of the start.

    Raises:
        ConfigError: the folder holds no finished run.
    """
    from blocks.graph import ConfigError, Problem
    from tasks.run.run_folder import read_record

    record = read_record(folder)
    if record is None or record.get("status") != "finished":
        raise ConfigError(
            Problem(
                "this folder holds no finished run",
                f"the command line: {folder}",
                fix="the folder that the training named in its first line",
                code="bad-run",
            )
        )
    start = describe_model(*exercise.start)
    model = describe_model(*record["overrides"])
    findings = []
    for condition in exercise.conditions:
        found = read_measure(condition, model)
        if condition.is_score:
            found = record["test"].get(condition.measure)
        findings.append(compare(condition, found, start))
    return findings


@lru_cache(maxsize=64)
def describe_model(*overrides: str) -> dict[str, Any]:
    """Return the sizes and costs of a model, as `dougong explain --json` prints them, and its
    configuration as "config".
    """
    from blocks.commands import Planner
    from blocks.graph import compose
    from blocks.graph.describe.cost import measure
    from blocks.graph.describe.table import describe

    composed = compose(list(overrides))
    planned = Planner(say=lambda note: None)(composed)
    return {**describe(planned, measure(planned)), "config": composed.config}


def read_measure(condition: Condition, model: dict[str, Any]) -> Any:
    """Return the value of a measure, or None if the model has no such node or setting."""
    if condition.measure in ("parameters", "macs"):
        return model[condition.measure]
    if condition.measure == "setting":
        return read_setting(model["config"], condition.of)
    nodes = list(walk_nodes(model["nodes"]))
    if condition.measure == "blocks":
        return sum(node["block"] == condition.of for node in nodes)
    path, argument = condition.of, ""
    if condition.measure == "argument":
        path, _, argument = condition.of.rpartition(".")
    named = [node for node in nodes if node["path"] == path]
    if not named:
        return None
    if argument:
        return named[0]["arguments"].get(argument, 0)
    if condition.measure == "field":
        return max(named[0].get("field") or [0])
    (shape,) = list(named[0]["outputs"].values())[:1]
    return shape[1:]


def read_setting(config: Any, path: str) -> Any:
    """Return the value at a path of the configuration, "data.lag"."""
    for part in path.split("."):
        if not isinstance(config, dict) or part not in config:
            return None
        config = config[part]
    return config


def walk_nodes(nodes: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every node of a description, with those inside it."""
    for node in nodes:
        yield node
        yield from walk_nodes(node["children"])


def compare(condition: Condition, found: Any, start: dict[str, Any]) -> Finding:
    """Return whether a value meets its condition."""
    bound, shown = condition.value, None
    if condition.relation.endswith("_times"):
        bound = shown = condition.value * read_measure(condition, start)
    if found is None:
        return Finding(condition, "nothing of this name", False)
    if condition.relation == "equals":
        return Finding(condition, found, found == bound)
    if condition.relation.startswith("at_least"):
        return Finding(condition, found, found >= bound, shown)
    return Finding(condition, found, found <= bound, shown)
