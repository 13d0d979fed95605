"""Prediction of tokens: the next one, a masked one, one from long before."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torchmetrics import Metric

from tasks.data.sequences.base import IGNORED
from tasks.data.split import PARTS
from tasks.errors import ArgumentError, must_be_share
from tasks.learn.base import Batch, Task
from tasks.learn.checks.causality import looks_ahead
from tasks.learn.losses.chunked_loss import VocabularyLoss
from tasks.learn.metrics.running import Mean
from tasks.report.samples import TEXT, Result, Sample, Table

EXAMPLES = 12  # samples that the report shows
METRICS = ("loss", "accuracy", "exact")


class Tokens(Task):
    """Cross-entropy over a vocabulary at the positions that have a label.

    Judged by `accuracy`, the share of the labelled tokens that are right, and `exact`, the share of
    samples in which all are.

    Args:
        network: gives logits (batch, tokens, vocab); batches have a "label" (batch, tokens),
            `IGNORED` where there is none.
        label_smoothing: share of the target that is spread over the vocabulary, in [0, 1).
        check_causal: check, before training, whether the network sees later tokens, and refuse one
            that sees the tokens it is to predict, or that sees one side of a gap only.
        options: those of `Task`; `facts` has "vocab".
    """

    needs: ClassVar[tuple[str, ...]] = ("vocab",)
    outputs: ClassVar[Mapping[str, tuple[str, ...]]] = {"logits": ("tokens", "vocab")}

    def __init__(
        self,
        network: nn.Module,
        *,
        label_smoothing: float = 0.0,
        check_causal: bool = True,
        **options: Any,
    ):
        super().__init__(network, **options)
        must_be_share("label_smoothing", label_smoothing)
        self.label_smoothing = label_smoothing
        self.check_causal = check_causal
        self.vocabulary = VocabularyLoss(network)
        for name in METRICS:
            self.add_module(name, nn.ModuleDict({f"{part}_part": Mean() for part in PARTS}))
        self.examples: list[dict[str, list[int]]] = []

    def check(self, data: Any) -> None:
        """Raise an ArgumentError where the network sees tokens that it must not see, or does not
        see those it needs.
        """
        if (
            not self.check_causal
            or data.direction is None
            or data.predicted_input not in self.input_names
        ):
            return
        batch = next(iter(data.val_dataloader()))
        # position of the last label of each row
        last = (batch["label"] != IGNORED).long().cumsum(1).argmax(1)
        row = int(last.argmax())
        inputs = {name: value[row : row + 1] for name, value in self.inputs(batch).items()}
        position = (int(last[row]) + 1) // 2
        if not position:
            return

        def logits_of(tokens: Tensor) -> Tensor:
            return self({**inputs, data.predicted_input: tokens})

        tokens, vocab = inputs[data.predicted_input], self.facts["vocab"]
        ahead = looks_ahead(self.network, logits_of, tokens, position, vocab)
        if ahead and data.direction == "forward":
            problem, effect = "the network sees the tokens that it is to predict", "changes"
        elif not ahead and data.direction == "both":
            problem, effect = "the network sees one side of a gap only", "does not change"
        else:
            return
        raise ArgumentError(
            "check_causal",
            problem,
            got=(
                f"another token in {data.predicted_input}, at position {position} and later, "
                f"{effect} the logits before it"
            ),
            fix=f"{data.remedy}; task.check_causal=false trains it all the same",
        )

    def train_metrics(self) -> dict[str, Metric]:
        return self.part_metrics("train")

    def part_metrics(self, part: str) -> dict[str, Metric]:
        return {name: self.metric(name, part) for name in METRICS}

    def metric(self, name: str, part: str) -> Any:
        """Return one of `loss`, `accuracy`, `exact` for a part."""
        by_part: Any = self.get_submodule(name)
        return by_part[f"{part}_part"]

    def compute_loss(self, batch: Batch) -> Tensor:
        return self.vocabulary(self.inputs(batch), batch["label"], self.label_smoothing).loss

    def training_step(self, batch: Batch, number: int) -> Tensor:
        label = batch["label"]
        result = self.vocabulary(self.inputs(batch), label, self.label_smoothing)
        loss = self.total_loss(result.loss, (label != IGNORED).sum())
        self.update_metrics("train", result.correct, label, loss.detach())
        return loss

    def validation_step(self, batch: Batch, number: int) -> None:
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, number: int) -> None:
        self.keep_first_samples(batch, number)
        self._evaluate("test", batch)
        rows = EXAMPLES - len(self.examples)
        if rows > 0:
            self._add_examples({name: value[:rows] for name, value in batch.items()})

    def _evaluate(self, part: str, batch: Batch) -> None:
        result = self.vocabulary(self.inputs(batch), batch["label"])
        self.update_metrics(part, result.correct, batch["label"], result.loss)

    def _add_examples(self, batch: Batch) -> None:
        """Store samples with the predictions of the network."""
        predicted = self(batch).argmax(-1)
        for row, label in enumerate(batch["label"]):
            labelled = label != IGNORED
            self.examples.append(
                {
                    "input": batch[self.input_names[0]][row].tolist(),
                    "expected": label[labelled].tolist(),
                    "predicted": predicted[row][labelled].tolist(),
                }
            )

    def update_metrics(self, part: str, right: Tensor, label: Tensor, loss: Tensor) -> None:
        """Add a batch to the metrics of a part; each token counts once, whatever batch it is in.

        Args:
            part: "train", "val" or "test".
            right: (batch, tokens), whether `argmax` of the logits is the label.
            label: (batch, tokens).
            loss: mean over the labelled tokens, a scalar.
        """
        labelled = label != IGNORED
        right = right & labelled
        count = labelled.sum()
        exact = (right | ~labelled).all(1).float().mean()
        self.metric("loss", part).update(loss, count)
        self.metric("accuracy", part).update(right.sum() / count.clamp_min(1), count)
        self.metric("exact", part).update(exact, len(label))

    def on_test_start(self) -> None:
        super().on_test_start()
        self.examples.clear()

    def results(self, data: Any) -> list[Result]:
        columns = {"input": data.shown, "expected": data.answers, "predicted": data.answers}
        rows = []
        for example in self.examples:
            rows.append([show(example[column]) for column, show in columns.items()])
        return [Table("Samples of the test", list(columns), rows)]

    def samples(self, data: Any) -> list[Sample]:
        found = []
        for number, inputs in enumerate(self.first_inputs()):
            label = self.first_samples["label"][number]
            found.append(self._sample(data, number, inputs, label))
        return found

    def _sample(self, data: Any, number: int, inputs: Batch, label: Tensor) -> Sample:
        """Return a sample: the beginning of a text, or where the answers in it come from."""
        names = data.token_names(inputs[self.input_names[0]][0].tolist())
        labelled = label != IGNORED
        if labelled.all():
            shown = range(min(len(names), TEXT))
            title = f"the beginning of sample {number}"
            return Sample(title, inputs, tokens=names, rows=shown, columns=shown)
        wanted = data.token_names(label.clamp_min(0).tolist())
        rows = labelled.nonzero()[:, 0].tolist()[:TEXT]
        title = f"sample {number}: where the answers come from"
        return Sample(title, inputs, tokens=names, predicted=wanted, rows=rows)


class Language(Tokens):
    """Language modelling: how well the text that follows is predicted, or gaps in it are filled.

    Judged by, besides `Tokens`: `perplexity`, and `bits_per_character`, which does not depend on
    the tokenizer: what unknown tokens hide costs 8 bits a byte. With masks (`facts` has "mask") by
    the accuracy and `masked_perplexity`, both over the masked tokens alone; bits per character
    would mean nothing, as each token is predicted from both of its neighbours.

    Source:
        Bits per character as in Graves 2013, arXiv:1308.0850, section 3; masks: Devlin et al. 2019,
        arXiv:1810.04805.
    """

    def __init__(self, network: nn.Module, **options: Any):
        super().__init__(network, **options)
        self.masked = bool(self.facts.get("mask"))
        self.headline = "accuracy" if self.masked else "bits_per_character"

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        loss = float(self.metric("loss", "test").compute())
        perplexity = math.exp(min(loss, 700))
        if self.masked:
            self.log("test/masked_perplexity", perplexity)
            return
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        self.log("test/perplexity", perplexity)
        bits = loss / math.log(2) * data.tokens_per_character
        self.log("test/bits_per_character", bits + data.unknown_bits_per_character)
