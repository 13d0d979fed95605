"""Running text, cut into windows: what a language model learns from."""

from typing import Any, Literal

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
UNMASK = "model/attention=full, or data.mask=0 to foresee the next token"


class HeldText(InMemorySequences):
    """Base of the data modules of running text: a subclass reads documents, this one splits and
    cuts them.

    Whole documents go to one part, unless they are too uneven. Windows do not overlap, and every
    token of a part is foreseen once, or hidden at most once.

    Args:
        length: tokens in a window.
        mask: share of the tokens that are hidden and asked for, in [0, 1); 0: the next token is,
            everywhere. Masks of training are new in each epoch, those of validation and test stay.
        tokenizer: characters, words or bpe; trained on the training part alone.
        vocab: at most so many different tokens, for bpe and words.
        val: share of the text for validation.
        test: share of the text for the test.
        options: those of `InMemorySequences`.
    """

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
        self.direction, self.remedy = ("both", UNMASK) if mask else ("forward", GAPS)
        self.shares = {"train": 1 - val - test, "val": val, "test": test}

    def documents(self) -> list[str]:
        """All documents, in an order that does not change."""
        raise NotImplementedError

    def load(self) -> dict[str, Part]:
        texts = self.divide(self.documents())
        self.tokenizer = self.tokenizer or Tokenizer.train([texts["train"]], self.kind, self.vocab)
        ids = {part: self.tokenizer.encode(text) for part, text in texts.items()}
        for part, found in ids.items():
            if len(found) <= self.length:
                got = f"{len(found)} tokens in the part {part}, windows of {self.length}"
                raise ArgumentError(
                    "length",
                    "the text is shorter than a window",
                    got=got,
                    fix="a smaller data.length",
                )
        self.tokens_per_character = len(ids["test"]) / len(texts["test"])
        unknown = self.tokenizer.unknown_bytes(texts["test"])
        self.unknown_bits_per_character = 8 * unknown / len(texts["test"])
        if unknown and not self.mask:
            share = unknown / len(texts["test"].encode())
            more = f"{self.unknown_bits_per_character:.3f} bits per character"
            self.notes.append(
                f"unknown tokens hide {share:.1%} of the test text: 8 bits a byte, {more}, are "
                "added"
            )
        if self.mask:
            return self._with_masks({part: self.stretches(found) for part, found in ids.items()})
        self.notes.append(f"the test text compressed: {compressed(texts['train'], texts['test'])}")
        return {part: self.windows(found) for part, found in ids.items()}

    def _with_masks(self, parts: dict[str, Part]) -> dict[str, Part]:
        """Masks for validation and test, from sources of their own, which no epoch of training can
        meet.
        """
        vocab = self.tokenizer.vocab
        for salt, part in enumerate(PARTS[1:]):
            parts[part] = masked(
                parts[part], self.mask, vocab, generator(self.split_seed, -1 - salt)
            )
        known, asked = parts["train"]["tokens"], parts["test"]["label"]
        common, perplexity = by_frequency(known, asked[asked != IGNORED], vocab)
        before, both = by_neighbours(known, parts["test"], vocab)
        told = (
            f"always the commonest {common:.2%}, the commonest after the token before {before:.2%}"
        )
        more = f"between both neighbours {both:.2%}; perplexity by frequency {perplexity:.1f}"
        self.notes.append(f"what counting reaches on the masked test tokens: {told}, {more}")
        return parts

    def fresh(self, epoch: int) -> Part:
        part = self.parts["train"]
        return (
            masked(part, self.mask, self.tokenizer.vocab, generator(self.seed, epoch))
            if self.mask
            else part
        )

    def divide(self, documents: list[str]) -> dict[str, str]:
        """The text of each part: documents dealt out by size, or cut where the shares say, if few
        or very uneven.
        """
        total = sum(map(len, documents))
        found: dict[str, list[str]] = {part: [] for part in PARTS}
        held = dict.fromkeys(PARTS, 0)
        for number in torch.randperm(len(documents), generator=generator(self.split_seed)).tolist():
            poorest = max(PARTS, key=lambda part: self.shares[part] - held[part] / total)
            found[poorest].append(documents[number])
            held[poorest] += len(documents[number])
        if all(held[part] >= self.shares[part] * total / 3 for part in PARTS):
            return {part: "\n".join(texts) for part, texts in found.items()}
        text = "\n".join(documents)
        first, second = (
            round(len(text) * share) for share in (self.shares["train"], 1 - self.shares["test"])
        )
        if len(documents) > 1:
            self.notes.append(
                "the documents are too few or too uneven to stay whole: their text is cut in three"
            )
        return {"train": text[:first], "val": text[first:second], "test": text[second:]}

    def windows(self, ids: list[int]) -> Part:
        """Tokens and the ones that follow, (windows, length)."""
        cut, seen = self._cut(torch.tensor([START, *ids]), self.length + 1)
        label = cut[:, 1:].clone()
        label[-1, :seen] = IGNORED
        return {"tokens": cut[:, :-1].contiguous(), "label": label}

    def stretches(self, ids: list[int]) -> Part:
        """Tokens, (windows, length), each its own label: what masks are laid over."""
        tokens, seen = self._cut(torch.tensor(ids), self.length)
        label = tokens.clone()
        label[-1, :seen] = IGNORED
        return {"tokens": tokens, "label": label}

    def _cut(self, ids: Tensor, width: int) -> tuple[Tensor, int]:
        """Windows of `width`, one each `length`, and how many labels of the last, which reaches
        back, came before.
        """
        last = len(ids) - width
        starts = torch.tensor([*range(0, last, self.length), last])
        seen = int(starts[-2]) + self.length - last if len(starts) > 1 else 0
        return ids[starts[:, None] + torch.arange(width)], seen

    def facts(self) -> dict[str, Any]:
        self.read()
        vocab = self.tokenizer.vocab
        found = {"tokens": {"tokens": self.length, "dtype": "int", "vocab": vocab}, "vocab": vocab}
        return {**found, "mask": self.mask} if self.mask else found

    def shown(self, ids: list[int]) -> str:
        pieces: list[list[int]] = [[]]
        for number in ids:
            pieces.append([]) if number == MASK else pieces[-1].append(number)
        return "▢".join(self.tokenizer.decode(piece) for piece in pieces)

    def answers(self, ids: list[int]) -> str:
        return (
            " · ".join(self.tokenizer.name(number) for number in ids)
            if self.mask
            else self.shown(ids)
        )


class Topics(HeldText):
    """The help pages of Python itself, `pydoc_data.topics`: some 465,000 characters of English
    prose and grammar.

    Args: those of `HeldText`. Its text differs a little from one version of Python to the next.
    """

    quick = True

    def documents(self) -> list[str]:
        from pydoc_data.topics import topics

        return [topics[name] for name in sorted(topics)]
