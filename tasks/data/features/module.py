"""The data module of tables: columns of features, and one or several targets."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from tasks.data.base import READER, DataModule, RawSample, read_reader_file
from tasks.data.features.encoding import (
    Columns,
    Encoding,
    clean_category,
    find_bad_number,
    holds_numbers,
    measure,
)
from tasks.data.labels import (
    check_separator,
    describe_labels,
    encode_labels,
    read_flags,
    split_cell,
)
from tasks.data.readers.table import TableReader
from tasks.data.sampler import SAMPLINGS, IndexBatches, Order
from tasks.data.split import (
    PARTS,
    check_classes,
    check_parts,
    check_shares,
    choose_stated,
    split,
    stratify,
)
from tasks.data.tables.column import as_column, parse_number
from tasks.data.tables.rows import describe_bad
from tasks.errors import ArgumentError, must_be_one_of, must_be_positive

KINDS = ("auto", "numbers", "classes", "labels")
SHOWN = 12  # columns in a note


class RowBatches(IndexBatches):
    """Iterate over the rows of a part, any number of times.

    Args:
        tensors: by name, with the rows as their first axis; an "index" is added.
        size: rows in a batch of this process.
        order: which rows, in which order.
    """

    def __init__(self, tensors: dict[str, Tensor], size: int, order: Order):
        super().__init__(size, order)
        self.tensors = tensors

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for _, chosen in self.index_batches():
            batch = {name: tensor.index_select(0, chosen) for name, tensor in self.tensors.items()}
            yield batch | {"index": chosen}


class Features(DataModule):
    """Base of the data modules of tables. A subclass reads the columns.

    A batch has "numbers" (batch, features), standardised, "categories" (batch, columns), codes in
    one vocabulary of all columns, and either "target" (batch, targets), standardised, or "label"
    (batch,), of several labels (batch, classes).

    Args:
        target: the column, or the columns, to predict, by name; None is the last column.
        kind: of the target: numbers; classes; labels, several for each row: columns of 0 and 1, or
            one column with a separator; auto: labels with a separator, else classes where it holds
            texts, else numbers.
        separator: between the labels of a cell, e.g. ";".
        categories: columns of numbers that are categories.
        exclude: columns that are left out.
        batch_size: rows in a batch, of each process.
        val: share of the rows kept for validation.
        test: share of the rows kept for the test.
        sampling: None: each training row once an epoch; balanced: each class equally often.
        seed: seed of the order.
        split_seed: seed of the split.
        facts: what the YAML declares about the data; checked against what is read.
    """

    batch_axes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "label": (),
        "target": ("targets",),
    }  # the one that its facts have
    reader = TableReader
    noun = "row"

    def __init__(
        self,
        *,
        target: str | Sequence[str] | None = None,
        kind: Literal["auto", "numbers", "classes", "labels"] = "auto",
        separator: str | None = None,
        categories: Sequence[str] = (),
        exclude: Sequence[str] = (),
        batch_size: int = 64,
        val: float = 0.1,
        test: float = 0.2,
        sampling: Literal["balanced"] | None = None,
        seed: int = 0,
        split_seed: int = 0,
        facts: dict | None = None,
    ):
        super().__init__()
        must_be_positive("batch_size", batch_size)
        must_be_one_of("kind", kind, KINDS)
        must_be_one_of("sampling", sampling, SAMPLINGS)
        check_separator(separator)
        check_shares(val, test)
        self.separator = separator
        self.target = [target] if isinstance(target, str) else target
        self.kind, self.categories, self.exclude = kind, categories, exclude
        self.batch_size, self.val, self.test = batch_size, val, test
        self.sampling = sampling
        self.seed, self.split_seed, self.declared = seed, split_seed, facts
        self.parts: dict[str, dict[str, Tensor]] = {}
        self.part_of: np.ndarray | None = None  # of each row that is loaded, where they state it
        self.rows: dict[str, list[str]] = {}  # the name of each row of a part
        self.encoding: Encoding | None = None  # of a finished run, if there is one
        self.targets: list[str] = []
        self.is_multilabel = False
        # mean and standard deviation of each target that is a number, in the training part
        self.scale: tuple[Tensor, Tensor] | None = None

    def load(self) -> tuple[Mapping[str, Sequence[str]], list[str]]:
        """Return the cells of each column by its name, and the name of each row."""
        raise NotImplementedError

    def read(self) -> None:
        """Read the data, once.

        Raises:
            ArgumentError: a column is missing, or nothing can be learned from the rows.
        """
        if self.parts:
            return
        cells, names = self.load()
        columns = {name: as_column(column) for name, column in cells.items()}
        self.check_columns(columns)
        self.targets = list(self.target or [list(columns)[-1]])
        features = dict(columns)
        for name in (*self.targets, *self.exclude):
            features.pop(name, None)
        if not features:
            raise ArgumentError(
                "target",
                "no column is left to predict from",
                got=f"target={', '.join(self.targets)}; columns: {', '.join(columns)}",
                fits="one column or more beside target and exclude",
            )
        target = {name: columns[name] for name in self.targets}
        kind = self.find_kind(target)
        good = self.find_good_rows(features, target, names, kind)
        if len(good) < len(names):
            features = {name: column.take(good) for name, column in features.items()}
            target = {name: column.take(good) for name, column in target.items()}
            names = [names[row] for row in good.tolist()]
        answer = self.encode_target(target, kind)
        chosen = self.choose_parts(self.strata(answer), good)
        self.check_sizes(chosen)
        if self.encoding is None:
            train = chosen["train"].tolist()
            self.encoding, notes = measure(features, train, self.categories)
            self.notes += notes
        self.note_columns()
        if "target" in answer:
            self.scale = self.scale or measure_targets(answer["target"][chosen["train"]])
            answer["target"] = ((answer["target"] - self.scale[0]) / self.scale[1]).float()
        tensors = self.encoding.encode(features, len(good)) | answer
        for part, index in chosen.items():
            self.parts[part] = {name: tensor[index] for name, tensor in tensors.items()}
            self.rows[part] = [names[row] for row in index.tolist()]

    def check_columns(self, columns: Columns) -> None:
        """Raise an ArgumentError for an argument that names a column twice, or one that there is
        not.
        """
        given = {
            "target": self.target or [],
            "categories": self.categories,
            "exclude": self.exclude,
        }
        for option, names in given.items():
            if len(set(names)) < len(names):
                got = ", ".join(map(str, names))
                raise ArgumentError(option, "a column is named twice", got=got, fits="each once")
            for name in names:
                if name not in columns:
                    fits = ", ".join(list(columns)[:SHOWN])
                    raise ArgumentError(option, "there is no such column", got=name, fits=fits)

    def find_kind(self, target: Columns) -> str:
        """Return what the target is: numbers, classes or labels.

        Raises:
            ArgumentError: labels are in one column without a separator.
        """
        kind = self.kind
        if kind == "auto":
            kind = "numbers"
            if self.separator is not None:
                kind = "labels"
            elif not all(map(holds_numbers, target.values())):
                kind = "classes"
        if self.separator is not None and (kind != "labels" or len(target) > 1):
            raise ArgumentError(
                "separator",
                "a separator divides the labels of one column",
                got=f"kind={kind}, target={', '.join(target)}",
                fits="kind=labels and one column; or separator=null",
            )
        if kind == "labels" and len(target) == 1 and self.separator is None:
            raise ArgumentError(
                "separator",
                "labels in one column are separated",
                got=f"target={self.targets[0]}",
                fits="data.separator=';', or a column of 0 and 1 for each label: target=[a, b]",
            )
        return kind

    def encode_target(self, target: Columns, kind: str) -> dict[str, Tensor]:
        """Return the target of each row as "target" or "label"."""
        if kind == "numbers":
            return encode_numbers(target)
        if kind == "classes":
            return self.encode_classes(target)
        return self.encode_labels(target)

    def encode_labels(self, target: Columns) -> dict[str, Tensor]:
        """Return the labels of each row (rows, classes), and set the names of the classes."""
        rows = len(next(iter(target.values())))
        if self.separator is None:
            held = [read_flags(target, row) for row in range(rows)]
            found = list(target)
        else:
            cells = map(clean_category, target[self.targets[0]])
            held = [split_cell(cell, self.separator) for cell in cells]
            found = sorted({name for names in held for name in names})
        self.is_multilabel = True
        if not self.classes:
            self.classes = found
        unknown = sorted(set(found) - set(self.classes))
        if unknown:
            raise ArgumentError(
                "target",
                "the run knows no such labels",
                got=", ".join(unknown[:SHOWN]),
                fits=", ".join(self.classes[:SHOWN]),
            )
        if len(self.classes) < 2:
            raise ArgumentError(
                "target",
                "there are fewer than two labels",
                got=", ".join(self.classes) or "none",
                fits="two labels or more",
            )
        label = encode_labels(held, self.classes)
        self.notes += describe_labels(label, self.classes, self.noun)
        return {"label": label}

    def find_good_rows(
        self, features: Columns, target: Columns, names: Sequence[str], kind: str
    ) -> np.ndarray:
        """Return the rows that can be used; the others are counted in a note.

        Raises:
            ArgumentError: there are none.
        """
        numbers = {}
        suspect = find_suspect_targets(target, kind, len(names))
        for name, cells in features.items():
            if holds_numbers(cells) and name not in self.categories:
                column = as_column(cells)
                numbers[name] = column
                suspect |= ~np.isfinite(column.numbers) & ~column.missing
        bad = []
        for row in np.flatnonzero(suspect).tolist():
            fault = find_target_fault(target, row, kind, self.separator)
            fault = fault or find_bad_number(numbers, row)
            if fault is None:
                suspect[row] = False
            else:
                line = int(names[row]) if names[row].isdecimal() else row + 1
                bad.append((line, fault))
        good = np.flatnonzero(~suspect)
        if bad:
            self.notes.append(describe_bad(bad))
        if not len(good):
            raise ArgumentError(
                "target", "no row has a target", got=self.notes[-1], fits="a column with values"
            )
        return good

    def encode_classes(self, target: Columns) -> dict[str, Tensor]:
        """Return the class of each row by number, and set the names of the classes."""
        if len(target) > 1:
            raise ArgumentError(
                "target", "classes are in one column", got=", ".join(target), fits="one column"
            )
        cells = list(map(clean_category, next(iter(target.values()))))
        if not self.classes:
            self.classes = sorted(set(cells))
        check_classes(self.classes, len(cells), self.noun)
        known = {name: number for number, name in enumerate(self.classes)}
        unknown = sorted(set(cells) - set(known))
        if unknown:
            raise ArgumentError(
                "target",
                "the run knows no such classes",
                got=", ".join(unknown[:SHOWN]),
                fits=", ".join(self.classes[:SHOWN]),
            )
        return {"label": torch.tensor([known[cell] for cell in cells])}

    def strata(self, answer: dict[str, Tensor]) -> Tensor:
        """Return the class of each row, by which the split is stratified."""
        if "label" in answer:
            return stratify(answer["label"])
        return torch.zeros(len(answer["target"]), dtype=torch.long)

    def choose_parts(self, strata: Tensor, rows: np.ndarray) -> dict[str, Tensor]:
        """Return the indices of each part.

        Args:
            strata: (samples,), by which the split is stratified.
            rows: (samples,), the row that each sample was loaded from.
        """
        if self.part_of is None:
            return split(strata, self.val, self.test, self.split_seed)
        part_of = self.part_of[rows]
        for part in np.unique(self.part_of).tolist():
            if not (part_of == part).any():
                raise ArgumentError(
                    "path",
                    f"no row of the part {part} can be used",
                    got=self.notes[-1],
                    fits="rows with a target and numbers in the columns of numbers",
                )
        return choose_stated(strata, part_of, self.val, self.test, self.split_seed)

    def check_sizes(self, chosen: dict[str, Tensor]) -> None:
        """Raise an ArgumentError if a part has no row."""
        sizes = {part: len(index) for part, index in chosen.items()}
        check_parts(sizes, {"val": self.val, "test": self.test}, self.classes or ["all"], self.noun)

    def note_columns(self) -> None:
        """Note what is read as what."""
        assert self.encoding is not None
        parts = [f"target: {', '.join(self.targets)}"]
        numbers = [column.name for column in self.encoding.numbers]
        categories = []
        for column in self.encoding.categories:
            categories.append(f"{column.name} ({len(column.values)})")
        for kind, names in (("numbers", numbers), ("categories", categories)):
            if names:
                more = ", ..." if len(names) > SHOWN else ""
                parts.append(f"{len(names)} {kind}: {', '.join(names[:SHOWN])}{more}")
        self.notes.insert(0, "; ".join(parts))

    def facts(self) -> dict[str, Any]:
        """Return the shapes of the features, and the number of targets or classes."""
        self.read()
        assert self.encoding is not None
        facts = self.encoding.facts()
        if self.is_multilabel:
            facts["label"] = {"classes": len(self.classes), "dtype": "int"}
        if self.classes:
            return facts | {"classes": len(self.classes)}
        return facts | {"targets": len(self.targets)}

    def sizes(self) -> dict[str, int]:
        return {part: len(self.rows[part]) for part in PARTS}

    def names(self, part: str) -> list[str]:
        return self.rows[part]

    def raw_sample(self, part: str, index: int) -> RawSample:
        """Return a row as a text: "age 0.38, sex f"."""
        assert self.encoding is not None
        row = self.parts[part]
        shown = []
        for number, column in enumerate(self.encoding.numbers):
            value = float(row["numbers"][index, number]) * column.std + column.mean
            shown.append(f"{column.name} {value:.4g}")
        for number, category in enumerate(self.encoding.categories):
            code = int(row["categories"][index, number]) - category.first
            shown.append(f"{category.name} {('unknown', *category.values)[code] or 'missing'}")
        return RawSample(text=", ".join(shown))

    def target_scale(self) -> tuple[list[str], Tensor, Tensor]:
        """Return names, means and standard deviations of the targets that are numbers."""
        self.read()
        assert self.scale is not None
        return self.targets, self.scale[0], self.scale[1]

    def reader_arguments(self) -> dict[str, Any]:
        self.read()
        assert self.encoding is not None
        arguments: dict[str, Any] = {"encoding": self.encoding.to_plain(), "targets": self.targets}
        if self.scale is not None:
            arguments["mean"], arguments["std"] = self.scale[0].tolist(), self.scale[1].tolist()
        return arguments

    def restore(self, place: Path) -> None:
        super().restore(place)
        if (place / READER).exists():
            saved = read_reader_file(place)
            reader = TableReader(**saved["reader"])
            self.encoding, self.classes = reader.encoding, saved["classes"]
            if reader.std:
                self.scale = (reader.tensor("mean"), reader.tensor("std"))

    def loader(self, part: str) -> RowBatches:
        return RowBatches(self.parts[part], self.batch_size, self.order(part))


def find_suspect_targets(target: Mapping[str, Sequence[str]], kind: str, rows: int) -> np.ndarray:
    """Return in which rows the target may be wrong (rows,); `find_target_fault` says in which it
    is.
    """
    suspect = np.full(rows, kind == "labels")
    for cells in target.values():
        column = as_column(cells)
        if kind == "numbers":
            suspect |= ~np.isfinite(column.numbers)
        elif kind == "classes":
            suspect |= column.missing
    return suspect


def find_target_fault(target: Columns, row: int, kind: str, separator: str | None) -> str | None:
    """Return what is wrong with the target of a row; None if nothing is. Without any label a cell
    of several is empty, which is no mistake.
    """
    if kind == "labels":
        if separator is not None:
            return None
        try:
            read_flags(target, row)
        except ValueError as error:
            return str(error)
        return None
    for name, cells in target.items():
        cell = clean_category(cells[row])
        if not cell:
            return f"{name} is missing"
        if kind == "numbers" and not math.isfinite(parse_number(cell)):
            return f"{name} is no number"
    return None


def encode_numbers(target: Columns) -> dict[str, Tensor]:
    """Return the targets (rows, targets) in the units of the data."""
    columns = [torch.from_numpy(as_column(cells).numbers).float() for cells in target.values()]
    return {"target": torch.stack(columns, 1).double()}


def measure_targets(target: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each target (rows, targets); a constant has 1."""
    std = target.std(0, correction=0)
    return target.mean(0), torch.where(std > 0, std, torch.ones_like(std))
