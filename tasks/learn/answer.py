"""Learning to answer questions about images."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torchmetrics import MeanMetric

from tasks.learn.classify import Classify
from tasks.report import overlays, page
from tasks.report.samples import Sample

EXAMPLES = 12  # questions on the page, right or wrong


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

    def test_step(self, batch: dict[str, Tensor], number: int) -> None:
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

    def sections(self, place: Path, data: Any) -> list[tuple[str, str]]:
        index, label, share = self.predicted()
        kinds = page.table(*kind_table(data, index, label, share))
        return [
            ("Kinds of question", kinds),
            ("Examples", examples(data, index, label, share)),
            *super().sections(place, data),
        ]

    def samples(self, data: Any) -> list[Sample]:
        if "index" not in self.kept:
            return []
        names = data.names("test")
        rows = zip(
            self.kept_inputs(),
            self.kept["index"].tolist(),
            self.kept["label"].tolist(),
            strict=True,
        )
        return [
            Sample(
                f"{names[place]}? {data.classes[wanted]}",
                inputs,
                image=data.raw_sample("test", place).image,
                cross=True,
            )
            for inputs, place, wanted in rows
        ]


def kind_table(
    data: Any, index: Tensor, label: Tensor, share: Tensor
) -> tuple[list[str], list[list[str]]]:
    """How many test questions there are of each kind, how many answers are right, and how many the
    commonest makes.
    """
    kind, right = data.parts["test"]["kind"][index], share.argmax(1) == label
    rows = []
    for number, name in enumerate(data.kinds):
        here = kind == number
        if here.any():
            commonest = int(label[here].mode().values)
            guess = (
                f"{data.classes[commonest]} "
                f"({float((label[here] == commonest).float().mean()):.1%})"
            )
            rows.append(
                [name, f"{int(here.sum())}", f"{float(right[here].float().mean()):.2%}", guess]
            )
    return ["kind", "questions", "right", "commonest answer"], rows


def examples(data: Any, index: Tensor, label: Tensor, share: Tensor) -> str:
    """Questions as they come, with the answer that was wanted and what was said."""
    figures = []
    for number in range(min(EXAMPLES, len(index))):
        wanted, said = data.classes[int(label[number])], data.classes[int(share[number].argmax())]
        sample = data.raw_sample("test", int(index[number]))
        figures.append(overlays.draw_sample(sample, f"wanted {wanted}, said {said}"))
    return f'<div class="pictures">{"".join(figures)}</div>'
