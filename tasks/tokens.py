"""Learning to name tokens: the next one, a hidden one, one of long ago."""

import math
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric

from tasks import page
from tasks.data.sequences import IGNORED
from tasks.data.split import PARTS
from tasks.errors import must_be_share
from tasks.task import Task

EXAMPLES = 12


class Tokens(Task):
    """Cross-entropy over a vocabulary at the places that have a label.

    Args:
        network: gives logits (batch, tokens, vocab); batches have a "label" (batch, tokens), `IGNORED` where there is
            none.
        label_smoothing: share of the target that is spread over the vocabulary, in [0, 1).
        options: those of `Task`; `facts` has "vocab".

    Judged by: `accuracy`, the share of the labelled tokens that are right; `exact`, the share of samples in which all
        are.
    """

    needs: ClassVar[tuple[str, ...]] = ("vocab",)

    def __init__(self, network: nn.Module, *, label_smoothing: float = 0.0, **options: Any):
        super().__init__(network, **options)
        must_be_share("label_smoothing", label_smoothing)
        self.label_smoothing = label_smoothing
        for measure in ("loss", "accuracy", "exact"):
            self.add_module(measure, nn.ModuleDict({f"{part}_part": MeanMetric() for part in PARTS}))
        self.examples: list[dict[str, list[int]]] = []

    def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
        logits, label = self(batch), batch["label"]
        flat = logits.flatten(0, 1), label.flatten()
        loss = self.watch(F.cross_entropy(*flat, ignore_index=IGNORED, label_smoothing=self.label_smoothing))
        self.judge("train", logits.detach(), label, loss.detach())
        return loss

    def validation_step(self, batch: dict[str, Tensor], number: int) -> None:
        self._look("val", batch)

    def test_step(self, batch: dict[str, Tensor], number: int) -> None:
        logits = self._look("test", batch)
        for row in range(min(len(logits), EXAMPLES - len(self.examples))):
            asked = batch["label"][row] != IGNORED
            found = {"given": batch[self.input_names[0]][row], "wanted": batch["label"][row][asked]}
            found["said"] = logits[row].argmax(-1)[asked]
            self.examples.append({name: tokens.tolist() for name, tokens in found.items()})

    def _look(self, part: str, batch: dict[str, Tensor]) -> Tensor:
        logits = self(batch)
        loss = F.cross_entropy(logits.flatten(0, 1), batch["label"].flatten(), ignore_index=IGNORED)
        self.judge(part, logits, batch["label"], loss)
        return logits

    def judge(self, part: str, logits: Tensor, label: Tensor, loss: Tensor) -> None:
        """Add a batch to the metrics of a part; each token counts once, whatever batch it is in."""
        asked = label != IGNORED
        right = (logits.argmax(-1) == label) | ~asked
        measured = {
            "loss": (loss, asked.sum()),
            "accuracy": (right[asked].float().mean(), asked.sum()),
            "exact": (right.all(1).float().mean(), torch.tensor(len(label))),
        }
        for name, (value, weight) in measured.items():
            metric = self.metric(name, part)
            metric.update(value, weight)
            self.log(f"{part}/{name}", metric, on_step=False, on_epoch=True, batch_size=len(label))

    def metric(self, name: str, part: str) -> Any:
        """One of `loss`, `accuracy`, `exact` for a part."""
        measures: Any = self.get_submodule(name)
        return measures[f"{part}_part"]

    def on_test_start(self) -> None:
        self.examples.clear()

    def sections(self, place: Path, data: Any) -> list[tuple[str, str]]:
        rows = [[data.shown(example[column]) for column in ("given", "wanted", "said")] for example in self.examples]
        return [("Samples of the test", page.table(["given", "wanted", "said"], rows))]


class Language(Tokens):
    """Language modelling: how well the text that follows is foreseen.

    Judged by, besides `Tokens`: `perplexity`, and `bits_per_character`, which does not depend on the tokenizer.

    Source:
        Bits per character as in Graves 2013, arXiv:1308.0850, section 3.
    """

    headline = "bits_per_character"

    def on_test_epoch_end(self) -> None:
        loss = float(self.metric("loss", "test").compute())
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        self.log("test/perplexity", math.exp(loss))
        self.log("test/bits_per_character", loss / math.log(2) * data.tokens_per_character)
