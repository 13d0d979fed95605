"""Texts with labels, for classifiers of sequences."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from tasks.data.base import READER, RawSample, read_reader_file
from tasks.data.labels import (
    check_separator,
    describe_labels,
    encode_labels,
    join_labels,
    read_flags,
    split_cell,
    split_labels,
)
from tasks.data.readers.text import TextReader
from tasks.data.sampler import SAMPLINGS
from tasks.data.sequences.base import InMemorySequences, Part, pad_rows
from tasks.data.split import PARTS, check_classes, check_shares, split_missing, stratify
from tasks.data.tables.columns import Layout
from tasks.data.tables.rows import describe_bad, read_rows
from tasks.data.tables.wanted import Given, Header, wanted_labelled
from tasks.data.text.naive_bayes import naive_bayes
from tasks.data.text.tokenizer import PAD, Tokenizer
from tasks.errors import ArgumentError, must_be_one_of, must_be_positive

Row = tuple[str, str]  # a text and its label, or its labels as `join_labels` joins them
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
        self.is_multilabel = False
        self.rows: dict[str, list[Row]] = {}
        # the column of the texts in a file: its name, or its number from 1
        self.column: str | int | None = None

    def labelled(self) -> list[Row]:
        """Return all texts with their labels, in a fixed order."""
        raise NotImplementedError

    def read_parts(self) -> dict[str, list[Row]]:
        """Return the rows of each part."""
        return self.divide(self.labelled())

    def load(self) -> dict[str, Part]:
        self.rows = self.read_parts()
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
        tokens = pad_rows([row[:width] for row in ids], width, PAD)
        label = self._encode([label for _, label in rows])
        return {"tokens": tokens, "padding_mask": tokens != PAD, "label": label}

    def _encode(self, labels: Sequence[str]) -> Tensor:
        """Return the class of each sample (samples,), or its labels (samples, classes)."""
        if self.is_multilabel:
            return encode_labels(list(map(split_labels, labels)), self.classes)
        number = {name: index for index, name in enumerate(self.classes)}
        return torch.tensor(list(map(number.__getitem__, labels)))

    def _note_baselines(self, parts: dict[str, Part]) -> None:
        if self.is_multilabel:
            return
        commonest = parts["train"]["label"].mode().values
        share = float((parts["test"]["label"] == commonest).float().mean())
        accuracy = naive_bayes(self.rows["train"], self.rows["test"], self.split_seed)
        self.notes.append(
            f"of the test, always the commonest class ({self.classes[commonest]}) names "
            f"{share:.2%}, naive Bayes over pieces of up to three characters {accuracy:.2%}"
        )

    def divide(
        self, rows: list[Row], given: Mapping[str, list[Row]] | None = None
    ) -> dict[str, list[Row]]:
        """Return the rows of each part, and name the classes.

        Args:
            rows: those to divide.
            given: the rows of parts that there are already.

        Raises:
            ArgumentError: a part has no row, or a class that training lacks.
        """
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(row[0], []).append(row)
        self.classes = self.name_classes(rows)
        check_classes(self.classes, len(rows), "text")
        names = list(map(commonest_label, groups.values()))
        self._note_surprises(groups, Counter(names))
        strata = stratify(self._encode(names))
        texts = list(groups)
        found = {part: list((given or {}).get(part, ())) for part in PARTS}
        self._check_given(found, groups)
        chosen = split_missing(strata, given or {}, self.val, self.test, self.split_seed)
        for part, indices in (chosen or {"train": torch.arange(len(texts))}).items():
            for index in indices.tolist():
                found[part] += groups[texts[index]]
        for part in PARTS:
            if not found[part]:
                raise ArgumentError(
                    "path",
                    f"too few texts of each class for the part {part}",
                    got=f"{len(texts):,} different texts, {len(self.classes):,} classes",
                    fix="name the columns (data.text=..., data.label=...), or give more texts of "
                    "each class",
                )
        return found

    def _check_given(self, given: Mapping[str, list[Row]], groups: Mapping[str, list[Row]]) -> None:
        """Raise an ArgumentError for a class that training lacks; note texts in two parts."""
        for part, rows in given.items():
            names = {label for _, label in rows}
            if self.is_multilabel:
                names = {name for label in names for name in split_labels(label)}
            strange = sorted(names - set(self.classes))
            if strange:
                raise ArgumentError(
                    "path",
                    f"the part {part} has a class that training lacks",
                    got=f"{strange[0]}; training has {', '.join(self.classes[:SHOWN])}",
                )
            repeated = sum(text in groups for text, _ in rows)
            if repeated:
                self.notes.append(f"{repeated:,} texts of the part {part} are in training, too")

    def name_classes(self, rows: list[Row]) -> list[str]:
        """Return the names of the classes of all rows, sorted."""
        return sort_classes({label for _, label in rows})

    def _note_surprises(self, groups: dict[str, list[Row]], counts: Counter[str]) -> None:
        """Note what a user may not expect: repeated texts, contradictions, rare classes."""
        repeated = sum(map(len, groups.values())) - len(groups)
        ambiguous = sum(len(set(rows)) > 1 for rows in groups.values())
        rare = []
        if self.is_multilabel:
            label = self._encode(list(counts.elements()))
            self.notes += describe_labels(label, self.classes, self.noun)
        else:
            for name in self.classes:
                if counts[name] < len(PARTS):
                    rare.append(f"{name} ({counts[name]})")
        if repeated:
            self.notes.append(f"{repeated:,} rows repeat a text; each text stays in one part")
        if ambiguous:
            several = "several labels"
            if self.is_multilabel:
                several = "rows with different labels"
            self.notes.append(f"{ambiguous:,} texts have {several}")
        if rare:
            shown = ", ".join(rare[:SHOWN])
            if len(rare) > SHOWN:
                shown += f" and {len(rare) - SHOWN} more"
            self.notes.append(f"classes with too few texts to be in every part: {shown}")

    def facts(self) -> dict[str, Any]:
        self.read()
        vocab = self.tokenizer.vocab
        facts: dict[str, Any] = {
            "tokens": {"tokens": self.length, "dtype": "int", "vocab": vocab},
            "padding_mask": {"tokens": self.length, "dtype": "bool"},
            "vocab": vocab,
            "classes": len(self.classes),
        }
        if self.is_multilabel:
            facts["label"] = {"classes": len(self.classes), "dtype": "int"}
        return facts

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
            sentiment, else the one with the fewest different values that repeat. Several columns of
            0 and 1: a text has any number of labels.
        separator: of several labels in a cell.
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
        label: Given | list[str] = None,
        separator: str | None = None,
        header: Header = "auto",
        delimiter: str = "auto",
        **options: Any,
    ):
        super().__init__(**options)
        self.path = Path(path).expanduser()
        check_separator(separator)
        labels: list[Any] = [label]
        if isinstance(label, list):
            labels = list(label)
        if separator is not None and len(labels) > 1:
            raise ArgumentError(
                "separator",
                "a separator divides the labels of one column",
                got=f"label={', '.join(labels)}",
                fits="one column; or separator=null",
            )
        self.separator, self.is_multilabel = separator, separator is not None or len(labels) > 1
        self.wanted = wanted_labelled(text, labels, optional=self.is_multilabel)
        self.header, self.delimiter = header, delimiter
        self.known: list[str] = []  # labels of a finished run
        self.label_columns: list[str] = []  # columns of 0 and 1

    def labelled(self) -> list[Row]:
        rows, notes, layout = read_rows(self.path, self.wanted, self.header, self.delimiter)
        self.notes += [layout.note, *notes]
        self.column = layout.indices[0] + 1
        if layout.names is not None:
            self.column = layout.names[layout.indices[0]]
        if self.is_multilabel:
            return self._read_labels(rows, layout)
        return [(text, label.strip()) for text, label in rows]

    def _read_labels(self, rows: list[list[str]], layout: Layout) -> list[Row]:
        """Return the rows with all of their labels; lines without flags are counted in a note.

        Raises:
            ArgumentError: a label that training lacks, or no row with labels.
        """
        names = list(map(layout.column_name, layout.indices[1:]))
        self.label_columns = names if self.separator is None else []
        lines = [line for line, cells in layout.cells() if not isinstance(cells, str)]
        found, bad, unknown = [], [], []
        for line, (text, *cells) in zip(lines, rows, strict=True):
            try:
                held = self._read_cells(names, cells)
            except ValueError as error:
                bad.append((line, str(error)))
                continue
            if self.known:
                unknown += [(line, name) for name in held if name not in self.known]
            found.append((text, join_labels(held)))
        if bad:
            self.notes.append(describe_bad(bad))
        if unknown:
            line, name = unknown[0]
            rows_of = len({line for line, _ in unknown})
            raise ArgumentError(
                "path",
                f"{self.path}, line {line}: {rows_of:,} of {len(rows):,} rows have a label that "
                "training lacks",
                got=name,
                fits=", ".join(self.known[:SHOWN]),
                fix="correct or delete the rows",
            )
        if not found:
            raise ArgumentError(
                "label", f"{self.path} has no row with labels", got=self.notes[-1], fits="0 and 1"
            )
        return found

    def _read_cells(self, names: list[str], cells: list[str]) -> list[str]:
        if self.separator is not None:
            return split_cell(cells[0], self.separator)
        return read_flags({name: [cell] for name, cell in zip(names, cells, strict=True)}, 0)

    def name_classes(self, rows: list[Row]) -> list[str]:
        if not self.is_multilabel:
            return super().name_classes(rows)
        names = {name for _, labels in rows for name in split_labels(labels)}
        found = self.known or self.label_columns or sort_classes(names)
        if len(found) < 2:
            raise ArgumentError(
                "label",
                f"{self.path}: there are fewer than two labels",
                got=", ".join(found) or "none",
                fits="two labels or more",
            )
        return found

    def restore(self, place: Path) -> None:
        super().restore(place)
        if self.is_multilabel and (place / READER).exists():
            self.known = read_reader_file(place)["classes"]


def commonest_label(rows: list[Row]) -> str:
    """Return the label that most rows have."""
    return Counter(label for _, label in rows).most_common(1)[0][0]


def sort_classes(names: set[str]) -> list[str]:
    """Sort the names of classes: numbers by value, all else by letter."""
    if all(map(WHOLE.fullmatch, names)):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)
