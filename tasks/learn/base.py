"""What every task has in common: a network, an optimiser, a schedule, and losses that must stay
finite.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from torch import Tensor, nn
from torchmetrics import Metric

from tasks import lightning
from tasks.errors import ArgumentError
from tasks.learn.metrics import metric_states, set_metric_states
from tasks.learn.nonfinite import FiniteMonitor, NotFiniteError, find_nonfinite
from tasks.learn.optimizer import Cosine, build_optimizer
from tasks.learn.padding import find_mixing, origin_of
from tasks.parallel.strategy import (
    ParallelStrategy,
    clip_grad_norm,
    end_evaluation,
    group_size,
    is_sharded,
    start_evaluation,
)
from tasks.parallel.target_share import TargetShare
from tasks.report.samples import SAMPLES, Sample


class Task(pl.LightningModule):
    """Base of the tasks. A subclass says what the loss is and how it is judged.

    Args:
        network: gives logits, or a mapping with "logits", from the entries of a batch that bear its
            input names.
        optimizer: makes an optimiser from parameter groups.
        schedule: makes a learning rate schedule from an optimiser and the number of steps.
        facts: what the data say of themselves; a task lists in `needs` what it cannot do without,
            and in `outputs` the axes after the batch that it needs of each output of the network:
            the facts `classes` and `vocab`, and `tokens`, the length of what is to be said.
        config: kept in the checkpoint as a plain dictionary, so that the network can be built again
            from it alone.
        rates: name of a parameter of the network -> multiplier of its learning rate.
        check_padding: compare the sequences of a padded batch with each alone, before training, and
            refuse a network that answers differently.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    headline: str = "accuracy"  # the metric that the report shows largest

    def __init__(
        self,
        network: nn.Module,
        *,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[..., Any] | None = None,
        facts: Mapping[str, Any],
        config: dict | None = None,
        rates: Mapping[str, float] | None = None,
        check_padding: bool = True,
    ):
        super().__init__()
        self.network, self.facts = network, facts
        self.input_names: tuple[str, ...] = getattr(network, "input_names", ("image",))
        self.make_optimizer, self.schedule = optimizer, schedule or Cosine(warmup=0.0, final=1.0)
        self.rates, self.check_padding = dict(rates or {}), check_padding
        self.save_hyperparameters(config or {}, logger=False)
        self.finite, self.share = FiniteMonitor(), TargetShare()
        self.batch: dict[str, Tensor] = {}  # the one that is being learned from
        self.steps_here = (
            0  # of this process; a resumed one may come to the end of an epoch without any
        )
        self.looked = self.most = (
            0  # batches of a validation or test so far, and of the process with the most
        )
        self.looked_at: dict[str, Tensor] = {}  # the last of them
        self.kept: dict[str, Tensor] = {}  # the first samples of the test

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        result = self.network(**self.inputs(batch))
        return result["logits"] if isinstance(result, dict) else result

    def inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What of a batch flows into the network; an optional input, a mask say, is left out where
        there is none.
        """
        return {name: batch[name] for name in self.input_names if name in batch}

    def check(self, data: Any) -> None:
        """Raise an ArgumentError where this network cannot learn from these data what is asked;
        before training.
        """

    def check_alone(self, data: Any) -> None:
        """Raise an ArgumentError where the network answers differently to a sequence with padding
        behind it.
        """
        masks = getattr(data, "padding", {})
        batch = data.padded_batch() if self.check_padding and masks else None
        if batch is None:
            return
        found = find_mixing(self.network, self, batch, data.narrow)
        if found is None:
            return
        real = [f"{names[0]} {int(batch[mask][found.row].sum())}" for mask, names in masks.items()]
        node = "between the texts of a batch"
        if found.node is not None:
            node = f"first at {found.node}  {origin_of(self.network, found.node)}"
        got = (
            f"real tokens: {', '.join(real)}; the logits alone differ by "
            f"{found.difference:.0%} of the largest\n{node}"
        )
        fix = (
            f"in: {{padding_mask: {' or '.join(masks)}}} at that node, or a block that takes a mask"
        )
        fix = f"{fix}; task.check_padding=false trains it all the same"
        raise ArgumentError(
            "check_padding", "padding changes what the network says of a text", got=got, fix=fix
        )

    def sections(self, place: Path, data: Any) -> list[tuple[str, str]]:
        """What the report of a run shows of this task after the learning curves: (title, HTML)."""
        return []

    def samples(self, data: Any) -> list[Sample]:
        """Some samples of the test and how they are to be read, for a look inside the network."""
        return []

    def keep(self, batch: dict[str, Tensor], number: int) -> None:
        """Remember the first samples of the first batch."""
        if number == 0:
            self.kept = {name: value[:SAMPLES].cpu() for name, value in batch.items()}

    def kept_inputs(self) -> list[dict[str, Tensor]]:
        """What flows into the network of each of them, one row each."""
        inputs = {name: value for name, value in self.kept.items() if name in self.input_names}
        count = len(next(iter(inputs.values()), ()))
        return [
            {name: value[row : row + 1] for name, value in inputs.items()} for row in range(count)
        ]

    def train_metrics(self) -> Mapping[str, Metric]:
        """What is measured over an epoch of training, by name; a metric outlives a stop within the
        epoch.
        """
        return {}

    def measured(self) -> list[str]:
        """The metrics of training and validation, by the names under which they are logged."""
        found = [f"{part}/{name}" for part in ("train", "val") for name in self.train_metrics()]
        return [*found, "train/learning rate"]

    def log_train_metrics(self) -> None:
        """Hand them to Lightning, once in an epoch: it keeps the objects, and asks them when the
        epoch is over.
        """
        for name, metric in self.train_metrics().items():
            self.log(f"train/{name}", metric, on_step=False, on_epoch=True)

    def judged(self, part: str) -> Mapping[str, Metric]:
        """What is measured over the part "val" or "test", by name.

        Logged when the part is over, so that a process without a batch takes part in the sums of
        all processes.
        """
        return {}

    def begin_part(self, part: str) -> None:
        """Begin to measure a part anew, with the same buffers in all processes."""
        start_evaluation(self.trainer)
        self.looked, self.looked_at, self.most = 0, {}, 0
        if is_sharded(self.trainer):
            counts: list = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(counts, lightning.count_batches(self.trainer, part))
            self.most = max(counts)
        for metric in self.judged(part).values():
            metric.reset()

    def on_validation_batch_start(self, batch: dict[str, Tensor], *rest: Any) -> None:
        self.looked, self.looked_at = self.looked + 1, batch

    def on_test_batch_start(self, batch: dict[str, Tensor], *rest: Any) -> None:
        self.looked, self.looked_at = self.looked + 1, batch

    def keep_pace(self) -> None:
        """With weights in shards all processes take part in each forward pass: repeat a batch,
        uncounted.
        """
        measured = dict(self.judged("val"))
        kept = metric_states(measured)
        for number in range(self.most - self.looked):
            self.validation_step(self.looked_at, number)
        set_metric_states(measured, kept)

    def log_part(self, part: str) -> None:
        """Hand what is measured over a part to Lightning."""
        self.keep_pace()
        for name, metric in self.judged(part).items():
            self.log(f"{part}/{name}", metric, on_step=False, on_epoch=True)

    def watch(self, loss: Tensor, count: Tensor | int = 1) -> Tensor:
        """The loss with what blocks add to it; remembers whether all were finite, without waiting
        for a GPU.

        Args:
            loss: the mean over the targets of a batch.
            count: how many targets there are: what this batch weighs among those of the same step.
        """
        loss = loss + auxiliary_loss(self.network)
        self.finite.add(loss)
        self.share.count = count
        return loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Backpropagate the loss of one of several batches of a step with the weight of its
        targets.
        """
        if self.share.is_single(self.trainer):
            loss.backward(*args, **kwargs)
        else:
            loss.backward(self.share.weight(loss, self.trainer), *args, **kwargs)

    def on_train_batch_start(self, batch: dict[str, Tensor], number: int) -> None:
        self.batch = batch
        if not self.steps_here:
            self.log_train_metrics()
        self.steps_here += 1

    def on_after_backward(self) -> None:
        if not self.share.is_single(self.trainer) and not lightning.is_accumulating(self.trainer):
            self.share.divide(self.parameters(), self.trainer)
        if not is_sharded(
            self.trainer
        ):  # there no process may leave alone; the norm of the gradients tells all of them
            self.must_be_finite(wait=False)  # the loss, before the optimiser moves

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip, and look at the norm, which is not finite where a gradient is not."""
        by_norm = bool(gradient_clip_val) and gradient_clip_algorithm in (None, "norm")
        most = float(gradient_clip_val or 0.0) if by_norm else math.inf
        parameters = [
            p for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        if is_sharded(self.trainer):
            norm = clip_grad_norm(parameters, most)
        elif by_norm:
            norm = nn.utils.clip_grad_norm_(parameters, most)
        else:
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if not by_norm:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:
            self.finite.add(
                norm
            )  # a scaler meets infinite gradients now and then, and passes over the step by itself
            self.must_be_finite(wait=False)

    def on_train_start(self) -> None:
        self.share = TargetShare()
        told = getattr(self.lr_schedulers(), "told", None)
        if told and self.trainer.is_global_zero:
            print(told, flush=True)

    def on_validation_start(self) -> None:
        self.begin_part("val")

    def on_validation_epoch_start(self) -> None:
        self.must_be_finite()  # before a checkpoint is written

    def on_validation_epoch_end(self) -> None:
        self.log_part("val")

    def on_validation_end(self) -> None:
        end_evaluation(self.trainer)

    def on_test_start(self) -> None:
        self.begin_part("test")

    def on_test_epoch_end(self) -> None:
        self.log_part("test")

    def on_train_epoch_start(self) -> None:
        self.steps_here = 0

    def on_train_epoch_end(self) -> None:
        self.must_be_finite()
        if (
            not self.steps_here
        ):  # all steps of this epoch were before a stop: nothing has been logged of it yet
            self.log_train_metrics()
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("train/learning rate", rate, sync_dist=True)

    def configure_model(self) -> None:
        if isinstance(self.trainer.strategy, ParallelStrategy):
            self.trainer.strategy.distribute(self.network)

    def configure_optimizers(self) -> Any:
        # With float16 the fused kernels would undo the scaling of the loss themselves, after the
        # clipping.
        scaled = str(self.trainer.precision) == "16-mixed"
        optimizer = build_optimizer(self.network, self.make_optimizer, self.rates, fused=not scaled)
        steps = self.trainer.estimated_stepping_batches
        steps = steps if math.isinf(steps) else int(steps)
        clock = share_of_time(self.trainer) if isinstance(self.schedule, Cosine) else None
        schedule = (
            self.schedule(optimizer, steps, clock) if clock else self.schedule(optimizer, steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def gathered(self, found: list) -> list:
        """What all processes found in the test, each of which saw its share."""
        if self.trainer.world_size == 1:
            return found
        shares: list = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(shares, found)
        return [batch for share in shares[:: group_size(self.trainer)] for batch in share]

    def must_be_finite(self, *, wait: bool = True) -> None:
        """Raise NotFiniteError if a loss or gradient was not finite; unless `wait`, only if the
        device has said so.
        """
        if not self.finite.bad(wait=wait):
            return
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        vars(self)["log"] = lambda *names, **options: (
            None
        )  # the batch is computed again, not learned from
        step = lambda: torch.as_tensor(self.training_step(self.batch, 0))  # noqa: E731
        # with weights in shards all processes would have to compute again what one of them asks for
        where = (
            find_nonfinite(self.network, step)
            if self.batch and not is_sharded(self.trainer)
            else None
        )
        del vars(self)["log"]
        raise NotFiniteError(
            "the loss or a gradient became infinite or not a number in epoch "
            f"{self.current_epoch + 1}, "
            f"step {self.global_step + 1}, at a learning rate of {rate:.3g}\n"
            + (f"  where     {where}\n" if where else "")
            + "  fix       a lower optimizer.lr, a longer schedule.warmup or "
            "trainer.gradient_clip_val=1.0 may help"
        )


def share_of_time(trainer: pl.Trainer) -> Callable[[], float] | None:
    """What says which share of `max_time` is over; None without such a limit."""
    timers = [each for each in trainer.callbacks if isinstance(each, Timer)]  # type: ignore[attr-defined]
    limits = [(timer, timer.time_remaining()) for timer in timers]
    known = [timer for timer, left in limits if left is not None]
    if not known:
        return None
    timer = known[0]

    def share() -> float:
        spent, left = timer.time_elapsed(), timer.time_remaining() or 0.0
        return min(spent / max(spent + left, 1e-9), 1.0)

    return share


def auxiliary_loss(network: nn.Module) -> Tensor | float:
    """What blocks add to the loss themselves, as routers do to keep experts busy: the sum of their
    `auxiliary_loss`.
    """
    having = [
        m
        for m in network.modules()
        if "auxiliary_loss" in vars(m) or hasattr(type(m), "auxiliary_loss")
    ]
    found: list[Any] = [
        module.auxiliary_loss for module in having
    ]  # to ask every module takes 0.3 ms of each step
    return sum((loss for loss in found if loss is not None), start=0.0)
