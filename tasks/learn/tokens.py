"""Learning to name tokens: the next one, a hidden one, one of long ago."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn
from torchmetrics import Metric

from tasks.data.sequences.base import IGNORED
from tasks.data.split import PARTS
from tasks.errors import ArgumentError, must_be_share
from tasks.learn.base import Task
from tasks.learn.causality import looks_ahead
from tasks.learn.chunked_loss import VocabularyLoss
from tasks.learn.metrics import Mean
from tasks.report import page
from tasks.report.samples import TEXT, Sample

EXAMPLES = 12


class Tokens(Task):
    """Cross-entropy over a vocabulary at the places that have a label.

    Args:
        network: gives logits (batch, tokens, vocab); batches have a "label" (batch, tokens),
            `IGNORED` where there is none.
        label_smoothing: share of the target that is spread over the vocabulary, in [0, 1).
        check_causal: ask the network, before it is trained, whether it looks at later tokens, and
            refuse one that sees what it is to foresee, or that sees one side of a gap only.
        options: those of `Task`; `facts` has "vocab".

    Judged by: `accuracy`, the share of the labelled tokens that are right; `exact`, the share of
    samples in which all
        are.
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
        self.label_smoothing, self.check_causal = label_smoothing, check_causal
        self.vocabulary = VocabularyLoss(network)
        for measure in ("loss", "accuracy", "exact"):
            self.add_module(measure, nn.ModuleDict({f"{part}_part": Mean() for part in PARTS}))
        self.examples: list[dict[str, list[int]]] = []

    def check(self, data: Any) -> None:
        """Raise an ArgumentError where the network looks at tokens that it must not see, or not at
        those it needs.
        """
        if not self.check_causal or data.direction is None or data.said not in self.input_names:
            return
        batch = next(iter(data.val_dataloader()))
        last = (
            (batch["label"] != IGNORED).long().cumsum(1).argmax(1)
        )  # the place of the last label of each row
        row = int(last.argmax())
        batch = {name: batch[name][row : row + 1] for name in self.input_names if name in batch}
        place = (int(last[row]) + 1) // 2
        if not place:
            return

        def said(tokens: Tensor) -> Tensor:
            return self({**batch, data.said: tokens})

        ahead = looks_ahead(self.network, said, batch[data.said], place, self.facts["vocab"])
        does = "changes" if ahead else "does not change"
        got = (
            f"another token in {data.said}, at place {place} and later, {does} the logits before it"
        )
        problem = {
            (True, "forward"): "the network sees the tokens that it is to foresee",
            (False, "both"): "the network sees one side of a gap only",
        }.get((ahead, data.direction))
        if problem:
            fix = f"{data.remedy}; task.check_causal=false trains it all the same"
            raise ArgumentError("check_causal", problem, got=got, fix=fix)

    def train_metrics(self) -> dict[str, Metric]:
        return self.judged("train")

    def judged(self, part: str) -> dict[str, Metric]:
        return {name: self.metric(name, part) for name in ("loss", "accuracy", "exact")}

    def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
        judged = self.vocabulary(self.inputs(batch), batch["label"], self.label_smoothing)
        loss = self.watch(judged.loss, (batch["label"] != IGNORED).sum())
        self.judge("train", judged.right, batch["label"], loss.detach())
        return loss

    def validation_step(self, batch: dict[str, Tensor], number: int) -> None:
        self._look("val", batch)

    def test_step(self, batch: dict[str, Tensor], number: int) -> None:
        self.keep(batch, number)
        self._look("test", batch)
        rows = EXAMPLES - len(self.examples)
        if rows > 0:
            self._remember({name: value[:rows] for name, value in batch.items()})

    def _look(self, part: str, batch: dict[str, Tensor]) -> None:
        judged = self.vocabulary(self.inputs(batch), batch["label"])
        self.judge(part, judged.right, batch["label"], judged.loss)

    def _remember(self, batch: dict[str, Tensor]) -> None:
        """Keep what the network says to these samples, as examples."""
        said = self(batch).argmax(-1)
        for row, label in enumerate(batch["label"]):
            asked = label != IGNORED
            found = {
                "given": batch[self.input_names[0]][row],
                "wanted": label[asked],
                "said": said[row][asked],
            }
            self.examples.append({name: tokens.tolist() for name, tokens in found.items()})

    def judge(self, part: str, right: Tensor, label: Tensor, loss: Tensor) -> None:
        """Add a batch to the metrics of a part; each token counts once, whatever batch it is in.

        Args:
            right: (batch, tokens), where the label is what `argmax` of the logits gives.
        """
        asked = label != IGNORED
        right, count = right & asked, asked.sum()
        measured = {
            "loss": (loss, count),
            "accuracy": (right.sum() / count.clamp_min(1), count),
            "exact": ((right | ~asked).all(1).float().mean(), len(label)),
        }
        for name, (value, weight) in measured.items():
            self.metric(name, part).update(value, weight)

    def metric(self, name: str, part: str) -> Any:
        """One of `loss`, `accuracy`, `exact` for a part."""
        measures: Any = self.get_submodule(name)
        return measures[f"{part}_part"]

    def on_test_start(self) -> None:
        super().on_test_start()
        self.examples.clear()

    def sections(self, place: Path, data: Any) -> list[tuple[str, str]]:
        columns = {"given": data.shown, "wanted": data.answers, "said": data.answers}
        rows = [
            [show(example[column]) for column, show in columns.items()] for example in self.examples
        ]
        return [("Samples of the test", page.table(list(columns), rows))]

    def samples(self, data: Any) -> list[Sample]:
        found = []
        for number, inputs in enumerate(self.kept_inputs()):
            given, asked = inputs[self.input_names[0]][0], self.kept["label"][number] != IGNORED
            names = data.token_names(given.tolist())
            if asked.all():  # a text: its beginning
                places = range(min(len(names), TEXT))
                found.append(
                    Sample(
                        f"the beginning of sample {number}",
                        inputs,
                        tokens=names,
                        rows=places,
                        columns=places,
                    )
                )
                continue
            wanted = data.token_names(self.kept["label"][number].clamp_min(0).tolist())
            rows = asked.nonzero()[:, 0].tolist()[:TEXT]
            title = f"sample {number}: where the answers come from"
            found.append(Sample(title, inputs, tokens=names, said=wanted, rows=rows))
        return found


class Language(Tokens):
    """Language modelling: how well the text that follows is foreseen, or how well gaps in it are
    filled.

    Judged by, besides `Tokens`: `perplexity`, and `bits_per_character`, which does not depend on
    the tokenizer: what unknown tokens hide costs 8 bits a byte. With masks (`facts` has "mask") by
    the accuracy and `masked_perplexity`, both over the masked tokens alone; bits per character
    would mean nothing, as each token is guessed with its neighbours at hand.

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
        told = loss / math.log(2) * data.tokens_per_character
        self.log("test/bits_per_character", told + data.unknown_bits_per_character)
