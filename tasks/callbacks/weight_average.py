"""Averages of the weights over a training, which are evaluated, tested and exported."""

import itertools
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tasks import lightning
from tasks.errors import must_be_positive, must_be_share
from tasks.learn.base import share_of_time
from tasks.optimize.curve import is_steps, must_be_share_or_steps

KEY = "average"  # our part of a checkpoint


class WeightAverage(Callback):
    """Keeps an average of the weights; validation, test, checkpoints and exports have the average.

    The training itself does not change. Running statistics, e.g. of batch norm, are averaged too.
    Until the average begins, the weights themselves are evaluated and saved.

    Args:
        decay: share of the average that an update keeps, in [0, 1), e.g. 0.999; null: the mean of
            all updates.
        warmup: begin with a smaller decay, (1 + n) / (10 + n) in update n, so that a short training
            forgets its first weights.
        every_steps: update after this number of optimizer steps; null: after each epoch.
        start: when the average begins: a share of the training in [0, 1), or a number of steps.

    Source:
        Polyak and Juditsky 1992, doi:10.1137/0330046; Tarvainen and Valpola 2017, arXiv:1703.01780;
        null: Izmailov et al. 2018, arXiv:1803.05407. Torch's AveragedModel computes it.
    """

    def __init__(
        self,
        decay: float | None = 0.999,
        *,
        warmup: bool = True,
        every_steps: int | None = 1,
        start: float = 0.0,
    ):
        if decay is not None:
            must_be_share("decay", decay)
        if every_steps is not None:
            must_be_positive("every_steps", every_steps)
        must_be_share_or_steps("start", start)
        self.decay, self.warmup, self.every_steps, self.start = decay, warmup, every_steps, start
        self.average: AveragedModel | None = None
        self.updated = 0  # number of optimizer steps before the last update
        self.is_swapped = False  # whether the network has the average, and the average the weights

    @property
    def count(self) -> int:
        """Number of updates so far."""
        return 0 if self.average is None else int(self.average.n_averaged)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        mean = None
        if self.decay is not None:
            mean = self._add
        self.average = AveragedModel(
            network_of(pl_module),
            device=trainer.strategy.root_device,
            multi_avg_fn=mean,
            use_buffers=True,
        )

    def _add(self, averages: Any, values: Any, count: Tensor | int) -> None:
        """Add weights to averages, as torch's AveragedModel asks."""
        assert self.decay is not None
        decay = self.decay
        if self.warmup:
            decay = min(decay, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(decay)(averages, values, count)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any
    ) -> None:
        if self.every_steps is not None and trainer.global_step % self.every_steps == 0:
            self._update(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.every_steps is None:
            self._update(trainer, pl_module)

    def _update(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        step = trainer.global_step
        if step == self.updated or not self._has_begun(trainer):
            return  # e.g. a batch whose gradients are only accumulated
        assert self.average is not None
        self.average.update_parameters(network_of(pl_module))
        self.updated = step

    def _has_begun(self, trainer: pl.Trainer) -> bool:
        step = trainer.global_step
        if is_steps(self.start):
            return step > self.start
        share = step / float(trainer.estimated_stepping_batches)
        clock = share_of_time(trainer)
        if clock is not None:
            share = max(share, clock())
        return share > self.start

    # Evaluation -----------------------------------------------------------------------------------

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if lightning.is_training(trainer) and self.count:
            self._swap(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.is_swapped:
            self._swap(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.average is not None and self.count:
            network_of(pl_module).load_state_dict(self.average.module.state_dict())

    @torch.no_grad()
    def _swap(self, pl_module: pl.LightningModule) -> None:
        assert self.average is not None
        pairs = zip(
            all_tensors(self.average.module), all_tensors(network_of(pl_module)), strict=True
        )
        for average, value in pairs:
            kept = average.clone()
            average.copy_(value)
            value.copy_(kept)
        self.is_swapped = not self.is_swapped

    # Checkpoints ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"updated": self.updated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updated = state_dict["updated"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the average in the place of the weights, and the weights beside it."""
        if self.average is None or not self.count:
            return
        held = {
            f"network.{name}": value for name, value in self.average.module.state_dict().items()
        }
        own = {name: checkpoint["state_dict"][name] for name in held}
        average, weights = held, own
        if self.is_swapped:  # in a validation that is interrupted
            average, weights = own, held
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **average}
        checkpoint[KEY] = {"weights": weights, "count": self.count}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Continue from the weights and the average; the test takes the average alone."""
        saved = checkpoint.get(KEY)
        if self.average is None or saved is None or not lightning.is_training(trainer):
            return
        # Lightning has loaded the average into the network
        self.average.module.load_state_dict(network_of(pl_module).state_dict())
        self.average.n_averaged.fill_(saved["count"])
        pl_module.load_state_dict(saved["weights"], strict=False)


def network_of(pl_module: pl.LightningModule) -> nn.Module:
    """Return the network of a task, which has all trained parameters."""
    network = pl_module.network
    assert isinstance(network, nn.Module)
    return network


def all_tensors(module: nn.Module) -> itertools.chain[Tensor]:
    """Return the parameters and buffers of a module."""
    return itertools.chain(module.parameters(), module.buffers())
