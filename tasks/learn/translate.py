"""Translation of one sequence into another."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.functional.text import chrf_score, sacre_bleu_score

from tasks.data.text.tokenizer import END, MASK, PAD, START, UNKNOWN
from tasks.decode import search
from tasks.decode.scorer import NextTokenScorer
from tasks.errors import must_be_positive, must_not_be_negative
from tasks.learn.base import Batch
from tasks.learn.tokens import EXAMPLES, Tokens
from tasks.report.samples import Result, Sample, Table

# how BLEU tokenizes a language; 13a for all others
TOKENIZERS = {"zh": "zh", "ja": "char", "ko": "char"}
FORBIDDEN = (PAD, START, UNKNOWN, MASK)  # tokens that are never decoded


class Translate(Tokens):
    """Teacher forcing with label smoothing; the test decodes.

    Judged by, besides `Tokens` under teacher forcing: `perplexity` of a token, also under teacher
    forcing and without label smoothing; `exact_match`, `bleu` and `chrf` of what is decoded, the
    last two in [0, 1]; BLEU splits Chinese into characters.

    Args:
        network: takes "source", "target" and their masks; gives logits (batch, target tokens,
            vocab).
        beams: width of the beam; 1 is greedy.
        length_penalty: exponent of the length penalty of a beam, 0 for none.
        cache: decode incrementally, where that provably changes nothing.
        options: those of `Tokens`.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 5.4: label smoothing. BLEU: Post 2018,
        arXiv:1804.08771; chrF: Popovic 2015, doi:10.18653/v1/W15-3049.
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
        self.beams = beams
        self.length_penalty = length_penalty
        self.cache = cache
        self.scorer: NextTokenScorer | None = None
        self.decoded: list[tuple[int, list[int]]] = []  # of the test: index, tokens
        self.texts: list[tuple[str, str]] = []  # of the test: wanted, decoded
        self.indices: list[int] = []  # of their sources

    def translate(self, batch: Batch) -> Tensor:
        """Decode the translation of each source, (batch, tokens), from the start mark on."""
        source = batch["source"]
        start = source.new_full((len(source), 1), START)
        limit = self.facts["target"]["tokens"] - 1
        if self.scorer is None:
            self.scorer = NextTokenScorer(self.network, self.facts, "target", cache=self.cache)
        fixed: Batch = {}
        for name in ("source", "source_mask"):
            if name in self.input_names and name in batch:
                fixed[name] = batch[name]
        score = self.scorer.score(fixed, limit)
        options: dict[str, Any] = {"end": END, "limit": limit, "pad": PAD, "forbidden": FORBIDDEN}
        if self.beams == 1:
            return search.greedy_search(score, start, **options)
        options |= {"beams": self.beams, "length_penalty": self.length_penalty}
        return search.beam_search(score, start, **options)[0]

    def test_step(self, batch: Batch, number: int) -> None:
        super().test_step(batch, number)
        rows = self.translate(batch).tolist()
        self.decoded += zip(batch["index"].tolist(), rows, strict=True)

    def on_test_start(self) -> None:
        super().on_test_start()
        self.decoded.clear()
        self.scorer = None  # the weights may have changed: the cache is verified again

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        self.indices, self.texts = [], []
        for index, row in sorted(self.gather(self.decoded)):
            self.indices.append(index)
            self.texts.append((data.references[index], data.tokenizer.decode(row)))
        self.log("test/perplexity", math.exp(float(self.metric("loss", "test").compute())))
        for name, value in score_translations(self.texts, data.languages[1]).items():
            self.log(f"test/{name}", value, rank_zero_only=True)

    def samples(self, data: Any) -> list[Sample]:
        decoded = dict(self.decoded)
        found = []
        for number, inputs in enumerate(self.first_inputs()):
            target = cut_at_end(decoded[int(self.first_samples["index"][number])])
            length = int((inputs["source"] != PAD).sum())
            tokens = torch.tensor([target])
            batch = {"target": tokens, "target_mask": torch.ones_like(tokens, dtype=torch.bool)}
            for name in ("source", "source_mask"):
                if name in inputs:
                    batch[name] = inputs[name][:, :length]
            source = batch["source"][0].tolist()
            found.append(
                Sample(
                    f"{data.shown(source)} → {data.shown(target)}",
                    batch,
                    tokens=data.token_names(target),
                    source=data.token_names(source),
                    predicted=data.token_names([*target[1:], END]),
                )
            )
        return found

    def results(self, data: Any) -> list[Result]:
        rows, mistakes = [], []
        for index, (wanted, decoded) in zip(self.indices, self.texts, strict=True):
            source = data.shown(data.parts["test"]["source"][index].tolist())
            rows.append([source, wanted, decoded])
            if wanted != decoded:
                mistakes.append([source, wanted, decoded])
        columns = ["source", "expected", "predicted"]
        return [
            Table("Translations of the test", columns, rows[:EXAMPLES]),
            Table("Mistakes", columns, mistakes[:EXAMPLES]),
        ]


def cut_at_end(tokens: list[int]) -> list[int]:
    """Return the tokens from the start mark up to the end mark, which is left out."""
    if END in tokens:
        return tokens[: tokens.index(END)]
    return [token for token in tokens if token != PAD]


def score_translations(texts: Sequence[tuple[str, str]], language: str | None) -> dict[str, float]:
    """Return exact match, BLEU and chrF.

    Args:
        texts: pairs of the wanted and the decoded text.
        language: of the texts, which determines how BLEU tokenizes them.
    """
    references = [[wanted] for wanted, _ in texts]
    decoded = [text for _, text in texts]
    tokenizer: Any = TOKENIZERS.get((language or "").split("_")[0], "13a")
    return {
        "exact_match": sum(wanted == text for wanted, text in texts) / len(texts),
        "bleu": float(sacre_bleu_score(decoded, references, tokenize=tokenizer)),
        "chrf": float(chrf_score(decoded, references, n_word_order=0)),  # type: ignore[arg-type]
    }
