"""The base of all tasks: a network, an optimizer, a schedule, and losses that must stay finite."""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from torch import Tensor, nn
from torchmetrics import Metric

from tasks import lightning
from tasks.errors import ArgumentError
from tasks.learn.checks.nonfinite import FiniteMonitor, NotFiniteError, find_nonfinite
from tasks.learn.checks.padding import find_mixing, find_origin
from tasks.learn.metrics.running import metric_states, set_metric_states
from tasks.optimize.curve import Schedule
from tasks.optimize.groups import build_optimizer
from tasks.optimize.schedule import Constant
from tasks.parallel.strategy import (
    ParallelStrategy,
    clip_grad_norm,
    clip_grad_value,
    end_evaluation,
    group_size,
    is_sharded,
    start_evaluation,
)
from tasks.parallel.target_share import TargetShare
from tasks.report.samples import SAMPLES, Result, Sample

Batch = dict[str, Tensor]


class Task(pl.LightningModule):
    """Base of the tasks. A subclass defines the loss and the metrics.

    Args:
        network: gives logits, or a mapping with "logits", from the entries of a batch that have its
            input names.
        optimizer: makes an optimizer from parameter groups.
        schedule: makes a learning rate schedule from an optimizer and the number of steps.
        facts: facts of the data; a task lists in `needs` those that it requires, and in `outputs`
            the axes after the batch that it requires of each output of the network: the facts
            `classes` and `vocab`, and `tokens`, the length of the label.
        config: stored in the checkpoint as a plain dictionary, so that the network can be built
            again from it alone.
        rates: name of a parameter of the network -> multiplier of its learning rate.
        check_padding: compare the sequences of a padded batch with each alone, before training, and
            refuse a network that answers differently.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    mixes_labels: ClassVar[bool] = False  # whether the loss takes batches of mixed images
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
        self.network = network
        self.facts = facts
        self.input_names: tuple[str, ...] = getattr(network, "input_names", ("image",))
        self.make_optimizer = optimizer
        self.schedule = schedule or Constant()
        self.rates = dict(rates or {})
        self.check_padding = check_padding
        self.save_hyperparameters(config or {}, logger=False)
        self.finite = FiniteMonitor()
        self.share = TargetShare()
        self.batch: Batch = {}  # the current batch of the training
        # steps of this process in this epoch; a resumed run may end an epoch without any
        self.steps_here = 0
        self.seen_batches = 0  # of the current validation or test
        self.most_batches = 0  # of the process with the most
        self.last_seen: Batch = {}
        self.first_samples: Batch = {}  # of the test

    def forward(self, batch: Batch) -> Tensor:
        result = self.network(**self.inputs(batch))
        if isinstance(result, dict):
            return result["logits"]
        return result

    def inputs(self, batch: Batch) -> Batch:
        """Return the entries of a batch that are inputs of the network; an optional one, e.g. a
        mask, may be missing.
        """
        return {name: batch[name] for name in self.input_names if name in batch}

    # Checks before training -----------------------------------------------------------------------

    def check(self, data: Any) -> None:
        """Raise an ArgumentError where this network cannot learn this task from these data."""

    def check_alone(self, data: Any) -> None:
        """Raise an ArgumentError where the padding behind a sequence changes its logits."""
        masks = getattr(data, "padding", {})
        if not self.check_padding or not masks:
            return
        batch = data.padded_batch()
        if batch is None:
            return
        mixing = find_mixing(self.network, self, batch, data.narrow)
        if mixing is None:
            return
        lengths = []
        for mask, names in masks.items():
            lengths.append(f"{names[0]} {int(batch[mask][mixing.row].sum())}")
        node = "between the texts of a batch"
        if mixing.node is not None:
            node = f"first at {mixing.node}  {find_origin(self.network, mixing.node)}"
        raise ArgumentError(
            "check_padding",
            "padding changes the logits of a text",
            got=(
                f"real tokens: {', '.join(lengths)}; the logits alone differ by "
                f"{mixing.difference:.0%} of the largest\n{node}"
            ),
            fix=(
                f"in: {{padding_mask: {' or '.join(masks)}}} at that node, or a block that takes "
                "a mask; task.check_padding=false trains it all the same"
            ),
        )

    # For the report -------------------------------------------------------------------------------

    def results(self, data: Any) -> list[Result]:
        """Return the results of the test that the report shows, in order."""
        return []

    def samples(self, data: Any) -> list[Sample]:
        """Return some samples of the test for the inspection of the network."""
        return []

    def keep_first_samples(self, batch: Batch, number: int) -> None:
        """Store the first samples of the first batch.

        Args:
            batch: of the test.
            number: of the batch.
        """
        if number == 0:
            self.first_samples = {name: value[:SAMPLES].cpu() for name, value in batch.items()}

    def first_inputs(self) -> list[Batch]:
        """Return the inputs of the network for each of the first samples, with one row each."""
        inputs = self.inputs(self.first_samples)
        count = len(next(iter(inputs.values()), ()))
        rows = []
        for row in range(count):
            rows.append({name: value[row : row + 1] for name, value in inputs.items()})
        return rows

    # Metrics --------------------------------------------------------------------------------------

    def train_metrics(self) -> Mapping[str, Metric]:
        """Return the metrics over an epoch of training, by name; checkpoints store their states."""
        return {}

    def part_metrics(self, part: str) -> Mapping[str, Metric]:
        """Return the metrics over the part "val" or "test", by name.

        They are logged at the end of the part, so that a process without a batch takes part in the
        sums of all processes.
        """
        return {}

    def metric_names(self) -> list[str]:
        """Return the names under which training and validation log metrics."""
        names = [f"train/{name}" for name in self.train_metrics()]
        names += [f"val/{name}" for name in self.part_metrics("val")]
        return [*names, "train/learning rate"]

    def log_train_metrics(self) -> None:
        """Log the metric objects once in an epoch; Lightning computes them when it ends."""
        for name, metric in self.train_metrics().items():
            self.log(f"train/{name}", metric, on_step=False, on_epoch=True)

    def start_part(self, part: str) -> None:
        """Reset the metrics of a part, and give all processes the same buffers."""
        start_evaluation(self.trainer)
        self.seen_batches = 0
        self.most_batches = 0
        self.last_seen = {}
        if is_sharded(self.trainer):
            counts: list = [None] * self.trainer.world_size
            own = lightning.count_batches(self.trainer, part)
            torch.distributed.all_gather_object(counts, own)
            self.most_batches = max(counts)
        for metric in self.part_metrics(part).values():
            metric.reset()

    def record_batch(self, batch: Batch) -> None:
        """Count a batch of a validation or test."""
        self.seen_batches += 1
        self.last_seen = batch

    def repeat_batches(self) -> None:
        """Run as many batches as the process with the most, uncounted: with sharded weights all
        processes take part in each forward pass.
        """
        metrics = dict(self.part_metrics("val"))
        states = metric_states(metrics)
        for number in range(self.most_batches - self.seen_batches):
            self.validation_step(self.last_seen, number)
        set_metric_states(metrics, states)

    def log_part(self, part: str) -> None:
        """Log the metrics of a part."""
        self.repeat_batches()
        for name, metric in self.part_metrics(part).items():
            self.log(f"{part}/{name}", metric, on_step=False, on_epoch=True)

    def gather(self, items: list) -> list:
        """Return the items of all processes, each of which has those of its share of the test."""
        if self.trainer.world_size == 1:
            return items
        shares: list = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(shares, items)
        # the processes of a group have the same share
        return [item for share in shares[:: group_size(self.trainer)] for item in share]

    # The loss -------------------------------------------------------------------------------------

    def compute_loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch of the training, without any effect on metrics."""
        raise NotImplementedError

    def total_loss(self, loss: Tensor, count: Tensor | int = 1) -> Tensor:
        """Add the auxiliary losses of blocks; record whether all are finite, without waiting for a
        GPU.

        Args:
            loss: the mean over the targets of a batch.
            count: number of targets, the weight of this batch among those of the same step.
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

    def must_be_finite(self, *, wait: bool = True) -> None:
        """Raise NotFiniteError if a loss or gradient was not finite.

        Args:
            wait: for the device; otherwise raise only if it has reported one already.
        """
        if not self.finite.has_failed(wait=wait):
            return
        where = None
        # with sharded weights all processes would have to repeat what one of them asks for
        if self.batch and not is_sharded(self.trainer):
            where = find_nonfinite(self.network, lambda: self.compute_loss(self.batch))
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        lines = [
            "the loss or a gradient became infinite or not a number in epoch "
            f"{self.current_epoch + 1}, step {self.global_step + 1}, at a learning rate of "
            f"{rate:.3g}"
        ]
        if where is not None:
            lines.append(f"  where     {where}")
        lines.append(
            "  fix       a lower optimizer.lr, a longer schedule.warmup or "
            "trainer.gradient_clip_val=1.0 may help"
        )
        raise NotFiniteError("\n".join(lines))

    # Hooks of Lightning ---------------------------------------------------------------------------

    def on_validation_batch_start(self, batch: Batch, *rest: Any) -> None:
        self.record_batch(batch)

    def on_test_batch_start(self, batch: Batch, *rest: Any) -> None:
        self.record_batch(batch)

    def on_train_batch_start(self, batch: Batch, number: int) -> None:
        self.batch = batch
        if not self.steps_here:
            self.log_train_metrics()
        self.steps_here += 1

    def on_after_backward(self) -> None:
        if not self.share.is_single(self.trainer) and not lightning.is_accumulating(self.trainer):
            self.share.divide(self.parameters(), self.trainer)
        if not is_sharded(self.trainer):
            # with sharded weights no process may stop alone; the norm of the gradients stops all
            self.must_be_finite(wait=False)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients, and check their norm, which is finite only if all of them are."""
        by_norm = bool(gradient_clip_val) and gradient_clip_algorithm in (None, "norm")
        most = math.inf
        if by_norm and gradient_clip_val is not None:
            most = float(gradient_clip_val)
        parameters = []
        for group in optimizer.param_groups:
            parameters += [p for p in group["params"] if p.grad is not None]
        if is_sharded(self.trainer):
            norm = clip_grad_norm(parameters, most)
        elif by_norm:
            norm = nn.utils.clip_grad_norm_(parameters, most)
        else:
            norm = nn.utils.get_total_norm([p.grad for p in parameters])
        if is_sharded(self.trainer) and gradient_clip_algorithm == "value":
            clip_grad_value(parameters, float(gradient_clip_val or math.inf))
        elif not by_norm:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:
            # a scaler meets infinite gradients at times, and skips the step by itself
            self.finite.add(norm)
            self.must_be_finite(wait=False)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        for block in find_after_step(self.network):
            block.after_step()  # type: ignore[operator]

    def on_train_start(self) -> None:
        self.share = TargetShare()
        note = getattr(self.lr_schedulers(), "note", None)
        if note and self.trainer.is_global_zero:
            print(note, flush=True)

    def on_train_epoch_start(self) -> None:
        self.steps_here = 0

    def on_train_epoch_end(self) -> None:
        self.must_be_finite()
        if not self.steps_here:
            # all steps of this epoch were before a stop: nothing of it has been logged yet
            self.log_train_metrics()
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("train/learning rate", rate, sync_dist=True)

    def on_validation_start(self) -> None:
        self.start_part("val")

    def on_validation_epoch_start(self) -> None:
        self.must_be_finite()  # before a checkpoint is written

    def on_validation_epoch_end(self) -> None:
        self.log_part("val")

    def on_validation_end(self) -> None:
        end_evaluation(self.trainer)

    def on_test_start(self) -> None:
        self.start_part("test")

    def on_test_epoch_end(self) -> None:
        self.log_part("test")

    def configure_model(self) -> None:
        if isinstance(self.trainer.strategy, ParallelStrategy):
            self.trainer.strategy.distribute(self.network)

    def other_parameters(self) -> list[nn.Parameter]:
        """Return parameters outside of the network that are trained with it."""
        return []

    def configure_optimizers(self) -> Any:
        # fused kernels would undo the scaling of a float16 loss themselves, after the clipping
        is_scaled = str(self.trainer.precision) == "16-mixed"
        optimizer = build_optimizer(
            self.network,
            self.make_optimizer,
            self.rates,
            others=self.other_parameters(),
            fused=not is_scaled,
        )
        steps = self.trainer.estimated_stepping_batches
        if not math.isinf(steps):
            steps = int(steps)
        clock = None
        if isinstance(self.schedule, Schedule):
            clock = share_of_time(self.trainer)
        if clock is not None:
            schedule = self.schedule(optimizer, steps, clock)
        else:
            schedule = self.schedule(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def share_of_time(trainer: pl.Trainer) -> Callable[[], float] | None:
    """Return a function that gives the share of `max_time` that has passed; None without such a
    limit.
    """
    for timer in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(timer, Timer) and timer.time_remaining() is not None:
            break
    else:
        return None

    def share() -> float:
        spent, left = timer.time_elapsed(), timer.time_remaining() or 0.0
        return min(spent / max(spent + left, 1e-9), 1.0)

    return share


def find_after_step(network: nn.Module) -> list[nn.Module]:
    """Return the blocks that change buffers after each step of the optimizer, e.g. mixtures."""
    return [module for module in network.modules() if hasattr(type(module), "after_step")]


def auxiliary_loss(network: nn.Module) -> Tensor | float:
    """Return the sum of the `auxiliary_loss` of all blocks, e.g. of routers of experts."""
    total: Tensor | float = 0.0
    for module in network.modules():
        # without this check, which avoids nn.Module.__getattr__, a step takes 0.3 ms longer
        if "auxiliary_loss" in vars(module) or hasattr(type(module), "auxiliary_loss"):
            loss: Any = module.auxiliary_loss
            if loss is not None:
                total = total + loss
    return total
