"""Contrastive learning from images and their captions: two towers."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from blocks.graph import Graph
from blocks.graph.run.inspect import evaluation_mode
from tasks.errors import ArgumentError
from tasks.learn.base import Batch, Task
from tasks.learn.losses.contrastive import check_others, clip_loss
from tasks.learn.metrics.retrieval import average_prompts, pair_loss, recall_at
from tasks.learn.metrics.running import Mean
from tasks.report.samples import Gallery, Result, Sample

COUNTS = (1, 5)  # of recall
SHOWN = 12  # images and captions of the report
BEST = 3  # captions of each image
KEPT = ("index", "group", "label")

Embedded = dict[str, Tensor]


class ContrastPairs(Task):
    """An image and its caption are to be more alike than those of other pairs.

    The network has two towers, which do not see each other: it takes as many images as texts, or
    another number of each. In training, the pairs of all processes are compared. Validation and
    test compare all pairs of the part, whatever the batch size and the number of processes: loss,
    recall at 1 and 5 of the captions of an image (`image_to_text_r1`) and of the images of a
    caption, and `zero_shot_accuracy` where the data have classes with texts: the share of images
    that are nearest to the texts of their class. For recall, a caption that several images have is
    one caption.

    Args:
        network: from an image and a text it gives "image_projection" (batch, values), unit vectors
            times a learned inverse temperature (`LogitScale`), and "text_projection" (batch,
            values), unit vectors.
        options: those of `Task`; batches have "group", equal for an image and the captions that
            are true of it.

    Source:
        Radford et al. 2021 (CLIP), arXiv:2103.00020, section 2.
    """

    needs: ClassVar[tuple[str, ...]] = ("image", "text")
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "image_projection": ("values",),
        "text_projection": ("values",),
    }
    headline = "image_to_text_r1"

    def __init__(self, network: nn.Module, **options: Any):
        super().__init__(network, **options)
        self.metrics = nn.ModuleDict({"train_part": Mean()})
        self.embedded: list[Embedded] = []  # of the batches of a part
        self.tested: Embedded = {}
        if "classes" in self.facts:
            self.headline = "zero_shot_accuracy"

    def forward(self, batch: Batch) -> Tensor:
        """Return the projections of the texts, which padding must not change."""
        return self.network(**self.inputs(batch))["text_projection"]

    def check(self, data: Any) -> None:
        super().check(data)
        check_others(data)
        if not isinstance(self.network, Graph):
            return
        (output,) = self.network.graph.find_nodes(op="output")
        found = dict(zip(self.network.output_names, output.meta["inputs"], strict=True))
        sizes = [found[name].shape[1] for name in self.outputs]
        if sizes[0] != sizes[1]:
            raise ArgumentError(
                "task",
                "the projections of images and texts must have the same size",
                got=f"image_projection {sizes[0]}, text_projection {sizes[1]}",
                fix="Linear of the same features before both, e.g. features: projection",
            )

    def train_metrics(self) -> dict[str, Metric]:
        metric: Any = self.metrics["train_part"]
        return {"loss": metric}

    def metric_names(self) -> list[str]:
        names = [f"val/{name}" for name in ("loss", *self._score_names())]
        return [*super().metric_names(), *names]

    def _score_names(self) -> list[str]:
        names = []
        for way in ("image_to_text", "text_to_image"):
            names += [f"{way}_r{count}" for count in COUNTS]
        if "classes" in self.facts:
            names.append("zero_shot_accuracy")
        return names

    def contrast(self, batch: Batch, *, gather: bool) -> Tensor:
        """Return the loss of a batch.

        Args:
            batch: images and texts.
            gather: compare with the pairs of all processes.
        """
        found = self.network(**self.inputs(batch))
        return clip_loss(found["image_projection"], found["text_projection"], gather=gather)

    def compute_loss(self, batch: Batch) -> Tensor:
        return self.contrast(batch, gather=False)

    def training_step(self, batch: Batch, number: int) -> Tensor:
        count = len(batch["image"])
        loss = self.total_loss(self.contrast(batch, gather=True), count)
        self.train_metrics()["loss"].update(loss.detach(), count)
        return loss

    def validation_step(self, batch: Batch, number: int) -> None:
        self._embed(batch)

    def test_step(self, batch: Batch, number: int) -> None:
        self.keep_first_samples(batch, number)
        self._embed(batch)

    def _embed(self, batch: Batch) -> None:
        """Keep the projections of a batch until the end of the part."""
        found = self.network(**self.inputs(batch))
        kept = {name: batch[name].cpu() for name in KEPT if name in batch}
        missing = self.facts["text"]["tokens"] - batch["text"].shape[1]
        kept["text"] = F.pad(batch["text"].cpu(), (0, missing))
        for name in self.outputs:
            kept[name] = found[name].float().cpu()
        self.embedded.append(kept)

    def start_part(self, part: str) -> None:
        super().start_part(part)
        self.embedded = []

    def repeat_batches(self) -> None:
        kept = list(self.embedded)
        super().repeat_batches()
        self.embedded = kept

    def log_part(self, part: str) -> None:
        super().log_part(part)
        found = join_batches(self.gather(self.embedded))
        for name, value in self.judge(found).items():
            # every process has the same numbers
            self.log(f"{part}/{name}", value, sync_dist=True)
        if part == "test":
            self.tested = found

    def judge(self, found: Embedded) -> dict[str, float]:
        """Return loss and scores of the pairs of a part."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        image, text = found["image_projection"], found["text_projection"]
        scores = {"loss": pair_loss(image, text)}
        rows = first_rows(found["text"])
        images = F.normalize(image, dim=1), found["group"]
        texts = text[rows], found["group"][rows]
        ways = {"image_to_text": (images, texts), "text_to_image": (texts, images)}
        for way, (queries, keys) in ways.items():
            shares = recall_at(queries, keys, COUNTS)
            for count, share in zip(COUNTS, shares, strict=True):
                scores[f"{way}_r{count}"] = share
        if "classes" in self.facts:
            classes = self.embed_classes(data)
            guess = (image @ classes.T).argmax(1)
            scores["zero_shot_accuracy"] = float((guess == found["label"]).float().mean())
        return scores

    def embed_classes(self, data: Any) -> Tensor:
        """Return the direction of each class (classes, values), from its texts."""
        prompts = data.prompts()
        batch = {name: value.to(self.device) for name, value in prompts.batch().items()}
        batch["image"] = self._blank_image()
        with evaluation_mode(self.network):
            text = self.network(**self.inputs(batch))["text_projection"]
        return average_prompts(text.float().cpu(), prompts.owner)

    def _blank_image(self) -> Tensor:
        """Return one image of zeros, for a network that is asked for texts only."""
        image = self.facts["image"]
        shape = (1, image["channels"], image["height"], image["width"])
        return torch.zeros(shape, device=self.device)

    def results(self, data: Any) -> list[Result]:
        if not self.tested:
            return []
        return [
            match_captions(data, self.tested),
            match_images(data, self.tested),
        ]

    def samples(self, data: Any) -> list[Sample]:
        found = []
        rows = zip(self.first_inputs(), self.first_samples.get("index", ()), strict=False)
        for inputs, index in rows:
            sample = data.raw_sample("test", int(index))
            found.append(Sample(sample.text, inputs, image=sample.image))
        return found


def join_batches(batches: list[Embedded]) -> Embedded:
    """Return the entries of all batches, in the order of the data."""
    joined = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    order = joined["index"].argsort()
    return {name: value[order] for name, value in joined.items()}


def first_rows(text: Tensor) -> Tensor:
    """Return the first row of each different text.

    Args:
        text: (texts, tokens).
    """
    rows: dict[tuple[int, ...], int] = {}
    for row, ids in enumerate(text.tolist()):
        rows.setdefault(tuple(ids), row)
    return torch.tensor(list(rows.values()))


def match_captions(data: Any, found: Embedded) -> Gallery:
    """Return the first images of the test with their best captions."""
    names, rows = data.names("test"), first_rows(found["text"])
    image = F.normalize(found["image_projection"][:SHOWN], dim=1)
    cosines, best = (image @ found["text_projection"][rows].T).topk(min(BEST, len(rows)))
    samples = []
    for row, index in enumerate(found["index"][:SHOWN].tolist()):
        lines = [f"caption: {names[index]}"]
        for cosine, text in zip(cosines[row].tolist(), rows[best[row]].tolist(), strict=True):
            name = names[int(found["index"][text])]
            lines.append(f"{name} {cosine:.2f} ({judge_match(found, row, text)})")
        samples.append((index, "; ".join(lines)))
    return Gallery("Best captions of images", samples)


def match_images(data: Any, found: Embedded) -> Gallery:
    """Return the best image of the first captions of the test."""
    names, rows = data.names("test"), first_rows(found["text"])[:SHOWN]
    image = F.normalize(found["image_projection"], dim=1)
    cosines, best = (found["text_projection"][rows] @ image.T).max(1)
    samples = []
    for cosine, row, text in zip(cosines.tolist(), best.tolist(), rows.tolist(), strict=True):
        name = names[int(found["index"][text])]
        caption = f"{name} {cosine:.2f} ({judge_match(found, row, text)})"
        samples.append((int(found["index"][row]), caption))
    return Gallery("Best images of captions", samples)


def judge_match(found: Embedded, image: int, text: int) -> str:
    """Return whether the caption in a row is true of the image in another."""
    if found["group"][image] == found["group"][text]:
        return "right"
    return "wrong"
