"""Texts with labels: what a classifier of sequences learns from."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from tasks.data.base import RawSample
from tasks.data.readers.text import TextReader
from tasks.data.sequences.base import InMemorySequences, Part, pad_rows
from tasks.data.split import PARTS, check_classes, check_shares, split
from tasks.data.tables.rows import read_rows
from tasks.data.tables.wanted import Given, Header, wanted_labelled
from tasks.data.text.naive_bayes import naive_bayes
from tasks.data.text.tokenizer import PAD, Tokenizer
from tasks.errors import ArgumentError, must_be_one_of, must_be_positive

Row = tuple[str, str]  # a text and its label
TOLD = 5  # classes by name in a note
WHOLE = re.compile(r"-?\d{1,100}")


class HeldLabelled(InMemorySequences):
    """Base of the data modules of texts with labels: a subclass brings the texts, this one splits
    and cuts them.

    Each class goes to the parts in the same proportion, and a text that occurs several times stays
    in one part.

    Args:
        tokenizer: characters, words or bpe; trained on the training part alone.
        vocab: at most so many different tokens, for words and bpe.
        length: the most tokens of a text; longer texts are cut, and told.
        val: share of the texts for validation.
        test: share of the texts for the test.
        options: those of `InMemorySequences`.
    """

    reader = TextReader
    noun = "text"
    padding: ClassVar[Mapping[str, tuple[str, ...]]] = {"padding_mask": ("tokens", "padding_mask")}

    def __init__(
        self,
        *,
        tokenizer: Literal["characters", "words", "bpe"] = "bpe",
        vocab: int = 4000,
        length: int = 256,
        val: float = 0.1,
        test: float = 0.1,
        **options: Any,
    ):
        super().__init__(**options)
        must_be_one_of("tokenizer", tokenizer, ("characters", "words", "bpe"))
        must_be_positive("vocab", vocab)
        must_be_positive("length", length)
        check_shares(val, test)
        self.kind, self.vocab, self.length, self.val, self.test = (
            tokenizer,
            vocab,
            length,
            val,
            test,
        )
        self.rows: dict[str, list[Row]] = {}
        self.column: str | int | None = (
            None  # of the texts in a file: its name, or its number from 1
        )

    def labelled(self) -> list[Row]:
        """All texts with their labels, in an order that does not change."""
        raise NotImplementedError

    def load(self) -> dict[str, Part]:
        self.rows = self.divide(self.labelled())
        self.tokenizer = self.tokenizer or Tokenizer.train(
            (text for text, _ in self.rows["train"]), self.kind, self.vocab
        )
        ids = {
            part: [self.tokenizer.encode(text) for text, _ in rows]
            for part, rows in self.rows.items()
        }
        sizes = [len(row) for found in ids.values() for row in found]
        cut = sum(size > self.length for size in sizes)
        if cut:
            self.notes.append(
                f"{cut:,} of {len(sizes):,} texts are longer than {self.length} tokens, and cut"
            )
        width = min(self.length, max(sizes))
        parts = {part: self._tensors(found, self.rows[part], width) for part, found in ids.items()}
        commonest = parts["train"]["label"].mode().values
        share = float((parts["test"]["label"] == commonest).float().mean())
        counting = naive_bayes(self.rows["train"], self.rows["test"], self.split_seed)
        self.notes.append(
            f"of the test, always the commonest class ({self.classes[commonest]}) names "
            f"{share:.2%}, "
            f"naive Bayes over pieces of up to three characters {counting:.2%}"
        )
        return parts

    def _tensors(self, ids: list[list[int]], rows: list[Row], width: int) -> Part:
        number = {name: place for place, name in enumerate(self.classes)}
        tokens = pad_rows([row[:width] for row in ids], width, PAD)
        label = torch.tensor([number[label] for _, label in rows])
        return {"tokens": tokens, "padding_mask": tokens != PAD, "label": label}

    def divide(self, rows: list[Row]) -> dict[str, list[Row]]:
        """The rows of each part; names the classes."""
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(row[0], []).append(row)
        self.classes = in_order({label for _, label in rows})
        check_classes(self.classes, len(rows), "text")
        texts = list(groups)
        names = [Counter(label for _, label in groups[text]).most_common(1)[0][0] for text in texts]
        self._tell(groups, Counter(names))
        label = torch.tensor([self.classes.index(name) for name in names])
        found = split(label, self.val, self.test, self.split_seed)
        empty = [part for part in PARTS if not len(found[part])]
        if empty:
            got = f"{len(texts):,} different texts, {len(self.classes):,} classes"
            fix = (
                "name the columns (data.text=..., data.label=...), or give more texts of each class"
            )
            raise ArgumentError(
                "path", f"too few texts of each class for the part {empty[0]}", got=got, fix=fix
            )
        return {
            part: [row for index in found[part].tolist() for row in groups[texts[index]]]
            for part in PARTS
        }

    def _tell(self, groups: dict[str, list[Row]], counts: Counter[str]) -> None:
        """Notes on what a user may not expect: texts that come again, contradictions, rare
        classes.
        """
        again = sum(len(found) - 1 for found in groups.values())
        torn = sum(len({label for _, label in found}) > 1 for found in groups.values())
        rare = [f"{name} ({counts[name]})" for name in self.classes if counts[name] < len(PARTS)]
        if again:
            self.notes.append(f"{again:,} rows repeat a text; each text stays in one part")
        if torn:
            self.notes.append(f"{torn:,} texts bear several labels")
        if rare:
            more = f" and {len(rare) - TOLD} more" if len(rare) > TOLD else ""
            shown = ", ".join(rare[:TOLD])
            self.notes.append(f"classes with too few texts to be in every part: {shown}{more}")

    def facts(self) -> dict[str, Any]:
        self.read()
        vocab = self.tokenizer.vocab
        return {
            "tokens": {"tokens": self.length, "dtype": "int", "vocab": vocab},
            "padding_mask": {"tokens": self.length, "dtype": "bool"},
            "vocab": vocab,
            "classes": len(self.classes),
        }

    def names(self, part: str) -> list[str]:
        return [text for text, _ in self.rows[part]]

    def raw_sample(self, part: str, index: int) -> RawSample:
        return RawSample(text=self.rows[part][index][0])

    def kept(self) -> dict[str, Any]:
        return {"length": self.length, "column": self.column}


class Labelled(HeldLabelled):
    """Texts with labels from a file with one text a row: .tsv, .csv or .jsonl.

    Args:
        path: the file.
        text: the column, or key, of the texts, by name or by number from 1; None: the one called
            text, sentence, review or content, else the one with the longest texts.
        label: the column of the labels; None: the one called label, class, category, target or
            sentiment, else the one with the fewest different values, each of which occurs again and
            again.
        header: whether the first row names the columns; "auto" looks at it, and a note says what
            was decided.
        delimiter: comma, tab, semicolon or pipe; "auto" looks at the rows.
        options: those of `HeldLabelled`.
    """

    def __init__(
        self,
        path: str,
        *,
        text: Given = None,
        label: Given = None,
        header: Header = "auto",
        delimiter: str = "auto",
        **options: Any,
    ):
        super().__init__(**options)
        self.path = Path(path).expanduser()
        self.wanted, self.header, self.delimiter = wanted_labelled(text, label), header, delimiter

    def labelled(self) -> list[Row]:
        rows, notes, layout = read_rows(self.path, self.wanted, self.header, self.delimiter)
        self.decided = layout.note
        self.notes += [layout.note, *notes]
        self.column = (
            layout.indices[0] + 1 if layout.names is None else layout.names[layout.indices[0]]
        )
        return [(row[0], row[1].strip()) for row in rows]


def in_order(names: set[str]) -> list[str]:
    """Names of classes as people sort them: numbers by value, all else by letter."""
    if all(map(WHOLE.fullmatch, names)):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)
