"""The position of a training in the counters of Lightning's loops, and data as Lightning takes
them.

Whatever depends on the internals of Lightning is here. Lightning resumes correctly from some
states of its counters only: a checkpoint made after the last batch of an epoch loses the
validation, one made before a validation within an epoch skips it. Checkpoints are therefore made
at four points only, with the counters as Lightning needs them there. Tested with Lightning 2.6.6.
"""

import enum
import math
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loops.loop import _Loop
from pytorch_lightning.trainer.states import TrainerFn

from tasks.data.sampler import Resumable


class Point(enum.Enum):
    """What has been done when a checkpoint is made; the value is part of the checkpoint."""

    STEP = "after a step"
    VALIDATION = "before a validation"
    VALIDATED = "after a validation within an epoch"
    EPOCH = "after an epoch"


class Data(pl.LightningDataModule):
    """A data module as Lightning takes it; all else about it is asked of `data` itself.

    Args:
        data: from `tasks/data`.
    """

    def __init__(self, data: Any):
        super().__init__()
        self.data = data

    def __getattr__(self, name: str) -> Any:
        if name == "data":
            raise AttributeError(name)
        return getattr(self.data, name)

    def setup(self, stage: str) -> None:
        self.data.trainer = self.trainer
        self.data.setup(stage)

    def train_dataloader(self) -> Any:
        return self.data.train_dataloader()

    def val_dataloader(self) -> Any:
        return self.data.val_dataloader()

    def test_dataloader(self) -> Any:
        return self.data.test_dataloader()


def as_lightning(data: Any) -> pl.LightningDataModule:
    """Return a data module for Lightning; one of the user's own may be one already."""
    if isinstance(data, pl.LightningDataModule):
        return data
    return Data(data)


def is_training(trainer: pl.Trainer) -> bool:
    """Return whether the trainer trains; a validation of the training included."""
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def is_accumulating(trainer: pl.Trainer) -> bool:
    """Return whether gradients were added without a step of the optimizer yet."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def validates_next(trainer: pl.Trainer) -> bool:
    """Return whether a validation follows the current batch."""
    fetcher = trainer.fit_loop._data_fetcher
    return fetcher is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


def count_batches(trainer: pl.Trainer, part: str = "val") -> int:
    """Return the number of batches of "val" or "test" in this process; 0 where it is unknown."""
    if part == "val":
        count = sum(trainer.num_val_batches)
    else:
        count = sum(trainer.num_test_batches)
    if math.isinf(count):
        return 0
    return int(count)


def epoch_ends_next(trainer: pl.Trainer) -> bool:
    """Return whether this was the last batch of the epoch, or the last step of the run."""
    loop = trainer.fit_loop.epoch_loop
    return loop._num_ready_batches_reached() or loop._is_training_done


def resumable_loaders(trainer: pl.Trainer) -> list[Any]:
    """Return the training loaders that record their position."""
    combined = trainer.fit_loop._combined_loader
    if combined is None:
        return []
    return [loader for loader in combined.flattened if isinstance(loader, Resumable)]


def epoch_metrics(trainer: pl.Trainer) -> dict[str, Any]:
    """Return what Lightning will log at the end of the epoch."""
    return trainer.fit_loop.epoch_loop._results.metrics(on_step=False)["log"]


def write_counters(counters: dict[str, Any], point: Point) -> None:
    """Set the counters of a checkpoint as Lightning needs them to resume at a point.

    Args:
        counters: `loops.fit_loop` of the checkpoint, changed in place.
        point: where the checkpoint was made.
    """
    batch = counters["epoch_loop.batch_progress"]
    val = counters["epoch_loop.val_loop.batch_progress"]
    for scope in ("total", "current"):
        done = completed = batch[scope]["ready"]
        if point in (Point.STEP, Point.VALIDATED):
            # Lightning completes one that is not completed, and continues with the next
            completed = done - 1
        batch[scope].update(started=done, processed=done, completed=completed)
        # one that is started but not processed: the validation runs from its first batch
        started = int(point is Point.VALIDATION and scope == "total")
        val[scope].update(ready=started, started=started, processed=0, completed=0)


def begin_epoch(trainer: pl.Trainer) -> None:
    """Let Lightning start the next epoch; with `max_steps` it would end the last one twice."""
    loop = trainer.fit_loop
    _Loop.restarting.fset(loop, False)  # type: ignore[attr-defined]
    loop.reset_restart_stage()
    loop.epoch_loop.reset_restart_stage()
    counters: tuple[Any, Any] = (loop.epoch_progress.total, loop.epoch_progress.current)
    for counter in counters:
        counter.completed = counter.processed


def time_fetches(trainer: pl.Trainer, report: Callable[[float], None]) -> None:
    """Report for each batch of the training how many seconds it was waited for.

    Args:
        trainer: before its first epoch.
        report: called with the seconds of one batch.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    before, after = loop._on_before_fetch, loop._on_after_fetch
    started = 0.0

    def begin() -> None:
        nonlocal started
        before()
        started = time.perf_counter()

    def end() -> None:
        report(time.perf_counter() - started)
        after()

    loop._on_before_fetch, loop._on_after_fetch = begin, end


def disable_signal_handlers(trainer: pl.Trainer) -> None:
    """Disable Lightning's own handlers, which would end the run with status 0, and communicate
    with other processes from within a handler.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
