"""Learning to name the class of a sample."""

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from tasks.errors import must_be_share
from tasks.optimizer import Cosine, optimise

PARTS = ("train", "val", "test")


class Classify(pl.LightningModule):
    """Cross-entropy with label smoothing, judged by accuracy.

    Args:
        network: gives logits, or a mapping with "logits", from the entries of a batch that bear its input names.
        optimizer: makes an optimiser from parameter groups.
        schedule: makes a learning rate schedule from an optimiser and the number of steps.
        classes: number of classes.
        config: kept in the checkpoint as a plain dictionary, so that the network can be built again from it alone.
        rates: name of a parameter of the network -> multiplier of its learning rate.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[..., Any] | None = None,
        classes: int,
        config: dict | None = None,
        rates: Mapping[str, float] | None = None,
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        must_be_share("label_smoothing", label_smoothing)
        self.network = network
        self.input_names: tuple[str, ...] = getattr(network, "input_names", ("image",))
        self.make_optimizer, self.schedule = optimizer, schedule or Cosine(warmup=0.0, final=1.0)
        self.rates = dict(rates or {})
        self.label_smoothing = label_smoothing
        self.save_hyperparameters(config or {}, logger=False)
        self.accuracy = nn.ModuleDict({f"{name}_part": MulticlassAccuracy(classes, average="micro") for name in PARTS})
        self.confusion = MulticlassConfusionMatrix(classes)
        self.finite: Tensor | bool = True
        self.counts: list[list[int]] = []  # of the test: true class, predicted class
        self.predictions: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        result = self.network(**{name: batch[name] for name in self.input_names})
        return result["logits"] if isinstance(result, dict) else result

    def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
        logits = self(batch)
        loss = F.cross_entropy(logits, batch["label"], label_smoothing=self.label_smoothing)
        loss = loss + auxiliary_loss(self.network)
        self.finite = self.finite & loss.detach().isfinite()  # looked at once an epoch: no waiting for the device
        self._judge("train", logits, batch["label"], loss)
        return loss

    def validation_step(self, batch: dict[str, Tensor], number: int) -> None:
        logits = self(batch)
        self._judge("val", logits, batch["label"], F.cross_entropy(logits, batch["label"]))

    def test_step(self, batch: dict[str, Tensor], number: int) -> None:
        logits = self(batch)
        self._judge("test", logits, batch["label"], F.cross_entropy(logits, batch["label"]))
        self.confusion.update(logits, batch["label"])
        self.predictions.append((batch["index"].cpu(), batch["label"].cpu(), logits.float().softmax(1).cpu()))

    def on_validation_epoch_start(self) -> None:
        self._must_be_finite()  # before a checkpoint is written

    def _must_be_finite(self) -> None:
        if not self.finite:
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            raise RuntimeError(
                f"the loss became infinite or not a number in epoch {self.current_epoch + 1}, "
                f"at a learning rate of {rate:.3g}; a lower optimizer.lr, a longer schedule.warmup "
                "or trainer.gradient_clip_val=1.0 may help"
            )

    def on_test_start(self) -> None:
        self.predictions.clear()
        self.confusion.reset()

    def on_test_epoch_end(self) -> None:
        self.counts = self.confusion.compute().int().tolist()  # every process takes part in the sum
        if self.trainer.world_size > 1:  # every process saw its share
            shares: list = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, self.predictions)
            self.predictions = [batch for share in shares for batch in share]

    def on_train_epoch_end(self) -> None:
        self._must_be_finite()
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("train/learning rate", rate, sync_dist=True)

    def predicted(self) -> tuple[Tensor, Tensor, Tensor]:
        """Index, label and probabilities of the test samples, in the order of the data."""
        index, label, share = (torch.cat(column) for column in zip(*self.predictions, strict=True))
        order = index.argsort()
        return index[order], label[order], share[order]

    def configure_optimizers(self) -> Any:
        optimizer = optimise(self.network, self.make_optimizer, self.rates)
        schedule = self.schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _judge(self, part: str, logits: Tensor, label: Tensor, loss: Tensor) -> None:
        metric: Any = self.accuracy[f"{part}_part"]
        metric.update(logits, label)
        options: dict[str, Any] = {"on_step": False, "on_epoch": True, "batch_size": len(label)}
        self.log(f"{part}/loss", loss.detach(), sync_dist=True, **options)
        self.log(f"{part}/accuracy", metric, **options)


def auxiliary_loss(network: nn.Module) -> Tensor | float:
    """What blocks add to the loss themselves, as routers do to keep experts busy: the sum of their `auxiliary_loss`."""
    found = (getattr(module, "auxiliary_loss", None) for module in network.modules())
    return sum((loss for loss in found if loss is not None), start=0.0)
