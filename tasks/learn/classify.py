"""Learning to name the class of a sample."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from tasks.data.split import PARTS
from tasks.errors import must_be_one_of, must_be_share
from tasks.learn.base import Task
from tasks.learn.metrics import Mean
from tasks.report import classes
from tasks.report.samples import TEXT, Sample

LOSSES = ("cross_entropy", "squared_error")


class Classify(Task):
    """Cross-entropy with label smoothing, or squared error, judged by accuracy.

    Args:
        network: gives logits (batch, classes).
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        loss: cross_entropy, or squared_error: of the probabilities, summed over the classes, as
            Brier 1950 has it. `val/loss` and `test/loss` are the cross-entropy always.
        options: those of `Task`; `facts` has "classes", their number.
    """

    needs: ClassVar[tuple[str, ...]] = ("classes",)
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
        self.label_smoothing, self.kind = label_smoothing, loss
        classes = self.facts["classes"]
        self.accuracy = nn.ModuleDict(
            {f"{name}_part": MulticlassAccuracy(classes, average="micro") for name in PARTS}
        )
        self.mean_loss = nn.ModuleDict({f"{name}_part": Mean() for name in PARTS})
        self.confusion = MulticlassConfusionMatrix(classes)
        self.counts: list[list[int]] = []  # of the test: true class, predicted class
        self.predictions: list[tuple[Tensor, Tensor, Tensor]] = []

    def train_metrics(self) -> dict[str, Metric]:
        return self.judged("train")

    def judged(self, part: str) -> dict[str, Metric]:
        measured: Any = {"loss": self.mean_loss, "accuracy": self.accuracy}
        return {name: by_part[f"{part}_part"] for name, by_part in measured.items()}

    def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
        logits = self(batch)
        loss = self.watch(self.loss(logits, batch["label"]), len(batch["label"]))
        self._judge("train", logits, batch["label"], loss)
        return loss

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """What training makes small."""
        if self.kind == "cross_entropy":
            return F.cross_entropy(logits, label, label_smoothing=self.label_smoothing)
        wanted = (
            F.one_hot(label, logits.shape[1]) * (1 - self.label_smoothing)
            + self.label_smoothing / logits.shape[1]
        )
        return (logits.softmax(1) - wanted).square().sum(1).mean()

    def validation_step(self, batch: dict[str, Tensor], number: int) -> None:
        logits = self(batch)
        self._judge("val", logits, batch["label"], F.cross_entropy(logits, batch["label"]))

    def test_step(self, batch: dict[str, Tensor], number: int) -> None:
        self.keep(batch, number)
        logits = self(batch)
        self._judge("test", logits, batch["label"], F.cross_entropy(logits, batch["label"]))
        self.confusion.update(logits, batch["label"])
        self.predictions.append(
            (batch["index"].cpu(), batch["label"].cpu(), logits.float().softmax(1).cpu())
        )

    def on_test_start(self) -> None:
        super().on_test_start()
        self.predictions.clear()
        self.confusion.reset()

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self.counts = self.confusion.compute().int().tolist()  # every process takes part in the sum
        self.predictions = self.gathered(self.predictions)

    def predicted(self) -> tuple[Tensor, Tensor, Tensor]:
        """Index, label and probabilities of the test samples, in the order of the data."""
        index, label, share = (torch.cat(column) for column in zip(*self.predictions, strict=True))
        order = index.argsort()
        return index[order], label[order], share[order]

    def sections(self, place: Path, data: Any) -> list[tuple[str, str]]:
        return classes.sections(place, data, self.counts, *self.predicted())

    def samples(self, data: Any) -> list[Sample]:
        if "index" not in self.kept:
            return []
        rows = zip(
            self.kept_inputs(),
            self.kept["index"].tolist(),
            self.kept["label"].tolist(),
            strict=True,
        )
        if "image" in self.facts:
            return [
                Sample(
                    f"{data.classes[true]}, test image {place}",
                    inputs,
                    image=data.raw_sample("test", place).image,
                )
                for inputs, place, true in rows
            ]
        if "tokens" not in self.kept:
            return []
        return [
            text_sample(inputs, data, f"{data.classes[true]}, test sample {place}")
            for inputs, place, true in rows
        ]

    def _judge(self, part: str, logits: Tensor, label: Tensor, loss: Tensor) -> None:
        measured = self.judged(part)
        measured["accuracy"].update(logits, label)
        measured["loss"].update(loss.detach(), len(label))


def text_sample(inputs: dict[str, Tensor], data: Any, title: str) -> Sample:
    """A text without its padding, and the first of its tokens to look at."""
    real = (
        int(inputs["padding_mask"].sum()) if "padding_mask" in inputs else inputs["tokens"].shape[1]
    )
    cut = {name: value[:, :real] for name, value in inputs.items()}
    shown = range(min(real, TEXT))
    return Sample(
        title, cut, tokens=data.token_names(cut["tokens"][0].tolist()), rows=shown, columns=shown
    )
