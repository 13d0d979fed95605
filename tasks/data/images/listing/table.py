"""Images listed in a table: a column of paths, and the class or the labels of each image."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from blocks.support.files import lies_outside
from tasks.data.features.rows import Rows, read_columns
from tasks.data.images.listing.samples import Samples
from tasks.data.labels import (
    check_separator,
    describe_labels,
    encode_labels,
    join_labels,
    read_flags,
    split_cell,
)
from tasks.data.split import PARTS, read_parts
from tasks.data.tables.rows import describe_bad, read_table
from tasks.data.tables.table import Bad, Table
from tasks.data.tables.wanted import LABELS, Wanted
from tasks.errors import ArgumentError

IMAGES = ("image", "path", "file", "filename", "file_name", "image_path")
SHOWN = 8  # names in a message


@dataclass(frozen=True)
class Listed:
    """The images of a table.

    Args:
        parts: the files, each with its class; of several labels, with all of them as one name. All
            are of the part train, unless a column states the parts.
        classes: the names of the classes.
        notes: what the user should know about the rows.
    """

    parts: dict[str, Samples]
    classes: list[str]
    notes: list[str]


@dataclass(frozen=True)
class LabelTable:
    """A table of images with their classes or labels.

    Args:
        path: .csv, .tsv, .jsonl or .parquet.
        image: the column of the paths; None: the one called image, path, file or filename.
        label: the column of the class, or several columns of 0 and 1; none: the one called label,
            class, category or target, or the only other one.
        separator: of several labels in a cell.
        split_column: the column of the part of each image: train, val or test.

    Raises:
        ArgumentError: a separator that separates nothing, or is given with several columns.
    """

    option: ClassVar[str] = "label"  # that names the column
    usual: ClassVar[tuple[str, ...]] = LABELS  # its usual names
    noun: ClassVar[str] = "image"  # what a row is

    path: Path
    image: str | None = None
    label: tuple[str, ...] = ()
    separator: str | None = None
    split_column: str | None = None

    def __post_init__(self) -> None:
        check_separator(self.separator)
        if self.separator is not None and len(self.label) > 1:
            raise ArgumentError(
                "separator",
                "a separator divides the labels of one column",
                got=f"label={', '.join(self.label)}",
                fits="one column; or separator=null",
            )

    @property
    def is_multilabel(self) -> bool:
        """Whether an image may have any number of labels."""
        return self.separator is not None or len(self.label) > 1

    def read(self, root: Path, known: Sequence[str] = ()) -> Listed:
        """Read the rows.

        Args:
            root: the folder that the paths are relative to.
            known: the classes of a finished run; none: those of the table.

        Raises:
            ArgumentError: the table cannot be read, a column is missing, a row has no label, a
                path or a class that is not there, or a path has two rows with different labels.
        """
        table, rows = self._read_rows()
        image, label = self._choose_columns(table, list(rows.columns))
        notes = list(map(describe_bad, filter(None, [rows.bad])))
        held = self._read_labels({name: rows.columns[name] for name in label}, rows.lines)
        files = self._find_files(rows.columns[image], rows.lines, root)
        part_of = np.full(len(files), "train")
        if self.split_column is not None:
            part_of = read_parts(rows.columns[self.split_column], rows.lines, self.path)
        lines = self._drop_repeated(files, held, part_of.tolist(), rows.lines, notes)
        classes = list(known) or self._name_classes(label, held)
        self._check_known(held, lines, classes)
        names = [files[row] for row in lines]
        chosen = [held[row] for row in lines]
        samples = Samples.pack(root, names, list(map(join_labels, chosen)))
        parts = divide_samples(samples, part_of[list(lines)])
        notes.insert(0, f"{len(lines):,} {self.noun}s by {self.path}; {image}: {', '.join(label)}")
        if self.is_multilabel:
            notes += describe_labels(encode_labels(chosen, classes), classes, "image")
        return Listed(parts, classes, notes)

    def _read_rows(self) -> tuple[Table, Rows]:
        given = filter(None, [self.image, *self.label, self.split_column])
        try:
            table = read_table(self.path, 2)
            rows = read_columns(table, "auto", [*given, *IMAGES, *self.usual])
        except ArgumentError as error:
            raise ArgumentError(
                "table",
                error.problem,
                got=error.got,
                fits=error.fits,
                fix=f"data.table=FILE with a row for each {self.noun}",
            ) from error
        if not rows.lines:
            raise ArgumentError(
                "table",
                f"{self.path} has no rows",
                got=table.tried or None,
                fits=f"a row for each {self.noun}: its path and its {self.option}",
            )
        return table, rows

    def _choose_columns(self, table: Table, names: list[str]) -> tuple[str, list[str]]:
        """Return the column of the paths, and those of the labels."""
        image, label = self.image, list(self.label)
        if image is None:
            image = find_usual(names, IMAGES)
        if not label:
            others = [name for name in names if name not in (image, self.split_column)]
            found = find_usual(others, self.usual)
            if found is None and len(others) == 1:
                found = others[0]
            label = list(filter(None, [found]))
        if image is None or not label:
            option = self.option if image else "image"
            raise ArgumentError(
                option,
                f"{self._where(table)}: no column is known to hold the {option}s",
                got=f"columns {', '.join(names[:SHOWN])}",
                fits=", ".join(names[:SHOWN]),
                fix=f"data.{option}=COLUMN",
            )
        chosen = [("image", image), *((self.option, name) for name in label)]
        if self.split_column is not None:
            chosen.append(("split_column", self.split_column))
        for option, name in chosen:
            if name not in names:
                raise ArgumentError(
                    option,
                    f"{self._where(table)}: there is no such column",
                    got=name,
                    fits=", ".join(names[:SHOWN]),
                    fix=f"data.{option}=COLUMN, or name the column in the table",
                )
        return image, label

    def _where(self, table: Table) -> str:
        """Return the file, and the line of its header."""
        if table.keys is not None or not table.rows:
            return str(self.path)
        return f"{self.path}, line {table.rows[0][0]}"

    def _read_labels(
        self, columns: Mapping[str, Sequence[str]], lines: Sequence[int]
    ) -> list[list[str]]:
        """Return the labels of each row."""
        held, bad = [], []
        for row, line in enumerate(lines):
            try:
                held.append(self._read_row(columns, row))
            except ValueError as error:
                bad.append((line, str(error)))
        fits, fix = f"a {self.option} for each image", "fill or delete the rows"
        self._refuse(f"have no {self.option}", bad, len(lines), fits, fix)
        return held

    def _read_row(self, columns: Mapping[str, Sequence[str]], row: int) -> list[str]:
        if len(columns) > 1:
            return read_flags(columns, row)
        ((name, cells),) = columns.items()
        if self.separator is not None:
            return split_cell(cells[row], self.separator)
        cell = cells[row].strip()
        if not cell:
            raise ValueError(f"{name} is empty")
        return [cell]

    def _find_files(self, cells: Sequence[str], lines: Sequence[int], root: Path) -> list[str]:
        """Return the path of each row, relative to the folder."""
        files, bad = [], []
        for line, cell in zip(lines, cells, strict=True):
            name = cell.strip()
            path = root / name
            if not name or lies_outside(path) or not os.path.isfile(path):
                bad.append((line, name or "an empty path"))
            if os.path.isabs(name):
                name = os.path.relpath(name, root)
            files.append(name)
        fits = f"files below {root}"
        self._refuse(
            "name no file", bad, len(lines), fits, "data.path=FOLDER that the paths begin in"
        )
        return files

    def _drop_repeated(
        self,
        files: Sequence[str],
        held: Sequence[Sequence[str]],
        part_of: Sequence[str],
        lines: Sequence[int],
        notes: list[str],
    ) -> dict[int, int]:
        """Return the first row of each file with its line; count the rows that repeat one."""
        first: dict[str, int] = {}
        bad = []
        leaks = []
        for row, name in enumerate(files):
            before = first.setdefault(os.path.normpath(name), row)
            repeated = (lines[row], f"{name}, as line {lines[before]}")
            if held[before] != held[row]:
                bad.append(repeated)
            if part_of[before] != part_of[row]:
                leaks.append(repeated)
        self._refuse(
            "repeat an image with other labels", bad, len(files), "one row for each image", None
        )
        self._refuse(
            "repeat an image in another part", leaks, len(files), "one part for each image", None
        )
        if len(first) < len(files):
            notes.append(f"{len(files) - len(first):,} rows repeat an image; each is taken once")
        return {row: lines[row] for row in first.values()}

    def _name_classes(self, label: Sequence[str], held: Sequence[Sequence[str]]) -> list[str]:
        classes = list(label)
        if len(label) == 1:
            classes = sorted({name for names in held for name in names})
        if self.is_multilabel and len(classes) < 2:
            raise ArgumentError(
                "label",
                f"{self.path}: there are fewer than two labels",
                got=", ".join(classes) or "none",
                fits="two labels or more",
            )
        return classes

    def _check_known(
        self, held: Sequence[Sequence[str]], lines: Mapping[int, int], classes: Sequence[str]
    ) -> None:
        known = set(classes)
        bad = []
        for row, line in lines.items():
            unknown = sorted(set(held[row]) - known)
            if unknown:
                bad.append((line, unknown[0]))
        self._refuse(
            "have a class that training lacks", bad, len(lines), ", ".join(classes[:SHOWN]), None
        )

    def _refuse(self, what: str, bad: list[Bad], total: int, fits: str, fix: str | None) -> None:
        """Raise an ArgumentError that counts the bad rows and names the first one."""
        if bad:
            line, reason = bad[0]
            raise ArgumentError(
                "table",
                f"{self.path}, line {line}: {len(bad):,} of {total:,} rows {what}",
                got=reason,
                fits=fits,
                fix=fix or "correct or delete the rows",
            )


def find_usual(names: Sequence[str], usual: tuple[str, ...]) -> str | None:
    """Return the column that has one of the usual names."""
    index = Wanted("", None, usual).find_usual(names)
    if index is None:
        return None
    return names[index]


def divide_samples(samples: Samples, part_of: np.ndarray) -> dict[str, Samples]:
    """Return the samples of each part that there is, in their order.

    Args:
        samples: all of them.
        part_of: (samples,), the part of each.
    """
    found = {}
    for part in PARTS:
        rows = np.flatnonzero(part_of == part)
        if len(rows):
            found[part] = samples.take(rows)
    return found


def choose_table(
    table: str | None,
    image: str | None,
    label: str | list[str] | None,
    separator: str | None,
    split_column: str | None,
) -> LabelTable | None:
    """Return the table of the options of a data module; None without one.

    Raises:
        ArgumentError: an option of a table without one, or options that do not fit one another.
    """
    options = {"image": image, "label": label, "separator": separator, "split_column": split_column}
    if table is None:
        for option, value in options.items():
            if value is not None:
                raise ArgumentError(
                    option,
                    f"{option} is of a table of images",
                    got=f"{option}={value}, table=null",
                    fix="data.table=FILE",
                )
        return None
    if isinstance(label, str):
        label = [label]
    place = Path(table).expanduser()
    return LabelTable(place, image, tuple(label or ()), separator, split_column)
