"""Regression: one or several numbers for each sample."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric

from tasks.data.split import PARTS
from tasks.errors import ArgumentError, must_be_one_of, must_be_positive
from tasks.learn.base import Batch, Task
from tasks.learn.metrics.running import Determination, Mean
from tasks.report.samples import Numbers, Result

LOSSES = ("squared", "absolute", "huber", "quantile")


class Regress(Task):
    """Numbers, scaled by the training part for the loss and judged in the units of the data.

    Args:
        network: its output "logits" (batch, targets) is read as the standardised targets.
        loss: squared error; absolute error; huber, which is squared up to `delta` and linear beyond
            (Huber 1964, section 2); or quantile, the pinball loss whose minimum is the quantile
            `quantile` of the target (Koenker and Bassett 1978, section 3). Each is a mean over the
            targets of a batch.
        delta: of huber, in standard deviations of the target.
        quantile: in (0, 1).
        options: those of `Task`; `facts` has "targets", their number.

    Several targets weigh alike in the loss; `mae` and `rmse` are over all of them, in their own
    units, and the report has each by itself.
    """

    needs: ClassVar[tuple[str, ...]] = ("targets",)
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {"logits": ("targets",)}
    headline = "r2"

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: Literal["squared", "absolute", "huber", "quantile"] = "squared",
        delta: float = 1.0,
        quantile: float = 0.5,
        **options: Any,
    ):
        super().__init__(network, **options)
        must_be_one_of("loss", loss, LOSSES)
        must_be_positive("delta", delta, fits="e.g. 1.0")
        if not 0 < quantile < 1:
            raise ArgumentError(
                "quantile", "a quantile is between 0 and 1", got=str(quantile), fits="0.5"
            )
        for name, value, default, reader in (
            ("delta", delta, 1.0, "huber"),
            ("quantile", quantile, 0.5, "quantile"),
        ):
            if value != default and loss != reader:
                raise ArgumentError(
                    name,
                    f"{name} belongs to the loss {reader}",
                    got=f"{name}={value}, loss={loss}",
                    fix=f"task.loss={reader}, or leave task.{name} out",
                )
        self.loss_name, self.delta, self.quantile = loss, delta, quantile
        targets = self.facts["targets"]
        self.names = [str(number) for number in range(1, targets + 1)]
        # of each target in the training part
        self.register_buffer("mean", torch.zeros(targets), persistent=False)
        self.register_buffer("std", torch.ones(targets), persistent=False)
        self.metrics = nn.ModuleDict()
        for part in PARTS:
            found: dict[str, Metric] = {
                "loss": Mean(),
                "mae": MeanAbsoluteError(),
                "rmse": MeanSquaredError(squared=False),
                "r2": Determination(targets),
            }
            self.metrics[f"{part}_part"] = nn.ModuleDict(found)
        # of the test: index, target and prediction of each batch, in the units of the data
        self.predictions: list[tuple[Tensor, Tensor, Tensor]] = []

    def setup(self, stage: str) -> None:
        """Take the names and the units of the targets from the data."""
        names, mean, std = self.trainer.datamodule.target_scale()  # type: ignore[attr-defined]
        self.names = list(names)
        self.mean, self.std = mean.float(), std.float()

    def train_metrics(self) -> dict[str, Metric]:
        return self.part_metrics("train")

    def part_metrics(self, part: str) -> dict[str, Metric]:
        metrics: Any = self.metrics[f"{part}_part"]
        return dict(metrics.items())

    def compute_loss(self, batch: Batch) -> Tensor:
        return self.loss(self(batch), batch["target"])

    def loss(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return the loss that training minimises.

        Args:
            predicted: (batch, targets), standardised.
            target: (batch, targets), standardised.
        """
        if self.loss_name == "squared":
            return F.mse_loss(predicted, target)
        if self.loss_name == "absolute":
            return F.l1_loss(predicted, target)
        if self.loss_name == "huber":
            return F.huber_loss(predicted, target, delta=self.delta)
        error = target - predicted
        return torch.maximum(self.quantile * error, (self.quantile - 1) * error).mean()

    def training_step(self, batch: Batch, number: int) -> Tensor:
        predicted, target = self(batch), batch["target"]
        loss = self.total_loss(self.loss(predicted, target), target.numel())
        self._update_metrics("train", predicted, target, loss)
        return loss

    def validation_step(self, batch: Batch, number: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, number: int) -> None:
        self.keep_first_samples(batch, number)
        predicted = self._evaluate("test", batch)
        target = self.in_units(batch["target"])
        row = (batch["index"].cpu(), target.cpu(), self.in_units(predicted).cpu())
        self.predictions.append(row)

    def on_test_start(self) -> None:
        super().on_test_start()
        self.predictions.clear()

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self.predictions = self.gather(self.predictions)

    def results(self, data: Any) -> list[Result]:
        index, target, predicted = map(torch.cat, zip(*self.predictions, strict=True))
        order = index.argsort()
        return [Numbers(self.names, index[order], target[order], predicted[order])]

    def in_units(self, value: Tensor) -> Tensor:
        """Return standardised values (batch, targets) in the units of the data."""
        return value.float() * self.std + self.mean

    def _evaluate(self, part: str, batch: Batch) -> Tensor:
        """Add a batch to the metrics of a part; return its predictions."""
        predicted, target = self(batch), batch["target"]
        self._update_metrics(part, predicted, target, self.loss(predicted, target))
        return predicted

    def _update_metrics(self, part: str, predicted: Tensor, target: Tensor, loss: Tensor) -> None:
        metrics = self.part_metrics(part)
        metrics["loss"].update(loss.detach(), target.numel())
        predicted, target = self.in_units(predicted.detach()), self.in_units(target)
        for name in ("mae", "rmse", "r2"):
            metrics[name].update(predicted, target)
