"""Classification."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from tasks.data.split import PARTS
from tasks.errors import ArgumentError, must_be_one_of, must_be_share
from tasks.learn.base import Batch, Task
from tasks.learn.metrics.running import Mean
from tasks.report.samples import TEXT, Predictions, Result, Sample

LOSSES = ("cross_entropy", "squared_error")


class Classify(Task):
    """Cross-entropy with label smoothing, or squared error, judged by accuracy.

    Args:
        network: gives logits (batch, classes).
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        loss: cross_entropy, or squared_error: of the probabilities, summed over the classes, as in
            Brier 1950. `val/loss` and `test/loss` are always the cross-entropy.
        options: those of `Task`; `facts` has "classes", their number.
    """

    needs: ClassVar[tuple[str, ...]] = ("classes",)
    mixes_labels = True
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {"logits": ("classes",)}

    def __init__(
        self,
        network: nn.Module,
        *,
        label_smoothing: float = 0.0,
        loss: Literal["cross_entropy", "squared_error"] = "cross_entropy",
        **options: Any,
    ):
        super().__init__(network, **options)
        must_be_share("label_smoothing", label_smoothing)
        must_be_one_of("loss", loss, LOSSES)
        self.label_smoothing = label_smoothing
        self.loss_name = loss
        classes = self.facts["classes"]
        self.accuracy = nn.ModuleDict()
        self.mean_loss = nn.ModuleDict()
        for part in PARTS:
            self.accuracy[f"{part}_part"] = MulticlassAccuracy(classes, average="micro")
            self.mean_loss[f"{part}_part"] = Mean()
        self.confusion = MulticlassConfusionMatrix(classes)
        self.counts: list[list[int]] = []  # of the test: true class, predicted class
        # of the test: index, label and probabilities of each batch
        self.predictions: list[tuple[Tensor, Tensor, Tensor]] = []

    def check(self, data: Any) -> None:
        super().check(data)
        if "label" in self.facts:
            raise ArgumentError(
                "data", "these data have a class for each pixel", fix="task=segment"
            )

    def train_metrics(self) -> dict[str, Metric]:
        return self.part_metrics("train")

    def part_metrics(self, part: str) -> dict[str, Metric]:
        metrics: Any = {"loss": self.mean_loss, "accuracy": self.accuracy}
        return {name: by_part[f"{part}_part"] for name, by_part in metrics.items()}

    def compute_loss(self, batch: Batch) -> Tensor:
        return self.mixed_loss(self(batch), batch)

    def training_step(self, batch: Batch, number: int) -> Tensor:
        logits, label = self(batch), batch["label"]
        loss = self.total_loss(self.mixed_loss(logits, batch), len(label))
        self._update_metrics("train", logits, label, loss)
        return loss

    def mixed_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the loss; that of mixed images is the mean over both labels by their shares, which
        for cross-entropy equals the loss of the mixed label.
        """
        loss = self.loss(logits, batch["label"])
        if "label_mixed" not in batch:
            return loss
        share = batch["label_share"][0]  # the same for all images of a batch
        return share * loss + (1 - share) * self.loss(logits, batch["label_mixed"])

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss that training minimises.

        Args:
            logits: (batch, classes).
            label: (batch,).
        """
        if self.loss_name == "cross_entropy":
            return F.cross_entropy(logits, label, label_smoothing=self.label_smoothing)
        classes = logits.shape[1]
        target = F.one_hot(label, classes) * (1 - self.label_smoothing)
        target = target + self.label_smoothing / classes
        return (logits.softmax(1) - target).square().sum(1).mean()

    def validation_step(self, batch: Batch, number: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, number: int) -> None:
        self.keep_first_samples(batch, number)
        logits = self._evaluate("test", batch)
        self.confusion.update(logits, batch["label"])
        probabilities = logits.float().softmax(1)
        self.predictions.append((batch["index"].cpu(), batch["label"].cpu(), probabilities.cpu()))

    def on_test_start(self) -> None:
        super().on_test_start()
        self.predictions.clear()
        self.confusion.reset()

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self.counts = self.confusion.compute().int().tolist()  # every process takes part in the sum
        self.predictions = self.gather(self.predictions)

    def sorted_predictions(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return index, label and probabilities of the test samples, in the order of the data."""
        index, label, share = map(torch.cat, zip(*self.predictions, strict=True))
        order = index.argsort()
        return index[order], label[order], share[order]

    def results(self, data: Any) -> list[Result]:
        index, label, share = self.sorted_predictions()
        return [Predictions(self.counts, index, label, share)]

    def samples(self, data: Any) -> list[Sample]:
        if "index" not in self.first_samples:
            return []
        found = []
        for inputs, index, label in self.first_rows():
            name = data.classes[label]
            if "image" in self.facts:
                image = data.raw_sample("test", index).image
                found.append(Sample(f"{name}, test image {index}", inputs, image=image))
            elif "tokens" in self.first_samples:
                found.append(text_sample(inputs, data, f"{name}, test sample {index}"))
        return found

    def first_rows(self) -> list[tuple[Batch, int, int]]:
        """Return inputs, index and label of the first samples of the test."""
        index = self.first_samples["index"].tolist()
        label = self.first_samples["label"].tolist()
        return list(zip(self.first_inputs(), index, label, strict=True))

    def _evaluate(self, part: str, batch: Batch) -> Tensor:
        """Add a batch to the metrics of a part; return its logits."""
        logits = self(batch)
        loss = F.cross_entropy(logits, batch["label"])
        self._update_metrics(part, logits, batch["label"], loss)
        return logits

    def _update_metrics(self, part: str, logits: Tensor, label: Tensor, loss: Tensor) -> None:
        metrics = self.part_metrics(part)
        metrics["accuracy"].update(logits, label)
        metrics["loss"].update(loss.detach(), len(label))


def text_sample(inputs: Batch, data: Any, title: str) -> Sample:
    """Return a text without its padding, of which the first tokens are shown."""
    length = inputs["tokens"].shape[1]
    if "padding_mask" in inputs:
        length = int(inputs["padding_mask"].sum())
    inputs = {name: value[:, :length] for name, value in inputs.items()}
    names = data.token_names(inputs["tokens"][0].tolist())
    shown = range(min(length, TEXT))
    return Sample(title, inputs, tokens=names, rows=shown, columns=shown)
