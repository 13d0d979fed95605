"""Where training stands, in the counters of Lightning's loops.

Whatever depends on their insides is here.

Lightning goes on rightly from some states of its counters and wrongly from others: a checkpoint
made after the last batch of an epoch loses the validation, one made before a validation within an
epoch skips it. So a checkpoint is made at four points only, with counters as Lightning needs them
there. Read and tested with Lightning 2.6.6.
"""

import enum
import math
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loops.loop import _Loop
from pytorch_lightning.trainer.states import TrainerFn

from tasks.data.sampler import Resumable


class Point(enum.Enum):
    """What has been done when a checkpoint is made; the value stands in the checkpoint."""

    STEP = "after a step"
    VALIDATION = "before a validation"
    VALIDATED = "after a validation within an epoch"
    EPOCH = "after an epoch"


def is_training(trainer: pl.Trainer) -> bool:
    """Whether a validation is part of the training."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def is_accumulating(trainer: pl.Trainer) -> bool:
    """Whether gradients were added, but the optimiser has not moved yet."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def validates_next(trainer: pl.Trainer) -> bool:
    """Whether a validation follows the batch that has just been learned from."""
    fetcher = trainer.fit_loop._data_fetcher
    return fetcher is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


def count_batches(trainer: pl.Trainer, part: str = "val") -> int:
    """How many batches the part "val" or "test" has for this process; 0 where nobody knows."""
    count = sum(trainer.num_val_batches if part == "val" else trainer.num_test_batches)
    return 0 if math.isinf(count) else int(count)


def epoch_ends_next(trainer: pl.Trainer) -> bool:
    """Whether no batch of this epoch is left, or no step of the run."""
    loop = trainer.fit_loop.epoch_loop
    return loop._num_ready_batches_reached() or loop._is_training_done


def resumable_loaders(trainer: pl.Trainer) -> list[Any]:
    """The loaders of training that know where they stand."""
    combined = trainer.fit_loop._combined_loader
    return (
        [loader for loader in combined.flattened if isinstance(loader, Resumable)]
        if combined is not None
        else []
    )


def epoch_metrics(trainer: pl.Trainer) -> dict[str, Any]:
    """What Lightning will hand to the loggers when the epoch is over."""
    return trainer.fit_loop.epoch_loop._results.metrics(on_step=False)["log"]


def write_counters(counters: dict[str, Any], point: Point) -> None:
    """Write the counters of a checkpoint (`loops.fit_loop`) as Lightning needs them to go on from
    `point`.
    """
    batch, val = (
        counters["epoch_loop.batch_progress"],
        counters["epoch_loop.val_loop.batch_progress"],
    )
    for scope in ("total", "current"):
        done = batch[scope]["ready"]
        # one that is not completed is completed by Lightning, which then takes the next
        completed = done - 1 if point in (Point.STEP, Point.VALIDATED) else done
        batch[scope].update(started=done, processed=done, completed=completed)
        # one that is started but not processed: the validation is run, from its first batch
        begun = int(point is Point.VALIDATION and scope == "total")
        val[scope].update(ready=begun, started=begun, processed=0, completed=0)


def begin_epoch(trainer: pl.Trainer) -> None:
    """Let Lightning begin the next epoch; where `max_steps` is set, it would end the last one a
    second time.
    """
    loop = trainer.fit_loop
    _Loop.restarting.fset(loop, False)  # type: ignore[attr-defined]
    loop.reset_restart_stage()
    loop.epoch_loop.reset_restart_stage()
    both: tuple[Any, Any] = (loop.epoch_progress.total, loop.epoch_progress.current)
    for counter in both:
        counter.completed = counter.processed


def disable_signal_handlers(trainer: pl.Trainer) -> None:
    """Lightning's own handlers would end the run with status 0, and talk to other processes from
    within a handler.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
