"""Running text, cut into windows, for language models."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from tasks.data.sampler import generator
from tasks.data.sequences.base import IGNORED, InMemorySequences, Part
from tasks.data.split import PARTS, check_shares
from tasks.data.text.compressed import compressed
from tasks.data.text.mask import by_frequency, by_neighbours, masked
from tasks.data.text.tokenizer import MASK, START, Tokenizer
from tasks.errors import ArgumentError, must_be_one_of, must_be_positive, must_be_share

GAPS = "model/attention=causal, or data.mask=0.15 to fill gaps"
UNMASK = "model/attention=full, or data.mask=0 to predict the next token"


class RunningText(InMemorySequences):
    """Base of the data modules of running text.

    A subclass reads documents; this class splits them and cuts windows. Whole documents go to one
    part, unless they are too uneven. Windows do not overlap, and every token of a part is predicted
    once, or hidden at most once.

    Args:
        length: tokens in a window.
        mask: share of the tokens that are hidden and predicted, in [0, 1); 0: the next token is
            predicted everywhere. Masks of training are new in each epoch, those of validation and
            test stay.
        tokenizer: characters, words or bpe; trained on the training part alone.
        vocab: the most different tokens, for bpe and words.
        val: share of the text for validation.
        test: share of the text for the test.
        options: those of `InMemorySequences`.
    """

    batch_axes: ClassVar[Mapping[str, tuple[str, ...]]] = {"label": ("tokens",)}

    def __init__(
        self,
        *,
        length: int = 128,
        mask: float = 0.0,
        tokenizer: Literal["characters", "words", "bpe"] = "characters",
        vocab: int = 4000,
        val: float = 0.1,
        test: float = 0.1,
        **options: Any,
    ):
        super().__init__(**options)
        must_be_positive("length", length)
        must_be_share("mask", mask)
        must_be_positive("vocab", vocab)
        must_be_one_of("tokenizer", tokenizer, ("characters", "words", "bpe"))
        check_shares(val, test)
        self.length, self.mask, self.kind, self.vocab = length, mask, tokenizer, vocab
        self.direction, self.remedy = "forward", GAPS
        if mask:
            self.direction, self.remedy = "both", UNMASK
        self.shares = {"train": 1 - val - test, "val": val, "test": test}

    def documents(self) -> list[str]:
        """Return all documents, in a fixed order."""
        raise NotImplementedError

    def load(self) -> dict[str, Part]:
        texts = self.divide(self.documents())
        self.tokenizer = self.tokenizer or Tokenizer.train([texts["train"]], self.kind, self.vocab)
        ids = {part: self.tokenizer.encode(text) for part, text in texts.items()}
        for part, found in ids.items():
            if len(found) <= self.length:
                got = f"{len(found)} tokens in the part {part}, windows of {self.length}"
                text, fix = "the text is shorter than a window", "a smaller data.length"
                raise ArgumentError("length", text, got=got, fix=fix)
        self._measure_test(texts["test"], len(ids["test"]))
        if self.mask:
            return self._with_masks({part: self.stretches(found) for part, found in ids.items()})
        self.notes.append(f"the test text compressed: {compressed(texts['train'], texts['test'])}")
        return {part: self.windows(found) for part, found in ids.items()}

    def _measure_test(self, text: str, tokens: int) -> None:
        """Measure what converts a loss per token of the test into bits per character."""
        self.tokens_per_character = tokens / len(text)
        unknown = self.tokenizer.unknown_bytes(text)
        self.unknown_bits_per_character = 8 * unknown / len(text)
        if unknown and not self.mask:
            share = unknown / len(text.encode())
            bits = f"{self.unknown_bits_per_character:.3f} bits per character"
            self.notes.append(
                f"unknown tokens hide {share:.1%} of the test text: 8 bits a byte, {bits}, "
                "are added"
            )

    def _with_masks(self, parts: dict[str, Part]) -> dict[str, Part]:
        """Mask validation and test, from random sources that no epoch of training uses."""
        vocab = self.tokenizer.vocab
        for salt, part in enumerate(PARTS[1:]):
            source = generator(self.split_seed, -1 - salt)
            parts[part] = masked(parts[part], self.mask, vocab, source)
        known, asked = parts["train"]["tokens"], parts["test"]["label"]
        common, perplexity = by_frequency(known, asked[asked != IGNORED], vocab)
        before, both = by_neighbours(known, parts["test"], vocab)
        self.notes.append(
            f"what counting reaches on the masked test tokens: always the commonest {common:.2%}, "
            f"the commonest after the token before {before:.2%}, "
            f"between both neighbours {both:.2%}; perplexity by frequency {perplexity:.1f}"
        )
        return parts

    def fresh(self, epoch: int) -> Part:
        part = self.parts["train"]
        if not self.mask:
            return part
        return masked(part, self.mask, self.tokenizer.vocab, generator(self.seed, epoch))

    def divide(self, documents: list[str]) -> dict[str, str]:
        """Return the text of each part.

        Each document goes to the part that lacks most of its share. If they are few or very uneven,
        their text is cut by the shares instead.
        """
        total = sum(map(len, documents))
        found: dict[str, list[str]] = {part: [] for part in PARTS}
        taken = dict.fromkeys(PARTS, 0)

        def missing_share(part: str) -> float:
            return self.shares[part] - taken[part] / total

        for number in torch.randperm(len(documents), generator=generator(self.split_seed)).tolist():
            part = max(PARTS, key=missing_share)
            found[part].append(documents[number])
            taken[part] += len(documents[number])
        if all(taken[part] >= self.shares[part] * total / 3 for part in PARTS):
            return {part: "\n".join(texts) for part, texts in found.items()}
        text = "\n".join(documents)
        first = round(len(text) * self.shares["train"])
        second = round(len(text) * (1 - self.shares["test"]))
        if len(documents) > 1:
            self.notes.append(
                "the documents are too few or too uneven to stay whole: their text is cut in three"
            )
        return {"train": text[:first], "val": text[first:second], "test": text[second:]}

    def windows(self, ids: list[int]) -> Part:
        """Return tokens and the ones that follow as labels, each (windows, length)."""
        cut, seen = self._cut(torch.tensor([START, *ids]), self.length + 1)
        label = cut[:, 1:].clone()
        label[-1, :seen] = IGNORED
        return {"tokens": cut[:, :-1].contiguous(), "label": label}

    def stretches(self, ids: list[int]) -> Part:
        """Return tokens, each its own label, to be masked, each (windows, length)."""
        tokens, seen = self._cut(torch.tensor(ids), self.length)
        label = tokens.clone()
        label[-1, :seen] = IGNORED
        return {"tokens": tokens, "label": label}

    def _cut(self, ids: Tensor, width: int) -> tuple[Tensor, int]:
        """Return windows of `width`, one each `length`.

        The last one overlaps the one before; the second result is how many labels it repeats.
        """
        last = len(ids) - width
        starts = torch.tensor([*range(0, last, self.length), last])
        seen = 0
        if len(starts) > 1:
            seen = int(starts[-2]) + self.length - last
        return ids[starts[:, None] + torch.arange(width)], seen

    def facts(self) -> dict[str, Any]:
        self.read()
        vocab = self.tokenizer.vocab
        tokens = {"tokens": self.length, "dtype": "int", "vocab": vocab}
        found: dict[str, Any] = {"tokens": tokens, "vocab": vocab}
        if self.mask:
            found["mask"] = self.mask
        return found

    def shown(self, ids: list[int]) -> str:
        pieces: list[list[int]] = [[]]
        for number in ids:
            if number == MASK:
                pieces.append([])
            else:
                pieces[-1].append(number)
        return "▢".join(map(self.tokenizer.decode, pieces))

    def answers(self, ids: list[int]) -> str:
        if self.mask:
            return " · ".join(map(self.tokenizer.name, ids))
        return self.shown(ids)


class Topics(RunningText):
    """The help pages of Python, `pydoc_data.topics`: 465,000 characters of prose and grammar.

    Args: those of `RunningText`. The text differs a little from one version of Python to the next.
    """

    quick = True

    def documents(self) -> list[str]:
        from pydoc_data.topics import topics

        return [topics[name] for name in sorted(topics)]
