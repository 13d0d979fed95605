"""Find the learning rate of a run before it is built: `trainer.find_lr=true`."""

from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.utilities.seed import isolate_rng

from blocks.graph import Composed, plan
from blocks.support.files import read_file, replace_file
from tasks import lightning
from tasks.config import instantiate
from tasks.learn.base import Task
from tasks.learn.checks.nonfinite import FiniteMonitor
from tasks.process import runtime
from tasks.process.signals import SignalGuard
from tasks.run import run_folder
from tasks.run.build import assemble_run
from tasks.run.check_training import check_monitors
from tasks.run.fit import run_trainer
from tasks.run.objective import plan_objective
from tasks.run.prepare import Prepared
from tasks.tune import rate_curve
from tasks.tune.rate_curve import LOWEST, STEPS, Suggestion

# of the short training; limits of the run itself, and what only a whole training needs, are off
CHANGES = {
    "max_steps": STEPS,
    "max_epochs": -1,
    "min_steps": None,
    "min_epochs": None,
    "max_time": None,
    "time": None,
    "limit_val_batches": 0,
    "fast_dev_run": False,
    "enable_checkpointing": False,
    "compile": False,
}


def adopt_rate(composed: Composed, record: run_folder.Record) -> None:
    """Set `optimizer.lr` to the rate that this run has found before it was stopped."""
    found = record.entries.get("find_lr")
    if wants_search(composed) and found:
        composed.config["optimizer"]["lr"] = found["lr"]


def wants_search(composed: Composed) -> bool:
    """Return whether the learning rate of the run is to be found."""
    trainer = composed.config.get("trainer")
    return isinstance(trainer, dict) and trainer.get("find_lr") is True


def find_rate(prepared: Prepared, guard: SignalGuard) -> None:
    """Find the learning rate of a run and set `optimizer.lr` to it; write the curve into the run
    folder.

    A network of its own, with the weights of the run, is trained for `STEPS` steps whose rate rises
    from 1e-6 to 10. The groups of parameters keep their ratios. The run starts as if it had been
    started with the rate: random numbers are those from before the search.

    Raises:
        ConfigError: the run continues another one.
        LearningRateError: the loss falls at no rate.
    """
    composed, record = prepared.composed, prepared.record
    if not wants_search(composed):
        return
    found = record.entries.get("find_lr")
    if found is None:
        must_be_new(composed)
        losses = try_rates(prepared, guard)
        found = choose_rate(prepared, losses)
        record.add(find_lr=found)
        set_rate(prepared, found["lr"])
    text = "after which the loss diverges" if found["diverged"] else "the last that is tried"
    prepared.data.notes.append(
        f"optimizer.lr={found['lr']:g} by trainer.find_lr: the rate with the lowest loss, of "
        f"{found['steps']} steps up to {found['highest']:.3g}, {text}"
    )


def must_be_new(composed: Composed) -> None:
    """Raise a ConfigError for a run that continues from a checkpoint without a rate."""
    for key in ("resume", "ckpt_path"):
        if composed.config.get(key):
            raise instantiate.config_error(
                composed,
                (key,),
                "find_lr chooses the learning rate of a new run, and this one is continued",
                fix="trainer.find_lr=false",
                code="bad-value",
            )


def must_follow(composed: Composed, task: Any) -> None:
    """Raise a ConfigError for a task that has its own optimizer, whose rates cannot be set."""
    if type(task).configure_optimizers is Task.configure_optimizers:
        return
    raise instantiate.config_error(
        composed,
        ("task",),
        "find_lr sets the learning rates that Task.configure_optimizers makes, and this task has "
        "its own",
        got=type(task).__name__,
        fix="optimizer.lr, without trainer.find_lr",
        code="unsupported",
    )


def try_rates(prepared: Prepared, guard: SignalGuard) -> list[float]:
    """Return the loss at each rate, from low to high, until it diverges; equal in all processes."""
    notes = list(prepared.data.notes)
    trainer_options = {**prepared.composed.config["trainer"], **CHANGES}
    changed = {
        "trainer": trainer_options,
        "optimizer": {**prepared.composed.config["optimizer"], "lr": LOWEST},
        "schedule": None,
        "callbacks": {},
        "logger": {},
    }
    composed = replace(prepared.composed, config={**prepared.composed.config, **changed})
    with isolate_rng():
        # the network of the run is planned already, and becomes real only once
        planned = plan(composed, prepared.facts)
        objective = plan_objective(composed, planned)
        short = replace(prepared, composed=composed, plan=planned, objective=objective)
        ready = assemble_run(short, guard)
        check_monitors(prepared.composed, ready.task)
        must_follow(prepared.composed, ready.task)
        prepared.data.notes[:] = notes  # the run itself makes them again
        runtime.prepare_network(ready.network, trainer_options)
        ready.task.schedule = rise
        ready.task.finite = Unmonitored()
        ramp = Ramp()
        callbacks: list[Any] = ready.trainer.callbacks  # type: ignore[attr-defined]
        callbacks.append(ramp)
        if ready.trainer.is_global_zero:
            print(f"finding the learning rate: up to {STEPS} steps", flush=True)
        run_trainer(ready.trainer.fit, ready.task, datamodule=prepared.data)
    return ramp.losses


def rise(optimizer: torch.optim.Optimizer, steps: float) -> torch.optim.lr_scheduler.LambdaLR:
    """Return the schedule of the search, from which all groups keep their ratios."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_curve.rate_of_step(step) / LOWEST
    )


class Unmonitored(FiniteMonitor):
    """Lets a loss be infinite: the search ends there, and the run does not."""

    def has_failed(self, *, wait: bool = False) -> bool:
        return False


class Ramp(pl.Callback):
    """Records the loss of each step, the mean of its batches and processes, and ends the search
    where it diverges.
    """

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.batches: list[torch.Tensor] = []  # losses of the batches of this step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *rest: Any
    ) -> None:
        self.batches.append(outputs["loss"].detach())
        if lightning.is_accumulating(trainer):
            return
        loss: Any = trainer.strategy.reduce(torch.stack(self.batches).mean(), reduce_op="mean")
        self.batches.clear()
        self.losses.append(float(loss))
        if rate_curve.has_diverged(self.losses):
            trainer.should_stop = True


def choose_rate(prepared: Prepared, losses: list[float]) -> dict[str, Any]:
    """Return the entries of `run.json`: the rate that is chosen, and what was tried."""
    found: Suggestion | None = None
    try:
        found = rate_curve.suggest_rate(losses)
    finally:
        if not prepared.record.quiet:
            chosen = None if found is None else found.rate
            rate_curve.write_curve(prepared.folder, losses, chosen)
    return {
        "lr": found.rate,
        "lowest": LOWEST,
        "highest": found.rates[-1],
        "steps": len(losses),
        "diverged": found.diverged,
    }


def set_rate(prepared: Prepared, rate: float) -> None:
    """Set `optimizer.lr` in the configuration of the run and in its config.yaml."""
    prepared.composed.config["optimizer"]["lr"] = rate
    if prepared.record.quiet:
        return
    path = prepared.folder / run_folder.CONFIG
    config = yaml.safe_load(read_file(path))
    config["optimizer"]["lr"] = rate
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    with replace_file(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")
