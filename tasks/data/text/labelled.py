"""Texts with labels, for classifiers of sequences."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from tasks.data.base import RawSample
from tasks.data.readers.text import TextReader
from tasks.data.sampler import SAMPLINGS
from tasks.data.sequences.base import InMemorySequences, Part, pad_rows
from tasks.data.split import PARTS, check_classes, check_shares, split
from tasks.data.tables.rows import read_rows
from tasks.data.tables.wanted import Given, Header, wanted_labelled
from tasks.data.text.naive_bayes import naive_bayes
from tasks.data.text.tokenizer import PAD, Tokenizer
from tasks.errors import ArgumentError, must_be_one_of, must_be_positive

Row = tuple[str, str]  # a text and its label
SHOWN = 5  # classes in a note
WHOLE = re.compile(r"-?\d{1,100}")


class LabelledTexts(InMemorySequences):
    """Base of the data modules of texts with labels.

    A subclass reads the texts; this class splits and encodes them. Each class goes to the parts in
    the same proportion, and a text that occurs several times stays in one part.

    Args:
        tokenizer: characters, words or bpe; trained on the training part alone.
        vocab: the most different tokens, for words and bpe.
        length: the most tokens of a text; longer texts are cut, with a note.
        val: share of the texts for validation.
        test: share of the texts for the test.
        sampling: None: each training text once an epoch; balanced: each class equally often.
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
        sampling: Literal["balanced"] | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        must_be_one_of("tokenizer", tokenizer, ("characters", "words", "bpe"))
        must_be_one_of("sampling", sampling, SAMPLINGS)
        must_be_positive("vocab", vocab)
        must_be_positive("length", length)
        check_shares(val, test)
        self.kind, self.vocab, self.length = tokenizer, vocab, length
        self.val, self.test, self.sampling = val, test, sampling
        self.rows: dict[str, list[Row]] = {}
        # the column of the texts in a file: its name, or its number from 1
        self.column: str | int | None = None

    def labelled(self) -> list[Row]:
        """Return all texts with their labels, in a fixed order."""
        raise NotImplementedError

    def load(self) -> dict[str, Part]:
        self.rows = self.divide(self.labelled())
        if self.tokenizer is None:
            texts = (text for text, _ in self.rows["train"])
            self.tokenizer = Tokenizer.train(texts, self.kind, self.vocab)
        ids = {}
        sizes: list[int] = []
        for part in PARTS:
            ids[part] = list(map(self.tokenizer.encode, self.names(part)))
            sizes += map(len, ids[part])
        cut = sum(size > self.length for size in sizes)
        if cut:
            total = f"{cut:,} of {len(sizes):,} texts"
            self.notes.append(f"{total} are longer than {self.length} tokens, and cut")
        width = min(self.length, max(sizes))
        parts = {part: self._tensors(ids[part], self.rows[part], width) for part in PARTS}
        self._note_baselines(parts)
        return parts

    def _tensors(self, ids: list[list[int]], rows: list[Row], width: int) -> Part:
        number = {name: index for index, name in enumerate(self.classes)}
        tokens = pad_rows([row[:width] for row in ids], width, PAD)
        label = torch.tensor([number[label] for _, label in rows])
        return {"tokens": tokens, "padding_mask": tokens != PAD, "label": label}

    def _note_baselines(self, parts: dict[str, Part]) -> None:
        commonest = parts["train"]["label"].mode().values
        share = float((parts["test"]["label"] == commonest).float().mean())
        accuracy = naive_bayes(self.rows["train"], self.rows["test"], self.split_seed)
        self.notes.append(
            f"of the test, always the commonest class ({self.classes[commonest]}) names "
            f"{share:.2%}, naive Bayes over pieces of up to three characters {accuracy:.2%}"
        )

    def divide(self, rows: list[Row]) -> dict[str, list[Row]]:
        """Return the rows of each part, and name the classes; raises ArgumentError."""
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(row[0], []).append(row)
        self.classes = sort_classes({label for _, label in rows})
        check_classes(self.classes, len(rows), "text")
        names = list(map(commonest_label, groups.values()))
        self._note_surprises(groups, Counter(names))
        label = torch.tensor(list(map(self.classes.index, names)))
        chosen = split(label, self.val, self.test, self.split_seed)
        texts = list(groups)
        found: dict[str, list[Row]] = {}
        for part in PARTS:
            found[part] = []
            for index in chosen[part].tolist():
                found[part] += groups[texts[index]]
            if not found[part]:
                raise ArgumentError(
                    "path",
                    f"too few texts of each class for the part {part}",
                    got=f"{len(texts):,} different texts, {len(self.classes):,} classes",
                    fix="name the columns (data.text=..., data.label=...), or give more texts of "
                    "each class",
                )
        return found

    def _note_surprises(self, groups: dict[str, list[Row]], counts: Counter[str]) -> None:
        """Note what a user may not expect: repeated texts, contradictions, rare classes."""
        repeated = sum(map(len, groups.values())) - len(groups)
        ambiguous = sum(len(set(rows)) > 1 for rows in groups.values())
        rare = [f"{name} ({counts[name]})" for name in self.classes if counts[name] < len(PARTS)]
        if repeated:
            self.notes.append(f"{repeated:,} rows repeat a text; each text stays in one part")
        if ambiguous:
            self.notes.append(f"{ambiguous:,} texts have several labels")
        if rare:
            shown = ", ".join(rare[:SHOWN])
            if len(rare) > SHOWN:
                shown += f" and {len(rare) - SHOWN} more"
            self.notes.append(f"classes with too few texts to be in every part: {shown}")

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

    def reader_arguments(self) -> dict[str, Any]:
        return {"length": self.length, "column": self.column}


class Labelled(LabelledTexts):
    """Texts with labels from a file with one text a row: .tsv, .csv or .jsonl.

    Args:
        path: the file.
        text: the column, or key, of the texts, by name or by number from 1; None: the one called
            text, sentence, review or content, else the one with the longest texts.
        label: the column of the labels; None: the one called label, class, category, target or
            sentiment, else the one with the fewest different values that repeat.
        header: whether the first row names the columns; "auto" looks at it, with a note on the
            decision.
        delimiter: comma, tab, semicolon or pipe; "auto" looks at the rows.
        options: those of `LabelledTexts`.
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
        self.notes += [layout.note, *notes]
        self.column = layout.indices[0] + 1
        if layout.names is not None:
            self.column = layout.names[layout.indices[0]]
        return [(text, label.strip()) for text, label in rows]


def commonest_label(rows: list[Row]) -> str:
    """Return the label that most rows have."""
    return Counter(label for _, label in rows).most_common(1)[0][0]


def sort_classes(names: set[str]) -> list[str]:
    """Sort the names of classes: numbers by value, all else by letter."""
    if all(map(WHOLE.fullmatch, names)):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)
