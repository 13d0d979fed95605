"""The objective of a task that composes its loss: built from YAML, checked against network, batch
and teacher.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from blocks.graph import (
    Built,
    BuiltObjective,
    Composed,
    ConfigError,
    Sources,
    assemble_objective,
    did_you_mean,
    plan,
)
from blocks.graph.assemble.inputs import value_of_fact
from blocks.graph.assemble.objective import find_in_model
from blocks.graph.record.value import Value, show_shape
from tasks.config import instantiate
from tasks.data.base import DataModule
from tasks.learn.metrics.catalog import make_metric
from tasks.learn.objective import Objective
from tasks.run.load_run import Finished, open_run

FLOATS = ("target",)  # entries of a batch that are no inputs and hold real numbers


@dataclass(frozen=True)
class PlannedObjective:
    """An objective on the meta device.

    Args:
        built: its graph.
        teacher: the network that it learns from, with its weights.
        own_metrics: metric of the user's own -> its class.
    """

    built: BuiltObjective
    teacher: nn.Module | None = None
    own_metrics: Mapping[str, Any] = field(default_factory=dict)


def plan_objective(composed: Composed, planned: Built) -> PlannedObjective | None:
    """Assemble and check the objective of a configuration; None for a task that has none.

    Args:
        planned: the network on the meta device.

    Raises:
        ConfigError: a term, a metric or the teacher is wrong.
    """
    kind = instantiate.find_class(composed, ("task",))
    if not (isinstance(kind, type) and issubclass(kind, Objective)):
        return None
    section = composed.config["task"]
    teacher = open_teacher(composed, planned)
    taught = None
    if teacher is not None:
        taught = plan(Composed({**teacher.config, "data": {"facts": {}}}), teacher.facts)
    sources = Sources(list_batch(composed, planned.facts), planned, taught)
    config = {name: section.get(name) for name in ("loss", "metrics", "nodes")}
    if isinstance(section.get("match"), Mapping):
        config = add_matches(composed, config, sources, section)
    built = assemble_objective(
        config,
        sources,
        catalog=planned.catalog,
        origin=composed.origin,
        facts=planned.facts,
    )
    own_metrics = {}
    for name, metric in built.metrics.items():
        path = tuple(map(str, metric.path))
        if "_target_" in metric.spec:
            own_metrics[name] = instantiate.find_class(composed, path)
        with instantiate.locating(composed, path):
            shapes = [value.shape for value in metric.values]
            make_metric(metric.spec, shapes, own_metrics.get(name))
    network = None if teacher is None else teacher.network
    return PlannedObjective(built, network, own_metrics)


def open_teacher(composed: Composed, planned: Built) -> Finished | None:
    """Return the run that `task.teacher` names.

    Raises:
        ConfigError: it is no run, or it reads what these data do not have.
    """
    folder = composed.config["task"].get("teacher")
    if folder is None:
        return None
    if not isinstance(folder, str) or folder == "???":
        raise instantiate.config_error(
            composed,
            ("task", "teacher"),
            "the teacher is the folder of a finished run",
            got=f"teacher={folder}",
            fix="task.teacher=runs/DATE/TIME",
            code="missing-argument",
        )
    library = tuple(map(str, getattr(composed, "typed", {}).get("library") or ()))
    with instantiate.locating(composed, ("task", "teacher"), exact=True):
        teacher = open_run(Path(folder).expanduser(), library)
    for name, fact in planned.facts.items():
        if name in teacher.facts and teacher.facts[name] != fact:
            raise instantiate.config_error(
                composed,
                ("task", "teacher"),
                "the teacher was trained on other data",
                got=f"{name}={teacher.facts[name]} of the teacher, {name}={fact} of these data",
                fix="a teacher that was trained on these data",
                code="data-mismatch",
            )
    return teacher


def list_batch(composed: Composed, facts: Mapping[str, Any]) -> dict[str, Value]:
    """Return what a batch of the chosen data holds, as far as its sizes are known."""
    try:
        kind: Any = instantiate.find_class(composed, ("data",))
    except ConfigError:  # `explain` without data
        kind = DataModule
    sizes: dict[str, Any] = {}
    for fact in facts.values():
        if isinstance(fact, Mapping):
            sizes |= fact
    sizes |= {name: fact for name, fact in facts.items() if isinstance(fact, int)}
    found: dict[str, dict[str, Any]] = {"index": {"dtype": "int"}}
    for name, axes in getattr(kind, "batch_axes", {}).items():
        is_number = name in FLOATS
        if is_number != ("targets" in facts):
            continue
        found[name] = {"dtype": "float" if is_number else "int"} | {a: sizes.get(a) for a in axes}
    for name, fact in facts.items():
        if isinstance(fact, Mapping):
            found[name] = dict(fact)
    values = {}
    for name, fact in found.items():
        if None not in fact.values():
            values[name] = value_of_fact(name, fact)
    return values


def add_matches(
    composed: Composed, config: dict[str, Any], sources: Sources, section: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the sections with a term for each pair of nodes of `match`.

    A student's node with another width is projected by a linear map, which is trained with it and
    is not part of the network (Romero et al. 2015, arXiv:1412.6550, section 2.2).

    Raises:
        ConfigError: a node that there is not, or nodes of other axes.
    """
    loss, nodes = dict(config["loss"] or {}), dict(config["nodes"] or {})
    for number, (student, teacher) in enumerate(section["match"].items()):
        path = ("task", "match", str(student))
        if sources.teacher is None:
            raise instantiate.config_error(
                composed,
                path,
                "there is no teacher to match",
                fix="task.teacher=RUN",
                code="missing-argument",
            )
        pair = []
        for built, owner, name in (
            (sources.model, "model", student),
            (sources.teacher, "teacher", teacher),
        ):
            found = find_in_model(built, owner, str(name))
            if found is None:
                raise instantiate.config_error(
                    composed,
                    path,
                    f"the {owner} has no node {name}",
                    got=f"{student}: {teacher}",
                    fits=did_you_mean(str(name), [node.path for node in built.walk()]),
                    code="unknown-name",
                )
            pair.append(found[1])
        flow = str(student)
        mine, theirs = (value.shape for value in pair)
        if mine != theirs:
            flow = f"match_{number}_projected"
            nodes[flow] = {**project(composed, path, mine, theirs), "in": str(student)}
        loss[f"match_{number}"] = {
            "block": "SquaredError",
            "in": [flow, f"teacher.{teacher}"],
            "weight": section.get("match_weight", 1.0),
        }
    return {**config, "loss": loss, "nodes": nodes}


def project(
    composed: Composed, path: tuple[str, ...], mine: tuple[int, ...], theirs: tuple[int, ...]
) -> dict[str, Any]:
    """Return the block that maps one node's width to another's.

    Raises:
        ConfigError: more than the width differs.
    """
    if len(mine) == len(theirs) and mine[:-1] == theirs[:-1]:
        return {"block": "Linear", "features": theirs[-1]}
    if len(mine) == len(theirs) == 4 and mine[2:] == theirs[2:]:
        return {"block": "Conv2d", "features": theirs[1], "kernel": 1}
    raise instantiate.config_error(
        composed,
        path,
        "matched nodes differ in more than their width",
        got=f"{show_shape(mine)} of the student, {show_shape(theirs)} of the teacher",
        fits="nodes with as many tokens, or cells",
        code="shape-mismatch",
    )
