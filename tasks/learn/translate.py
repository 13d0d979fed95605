"""Learning to say in one sequence what another one says."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.functional.text import chrf_score, sacre_bleu_score

from tasks.data.text.tokenizer import END, MASK, PAD, START, UNKNOWN
from tasks.decode import search
from tasks.decode.scorer import NextTokenScorer
from tasks.errors import must_be_positive, must_not_be_negative
from tasks.learn.tokens import EXAMPLES, Tokens
from tasks.report import page
from tasks.report.samples import Sample

TOKENIZERS = {
    "zh": "zh",
    "ja": "char",
    "ko": "char",
}  # what BLEU cuts a language into; 13a for all others
SAID = (PAD, START, UNKNOWN, MASK)  # what is never said


class Translate(Tokens):
    """Teacher forcing with label smoothing; the test decodes on its own.

    Args:
        network: takes "source", "target" and their masks; gives logits (batch, target tokens,
            vocab).
        beams: width of the beam; 1 is greedy.
        length_penalty: exponent of the length penalty of a beam, 0 for none.
        cache: what the network made of the tokens before is kept from step to step, where that
            changes nothing.
        options: those of `Tokens`.

    Judged by, besides `Tokens` under teacher forcing: `perplexity` of a token, also under teacher
    forcing and without label smoothing; `exact_match`, `bleu` and `chrf` of what it says on its
    own, the last two in [0, 1]; BLEU cuts Chinese into characters.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 5.4: label smoothing. BLEU: Post 2018,
        arXiv:1804.08771; chrF:
        Popovic 2015, doi:10.18653/v1/W15-3049.
    """

    needs = ("source", "target", "vocab")
    headline = "exact_match"

    def __init__(
        self,
        network: nn.Module,
        *,
        beams: int = 1,
        length_penalty: float = 0.6,
        cache: bool = True,
        **options: Any,
    ):
        super().__init__(network, **options)
        must_be_positive("beams", beams)
        must_not_be_negative("length_penalty", length_penalty)
        self.beams, self.length_penalty, self.cache = beams, length_penalty, cache
        self.scorer: NextTokenScorer | None = None
        self.said: list[tuple[int, list[int]]] = []
        self.texts: list[tuple[str, str]] = []  # of the test: wanted, said
        self.asked: list[int] = []  # the numbers of their sources

    def translate(self, batch: dict[str, Tensor]) -> Tensor:
        """What the network says to each source, (batch, tokens), from the start mark on."""
        start = batch["source"].new_full((len(batch["source"]), 1), START)
        limit = self.facts["target"]["tokens"] - 1
        if self.scorer is None:
            self.scorer = NextTokenScorer(self.network, self.facts, "target", cache=self.cache)
        names = [
            name for name in self.input_names if name in ("source", "source_mask") and name in batch
        ]
        score = self.scorer.score({name: batch[name] for name in names}, limit)
        options: dict[str, Any] = {"end": END, "limit": limit, "pad": PAD, "forbidden": SAID}
        if self.beams == 1:
            return search.greedy_search(score, start, **options)
        return search.beam_search(
            score, start, beams=self.beams, length_penalty=self.length_penalty, **options
        )[0]

    def test_step(self, batch: dict[str, Tensor], number: int) -> None:
        super().test_step(batch, number)
        for index, row in zip(batch["index"].tolist(), self.translate(batch).tolist(), strict=True):
            self.said.append((index, row))

    def on_test_start(self) -> None:
        super().on_test_start()
        self.said.clear()
        self.scorer = (
            None  # the weights may be others than the last time: the cache is proved again
        )

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        said = sorted(self.gathered(self.said))
        self.asked = [index for index, _ in said]
        self.texts = [(data.references[index], data.tokenizer.decode(row)) for index, row in said]
        self.log("test/perplexity", math.exp(float(self.metric("loss", "test").compute())))
        for name, value in scores(self.texts, data.languages[1]).items():
            self.log(f"test/{name}", value, rank_zero_only=True)

    def samples(self, data: Any) -> list[Sample]:
        said = dict(self.said)
        found = []
        for number, inputs in enumerate(self.kept_inputs()):
            row = until_end(said[int(self.kept["index"][number])])
            length = int((inputs["source"] != PAD).sum())
            batch: dict[str, Tensor] = {
                name: inputs[name][:, :length]
                for name in ("source", "source_mask")
                if name in inputs
            }
            target = torch.tensor([row])
            batch |= {"target": target, "target_mask": torch.ones_like(target, dtype=torch.bool)}
            source = batch["source"][0].tolist()
            named = [data.token_names(tokens) for tokens in (row, source, [*row[1:], END])]
            title = f"{data.shown(source)} → {data.shown(row)}"
            found.append(Sample(title, batch, tokens=named[0], source=named[1], said=named[2]))
        return found

    def sections(self, place: Path, data: Any) -> list[tuple[str, str]]:
        sources = [data.shown(data.parts["test"]["source"][index].tolist()) for index in self.asked]
        rows = [[source, *pair] for source, pair in zip(sources, self.texts, strict=True)]
        wrong = [row for row in rows if row[1] != row[2]]
        head = ["source", "wanted", "said"]
        return [
            ("Translations of the test", page.table(head, rows[:EXAMPLES])),
            ("Mistakes", page.table(head, wrong[:EXAMPLES]) if wrong else "<p>None.</p>"),
        ]


def until_end(said: list[int]) -> list[int]:
    """The tokens from the start mark up to the end mark, which is left out."""
    return said[: said.index(END)] if END in said else [token for token in said if token != PAD]


def scores(texts: Sequence[tuple[str, str]], language: str | None) -> dict[str, float]:
    """Exact match, BLEU and chrF of (wanted, said) pairs; BLEU cuts as the language wants it."""
    wanted, said = [[pair[0]] for pair in texts], [pair[1] for pair in texts]
    cut: Any = TOKENIZERS.get((language or "").split("_")[0], "13a")
    return {
        "exact_match": sum(pair[0] == pair[1] for pair in texts) / len(texts),
        "bleu": float(sacre_bleu_score(said, wanted, tokenize=cut)),
        "chrf": float(chrf_score(said, wanted, n_word_order=0)),  # type: ignore[arg-type]
    }
