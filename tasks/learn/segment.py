"""Segmentation: a class for each pixel."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassJaccardIndex,
)

from tasks.data.split import PARTS
from tasks.errors import ArgumentError, must_not_be_negative
from tasks.learn.base import Batch, Task
from tasks.learn.losses.pixels import IGNORED, pixel_cross_entropy, soft_dice
from tasks.learn.metrics.pixels import PixelLoss
from tasks.learn.metrics.running import Mean
from tasks.report.samples import Masked, Masks, Result, Sample

WORST = 4  # predictions with the lowest accuracy that the report shows


class Segment(Task):
    """A class for each pixel: cross-entropy and soft Dice, judged by the mean IoU.

    Args:
        network: its output "logits" (batch, classes, height, width) may be coarser than the masks;
            it is then interpolated bilinearly to their size, for the loss, too.
        cross_entropy: weight of the cross-entropy, the mean over the pixels.
        dice: weight of the soft Dice loss, the mean over the classes that a batch has.
        class_weights: of the cross-entropy: a number for each class, or "balanced", the number of
            pixels over the number of classes times the pixels of the class, in the training part.
        options: those of `Task`; `facts` has "classes", their number, and "label", the height and
            the width of a mask.

    IoU and Dice come from the pixels of a whole part, not from the mean over its images; a class
    that neither masks nor predictions have does not count. The loss of validation and test is that
    of all pixels of the part, too, and does not depend on batches or processes; that of the
    training is the mean of the losses of its batches. Pixels that are ignored in the masks are left
    out everywhere.
    """

    needs: ClassVar[tuple[str, ...]] = ("classes", "label")
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {"logits": ("classes", "height", "width")}
    headline = "miou"

    def __init__(
        self,
        network: nn.Module,
        *,
        cross_entropy: float = 1.0,
        dice: float = 1.0,
        class_weights: list[float] | Literal["balanced"] | None = None,
        **options: Any,
    ):
        super().__init__(network, **options)
        must_not_be_negative("cross_entropy", cross_entropy)
        must_not_be_negative("dice", dice)
        if cross_entropy == dice == 0:
            raise ArgumentError(
                "dice", "there is no loss", got="cross_entropy=0, dice=0", fits="one above zero"
            )
        self.cross_entropy, self.dice = cross_entropy, dice
        classes = self.facts["classes"]
        self.is_balanced = class_weights == "balanced"
        self.weight: Tensor | None
        self.register_buffer("weight", read_weights(class_weights, classes), persistent=False)
        self.metrics = nn.ModuleDict()
        kept: dict[str, Any] = {"ignore_index": IGNORED, "validate_args": False}
        for part in PARTS:
            loss: Metric = PixelLoss(classes, cross_entropy=cross_entropy, dice=dice)
            if part == "train":
                loss = Mean()
            found: dict[str, Metric] = {
                "loss": loss,
                "miou": MulticlassJaccardIndex(classes, **kept),
                "dice": MulticlassF1Score(classes, **kept),
                "accuracy": MulticlassAccuracy(classes, average="micro", **kept),
            }
            self.metrics[f"{part}_part"] = nn.ModuleDict(found)
        self.confusion = MulticlassConfusionMatrix(classes, **kept)
        self.counts: list[list[int]] = []  # of the test: pixels by true class and predicted class
        # of the test: index, pixels that are right, pixels that are judged
        self.scores: list[tuple[int, int, int]] = []
        self.first: list[Masked] = []
        self.worst: list[Masked] = []

    def setup(self, stage: str) -> None:
        """Weigh the classes by the training part, where this is asked for."""
        if self.is_balanced:
            pixels = self.trainer.datamodule.class_pixels()  # type: ignore[attr-defined]
            balanced = pixels.sum() / (len(pixels) * pixels.clamp_min(1))
            self.weight = balanced.float().to(self.device)

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits (batch, classes, height, width) at the size of the masks."""
        logits = super().forward(batch)
        size = (self.facts["label"]["height"], self.facts["label"]["width"])
        return resize_logits(logits, size)

    def train_metrics(self) -> dict[str, Metric]:
        return self.part_metrics("train")

    def part_metrics(self, part: str) -> dict[str, Metric]:
        metrics: Any = self.metrics[f"{part}_part"]
        return dict(metrics.items())

    def compute_loss(self, batch: Batch) -> Tensor:
        return self.loss(self(batch), batch["label"])

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the weighted sum of cross-entropy and soft Dice.

        Args:
            logits: (batch, classes, height, width).
            label: (batch, height, width).
        """
        total = logits.new_zeros(())
        if self.cross_entropy:
            entropy = pixel_cross_entropy(logits, label, self.weight)
            total = total + self.cross_entropy * entropy
        if self.dice:
            total = total + self.dice * soft_dice(logits, label)
        return total

    def training_step(self, batch: Batch, number: int) -> Tensor:
        logits, label = self(batch), batch["label"]
        judged = (label != IGNORED).sum()
        loss = self.total_loss(self.loss(logits, label), judged)
        self.train_metrics()["loss"].update(loss.detach(), judged)
        self._count("train", logits, label)
        return loss

    def validation_step(self, batch: Batch, number: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, number: int) -> None:
        self.keep_first_samples(batch, number)
        predicted = self._evaluate("test", batch).argmax(1)
        label = batch["label"]
        self.confusion.update(predicted, label)
        found = list(score_masks(batch["index"], label, predicted))
        for masked in found:
            self.scores.append((masked.index, masked.right, masked.judged))
        if number == 0:
            self.first = found[:WORST]
        self.worst = sorted([*self.worst, *found], key=Masked.accuracy)[:WORST]

    def on_test_start(self) -> None:
        super().on_test_start()
        self.confusion.reset()
        self.scores, self.first, self.worst = [], [], []

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self.counts = self.confusion.compute().tolist()  # every process takes part in the sum
        self.scores = sorted(self.gather(self.scores))
        self.first = sorted(self.gather(self.first), key=lambda masked: masked.index)[:WORST]
        self.worst = sorted(self.gather(self.worst), key=Masked.accuracy)[:WORST]

    def results(self, data: Any) -> list[Result]:
        return [Masks(self.counts, self.scores, self.first, self.worst)]

    def samples(self, data: Any) -> list[Sample]:
        found = []
        rows = zip(self.first_inputs(), self.first_samples.get("index", ()), strict=False)
        for inputs, index in rows:
            image = data.raw_sample("test", int(index)).image
            found.append(Sample(f"test image {int(index)}", inputs, image=image))
        return found

    def _evaluate(self, part: str, batch: Batch) -> Tensor:
        """Add a batch to the metrics of a part; return its logits."""
        logits, label = self(batch), batch["label"]
        self.part_metrics(part)["loss"].update(logits, label, self.weight)
        self._count(part, logits, label)
        return logits

    def _count(self, part: str, logits: Tensor, label: Tensor) -> None:
        """Count the pixels of a batch that are right, by class."""
        metrics = self.part_metrics(part)
        predicted = logits.detach().argmax(1)
        for name in ("miou", "dice", "accuracy"):
            metrics[name].update(predicted, label)


def resize_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return logits (batch, classes, height, width) at another size, interpolated bilinearly."""
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def read_weights(value: Sequence[float] | str | None, classes: int) -> Tensor | None:
    """Return the weight of each class (classes,); None where all weigh alike.

    Raises:
        ArgumentError: there is not one number for each class, or a number is negative.
    """
    if value is None:
        return None
    if value == "balanced":
        return torch.ones(classes)
    fits = f"balanced, or {classes} numbers of 0 or more"
    if isinstance(value, str) or len(value) != classes:
        raise ArgumentError(
            "class_weights",
            "class_weights has one number for each class",
            got=f"class_weights={value}",
            fits=fits,
        )
    if min(value) < 0 or max(value) == 0:
        raise ArgumentError(
            "class_weights",
            "a class weight is not negative, and one of them is positive",
            got=f"class_weights={list(value)}",
            fits=fits,
        )
    return torch.tensor(list(value), dtype=torch.float32)


def score_masks(index: Tensor, label: Tensor, predicted: Tensor) -> list[Masked]:
    """Return the masks of each sample of a batch, with its numbers of pixels.

    Args:
        index: (batch,), of the samples.
        label: (batch, height, width).
        predicted: (batch, height, width).
    """
    judged = (label != IGNORED).flatten(1).sum(1).tolist()
    right = (label == predicted).flatten(1).sum(1).tolist()
    truth, found = label.short().cpu(), predicted.short().cpu()
    rows = []
    for row, number in enumerate(index.tolist()):
        rows.append(Masked(number, truth[row], found[row], right[row], judged[row]))
    return rows
