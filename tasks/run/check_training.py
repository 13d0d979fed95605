"""Checks of a training as a whole, before it starts: processes, metrics and schedule."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytorch_lightning as pl

from blocks.graph import Composed, ConfigError, Problem, locate, plan
from blocks.graph.errors import guess
from tasks.config import instantiate
from tasks.learn.base import share_of_time
from tasks.optimize.curve import Schedule
from tasks.parallel import strategy
from tasks.resume import adopt

CHECKPOINT = "tasks.resume.checkpoint.Checkpoint"
AVERAGE = "tasks.callbacks.weight_average.WeightAverage"
PRUNE = "tasks.sweep.pruning.Prune"


def check_task(composed: Composed, task: Any, data: Any) -> None:
    """Let the task check the network and the data.

    Raises:
        ConfigError: the task refuses them.
    """
    further = getattr(data, "further", None)
    if further is not None and further.mixes and not task.mixes_labels:
        name = "mixup" if further.mixup else "cutmix"
        raise instantiate.config_error(
            composed,
            ("data", name),
            f"{type(task).__name__} does not learn from mixed labels",
            got=f"{name}={getattr(further, name)}",
            fits="0",
            code="unsupported",
        )
    with instantiate.locating(composed, ("task",)):
        task.check(data)
        is_resumed = adopt.parse_folder(composed.config.get("resume")) is not None
        if not is_resumed:  # a resumed run continues as it began
            task.check_alone(data)


def check_processes(composed: Composed, trainer: pl.Trainer, samples: int) -> None:
    """Raise a ConfigError where several processes train with less than one sample each, or tune.

    Args:
        samples: of the smallest part that every process needs a sample of.
    """
    count = trainer.world_size
    if samples < count // strategy.group_size(trainer):
        parts = "every" if strategy.is_sharded(trainer) else "the training"
        raise instantiate.config_error(
            composed,
            ("trainer", "devices"),
            f"each process needs a sample of {parts} part",
            got=f"{count} processes, {samples} samples",
            fix=f"trainer.devices={samples}, or more data",
            code="bad-value",
        )
    # a process that runs out of memory would leave the others waiting
    if count > 1 and composed.config.get("tune"):
        raise instantiate.config_error(
            composed,
            ("tune",),
            "the batch size is tuned on one device",
            got=f"tune=true with {count} processes",
            fix="tune=true trainer.devices=1",
            code="bad-value",
        )


def check_monitors(composed: Composed, task: Any) -> None:
    """Raise a ConfigError for each callback that monitors a metric which the task does not log.

    Lightning reports it only after an epoch. Tasks of the user's own may log anything.
    """
    if not type(task).__module__.startswith("tasks."):
        return
    problems = list(find_unlogged_metrics(composed, task.metric_names()))
    if problems:
        raise ConfigError(problems)


def find_unlogged_metrics(composed: Composed, measured: list[str]) -> Iterator[Problem]:
    """Yield a problem for each callback whose metric is not logged."""
    logged = measured
    if not composed.config["trainer"].get("limit_val_batches", 1.0):
        logged = [name for name in measured if not name.startswith("val/")]
    for name, section in (composed.config.get("callbacks") or {}).items():
        if not isinstance(section, dict):
            continue  # reported where the callback is made
        metric = section.get("monitor")
        if metric is None or metric in logged or section.get("strict") is False:
            continue
        if section["_target_"] == PRUNE:
            continue
        if section["_target_"] == CHECKPOINT and metric in measured:
            continue  # without validation it keeps the last epoch only
        yield unlogged_problem(composed, name, str(metric), logged)


def unlogged_problem(
    composed: Composed, callback: str, metric: str, logged: Iterable[str]
) -> Problem:
    """Return the problem of a callback that monitors a metric which nothing logs."""
    logged = list(logged)
    return instantiate.problem(
        composed,
        ("callbacks", callback, "monitor"),
        "nothing logs this metric",
        got=metric,
        fits=guess(metric, logged) or ", ".join(logged),
        code="unknown-name",
    )


def check_schedule(composed: Composed, trainer: pl.Trainer, schedule: Any) -> None:
    """Raise a ConfigError for a schedule that depends on the end of a training without end."""
    if not isinstance(schedule, Schedule) or schedule.endless:
        return
    if share_of_time(trainer) is not None:
        for name, value in schedule.fixed.items():
            raise instantiate.config_error(
                composed,
                ("schedule", name),
                f"{name} is in steps, and how many steps fit into the time is unknown",
                got=f"{name}={value}",
                fits="shares of the time, e.g. 0.2",
                code="bad-value",
            )
    if trainer.max_epochs == -1 and trainer.max_steps == -1 and share_of_time(trainer) is None:
        raise instantiate.config_error(
            composed,
            ("schedule",),
            "this schedule needs to know where the training ends",
            got="max_epochs=-1, max_steps=-1, time=null",
            fits="trainer.max_epochs=60, trainer.max_steps=1000 or trainer.time=1h",
            fix="schedule=constant",
            code="missing-key",
        )


def check_optimizer(composed: Composed, trainer: pl.Trainer, optimizer: Any) -> None:
    """Raise a ConfigError for an optimizer of whole matrices where they are cut among devices."""
    kind = getattr(optimizer, "func", optimizer)
    if getattr(kind, "splits_matrices", False) and strategy.is_sharded(trainer):
        raise instantiate.config_error(
            composed,
            ("optimizer",),
            f"{kind.__name__} needs whole matrices, and this strategy cuts them among devices",
            got=f"trainer.strategy={composed.config['trainer']['strategy']}",
            fix="optimizer=adamw, or trainer=ddp",
            code="unsupported",
        )


def check_average(composed: Composed, trainer: pl.Trainer) -> None:
    """Raise a ConfigError for an average of the weights where they are cut among devices."""
    for name, section in (composed.config.get("callbacks") or {}).items():
        if section and section["_target_"] == AVERAGE and strategy.is_sharded(trainer):
            raise instantiate.config_error(
                composed,
                ("callbacks", name),
                "an average needs whole weights, and this strategy cuts them among devices",
                got=f"trainer.strategy={composed.config['trainer']['strategy']}",
                fix=f"callbacks.{name}=null, or trainer=ddp",
                code="unsupported",
            )


def check_batch_norm(
    composed: Composed, facts: dict[str, Any], batch_size: int, samples: int
) -> None:
    """Raise a ConfigError where batch norm would see a single value of each channel.

    Args:
        batch_size: samples in a batch of each process.
        samples: training samples of each process.
    """
    if min(batch_size, samples) > 1:
        return
    try:
        plan(composed, facts).run(samples=1)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        got = "batch_size=1"
        change = "data.batch_size=16"
        if batch_size > 1:
            got = f"one training sample for each process, batch_size={batch_size}"
            change = "more training samples"
        raise instantiate.config_error(
            composed,
            ("data", "batch_size"),
            "batch norm takes the mean over a batch, and a batch has one sample",
            got=got,
            source=locate(error),
            fits="2 or more",
            fix=f"{change}, or a norm of each sample alone: model/norm=layernorm, model/conv=plain",
            code="bad-value",
        ) from error
