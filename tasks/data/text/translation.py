"""Pairs of texts as tokens: a source, a target to predict, and masks of their padding."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from tasks.data.sampler import generator
from tasks.data.sequences.base import IGNORED, InMemorySequences, Part, pad_rows
from tasks.data.split import PARTS, check_shares
from tasks.data.tables.rows import read_rows
from tasks.data.tables.wanted import Given, Header, wanted_pair
from tasks.data.text.phrases import phrases
from tasks.data.text.tokenizer import END, PAD, START, Tokenizer
from tasks.errors import ArgumentError, must_be_one_of, must_be_positive

Pair = tuple[str, str]
Encoded = tuple[list[int], list[int]]  # the tokens of a source and of its target


class Translation(InMemorySequences):
    """Base of the data modules of text pairs.

    A subclass reads the pairs; this class encodes them. Both sides share one vocabulary, trained on
    the training part alone. The network reads a target from its start mark and predicts it up to
    its end mark: teacher forcing, shifted by one.

    Args:
        tokenizer: characters, words or bpe.
        vocab: the most different tokens, for words and bpe.
        length: the most tokens of a text, marks included; longer pairs are left out, with a note.
            None: the longest.
        options: those of `InMemorySequences`.
    """

    languages: tuple[str | None, str | None] = (None, None)
    direction = "forward"
    remedy = "a decoder whose self-attention is causal, as that of model=transformer"
    predicted_input = "target"
    batch_axes: ClassVar[Mapping[str, tuple[str, ...]]] = {"label": ("tokens",)}
    padding: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "source_mask": ("source", "source_mask"),
        "target_mask": ("target", "target_mask", "label"),
    }

    def __init__(
        self,
        *,
        tokenizer: Literal["characters", "words", "bpe"] = "characters",
        vocab: int = 8000,
        length: int | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        must_be_one_of("tokenizer", tokenizer, ("characters", "words", "bpe"))
        must_be_positive("vocab", vocab)
        if length is not None:
            must_be_positive("length", length)
        self.kind, self.vocab, self.length = tokenizer, vocab, length
        self.references: list[str] = []  # the targets of the test, as they are written

    def pairs(self) -> dict[str, list[Pair]]:
        """Return the pairs of each part."""
        raise NotImplementedError

    def load(self) -> dict[str, Part]:
        pairs = self.pairs()
        texts = chain.from_iterable(pairs["train"])
        self.tokenizer = self.tokenizer or Tokenizer.train(texts, self.kind, self.vocab)
        encoded = {part: self._encode(part, pairs[part]) for part in PARTS}
        sources, targets = zip(*chain.from_iterable(encoded.values()), strict=True)
        self.source_length = max(map(len, sources))
        self.target_length = max(map(len, targets)) + 1  # and the end mark
        self.references = [self.tokenizer.decode(target) for _, target in encoded["test"]]
        return {part: self._tensors(found) for part, found in encoded.items()}

    def _encode(self, part: str, pairs: list[Pair]) -> list[Encoded]:
        """Return the tokens of the pairs that are short enough; raises ArgumentError."""
        short: list[Encoded] = []
        for texts in pairs:
            source, target = map(self.tokenizer.encode, texts)
            if self.length is None or max(len(source), len(target) + 1) <= self.length:
                short.append((source, target))
        if not short:
            text, got = f"no pair of the part {part} is short enough", f"{len(pairs)}"
            raise ArgumentError("length", text, got=got, fix="a larger data.length")
        if len(short) < len(pairs):
            share = f"{len(pairs) - len(short)} of {len(pairs)} {part} pairs"
            self.notes.append(f"{share} are longer than {self.length}")
        return short

    def _tensors(self, rows: list[Encoded]) -> Part:
        source = pad_rows([source for source, _ in rows], self.source_length, PAD)
        target = pad_rows([[START, *target] for _, target in rows], self.target_length, PAD)
        label = pad_rows([[*target, END] for _, target in rows], self.target_length, IGNORED)
        return {
            "source": source,
            "source_mask": source != PAD,
            "target": target,
            "target_mask": target != PAD,
            "label": label,
        }

    def facts(self) -> dict[str, Any]:
        self.read()
        vocab, source, target = self.tokenizer.vocab, self.source_length, self.target_length
        return {
            "source": {"tokens": source, "dtype": "int", "vocab": vocab},
            "target": {"tokens": target, "dtype": "int", "vocab": vocab},
            "source_mask": {"tokens": source, "dtype": "bool"},
            "target_mask": {"tokens": target, "dtype": "bool"},
            "vocab": vocab,
        }

    def shown(self, ids: list[int]) -> str:
        return self.tokenizer.decode([number for number in ids if number != PAD])


class Phrases(Translation):
    """Dates, times, numbers, money and time spans in two languages, as Unicode's CLDR writes them.

    Args:
        source: a locale as Babel names it: en, de, zh, pt_BR.
        target: another one.
        train: pairs to learn from.
        val: pairs for validation.
        test: pairs for the test; none of their dates is in training.
        options: those of `Translation`.
    """

    quick = True

    def __init__(
        self,
        *,
        source: str = "en",
        target: str = "zh",
        train: int = 20000,
        val: int = 500,
        test: int = 1000,
        **options: Any,
    ):
        super().__init__(**options)
        self.languages, self.counts = (source, target), {"train": train, "val": val, "test": test}
        for name, value in self.counts.items():
            must_be_positive(name, value)

    def pairs(self) -> dict[str, list[Pair]]:
        source, target = self.languages
        assert source is not None
        assert target is not None
        return phrases(source, target, seed=self.split_seed, **self.counts)


class Pairs(Translation):
    """Pairs of texts from a file with one pair a line: .tsv, .csv or .jsonl.

    Args:
        path: the file.
        source: the column, or key, of the texts to translate, by name or by number from 1; None:
            the one of that name, else the first with texts.
        target: the column of the translations.
        header: whether the first row names the columns; "auto" looks at it, with a note on the
            decision.
        delimiter: comma, tab, semicolon or pipe; "auto" looks at the rows.
        language: the language of the translations, for BLEU: zh, ja, ko have their own tokenizers.
        val: share of the pairs for validation.
        test: share of the pairs for the test.
        options: those of `Translation`.
    """

    def __init__(
        self,
        *,
        path: str,
        source: Given = None,
        target: Given = None,
        header: Header = "auto",
        delimiter: str = "auto",
        language: str | None = None,
        val: float = 0.1,
        test: float = 0.1,
        **options: Any,
    ):
        super().__init__(**options)
        check_shares(val, test)
        self.path, self.languages = Path(path).expanduser(), (None, language)
        self.wanted, self.header, self.delimiter = wanted_pair(source, target), header, delimiter
        self.shares = {"val": val, "test": test}

    def pairs(self) -> dict[str, list[Pair]]:
        found, notes, layout = read_rows(self.path, self.wanted, self.header, self.delimiter)
        self.notes += [layout.note, *notes]
        groups: dict[str, list[Pair]] = {}  # by the source text, which stays in one part
        for source, target in found:
            groups.setdefault(source, []).append((source, target))
        total = len(groups)
        if total < 3:
            text = f"{self.path} has too few pairs to train, validate and test"
            raise ArgumentError("path", text, got=f"{total} different source texts")
        order = torch.randperm(total, generator=generator(self.split_seed)).tolist()
        same_source = list(groups.values())
        shuffled = [same_source[number] for number in order]
        val, test = (max(1, round(share * total)) for share in self.shares.values())
        return {
            "train": list(chain.from_iterable(shuffled[test + val :])),
            "val": list(chain.from_iterable(shuffled[test : test + val])),
            "test": list(chain.from_iterable(shuffled[:test])),
        }
