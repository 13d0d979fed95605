"""Pairs of texts as tokens: a source, a target to be said, and masks that tell padding."""

from collections.abc import Mapping
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


class Translation(InMemorySequences):
    """Base of the data modules of text pairs: a subclass brings the pairs, this one makes tokens of
    them.

    Both sides share one vocabulary, trained on the training part alone. A target is read by the
    network from its start mark and labelled up to its end mark: teacher forcing, shifted by one.

    Args:
        tokenizer: characters, words or bpe.
        vocab: at most so many different tokens, for words and bpe.
        length: the most tokens of a text, marks included; longer pairs are left out and told. None:
            the longest.
        options: those of `InMemorySequences`.
    """

    languages: tuple[str | None, str | None] = (None, None)
    direction = "forward"
    remedy = "a decoder whose self-attention is causal, as that of model=transformer"
    said = "target"
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
        must_be_positive("length", 1 if length is None else length)
        self.kind, self.vocab, self.length = tokenizer, vocab, length
        self.references: list[str] = []  # the targets of the test, as they are written

    def pairs(self) -> dict[str, list[tuple[str, str]]]:
        """The pairs of each part."""
        raise NotImplementedError

    def load(self) -> dict[str, Part]:
        pairs = self.pairs()
        texts = (text for pair in pairs["train"] for text in pair)
        self.tokenizer = self.tokenizer or Tokenizer.train(texts, self.kind, self.vocab)
        encoded = {part: self._encoded(part, pairs[part]) for part in PARTS}
        rows = [pair for found in encoded.values() for pair in found]
        self.source_length = max(len(source) for source, _ in rows)
        self.target_length = max(len(target) for _, target in rows) + 1  # and the end mark
        self.references = [self.tokenizer.decode(target) for _, target in encoded["test"]]
        return {part: self._tensors(found) for part, found in encoded.items()}

    def _encoded(
        self, part: str, pairs: list[tuple[str, str]]
    ) -> list[tuple[list[int], list[int]]]:
        rows = [
            (self.tokenizer.encode(source), self.tokenizer.encode(target))
            for source, target in pairs
        ]
        short = [
            pair
            for pair in rows
            if self.length is None or max(len(pair[0]), len(pair[1]) + 1) <= self.length
        ]
        if not short:
            fix = "a larger data.length"
            raise ArgumentError(
                "length", f"no pair of the part {part} is short enough", got=f"{len(rows)}", fix=fix
            )
        if len(short) < len(rows):
            self.notes.append(
                f"{len(rows) - len(short)} of {len(rows)} {part} pairs are longer than "
                f"{self.length}"
            )
        return short

    def _tensors(self, rows: list[tuple[list[int], list[int]]]) -> Part:
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
    """Dates, times, numbers, amounts of money and spans of time in two languages, as Unicode's CLDR
    writes them.

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

    def pairs(self) -> dict[str, list[tuple[str, str]]]:
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
        header: whether the first row names the columns; "auto" looks at it, and a note says what
            was decided.
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

    def pairs(self) -> dict[str, list[tuple[str, str]]]:
        found, notes, layout = read_rows(self.path, self.wanted, self.header, self.delimiter)
        self.decided = layout.note
        self.notes += [layout.note, *notes]
        groups: dict[str, list[tuple[str, str]]] = {}
        for source, target in found:
            groups.setdefault(source, []).append(
                (source, target)
            )  # one source text stays in one part
        texts = list(groups)
        if len(texts) < 3:
            got = f"{len(texts)} different source texts"
            raise ArgumentError(
                "path", f"{self.path} has too few pairs to train, validate and test", got=got
            )
        order = torch.randperm(len(texts), generator=generator(self.split_seed)).tolist()
        val, test = (max(1, round(share * len(texts))) for share in self.shares.values())
        cut = {"test": order[:test], "val": order[test : test + val], "train": order[test + val :]}
        return {
            part: [pair for number in cut[part] for pair in groups[texts[number]]] for part in PARTS
        }
