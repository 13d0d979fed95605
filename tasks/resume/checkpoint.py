"""The checkpoint callback: `best.ckpt` and `last.ckpt`, each with the whole state of a training."""

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint as Base
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor

from tasks import lightning
from tasks.callbacks.logger import CsvLogger
from tasks.errors import must_be_one_of, must_be_positive
from tasks.learn.metrics.running import metric_states, set_metric_states, train_metrics
from tasks.lightning import Point
from tasks.process.signals import Interrupted, SignalGuard
from tasks.resume import checkpoint_file, compare, state
from tasks.resume.checkpoint_file import SaveError
from tasks.resume.state import KEY
from tasks.resume.writer import Writer

FORMAT = 1
BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"


class Checkpoint(Base):
    """Saves after each epoch, and within it after some minutes or steps; a run that receives a
    signal saves before it stops.

    Checkpoints are made where nothing is half done: after a step of the optimizer, before a
    validation, after an epoch. The `last.ckpt` before stays as `previous.ckpt` until the training
    ends. A thread writes the files while the training continues; the next save, a stop and the end
    wait for it.

    Args:
        dirpath: the folder, in the run folder.
        monitor: the metric of which `best.ckpt` has the best value.
        mode: whether less ("min") or more ("max") is better.
        every_minutes: within an epoch, save this long after the last time; null for epochs only.
        every_steps: within an epoch, save after this number of optimizer steps; null for none.

    Attributes:
        guard: the signals of the run.
    """

    def __init__(
        self,
        dirpath: str = "checkpoints",
        *,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        every_minutes: float | None = 10.0,
        every_steps: int | None = None,
    ):
        must_be_one_of("mode", mode, ("min", "max"))
        if every_minutes is not None:
            must_be_positive("every_minutes", every_minutes)
        if every_steps is not None:
            must_be_positive("every_steps", every_steps)
        self.guard = SignalGuard()
        self.folder = Path(dirpath)
        self.monitor = monitor
        self.mode = mode
        self.every_minutes = every_minutes
        self.every_steps = every_steps
        self.best_model_path = ""
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        # where the training is while a checkpoint is made
        self.point: Point | None = None
        # states before a validation, which starts again when it is interrupted
        self.states_before: dict[str, Any] | None = None
        self.loaded: dict[str, Any] | None = None
        self.validated = False
        self.common_batches = 0  # of a validation, in every process
        self.seen_batches = 0
        self.saved_at = time.monotonic()
        self.saved_step = 0
        self.group: Any = None
        self.writer = Writer()
        self.fingerprints: dict[str, str] = {}

    # The content of a checkpoint ------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if (self.folder / BEST).is_file():  # a new folder has no best checkpoint yet
            self.best_model_path = str(self.folder / BEST)
            self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict
    ) -> None:
        """Add our part to a checkpoint; every process contributes its own states."""
        states = self.states_before
        if states is None:
            states = collect_states(pl_module)
        loaders = lightning.resumable_loaders(trainer)
        checkpoint[KEY] = {
            "format": FORMAT,
            "processes": self._gather(trainer, states),
            "rows": metric_rows(trainer, with_epoch=self.point is Point.EPOCH),
            "loaders": [loader.state_dict() for loader in loaders],
            "stopping": bool(trainer.should_stop),
            "point": self.point.value if self.point else "elsewhere",
            "environment": state.describe_environment(trainer),
            "shapes": state.tensor_shapes(pl_module.network),  # type: ignore[arg-type]
            **self.fingerprints,
        }
        if self.point is not None:
            lightning.write_counters(checkpoint["loops"]["fit_loop"], self.point)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict
    ) -> None:
        if not lightning.is_training(trainer):
            return  # the test takes the weights alone
        self.loaded = checkpoint.get(KEY)
        if self.loaded is None:
            return
        if limits_differ(checkpoint, pl_module):
            self.loaded["stopping"] = False  # what ended the training no longer applies
        for logger in trainer.loggers:
            if isinstance(logger, CsvLogger):
                # not in on_train_start, which a training that is over does not reach
                logger.restore(self.loaded["rows"])

    def _gather(self, trainer: pl.Trainer, states: dict[str, Any]) -> list[dict[str, Any]]:
        if trainer.world_size == 1:
            return [states]
        gathered: list = [None] * trainer.world_size
        torch.distributed.all_gather_object(gathered, states, group=self.group)
        return gathered

    # Start and end of a run -----------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        if trainer.is_global_zero:
            checkpoint_file.make_folder(self.folder)
        if isinstance(trainer.strategy.checkpoint_io, checkpoint_file.SafeCheckpointIO):
            trainer.strategy.checkpoint_io.made.add(self.folder)
            trainer.strategy.checkpoint_io.writer = self.writer
        if trainer.world_size > 1 and self.group is None:
            # processes agree on a stop without waiting for the GPU
            self.group = torch.distributed.new_group(backend="gloo")
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.fingerprints = {
            "graph": state.graph_fingerprint(pl_module.network),  # type: ignore[arg-type]
            "data": state.data_fingerprint(data),
        }

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.loaded is not None:
            restore_states(trainer, pl_module, self.loaded)
            self.loaded = None
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step
        self.guard.patient = True
        self.writer.is_background = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.guard.patient = False
        with self.guard.saving():
            self.writer.close()
            trainer.strategy.barrier("checkpoint")  # other processes read it, too
        if trainer.is_global_zero:
            (self.folder / PREVIOUS).unlink(missing_ok=True)
            checkpoint_file.remove_unused(self.folder)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self.guard.patient = False
        try:
            self.writer.close()
        except SaveError as error:
            print(error, file=sys.stderr, flush=True)  # the exception ends the run

    # When a run saves -----------------------------------------------------------------------------

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any
    ) -> None:
        self.guard.beat()
        self.writer.check()
        if lightning.is_accumulating(trainer):
            return  # gradients are incomplete
        stop, save = self._requests(trainer)
        point = Point.STEP
        if lightning.validates_next(trainer):
            point = Point.VALIDATION
        elif lightning.epoch_ends_next(trainer):
            return  # saved at the end of the epoch
        if stop or save:
            self._save(trainer, pl_module, point)
        self._leave(stop)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not lightning.is_training(trainer):
            return
        self.states_before = collect_states(pl_module)
        self.seen_batches = 0
        least = torch.distributed.ReduceOp.MIN
        (self.common_batches,) = self._reduce([lightning.count_batches(trainer)], least)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any
    ) -> None:
        self.seen_batches += 1
        self.guard.beat()
        if not lightning.is_training(trainer) or self.seen_batches >= self.common_batches:
            return  # another process may have no batch after this one, and would never answer
        stop, save = self._requests(trainer, timed=False)
        if stop or save:
            self._save(trainer, pl_module, Point.VALIDATION)
        self._leave(stop)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.states_before = None
        if not lightning.is_training(trainer):
            return
        self.validated = True
        if not lightning.epoch_ends_next(trainer):
            self._save_after(trainer, pl_module, Point.VALIDATED)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save_after(trainer, pl_module, Point.EPOCH)

    def _save_after(self, trainer: pl.Trainer, module: pl.LightningModule, point: Point) -> None:
        is_best = self.validated and self._update_best(trainer)
        self.validated = False
        stop, _ = self._requests(trainer)
        self._save(trainer, module, point, is_best=is_best)
        self._leave(stop)

    def _update_best(self, trainer: pl.Trainer) -> bool:
        """Return whether the monitored metric is the best so far, and record it."""
        value = trainer.callback_metrics.get(self.monitor)
        if value is None:
            known = sorted(trainer.callback_metrics)
            raise MisconfigurationException(
                f"monitor='{self.monitor}' is not measured; there are {known}"
            )
        # processes that measure separately decide together
        score = trainer.strategy.broadcast(float(value))
        if not is_better(score, self.best_score, self.mode):
            return False
        self.best_score, self.best_epoch = score, trainer.current_epoch + 1
        self.best_model_path = str(self.folder / BEST)
        return True

    def _requests(self, trainer: pl.Trainer, timed: bool = True) -> tuple[int, bool]:
        """Return the signal that ends the run, or 0, and whether to save; all processes agree."""
        save = self.guard.save
        if timed and trainer.is_global_zero:
            save = save or self._is_due(trainer)
        most = torch.distributed.ReduceOp.MAX
        stop, wanted = self._reduce([self.guard.stop, int(save)], most)
        return stop, bool(wanted)

    def _reduce(self, numbers: list[int], how: Any) -> list[int]:
        """Return the largest or smallest of each number over all processes, all of which call
        this.
        """
        if self.group is None:
            return numbers
        tensor = torch.tensor(numbers)
        torch.distributed.all_reduce(tensor, how, group=self.group)
        return tensor.tolist()

    def _is_due(self, trainer: pl.Trainer) -> bool:
        minutes = (time.monotonic() - self.saved_at) / 60
        if self.every_minutes is not None and minutes >= self.every_minutes:
            return True
        steps = trainer.global_step - self.saved_step
        return self.every_steps is not None and steps >= self.every_steps

    def _save(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        point: Point,
        *,
        is_best: bool = False,
    ) -> None:
        """Begin to save, or raise SaveError and leave the files as they were."""
        module.must_be_finite()  # type: ignore[operator]
        with self.guard.saving():
            self.writer.wait()
            self._write(trainer, point, is_best=is_best)
        if self.guard.save:
            self.guard.save = False
            self._finish()
            if trainer.is_global_zero:
                step = trainer.global_step
                print(f"SIGUSR1: saved {LAST} at step {step}, continuing", flush=True)

    def _write(self, trainer: pl.Trainer, point: Point, *, is_best: bool) -> None:
        self.point = point
        last = self.folder / LAST
        if trainer.is_global_zero and last.is_file():
            self.writer.add(checkpoint_file.link_checkpoint, last, self.folder / PREVIOUS)
        # the best first: after a kill in between, the last one still knows the best before
        if is_best:
            trainer.save_checkpoint(self.folder / BEST)
        else:
            trainer.save_checkpoint(last)
        if is_best and trainer.is_global_zero:
            self.writer.add(checkpoint_file.link_checkpoint, self.folder / BEST, last)
        if trainer.is_global_zero:
            self.writer.add(checkpoint_file.remove_unused, self.folder)
        self.point = None
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step

    def _finish(self) -> None:
        """Wait until what was saved is on the disk."""
        with self.guard.saving():
            self.writer.wait()

    def _leave(self, stop: int) -> None:
        if stop:
            self._finish()
            raise Interrupted(stop, str(self.folder / LAST))


def collect_states(module: pl.LightningModule) -> dict[str, Any]:
    """Return the random states and the running metrics of this process."""
    return {"random": state.random_states(), "metrics": metric_states(train_metrics(module))}


def restore_states(
    trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
) -> None:
    """Restore what `Checkpoint.on_save_checkpoint` added, other than the rows of the logger."""
    ended_epoch = checkpoint["point"] == Point.EPOCH.value
    if trainer.global_rank < len(checkpoint["processes"]):
        states = checkpoint["processes"][trainer.global_rank]
        if not ended_epoch:  # after an epoch its metrics are reported and start again
            set_metric_states(train_metrics(module), states["metrics"])
        state.set_random_states(states["random"])
    loaders = lightning.resumable_loaders(trainer)
    for loader, position in zip(loaders, checkpoint["loaders"], strict=False):
        # Lightning does this only where the number of steps was not asked for before
        loader.load_state_dict(position)
    trainer.should_stop = checkpoint["stopping"]
    if ended_epoch:
        lightning.begin_epoch(trainer)


def is_better(score: float, best: float | None, mode: str) -> bool:
    """Return whether a score is better than the best so far; any number is better than NaN."""
    if best is None:
        return True
    if math.isnan(score) or math.isnan(best):
        return not math.isnan(score)
    if mode == "min":
        return score < best
    return score > best


def limits_differ(checkpoint: Mapping[str, Any], module: pl.LightningModule) -> bool:
    """Return whether the configuration ends the training elsewhere than that of a checkpoint."""
    before = checkpoint.get("hyper_parameters", {}).get("config", {})
    lines = compare.compare_config(before, module.hparams.get("config", {}))
    return any(line.startswith(("trainer.max_", "trainer.time", "callbacks.")) for line in lines)


def metric_rows(trainer: pl.Trainer, *, with_epoch: bool) -> list[dict[str, Any]]:
    """Return the rows of metrics.csv.

    Args:
        trainer: whose loggers are searched.
        with_epoch: include the metrics of this epoch, which Lightning logs after the checkpoint.
    """
    logger = next((logger for logger in trainer.loggers if isinstance(logger, CsvLogger)), None)
    if logger is None:
        return []
    if not with_epoch:
        return logger.copy_rows()
    metrics: dict[str, Any] = {}
    for name, value in lightning.epoch_metrics(trainer).items():
        metrics[name] = value.item() if isinstance(value, Tensor) else value
    metrics["epoch"] = trainer.current_epoch
    return logger.copy_rows(metrics, trainer.fit_loop.epoch_loop._batches_that_stepped - 1)
