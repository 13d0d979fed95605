"""Contrastive learning from two views of an image."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from tasks.data.split import PARTS
from tasks.errors import ArgumentError, must_be_positive
from tasks.learn.base import Batch
from tasks.learn.losses.contrastive import check_others, nt_xent
from tasks.learn.metrics.running import Mean
from tasks.learn.selfsupervised.embedding import Embedding, find_neighbours
from tasks.report.samples import Result, Sample

VIEW = "view"  # the entry of a batch with the other view of each image


class Contrast(Embedding):
    """Two random views of an image are to be more alike than those of other images.

    Both views pass through the network as one batch. In training, the images of all processes are
    compared; in validation and test those of a batch of one process, with views that never change.

    Args:
        network: from an image it gives "projection" (batch, values), which is compared, and
            "embedding" (batch, dim), which is kept.
        temperature: divides the cosines.
        options: those of `Embedding`; the data give "view", another view of each image
            (data.views=2).

    Source:
        Chen et al. 2020 (SimCLR), arXiv:2002.05709.
    """

    needs: ClassVar[tuple[str, ...]] = ("image",)
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "projection": ("values",),
        "embedding": ("dim",),
    }

    def __init__(self, network: nn.Module, *, temperature: float = 0.5, **options: Any):
        super().__init__(network, **options)
        must_be_positive("temperature", temperature, fits="e.g. 0.5")
        self.temperature = temperature
        self.metrics = nn.ModuleDict({f"{part}_part": Mean() for part in PARTS})

    def check(self, data: Any) -> None:
        super().check(data)
        if getattr(data, "views", 1) != 2:
            raise ArgumentError(
                "data", "contrast compares two views of each image", fix="data.views=2"
            )
        check_others(data)

    def train_metrics(self) -> dict[str, Metric]:
        return self.part_metrics("train")

    def part_metrics(self, part: str) -> dict[str, Metric]:
        metric: Any = self.metrics[f"{part}_part"]
        return {"loss": metric}

    def contrast(self, batch: Batch, *, gather: bool) -> Tensor:
        """Return the loss of a batch.

        Args:
            batch: with two views of each image.
            gather: compare with the images of all processes.
        """
        both = torch.cat([batch["image"], batch[VIEW]])
        first, second = self.network(image=both)["projection"].chunk(2)
        return nt_xent(first, second, self.temperature, gather=gather)

    def compute_loss(self, batch: Batch) -> Tensor:
        return self.contrast(batch, gather=False)

    def training_step(self, batch: Batch, number: int) -> Tensor:
        count = len(batch["image"])
        loss = self.total_loss(self.contrast(batch, gather=True), count)
        self.part_metrics("train")["loss"].update(loss.detach(), count)
        return loss

    def validation_step(self, batch: Batch, number: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, number: int) -> None:
        self.keep_first_samples(batch, number)
        self._evaluate("test", batch)

    def results(self, data: Any) -> list[Result]:
        return find_neighbours(self.embedded)

    def samples(self, data: Any) -> list[Sample]:
        found = []
        rows = zip(self.first_inputs(), self.first_samples.get("index", ()), strict=False)
        for inputs, index in rows:
            image = data.raw_sample("test", int(index)).image
            found.append(Sample(f"test image {int(index)}", inputs, image=image))
        return found

    def _evaluate(self, part: str, batch: Batch) -> None:
        loss = self.contrast(batch, gather=False)
        self.part_metrics(part)["loss"].update(loss.detach(), len(batch["image"]))
