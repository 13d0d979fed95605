"""Answers to questions about images."""

from typing import Any

from torch import Tensor, nn
from torchmetrics import MeanMetric

from tasks.learn.base import Batch
from tasks.learn.classify import Classify
from tasks.report.samples import Gallery, Result, Sample, Table

EXAMPLES = 12  # questions that the report shows, right or wrong


class Answer(Classify):
    """Classification of answers, judged by accuracy, in the test for each kind of question too.

    Args:
        network: gives logits (batch, classes) from an image and a question.
        options: those of `Classify`; `facts` has "kinds" too, the number of kinds of question.
    """

    needs = ("classes", "kinds")

    def __init__(self, network: nn.Module, **options: Any):
        super().__init__(network, **options)
        self.by_kind: Any = nn.ModuleList(MeanMetric() for _ in range(self.facts["kinds"]))

    def test_step(self, batch: Batch, number: int) -> None:
        super().test_step(batch, number)
        _, label, share = self.predictions[-1]
        right = (share.argmax(1) == label).float().to(batch["kind"].device)
        for kind, metric in enumerate(self.by_kind):
            metric.update(right[batch["kind"] == kind])

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        names = self.trainer.datamodule.kinds  # type: ignore[attr-defined]
        for name, metric in zip(names, self.by_kind, strict=True):
            self.log(f"test/accuracy_{name}", metric)

    def results(self, data: Any) -> list[Result]:
        index, label, share = self.sorted_predictions()
        prediction = share.argmax(1)
        return [
            tabulate_kinds(data, index, label, prediction),
            select_examples(data, index, label, prediction),
            *super().results(data),
        ]

    def samples(self, data: Any) -> list[Sample]:
        if "index" not in self.first_samples:
            return []
        questions = data.names("test")
        found = []
        for inputs, index, label in self.first_rows():
            title = f"{questions[index]}? {data.classes[label]}"
            image = data.raw_sample("test", index).image
            found.append(Sample(title, inputs, image=image, cross=True))
        return found


def tabulate_kinds(data: Any, index: Tensor, label: Tensor, prediction: Tensor) -> Table:
    """Count the test questions of each kind, the right answers, and those that the most common
    answer would give.
    """
    kind = data.parts["test"]["kind"][index]
    rows = []
    for number, name in enumerate(data.kinds):
        wanted = label[kind == number]
        if not len(wanted):
            continue
        right = share_of(prediction[kind == number] == wanted)
        commonest = int(wanted.mode().values)
        baseline = f"{data.classes[commonest]} ({share_of(wanted == commonest):.1%})"
        rows.append([name, f"{len(wanted)}", f"{right:.2%}", baseline])
    columns = ["kind", "questions", "right", "commonest answer"]
    return Table("Kinds of question", columns, rows)


def share_of(mask: Tensor) -> float:
    """Return the share of entries that are true."""
    return float(mask.float().mean())


def select_examples(data: Any, index: Tensor, label: Tensor, prediction: Tensor) -> Gallery:
    """Return the first questions with the expected answer and the one that was given."""
    samples = []
    for number in range(min(EXAMPLES, len(index))):
        wanted = data.classes[int(label[number])]
        given = data.classes[int(prediction[number])]
        samples.append((int(index[number]), f"expected {wanted}, predicted {given}"))
    return Gallery("Examples", samples)
