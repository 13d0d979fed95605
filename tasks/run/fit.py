"""The third step of a run: training, with errors of the trainer turned into our own."""

import math
import re
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from blocks.graph import Composed, ConfigError, Problem
from tasks.callbacks.step_time import StepTime
from tasks.config import instantiate
from tasks.lightning import as_lightning
from tasks.process.peaks import peak_operations
from tasks.run.build import ReadyRun
from tasks.run.check_training import unlogged_problem
from tasks.run.prepare import Prepared

# warnings of Lightning about which a user can do nothing, or that a run reports itself
IGNORED_WARNINGS = (
    # Lightning 2.6 uses a class that torch 2.13 deprecates
    ".*LeafSpec.*",
    # of a resumed run: the comparison with the checkpoint reports other callbacks
    "Be aware that when using `ckpt_path`, callbacks used",
    # of a process without a sample, which adds nothing to the sums of the others
    "The ``compute`` method of metric .* was called before",
    "You defined a `validation_step` but have no `val_dataloader`",
)


def fit_run(prepared: Prepared, ready: ReadyRun, checkpoint: Path | None) -> dict[str, float]:
    """Train the network, from a checkpoint if one is given.

    Returns:
        The mean loss of the last epoch, the steps of the optimizer, the median time of a step,
        samples and tokens a second, the share of the time spent in waiting for data, and the
        utilization of the GPUs, where they are finite.

    Raises:
        ConfigError: a callback monitors a metric that nothing logs.
    """
    trainer = ready.trainer
    try:
        run_trainer(trainer.fit, ready.task, datamodule=prepared.data, ckpt_path=checkpoint)
    except MisconfigurationException as error:
        raise ConfigError(explain_misconfiguration(prepared.composed, str(error))) from error
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    (clock,) = [callback for callback in callbacks if isinstance(callback, StepTime)]
    measured = {
        "train/loss": float(trainer.callback_metrics.get("train/loss", math.nan)),
        "train/steps": trainer.global_step,
        "train/step seconds": clock.median,
        **clock.measures(),
    }
    if share := measure_utilization(trainer, prepared.macs, measured):
        measured["train/mfu"] = share
    return {name: value for name, value in measured.items() if math.isfinite(value)}


def measure_utilization(trainer: Any, macs: int | None, measured: dict[str, float]) -> float | None:
    """Return the share of the operations that the GPUs are made for which the training used (MFU).

    The backward pass counts as two forward passes, as in PaLM (Chowdhery et al. 2022, appendix B);
    what is computed again for checkpointing does not count. A sample counts as the largest one.
    """
    device = trainer.strategy.root_device
    speed = measured.get("train/samples per second")
    if macs is None or speed is None or device.type != "cuda":
        return None
    peak = peak_operations(torch.cuda.get_device_name(device), str(trainer.precision))
    return None if peak is None else 3 * 2 * macs * speed / (peak * trainer.world_size)


def explain_misconfiguration(composed: Composed, text: str) -> Problem:
    """Return the problem for an error that Lightning raises only after an epoch, e.g. for a metric
    that nothing logs.
    """
    for name, section in (composed.config.get("callbacks") or {}).items():
        if section and f"'{section.get('monitor')}'" in text:
            listed = text.partition("[")[2].partition("]")[0]
            logged = re.findall(r"'([^']+)'", listed)
            return unlogged_problem(composed, name, section["monitor"], logged)
    shortened = " ".join(text.split())[:300]
    return instantiate.problem(
        composed, ("trainer",), shortened, fix="other values of the trainer", code="bad-argument"
    )


def run_trainer(step: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Run a step of the trainer; raise KeyboardInterrupt where Lightning turns it into an exit.

    Args:
        step: `fit` or `test` of a trainer.
        arguments: of the step.
        options: of the step; a `datamodule` may be one of ours.
    """
    if "datamodule" in options:
        options["datamodule"] = as_lightning(options["datamodule"])
    try:
        with warnings.catch_warnings():
            for message in IGNORED_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            return step(*arguments, **options)
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from error
        raise
