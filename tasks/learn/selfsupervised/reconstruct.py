"""Reconstruction of hidden patches: masked autoencoders."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from blocks.graph.run.inspect import evaluation_mode
from tasks.data.sampler import generator
from tasks.data.split import PARTS
from tasks.errors import ArgumentError
from tasks.learn.base import Batch
from tasks.learn.metrics.running import Mean
from tasks.learn.selfsupervised.embedding import Embedding
from tasks.report.samples import SAMPLES, Reconstructed, Reconstructions, Result, Sample

NOISE = "noise"  # the input of the network that says which patches are hidden
SHOWN = 2 * SAMPLES  # reconstructions in the report


class Reconstruct(Embedding):
    """The mean squared error of the pixels of hidden patches.

    The masks are drawn anew in every epoch, and depend on seed, epoch and sample only: a resumed
    run, another batch size and several processes see the same. Those of validation and test never
    change.

    Args:
        network: from an image and "noise" (batch, patches) it gives "reconstruction" and "target"
            (batch, patches, values), "mask" (batch, patches), True where a patch is hidden, and
            "embedding" (batch, dim); without noise, no patch is hidden.
        normalise: subtract from each patch of the target its mean, and divide it by its standard
            deviation.
        seed: seed of the masks.
        options: those of `Embedding`.

    Source:
        He et al. 2022 (MAE), arXiv:2111.06377, section 3.
    """

    needs: ClassVar[tuple[str, ...]] = ("image",)
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "reconstruction": ("patches", "values"),
        "target": ("patches", "values"),
        "embedding": ("dim",),
    }

    def __init__(
        self, network: nn.Module, *, normalise: bool = False, seed: int = 0, **options: Any
    ):
        super().__init__(network, **options)
        self.normalise, self.seed = normalise, seed
        self.metrics = nn.ModuleDict({f"{part}_part": Mean() for part in PARTS})
        self.patches = 0  # of an image; known after the first batch
        self.shown: list[Reconstructed] = []

    def check(self, data: Any) -> None:
        super().check(data)
        if NOISE not in self.input_names:
            raise ArgumentError(
                "task",
                "this model hides no patches: it has no input noise",
                got=f"inputs {', '.join(self.input_names)}",
                fix="model=mae, or +model/pretext=mae for another ViT with a class token",
            )

    def train_metrics(self) -> dict[str, Metric]:
        return self.part_metrics("train")

    def part_metrics(self, part: str) -> dict[str, Metric]:
        metric: Any = self.metrics[f"{part}_part"]
        return {"loss": metric}

    def draw_noise(self, index: Tensor, epoch: int, image: Tensor) -> Tensor:
        """Return the noise (batch, patches) of samples in an epoch; -1 is that of validation and
        test.

        Args:
            index: (batch,), of the samples.
            epoch: the number of the epoch.
            image: (batch, channels, height, width).
        """
        if not self.patches:
            with evaluation_mode(self.network):
                self.patches = self.network(image=image[:1])["target"].shape[1]
        rows = []
        for number in index.tolist():
            source = generator(self.seed, epoch, number)
            rows.append(torch.rand(self.patches, generator=source))
        return torch.stack(rows).to(image.device)

    def reconstruct(self, batch: Batch, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, and what the network gives."""
        noise = self.draw_noise(batch["index"], epoch, batch["image"])
        found = self.network(**self.inputs({**batch, NOISE: noise}))
        target = found["target"]
        if self.normalise:
            target = normalise_patches(target)
        return masked_error(found["reconstruction"], target, found["mask"]), found

    def compute_loss(self, batch: Batch) -> Tensor:
        return self.reconstruct(batch, self.current_epoch)[0]

    def training_step(self, batch: Batch, number: int) -> Tensor:
        loss, found = self.reconstruct(batch, self.current_epoch)
        count = found["mask"].sum()
        loss = self.total_loss(loss, count)
        self.part_metrics("train")["loss"].update(loss.detach(), count)
        return loss

    def validation_step(self, batch: Batch, number: int) -> None:
        loss, found = self.reconstruct(batch, -1)
        self.part_metrics("val")["loss"].update(loss.detach(), found["mask"].sum())

    def test_step(self, batch: Batch, number: int) -> None:
        self.keep_first_samples(batch, number)
        loss, found = self.reconstruct(batch, -1)
        self.part_metrics("test")["loss"].update(loss.detach(), found["mask"].sum())
        if number == 0:
            self.shown = self._first(batch, found)

    def on_test_start(self) -> None:
        super().on_test_start()
        self.shown = []

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self.shown = sorted(self.gather(self.shown), key=lambda shown: shown.index)[:SHOWN]

    def _first(self, batch: Batch, found: Mapping[str, Tensor]) -> list[Reconstructed]:
        """Return the first samples of a batch with their masks and reconstructions."""
        value, target = found["reconstruction"].float(), found["target"].float()
        if self.normalise:
            mean, deviation = patch_statistics(target)
            value = value * deviation + mean
        shown = []
        for row, index in enumerate(batch["index"][:SHOWN].tolist()):
            shown.append(
                Reconstructed(index, target[row].cpu(), value[row].cpu(), found["mask"][row].cpu())
            )
        return shown

    def results(self, data: Any) -> list[Result]:
        return [Reconstructions(self.shown)]

    def samples(self, data: Any) -> list[Sample]:
        found = []
        rows = zip(self.first_inputs(), self.first_samples.get("index", ()), strict=False)
        for inputs, index in rows:
            image = data.raw_sample("test", int(index)).image
            found.append(Sample(f"test image {int(index)}", inputs, image=image))
        return found


def masked_error(value: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the squared error, the mean over the values of the patches that are hidden.

    Args:
        value: (batch, patches, values).
        target: (batch, patches, values).
        mask: (batch, patches), True where a patch is hidden.
    """
    error = (value.float() - target.float()).square().mean(-1)
    hidden = mask.to(error.dtype)
    return (error * hidden).sum() / hidden.sum().clamp_min(1)


def patch_statistics(target: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each patch, (batch, patches, 1) each."""
    mean = target.mean(-1, keepdim=True)
    return mean, (target.var(-1, keepdim=True) + 1e-6).sqrt()


def normalise_patches(target: Tensor) -> Tensor:
    """Return patches (batch, patches, values) of mean zero and standard deviation one."""
    mean, deviation = patch_statistics(target)
    return (target - mean) / deviation
