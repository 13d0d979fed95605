"""Classification: one class for each sample, or several labels."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from tasks.data.split import PARTS
from tasks.errors import ArgumentError, must_be_one_of, must_be_share, must_not_be_negative
from tasks.learn.base import Batch, Task
from tasks.learn.losses.classes import (
    balance_classes,
    balance_labels,
    class_loss,
    divide,
    label_loss,
    read_class_weights,
)
from tasks.learn.metrics.classification import (
    make_class_metrics,
    make_label_metrics,
    read_threshold,
)
from tasks.learn.metrics.histogram import AtThreshold, CalibrationError, Histogram, Threshold
from tasks.learn.metrics.running import Mean
from tasks.report.samples import TEXT, Labels, Predictions, Result, Sample

LOSSES = ("cross_entropy", "squared_error", "focal")
KINDS = ("multiclass", "multilabel")
METRICS = {"multiclass": ("accuracy",), "multilabel": ("map", "f1", "f1_micro")}
IN_TRAINING = ("loss", "accuracy")  # metrics that the training logs, too


class Classify(Task):
    """One class for each sample, by cross-entropy of the softmax, or several labels, by that of a
    sigmoid for each class.

    Args:
        network: gives logits (batch, classes).
        kind: multiclass: each sample has one class; multilabel: any number of labels.
        label_smoothing: share of the target that is spread over all classes, or over a label and
            its absence, in [0, 1).
        loss: cross_entropy; squared_error: of the probabilities, summed over the classes, as in
            Brier 1950; focal: the cross-entropy that counts what is nearly right less (Lin et al.
            2017, arXiv:1708.02002, equation 4). `val/loss` and `test/loss` are always the
            cross-entropy, without weights.
        gamma: of the focal loss: how much less; 0 is the cross-entropy.
        class_weights: of the loss in training: a number for each class, or {NAME: NUMBER}, the
            others having 1, or "balanced", by the training part. Of several labels, a weight is
            that of having the label, beside 1 for its absence. The mean is weighted.
        metrics: names. One class: accuracy, topK, balanced_accuracy, f1, precision, recall, auroc,
            map, calibration, the default being accuracy. Several labels: map, auroc, calibration,
            and at the threshold f1, f1_micro, precision, recall, accuracy; the default is map, f1,
            f1_micro. The first one is the headline of the report.
        threshold: of several labels, from which probability on a sample has a label: auto, the one
            with the best macro F1 of the last validation; each, the best one of each class; or a
            number. It is kept with the weights.
        options: those of `Task`; `facts` has "classes", their number.
    """

    needs: ClassVar[tuple[str, ...]] = ("classes",)
    mixes_labels = True
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {"logits": ("classes",)}

    def __init__(
        self,
        network: nn.Module,
        *,
        kind: Literal["multiclass", "multilabel"] = "multiclass",
        label_smoothing: float = 0.0,
        loss: Literal["cross_entropy", "squared_error", "focal"] = "cross_entropy",
        gamma: float = 2.0,
        class_weights: list[float] | dict[str, float] | Literal["balanced"] | None = None,
        metrics: Sequence[str] | None = None,
        threshold: float | Literal["auto", "each"] = "auto",
        **options: Any,
    ):
        super().__init__(network, **options)
        must_be_one_of("kind", kind, KINDS)
        must_be_share("label_smoothing", label_smoothing)
        must_be_one_of("loss", loss, LOSSES)
        must_not_be_negative("gamma", gamma)
        self.is_multilabel = kind == "multilabel"
        self.loss_options = {"loss": loss, "smoothing": label_smoothing, "gamma": gamma}
        classes = self.facts["classes"]
        self.class_weights = class_weights
        self.weight: Tensor | None
        self.register_buffer("weight", None, persistent=False)
        if class_weights is not None and not isinstance(class_weights, str | Mapping):
            self.weight = read_class_weights(class_weights, list(map(str, range(classes))))
        names = metrics or METRICS[kind]
        self.headline = names[0]
        start = torch.full((classes,), read_threshold(threshold))
        if self.is_multilabel:
            self.threshold: Tensor
            self.register_buffer("threshold", start)
        self.metrics = nn.ModuleDict()
        for part in PARTS:
            found: dict[str, Metric] = {"loss": Mean()}
            if self.is_multilabel:
                found |= make_label_metrics(names, start)
            else:
                found |= make_class_metrics(names, classes)
            if part == "train":
                found = {name: found[name] for name in IN_TRAINING if name in found}
            self.metrics[f"{part}_part"] = nn.ModuleDict(found)
        self.chooses = self.is_multilabel and isinstance(threshold, str)
        if self.chooses:
            validation: Any = self.metrics["val_part"]
            validation["threshold"] = Threshold(classes, each=threshold == "each")
        self.confusion = MulticlassConfusionMatrix(classes)
        self.counts: list[list[int]] = []  # of the test: true class, predicted class
        # of the test: index, label and probabilities of each batch
        self.predictions: list[tuple[Tensor, Tensor, Tensor]] = []

    def check(self, data: Any) -> None:
        super().check(data)
        axes = self.facts.get("label")
        if axes is not None and "classes" not in axes:
            raise ArgumentError(
                "data", "these data have a class for each pixel", fix="task=segment"
            )
        if self.is_multilabel and axes is None:
            raise ArgumentError(
                "kind",
                "these data have one class for each sample",
                got="kind=multilabel",
                fits="multiclass, or data with several labels, e.g. data.separator=';'",
            )
        if axes is not None and not self.is_multilabel:
            raise ArgumentError(
                "kind",
                "these data have several labels for each sample",
                got="kind=multiclass",
                fits="task.kind=multilabel",
            )
        self.weigh_classes(data)

    def weigh_classes(self, data: Any) -> None:
        """Set the weights of the classes by their names, or by the training part."""
        if self.class_weights is None:
            return
        if self.class_weights != "balanced":
            names = data.classes or list(map(str, range(self.facts["classes"])))
            self.weight = read_class_weights(self.class_weights, names)
            return
        label = data.training_labels()
        if self.is_multilabel:
            self.weight = balance_labels(label.sum(0), len(label))
        else:
            self.weight = balance_classes(label.bincount(minlength=self.facts["classes"]))

    # Metrics --------------------------------------------------------------------------------------

    def train_metrics(self) -> dict[str, Metric]:
        return self.part_metrics("train")

    def part_metrics(self, part: str) -> dict[str, Metric]:
        metrics: Any = self.metrics[f"{part}_part"]
        return dict(metrics.items())

    def start_part(self, part: str) -> None:
        super().start_part(part)
        if self.is_multilabel:
            self.use_threshold(self.threshold)

    def log_part(self, part: str) -> None:
        super().log_part(part)
        if part == "val" and self.chooses:
            metric: Any = self.part_metrics("val")["threshold"]
            metric.compute()  # every process takes part in the sum
            self.use_threshold(metric.chosen.to(self.threshold))

    def use_threshold(self, threshold: Tensor) -> None:
        """Set the threshold of each class (classes,), here and in the metrics."""
        self.threshold = threshold
        for metric in self.metrics.modules():
            if isinstance(metric, AtThreshold):
                metric.thresholds = threshold

    # Training -------------------------------------------------------------------------------------

    def compute_loss(self, batch: Batch) -> Tensor:
        return self.mixed_loss(self(batch), batch)

    def training_step(self, batch: Batch, number: int) -> Tensor:
        logits, label = self(batch), batch["label"]
        loss, count = self.count_loss(logits, batch)
        loss = self.total_loss(loss, count)
        self._update_metrics("train", logits, label, loss, count)
        return loss

    def mixed_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the loss of a batch, whose images may be mixed."""
        return self.count_loss(logits, batch)[0]

    def count_loss(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor | int]:
        """Return the loss and its weight; the loss of mixed images is the mean over both labels by
        their shares, which for cross-entropy equals that of the mixed label.
        """
        loss, count = self.weighted_loss(logits, batch["label"])
        if "label_mixed" not in batch:
            return loss, count
        share = batch["label_share"][0]  # the same for all images of a batch
        other, rest = self.weighted_loss(logits, batch["label_mixed"])
        if self.weight is None:
            return share * loss + (1 - share) * other, count
        total = share * count + (1 - share) * rest
        mixed = share * loss * count + (1 - share) * other * rest
        return divide(mixed, total), total

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss that training minimises.

        Args:
            logits: (batch, classes).
            label: (batch,), or (batch, classes) of several labels.
        """
        return self.weighted_loss(logits, label)[0]

    def weighted_loss(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor | int]:
        """Return the loss that training minimises, and its weight among other batches."""
        options: Any = self.loss_options
        if self.is_multilabel:
            return label_loss(logits, label, weight=self.weight, **options)
        return class_loss(logits, label, weight=self.weight, **options)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each class (batch, classes)."""
        if self.is_multilabel:
            return logits.float().sigmoid()
        return logits.float().softmax(1)

    # Validation and test --------------------------------------------------------------------------

    def validation_step(self, batch: Batch, number: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, number: int) -> None:
        self.keep_first_samples(batch, number)
        logits = self._evaluate("test", batch)
        if not self.is_multilabel:
            self.confusion.update(logits, batch["label"])
        row = (batch["index"].cpu(), batch["label"].cpu(), self.probabilities(logits).cpu())
        self.predictions.append(row)

    def on_test_start(self) -> None:
        super().on_test_start()
        self.predictions.clear()
        self.confusion.reset()

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        if not self.is_multilabel:
            # every process takes part in the sum
            self.counts = self.confusion.compute().int().tolist()
        self.predictions = self.gather(self.predictions)

    def sorted_predictions(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return index, label and probabilities of the test samples, in the order of the data."""
        index, label, share = map(torch.cat, zip(*self.predictions, strict=True))
        order = index.argsort()
        return index[order], label[order], share[order]

    def results(self, data: Any) -> list[Result]:
        index, label, share = self.sorted_predictions()
        if self.is_multilabel:
            return [Labels(index, label, share, self.threshold.cpu())]
        return [Predictions(self.counts, index, label, share)]

    def samples(self, data: Any) -> list[Sample]:
        if "index" not in self.first_samples:
            return []
        found = []
        for inputs, index, label in self.first_rows():
            name = name_labels(label, data.classes)
            if "image" in self.facts:
                image = data.raw_sample("test", index).image
                found.append(Sample(f"{name}, test image {index}", inputs, image=image))
            elif "tokens" in self.first_samples:
                found.append(text_sample(inputs, data, f"{name}, test sample {index}"))
        return found

    def first_rows(self) -> list[tuple[Batch, int, Any]]:
        """Return inputs, index and label of the first samples of the test."""
        index = self.first_samples["index"].tolist()
        label = self.first_samples["label"].tolist()
        return list(zip(self.first_inputs(), index, label, strict=True))

    def _evaluate(self, part: str, batch: Batch) -> Tensor:
        """Add a batch to the metrics of a part; return its logits."""
        logits, label = self(batch), batch["label"]
        loss_of = label_loss if self.is_multilabel else class_loss
        loss, count = loss_of(logits, label)
        self._update_metrics(part, logits, label, loss, count)
        return logits

    def _update_metrics(
        self,
        part: str,
        logits: Tensor,
        label: Tensor,
        loss: Tensor,
        count: Tensor | int | None = None,
    ) -> None:
        metrics = self.part_metrics(part)
        if count is None:
            count = len(label)
        metrics.pop("loss").update(loss.detach(), count)
        for metric in metrics.values():
            if isinstance(metric, Histogram | CalibrationError):
                metric.update(self.probabilities(logits.detach()), label)
            else:
                metric.update(logits, label)


def name_labels(label: int | Sequence[int], classes: Sequence[str]) -> str:
    """Return the name of a class, or those of the labels that a sample has."""
    if isinstance(label, int):
        return classes[label]
    names = [name for name, has_label in zip(classes, label, strict=True) if has_label]
    return ", ".join(names) or "no label"


def text_sample(inputs: Batch, data: Any, title: str) -> Sample:
    """Return a text without its padding, of which the first tokens are shown."""
    length = inputs["tokens"].shape[1]
    if "padding_mask" in inputs:
        length = int(inputs["padding_mask"].sum())
    inputs = {name: value[:, :length] for name, value in inputs.items()}
    names = data.token_names(inputs["tokens"][0].tolist())
    shown = range(min(length, TEXT))
    return Sample(title, inputs, tokens=names, rows=shown, columns=shown)
