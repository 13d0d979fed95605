"""The second step of a run: network, weights, task and trainer."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from blocks.graph import Composed, ConfigError, fine_tune, use_activation_checkpointing
from tasks import lightning
from tasks.callbacks.step_time import StepTime
from tasks.config import instantiate, secrets, write_policy
from tasks.config.duration import parse_duration
from tasks.optimize.accumulate import choose_batches, count_tokens
from tasks.optimize.layers import layer_rates
from tasks.optimize.widths import carry_widths
from tasks.parallel import strategy
from tasks.parallel.delayed_init import DelayedInit
from tasks.process import runtime
from tasks.process.signals import SignalGuard
from tasks.process.watchdog import watch_processes
from tasks.resume.checkpoint import Checkpoint
from tasks.resume.checkpoint_file import SafeCheckpointIO
from tasks.run import contract, run_folder
from tasks.run.check_training import (
    check_average,
    check_batch_norm,
    check_monitors,
    check_optimizer,
    check_processes,
    check_schedule,
    check_task,
)
from tasks.run.load_run import open_run
from tasks.run.objective import PlannedObjective
from tasks.run.prepare import Prepared

FROZEN_NAMES = 3  # frozen parameters that a note names


@dataclass(frozen=True)
class ReadyRun:
    """A run that is ready to train.

    Args:
        network: with initial or loaded weights, on the CPU.
        task: the Lightning module around the network.
        trainer: with the callbacks and loggers of the configuration.
    """

    network: nn.Module
    task: Any
    trainer: pl.Trainer


def build_run(prepared: Prepared, guard: SignalGuard) -> ReadyRun:
    """Create the network, the task and the trainer, and check that they fit one another.

    Raises:
        ConfigError: one of them, or their combination, is wrong.
    """
    composed = prepared.composed
    data = prepared.data
    ready = assemble_run(prepared, guard)
    parameters = sum(parameter.numel() for parameter in ready.network.parameters())
    prepared.record.add(choices=composed.choices, macs=prepared.macs)
    prepared.record.add(
        facts=prepared.facts,
        samples=data.sizes(),
        notes=data.notes,
        parameters=parameters,
        machine=run_folder.describe_machine(),
    )
    if ready.trainer.is_global_zero:
        print_summary(prepared, parameters, data.reading(ready.trainer))
    return ready


def assemble_run(prepared: Prepared, guard: SignalGuard) -> ReadyRun:
    """Create the network, the task and the trainer, and check that they fit one another, without
    a word about it.

    Raises:
        ConfigError: one of them, or their combination, is wrong.
    """
    composed = prepared.composed
    data = prepared.data
    delayed = delay_init(prepared)
    network = prepared.plan.model
    if delayed is None:
        network = prepared.plan.materialise()
    runtime.configure_process(composed.config["trainer"])
    rates = load_weights(composed, network, data, prepared.facts)
    task = make_task(composed, network, prepared.facts, rates, prepared.objective)
    with delayed.streamed() if delayed is not None else nullcontext():
        check_task(composed, task, data)
    check_monitors(composed, task)
    trainer = make_trainer(composed, prepared.folder, guard)
    check_schedule(composed, trainer, task.schedule)
    accumulate_tokens(prepared, trainer)
    check_average(composed, trainer)
    check_optimizer(composed, trainer, task.make_optimizer)
    strategy.check_strategy(network, trainer)
    if isinstance(trainer.strategy, strategy.ParallelStrategy):
        trainer.strategy.delayed = delayed
    check_samples(prepared, trainer)
    if composed.config["trainer"].get("checkpoint_activations"):
        checkpoint_activations(composed, network)
    return ReadyRun(network, task, trainer)


def delay_init(prepared: Prepared) -> DelayedInit | None:
    """Return what draws the initial values once the network is cut among devices; None where they
    are needed before.
    """
    config = prepared.composed.config
    weights, trainer = config.get("weights") or {}, config["trainer"]
    is_read = weights.get("load") is not None or weights.get("base") is not None
    is_read = is_read or prepared.objective is not None or bool(config.get("carry_over"))
    is_changed = trainer.get("channels_last") or trainer.get("find_lr") or config.get("tune")
    if trainer.get("strategy") not in strategy.KINDS or is_read or is_changed:
        return None
    return DelayedInit(prepared.plan)


def load_weights(
    composed: Composed, network: nn.Module, data: Any, facts: dict[str, Any]
) -> dict[str, float]:
    """Load, freeze and scale as the section `weights` states; append notes to `data.notes`.

    Returns:
        The multiplier of the learning rate by parameter name.
    """
    section = composed.config.get("weights") or {}
    carried: dict[str, float] = {}
    if isinstance(section.get("base"), dict):
        with instantiate.locating(composed, ("weights",)):
            carried = carry_widths(composed, network, facts)
    try:
        donor = open_donor(composed, section.get("load"))
        loaded, frozen, rates = fine_tune(network, section, donor=donor)
    except ConfigError as error:
        problems = []
        for problem in error.problems:
            where = problem.where or composed.origin(problem.path or "weights.load")
            problems.append(replace(problem, where=where))
        raise ConfigError(problems) from error
    if donor is not None:
        data.notes.append(f"weights of the run {section['load']}: {loaded}")
    elif loaded is not None:
        data.notes.append(str(loaded))
    if frozen:
        names = list(frozen[:FROZEN_NAMES])
        if len(frozen) > FROZEN_NAMES:
            names.append("...")
        data.notes.append(f"{len(frozen)} parameters are frozen: {', '.join(names)}")
    return multiply_rates(composed, network, rates, carried)


def multiply_rates(
    composed: Composed, network: nn.Module, rates: dict[str, float], carried: dict[str, float]
) -> dict[str, float]:
    """Return the multipliers of `weights.learning_rate`, times those of `weights.base` and of
    `weights.layer_decay`.
    """
    decay = (composed.config.get("weights") or {}).get("layer_decay")
    decayed: dict[str, float] = {}
    if decay is not None:
        with instantiate.locating(composed, ("weights",)):
            decayed = layer_rates(network, decay)
    found = dict(rates)
    for factors in (carried, decayed):
        for name, factor in factors.items():
            found[name] = found.get(name, 1.0) * factor
    return found


def open_donor(composed: Composed, source: Any) -> nn.Module | None:
    """Return the network of the run folder that `weights.load` names; None for a file.

    Raises:
        ConfigError: the folder is no run, or has no checkpoint.
    """
    if not isinstance(source, str) or not Path(source).expanduser().is_dir():
        return None
    library = tuple(map(str, composed.config.get("library") or ()))
    with instantiate.locating(composed, ("weights", "load"), exact=True):
        return open_run(Path(source).expanduser(), library).network


def make_task(
    composed: Composed,
    network: nn.Module,
    facts: dict[str, Any],
    rates: dict[str, float],
    objective: PlannedObjective | None = None,
) -> pl.LightningModule:
    """Return the task around the network.

    The optimizer is created once before training, so that its mistakes show at once.

    Args:
        rates: multiplier of the learning rate by parameter name.
        objective: of a task that composes its loss.
    """
    optimizer = instantiate.make(composed, ("optimizer",), leave=("params",))
    schedule = None
    if composed.config.get("schedule"):
        schedule = instantiate.make(composed, ("schedule",))
    contract.check_task_facts(composed, instantiate.find_class(composed, ("task",)), facts)
    try:
        with instantiate.locating(composed, ("optimizer",)):
            optimizer([torch.zeros(1, requires_grad=True)])
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        argument = instantiate.find_argument(str(error).lower(), composed.config["optimizer"])
        path = ("optimizer", *argument)
        fix = f"another value of {'.'.join(path)}"
        raise instantiate.config_error(
            composed, path, str(error), fix=fix, code="bad-argument"
        ) from error
    given = {
        "network": network,
        "optimizer": optimizer,
        "schedule": schedule,
        "facts": facts,
        "rates": rates,
        "config": {"config": secrets.hidden(composed.config), "facts": facts},
    }
    if objective is not None:
        given |= {
            "objective": objective.built,
            "taught": objective.teacher,
            "own_metrics": objective.own_metrics,
        }
    return instantiate.make(composed, ("task",), given)


def make_trainer(composed: Composed, folder: Path, guard: SignalGuard) -> pl.Trainer:
    """Return Lightning's trainer with the callbacks and loggers of the configuration.

    Args:
        guard: tells the checkpoint callback which signals have arrived.
    """
    callbacks = make_each(composed, "callbacks")
    given: dict[str, Any] = {
        "callbacks": [*callbacks, StepTime()],
        "logger": make_each(composed, "logger") or False,
        "default_root_dir": str(folder),
        "plugins": [SafeCheckpointIO(write_policy.list_writable(composed, folder))],
    }
    if limit := composed.config["trainer"].get("time"):
        given["max_time"] = parse_duration(limit)
    ours = strategy.strategy_options(composed.config["trainer"])
    replaced = [*runtime.OWN_OPTIONS, *ours]
    if not any(isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks):
        # Lightning would add a checkpoint of its own, in a folder of its own
        given["enable_checkpointing"] = False
        replaced.append("enable_checkpointing")
    trainer = instantiate.make(composed, ("trainer",), given | ours, without=tuple(replaced))
    lightning.disable_signal_handlers(trainer)
    for callback in callbacks:
        if isinstance(callback, Checkpoint):
            callback.guard = guard
    watch_processes(trainer, guard.watchdog)
    return trainer


def make_each(composed: Composed, section: str) -> list[Any]:
    """Return the objects of a section that holds several by name; null removes one."""
    return [
        instantiate.make(composed, (section, name))
        for name, value in (composed.config.get(section) or {}).items()
        if value
    ]


def accumulate_tokens(prepared: Prepared, trainer: pl.Trainer) -> None:
    """Let the trainer accumulate as many batches as `trainer.accumulate_tokens` asks for, and note
    how many they are.

    Raises:
        ConfigError: the data have no tokens, or the number of batches is given, too.
    """
    composed, data = prepared.composed, prepared.data
    asked = composed.config["trainer"].get("accumulate_tokens")
    if asked is None:
        return
    if trainer.accumulate_grad_batches != 1:
        raise instantiate.config_error(
            composed,
            ("trainer", "accumulate_tokens"),
            "accumulate_tokens and accumulate_grad_batches both say how long to accumulate",
            got=f"{asked} tokens, {trainer.accumulate_grad_batches} batches",
            fix="one of them",
            code="bad-value",
        )
    samples = data.batch_size * trainer.world_size // strategy.group_size(trainer)
    with instantiate.locating(composed, ("trainer",)):
        batches = choose_batches(asked, prepared.facts, samples)
    trainer.accumulate_grad_batches = batches
    tokens = batches * samples * count_tokens(prepared.facts)
    data.notes.append(f"a step takes {batches} batches of each process, {tokens:,} tokens in all")


def check_samples(prepared: Prepared, trainer: pl.Trainer) -> None:
    """Raise a ConfigError where there are too few samples for the processes or for the norms."""
    composed = prepared.composed
    sizes = prepared.data.sizes()
    smallest = sizes["train"]
    if strategy.is_sharded(trainer):
        smallest = min(sizes.values())
    check_processes(composed, trainer, smallest)
    replicas = trainer.world_size // strategy.group_size(trainer)
    check_batch_norm(composed, prepared.facts, prepared.data.batch_size, sizes["train"] // replicas)


def print_summary(prepared: Prepared, parameters: int, reading: str) -> None:
    """Print the first lines of a run: seed, run folder, data, size, notes.

    Args:
        reading: how the data are read, e.g. by how many workers; may be empty.
    """
    data = prepared.data
    parts = [f"{count:,} {part}" for part, count in data.sizes().items()]
    if reading:
        parts.append(reading)
    seed = prepared.composed.config["seed"]
    print(f"seed {seed}, run folder {run_folder.shorten_path(prepared.folder)}")
    print(f"data {', '.join(parts)}; network {parameters:,} parameters", flush=True)
    for note in data.notes:
        print(f"note: {secrets.hide_in_message(note)}", flush=True)


def checkpoint_activations(composed: Composed, network: nn.Module) -> None:
    """Recompute the activations of each repeat in the backward pass.

    Raises:
        ConfigError: the network repeats nothing.
    """
    if not use_activation_checkpointing(network):
        raise instantiate.config_error(
            composed,
            ("trainer", "checkpoint_activations"),
            "this network repeats nothing, so there are no activations to recompute",
            fits="false",
            code="unsupported",
        )
