"""When a run saves, and what: `best.ckpt` and `last.ckpt`, each with all that is needed to go on
from there.
"""

import contextlib
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint as Base
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torchmetrics import Metric

from tasks import lightning
from tasks.callbacks.logger import CsvLogger
from tasks.errors import must_be_one_of, must_be_positive
from tasks.learn.base import Task
from tasks.process.signals import Interrupted, SignalGuard
from tasks.resume import checkpoint_file, compare, state
from tasks.resume.state import KEY

FORMAT = 1
BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"


class Checkpoint(Base):
    """Saves after each epoch, and within it after so many minutes or steps; a run that is told to
    stop saves first.

    Checkpoints are made where nothing is half done: after a step of the optimiser, before a
    validation, after an epoch. What was `last.ckpt` before stays as `previous.ckpt` until the
    training ends.

    Args:
        dirpath: the folder, in the run folder.
        monitor: what `best.ckpt` has the best value of.
        mode: whether less ("min") or more ("max") is better.
        every_minutes: within an epoch, save when the last time was so long ago; null for epochs
            only.
        every_steps: within an epoch, save after so many steps of the optimiser; null for none.
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
        for name, value in (("every_minutes", every_minutes), ("every_steps", every_steps)):
            must_be_positive(name, value) if value is not None else None
        self.folder, self.monitor, self.mode = Path(dirpath), monitor, mode
        self.every_minutes, self.every_steps = every_minutes, every_steps
        self.best_model_path = ""
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self.point: lightning.Point | None = (
            None  # where training stands while a checkpoint is made
        )
        self.kept: dict[str, Any] | None = (
            None  # states before a validation, which is begun again after a stop
        )
        self.loaded: dict[str, Any] | None = None
        self.validated = False
        self.common = (
            0  # batches of a validation that every process has; those that this one has seen
        )
        self.seen = 0
        self.saved_at, self.saved_step = time.monotonic(), 0
        self.group: Any = None
        self.prints: dict[str, str] = {}

    # What Lightning keeps for us ------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if (self.folder / BEST).is_file():  # in a new folder the best begins anew
            self.best_model_path = str(self.folder / BEST)
            self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict
    ) -> None:
        """Add what is ours; every process gives its share."""
        here = self.kept if self.kept is not None else self._states(pl_module)
        checkpoint[KEY] = {
            "format": FORMAT,
            "processes": self._gather(trainer, here),
            "rows": rows(trainer, with_epoch=self.point is lightning.Point.EPOCH),
            "loaders": [loader.state_dict() for loader in lightning.resumable_loaders(trainer)],
            "stopping": bool(trainer.should_stop),
            "point": self.point.value if self.point else "elsewhere",
            "environment": state.environment(trainer),
            "shapes": state.shapes(pl_module.network),  # type: ignore[arg-type]
            **self.prints,
        }
        if self.point is not None:
            lightning.write_counters(checkpoint["loops"]["fit_loop"], self.point)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict
    ) -> None:
        if not lightning.is_training(trainer):
            return  # the test takes the weights alone
        self.loaded = checkpoint.get(KEY)
        if self.loaded is not None and limits_differ(checkpoint, pl_module):
            self.loaded["stopping"] = False  # what ended the training is no longer so
        for logger in trainer.loggers:
            if isinstance(logger, CsvLogger) and self.loaded is not None:
                logger.restore(
                    self.loaded["rows"]
                )  # here, as a training that is over does not start

    def _states(self, module: pl.LightningModule) -> dict[str, Any]:
        return {"random": state.random_states(), "metrics": state.metric_states(trained(module))}

    def _gather(self, trainer: pl.Trainer, here: dict[str, Any]) -> list[dict[str, Any]]:
        if trainer.world_size == 1:
            return [here]
        found: list = [None] * trainer.world_size
        torch.distributed.all_gather_object(found, here, group=self.group)
        return found

    # Where a run begins and ends ------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        if trainer.is_global_zero:
            with contextlib.suppress(
                OSError
            ):  # the first attempt to save will tell, and ends the run
                self.folder.mkdir(parents=True, exist_ok=True)
        if isinstance(trainer.strategy.checkpoint_io, checkpoint_file.SafeCheckpointIO):
            trainer.strategy.checkpoint_io.made.add(self.folder)
        if trainer.world_size > 1 and self.group is None:
            self.group = torch.distributed.new_group(
                backend="gloo"
            )  # to agree on a stop without asking the GPU
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.prints = {
            "graph": state.graph_fingerprint(pl_module.network),  # type: ignore[arg-type]
            "data": state.data_fingerprint(data),
        }

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.loaded is not None:
            self._restore(trainer, pl_module, self.loaded)
            self.loaded = None
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step
        if SignalGuard.current is not None:
            SignalGuard.current.patient = True

    def _restore(
        self, trainer: pl.Trainer, module: pl.LightningModule, kept: dict[str, Any]
    ) -> None:
        if trainer.global_rank < len(kept["processes"]):
            own = kept["processes"][trainer.global_rank]
            if (
                kept["point"] != lightning.Point.EPOCH.value
            ):  # otherwise they are reported and begin anew
                state.set_metric_states(trained(module), own["metrics"])
            state.set_random_states(own["random"])
        for loader, position in zip(
            lightning.resumable_loaders(trainer), kept["loaders"], strict=False
        ):
            loader.load_state_dict(
                position
            )  # Lightning does it only where nobody asked for the number of steps before
        trainer.should_stop = kept["stopping"]
        if kept["point"] == lightning.Point.EPOCH.value:
            lightning.begin_epoch(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._impatient()
        if trainer.is_global_zero:
            (self.folder / PREVIOUS).unlink(missing_ok=True)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._impatient()

    def _beat(self) -> None:
        if SignalGuard.current is not None:
            SignalGuard.current.beat()

    def _impatient(self) -> None:
        if SignalGuard.current is not None:
            SignalGuard.current.patient = False

    # Where a run saves ----------------------------------------------------------------------------

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any
    ) -> None:
        self._beat()
        if lightning.is_accumulating(trainer):
            return  # gradients are half gathered
        stop, save = self._asked(trainer)
        if lightning.validates_next(trainer):
            point = lightning.Point.VALIDATION
        elif lightning.epoch_ends_next(trainer):
            return  # saved in a moment
        else:
            point = lightning.Point.STEP
        if stop or save:
            self._save(trainer, pl_module, point)
        self._leave(stop)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not lightning.is_training(trainer):
            return
        self.kept, self.seen = self._states(pl_module), 0
        (self.common,) = self._agree(
            [lightning.count_batches(trainer)], torch.distributed.ReduceOp.MIN
        )

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any
    ) -> None:
        self.seen += 1
        self._beat()
        if not lightning.is_training(trainer) or self.seen >= self.common:
            return  # another process may have no batch after this one, and would never answer
        stop, save = self._asked(trainer, timed=False)
        if stop or save:
            self._save(trainer, pl_module, lightning.Point.VALIDATION)
        self._leave(stop)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.kept = None
        if not lightning.is_training(trainer):
            return
        self.validated = True
        if not lightning.epoch_ends_next(trainer):
            self._after_epoch(trainer, pl_module, lightning.Point.VALIDATED)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._after_epoch(trainer, pl_module, lightning.Point.EPOCH)

    def _after_epoch(
        self, trainer: pl.Trainer, module: pl.LightningModule, point: lightning.Point
    ) -> None:
        better = self.validated and self._better(trainer)
        self.validated = False
        stop, _ = self._asked(trainer)
        self._save(trainer, module, point, best=better)
        self._leave(stop)

    def _better(self, trainer: pl.Trainer) -> bool:
        value = trainer.callback_metrics.get(self.monitor)
        if value is None:
            known = sorted(trainer.callback_metrics)
            raise MisconfigurationException(
                f"monitor='{self.monitor}' is not measured; there are {known}"
            )
        score = trainer.strategy.broadcast(
            float(value)
        )  # processes that measure apart decide together
        if not better(score, self.best_score, self.mode):
            return False
        self.best_score, self.best_epoch = score, trainer.current_epoch + 1
        self.best_model_path = str(self.folder / BEST)
        return True

    def _asked(self, trainer: pl.Trainer, timed: bool = True) -> tuple[int, bool]:
        """The signal that ends the run, or 0, and whether to save; the same in every process."""
        guard = SignalGuard.current
        stop, save = (guard.stop, guard.save) if guard is not None else (0, False)
        if timed and trainer.is_global_zero:
            save = save or self._due(trainer)
        first, wanted = self._agree([stop, int(save)], torch.distributed.ReduceOp.MAX)
        return first, bool(wanted)

    def _agree(self, numbers: list[int], how: Any) -> list[int]:
        """The largest or smallest of each number among all processes. All must call this equally
        often.
        """
        if self.group is None:
            return numbers
        found = torch.tensor(numbers)
        torch.distributed.all_reduce(found, how, group=self.group)
        return found.tolist()

    def _due(self, trainer: pl.Trainer) -> bool:
        minutes = (time.monotonic() - self.saved_at) / 60
        if self.every_minutes is not None and minutes >= self.every_minutes:
            return True
        return (
            self.every_steps is not None
            and trainer.global_step - self.saved_step >= self.every_steps
        )

    def _save(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        point: lightning.Point,
        *,
        best: bool = False,
    ) -> None:
        """Raises SaveError, and leaves what was there before."""
        module.must_be_finite()  # type: ignore[operator]
        with (
            SignalGuard.current.saving()
            if SignalGuard.current is not None
            else contextlib.nullcontext()
        ):
            self._write(trainer, point, best=best)
        if SignalGuard.current is not None and SignalGuard.current.save:
            SignalGuard.current.save = False
            if trainer.is_global_zero:
                print(f"SIGUSR1: saved {LAST} at step {trainer.global_step}, going on", flush=True)

    def _write(self, trainer: pl.Trainer, point: lightning.Point, *, best: bool) -> None:
        self.point = point
        last = self.folder / LAST
        if trainer.is_global_zero and last.is_file():
            checkpoint_file.link_checkpoint(last, self.folder / PREVIOUS)
        # the best first: should the run be killed in between, the last one still knows the best
        # before
        trainer.save_checkpoint(self.folder / (BEST if best else LAST))
        if best and trainer.is_global_zero:
            checkpoint_file.link_checkpoint(self.folder / BEST, last)
        self.point = None
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step

    def _leave(self, stop: int) -> None:
        if stop:
            raise Interrupted(stop, str(self.folder / LAST))


def better(score: float, best: float | None, mode: str) -> bool:
    """Whether a score beats the best one so far; any number beats one that is not a number."""
    if best is None:
        return True
    if math.isnan(score) or math.isnan(best):
        return not math.isnan(score)
    return score < best if mode == "min" else score > best


def trained(module: pl.LightningModule) -> dict[str, Metric]:
    """The metrics that gather over an epoch of training. Those of a validation may hold what the
    last one left.
    """
    return dict(module.train_metrics()) if isinstance(module, Task) else {}


def limits_differ(checkpoint: Mapping[str, Any], module: pl.LightningModule) -> bool:
    """Whether the configuration ends the training elsewhere than the one that a checkpoint was made
    with.
    """
    before = checkpoint.get("hyper_parameters", {}).get("config", {})
    lines = compare.compare_config(before, module.hparams.get("config", {}))
    return any(line.startswith(("trainer.max_", "callbacks.")) for line in lines)


def rows(trainer: pl.Trainer, *, with_epoch: bool) -> list[dict[str, Any]]:
    """The rows of metrics.csv; after an epoch with what Lightning will log of it when the
    checkpoint is written.
    """
    logger = next((logger for logger in trainer.loggers if isinstance(logger, CsvLogger)), None)
    if logger is None:
        return []
    if not with_epoch:
        return logger.table()
    measured = {name: number(value) for name, value in lightning.epoch_metrics(trainer).items()}
    return logger.table(
        {**measured, "epoch": trainer.current_epoch},
        trainer.fit_loop.epoch_loop._batches_that_stepped - 1,
    )


def number(value: Any) -> float:
    return value.item() if isinstance(value, Tensor) else value
