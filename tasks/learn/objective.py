"""An objective composed in YAML: terms of a loss and metrics over what a network gives."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from blocks.graph import BuiltObjective
from tasks.data.split import PARTS
from tasks.errors import ArgumentError
from tasks.learn.base import Batch, Task
from tasks.learn.metrics.catalog import Kind, detach, make_metric
from tasks.learn.metrics.running import Mean
from tasks.learn.node_outputs import NodeOutputs
from tasks.report.samples import Result, Table


class Objective(Task):
    """A weighted sum of terms, each a node over the outputs of the network and the batch.

    Args:
        network: any outputs.
        loss: term -> {block, in, weight, arguments of the block}; `in` names outputs of the
            network, "batch.NAME", "teacher.NAME", paths of inner nodes, and `nodes`.
        metrics: name -> {block, in}, with a block of `tasks.learn.metrics.catalog`, or
            {_target_, in} with a class of your own.
        nodes: further nodes that terms and metrics read.
        teacher: the folder of a finished run, whose network runs beside this one without gradients.
        match: node of this network -> node of the teacher, whose squared difference is a term.
        match_weight: of each of these terms.
        headline: the metric that the report shows largest; by default the first, or the loss.
        objective: the terms, built and checked against network and data.
        taught: the network of the teacher.
        own_metrics: metric of the user's own -> its class.
        options: those of `Task`.

    The terms of a batch are means; batches of one step, and of several processes, weigh by their
    samples.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: dict[str, Any],
        metrics: dict[str, Any] | None = None,
        nodes: dict[str, Any] | None = None,
        teacher: str | None = None,
        match: dict[str, Any] | None = None,
        match_weight: float = 1.0,
        headline: str | None = None,
        objective: BuiltObjective,
        taught: nn.Module | None = None,
        own_metrics: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(network, **options)
        self.weights = objective.weights
        self.sources = objective.sources
        self.terms = objective.built.materialise()
        self.measured = {name: metric.inputs for name, metric in objective.metrics.items()}
        self.kinds: dict[str, Kind] = {}
        names = ["loss", *self.weights, *self.measured]
        self.headline = headline or [*self.measured, "loss"][0]
        if self.headline not in names:
            raise ArgumentError(
                "headline", "no metric has this name", got=str(headline), fits=", ".join(names)
            )
        self.parts = nn.ModuleDict()
        for part in PARTS:
            found: dict[str, Metric] = {name: Mean() for name in ("loss", *self.weights)}
            for name, metric in objective.metrics.items():
                shapes = [value.shape for value in metric.values]
                own = (own_metrics or {}).get(name)
                self.kinds[name], found[name] = make_metric(metric.spec, shapes, own)
            self.parts[f"{part}_part"] = nn.ModuleDict(found)
        self.tested: dict[str, float] = {}
        inner: dict[str, list[str]] = {"model": [], "teacher": []}
        for source in self.sources.values():
            if source.inner:
                inner[source.owner].append(source.name)
        self.outputs_of = {"model": NodeOutputs(network, inner["model"])}
        if taught is not None:  # not a submodule: a checkpoint has the student alone
            taught.eval().requires_grad_(False)
            self.outputs_of["teacher"] = NodeOutputs(taught, inner["teacher"])

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits, or the first output."""
        found = self.outputs_of["model"].run(batch)
        return found.get("logits", next(iter(found.values())))

    def other_parameters(self) -> list[nn.Parameter]:
        return list(self.terms.parameters())

    def train_metrics(self) -> dict[str, Metric]:
        return self.part_metrics("train")

    def part_metrics(self, part: str) -> dict[str, Metric]:
        metrics: Any = self.parts[f"{part}_part"]
        return dict(metrics.items())

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms, and what the metrics read, of a batch."""
        given: dict[str, Mapping[str, Tensor]] = {
            "model": self.outputs_of["model"].run(batch),
            "batch": batch,
        }
        if "teacher" in self.outputs_of:
            given["teacher"] = self.run_teacher(batch)
        inputs = {}
        for name, source in self.sources.items():
            inputs[name] = given[source.owner][source.name]
        return self.terms(**inputs)

    @torch.no_grad()
    def run_teacher(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of the teacher for a batch."""
        teacher = self.outputs_of["teacher"]
        teacher.network.to(self.device)
        return teacher.run(batch)

    def sum_terms(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the terms."""
        total = torch.zeros((), device=self.device)
        for name, weight in self.weights.items():
            total = total + weight * values[name]
        return total

    def compute_loss(self, batch: Batch) -> Tensor:
        return self.sum_terms(self.evaluate(batch))

    def training_step(self, batch: Batch, number: int) -> Tensor:
        values = self.evaluate(batch)
        loss = self.total_loss(self.sum_terms(values), count_samples(batch))
        self.update_metrics("train", values, loss, batch)
        return loss

    def validation_step(self, batch: Batch, number: int) -> None:
        self.evaluate_part("val", batch)

    def test_step(self, batch: Batch, number: int) -> None:
        self.keep_first_samples(batch, number)
        self.evaluate_part("test", batch)

    def evaluate_part(self, part: str, batch: Batch) -> None:
        """Add a batch to the metrics of a part."""
        values = self.evaluate(batch)
        self.update_metrics(part, values, self.sum_terms(values), batch)

    def update_metrics(
        self, part: str, values: Mapping[str, Tensor], loss: Tensor, batch: Batch
    ) -> None:
        """Add the terms and the metrics of a batch to those of a part."""
        metrics = self.part_metrics(part)
        count = count_samples(batch)
        metrics["loss"].update(loss.detach(), count)
        for name in self.weights:
            metrics[name].update(values[name].detach(), count)
        for name, inputs in self.measured.items():
            found = detach([values[key] for key in inputs])
            metrics[name].update(*self.kinds[name].prepare(*found))

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        for name, metric in self.part_metrics("test").items():
            self.tested[name] = float(metric.compute())  # every process takes part in the sum

    def results(self, data: Any) -> list[Result]:
        """Return a table of the terms of the test."""
        rows = []
        for name, weight in self.weights.items():
            value = self.tested[name]
            rows.append((name, f"{value:.4g}", f"{weight:g}", f"{weight * value:.4g}"))
        return [Table("Terms of the loss", ("term", "value", "weight", "part of the sum"), rows)]


def count_samples(batch: Batch) -> int:
    """Return the number of samples of a batch."""
    return len(next(iter(batch.values())))
