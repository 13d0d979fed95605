"""The fourth step of a run, the test; and the test of a finished run."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from blocks.graph import Composed, plan
from tasks.config import instantiate, secrets
from tasks.data.base import READER
from tasks.errors import ArgumentError
from tasks.process import runtime
from tasks.run.build import ReadyRun, make_task
from tasks.run.fit import run_trainer
from tasks.run.load_run import Finished
from tasks.run.objective import plan_objective
from tasks.run.prepare import Prepared

COMPARED_FACTS = ("classes", "vocab", "image", "mask", "label")
SHOWN_CLASSES = 8


@dataclass(frozen=True)
class Tested:
    """The result of a test.

    Args:
        metrics: the test metrics; none without a test batch.
        checkpoint: the checkpoint that was tested; None where the last weights were.
        epoch: the epoch of the checkpoint, counted from one.
    """

    metrics: dict[str, float]
    checkpoint: str | None
    epoch: int | None


def test_run(prepared: Prepared, ready: ReadyRun) -> Tested:
    """Test the best checkpoint, or the last weights where no best one was kept."""
    trainer = ready.trainer
    checkpoint, epoch = find_best_checkpoint(trainer)
    found = run_trainer(
        trainer.test, ready.task, datamodule=prepared.data, ckpt_path=checkpoint, verbose=False
    )
    metrics: dict[str, float] = {}
    for loader in found:
        metrics.update((name, float(value)) for name, value in loader.items())
    return Tested(metrics, checkpoint, epoch)


def find_best_checkpoint(trainer: pl.Trainer) -> tuple[str | None, int | None]:
    """Return the path and the epoch of the best checkpoint, where one was kept.

    Raises:
        OSError: the checkpoint was not written.
    """
    for callback in trainer.checkpoint_callbacks:
        path = getattr(callback, "best_model_path", "")
        if not path:
            continue
        if not Path(path).is_file():
            raise OSError(f"the checkpoint {path} could not be written")
        epoch = getattr(callback, "best_epoch", None)
        if not epoch:  # Lightning's own callback keeps the epoch in the file only
            epoch = torch.load(path, weights_only=True)["epoch"] + 1
        return path, epoch
    return None, None


def evaluate_run(run: Finished, changes: dict[str, Any]) -> dict[str, float]:
    """Return the test metrics of a finished run.

    Args:
        run: the run, from `open_run`.
        changes: entries of the section `data` that differ; its facts are read again.

    Raises:
        ArgumentError: the data do not fit the network.
        ConfigError: the data cannot be read.
    """
    composed, data = reopen_data(run, changes)
    for note in data.notes:
        print(f"note: {secrets.hide_in_message(note)}", file=sys.stderr)
    check_same_facts(run, data)
    objective = plan_objective(composed, plan(composed, run.facts, run.library))
    task: Any = make_task(composed, run.network, run.facts, {}, objective)
    if objective is not None:
        task.terms.load_state_dict(run.terms)
    task.load_state_dict(run.state, strict=False)
    trainer = pl.Trainer(
        accelerator="cpu",
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    metrics = run_trainer(trainer.test, task, datamodule=data, verbose=False)[0]
    return {name: float(value) for name, value in metrics.items()}


def reopen_data(run: Finished, changes: dict[str, Any]) -> tuple[Composed, Any]:
    """Return the configuration of a finished run, and its data read again.

    Args:
        run: the run, from `open_run`.
        changes: entries of the section `data` that differ.

    Raises:
        ConfigError: the data cannot be read.
    """
    section = dict(run.config["data"])
    if runtime.find_excess(("data", "workers"), section.get("workers"), typed=False):
        section["workers"] = "auto"  # the run was trained on a larger machine
    config = {**run.config, "data": {**section, **changes}}
    composed = Composed(config, typed={"trust": list(run.trust)})
    data = instantiate.make(composed, ("data",), without=("facts",))
    data.restore(run.folder)
    with instantiate.locating(composed, ("data",)):
        data.read()
    return composed, data


def check_same_facts(run: Finished, data: Any) -> None:
    """Raise an ArgumentError where the data have other facts or classes than those of training."""
    facts = data.facts()
    for name in COMPARED_FACTS:
        if facts.get(name) != run.facts.get(name):
            raise ArgumentError(
                "data",
                "the data do not fit the network",
                got=f"{name}={facts.get(name)}",
                fits=f"{name}={run.facts.get(name)}, as in training",
            )
    if data.classes and (run.folder / READER).is_file() and data.classes != run.classes:
        raise ArgumentError(
            "data",
            "the classes are not those of training",
            got=f"classes {', '.join(data.classes[:SHOWN_CLASSES])}",
            fits=f"classes {', '.join(run.classes[:SHOWN_CLASSES])}",
        )
