"""Several labels for each sample: read from cells of a table, as numbers and by name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tasks.errors import ArgumentError

YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
SHOWN = 5  # labels in a note
FEWEST = 3  # samples of a label, one for each part
MARK = "\x1f"  # a control character between labels, where they are one text


def split_cell(cell: str, separator: str) -> list[str]:
    """Return the different labels in a cell, sorted: "b; a;a" is ["a", "b"]; none in an empty
    one.
    """
    return sorted({part.strip() for part in cell.split(separator)} - {""})


def join_labels(held: Iterable[str]) -> str:
    """Return the labels of a sample as one text, from which `split_labels` takes them."""
    return MARK.join(held)


def join_list(held: Iterable[str]) -> str:
    """Return several labels as one text, as `join_labels`, which no name of a class equals."""
    return MARK + join_labels(held)


def is_list(text: str) -> bool:
    """Whether `join_list` made a text."""
    return text.startswith(MARK)


def split_labels(text: str) -> list[str]:
    """Return the labels that `join_labels` joined; none of an empty text."""
    return list(filter(None, text.split(MARK)))


def read_list(items: Sequence[Any], names: Sequence[str] | None = None) -> list[str]:
    """Return the labels in a list, each as often as it is there.

    Args:
        items: texts, or whole numbers.
        names: of the numbers 0, 1, ...; None: a number is its own name.

    Raises:
        ValueError: an item is something else; the message names it.
    """
    held = []
    for item in items:
        if names is not None:
            if not isinstance(item, int) or not 0 <= item < len(names):
                raise ValueError(f"{item!r} is no number from 0 to {len(names) - 1}")
            held.append(str(names[item]))
            continue
        text = str(item).strip()
        if not isinstance(item, str | int) or not text or MARK in text:
            raise ValueError(f"{str(item)[:40]!r} is neither a text nor a whole number")
        held.append(text)
    return held


class FlagGuard:
    """Refuses lists of flags where lists of labels are read: [0, 1, 1] is not the labels 0 and 1.

    All lists have one length then, and repeat 0 or 1, and have nothing else.
    """

    def __init__(self) -> None:
        self.lengths: set[int] = set()
        self.values: set[str] = set()
        self.repeats = False

    def add(self, items: Sequence[str]) -> None:
        """Add a list of labels."""
        self.lengths.add(len(items))
        self.values.update(items)
        self.repeats = self.repeats or len(set(items)) < len(items)

    def check(self, option: str, where: str) -> None:
        """Raise an ArgumentError where all lists were flags."""
        if self.repeats and len(self.lengths) == 1 and self.values <= {"0", "1"}:
            (length,) = self.lengths
            raise ArgumentError(
                option,
                f"the lists of labels in {where} look like flags",
                got=f"lists of {length} numbers, each of them 0 or 1",
                fits="the numbers or the names of the labels: [1, 2] instead of [0, 1, 1]",
            )


def check_separator(separator: str | None) -> None:
    """Raise an ArgumentError for a separator that separates nothing."""
    if separator is not None and not separator.strip():
        raise ArgumentError(
            "separator", "labels are separated by a mark", got=repr(separator), fits="';' or '|'"
        )


def read_flag(cell: str) -> bool | None:
    """Return whether a cell says that a sample has a label; None if it says neither."""
    value = cell.strip().lower()
    if value in YES:
        return True
    return False if value in NO else None


def read_flags(columns: Mapping[str, Sequence[str]], row: int) -> list[str]:
    """Return the columns that say 1 in a row: the labels that it has.

    Raises:
        ValueError: a cell says neither 1 nor 0; the message names it.
    """
    held = []
    for name, cells in columns.items():
        flag = read_flag(cells[row])
        if flag is None:
            shown = cells[row].strip()[:40]
            raise ValueError(f"{name} is neither 0 nor 1: {shown!r}")
        if flag:
            held.append(name)
    return held


def encode_labels(held: Sequence[Iterable[str]], classes: Sequence[str]) -> Tensor:
    """Return the labels of samples (samples, classes), 1 for each that a sample has."""
    number = {name: index for index, name in enumerate(classes)}
    label = torch.zeros(len(held), len(classes), dtype=torch.long)
    for row, names in enumerate(held):
        for name in names:
            label[row, number[name]] = 1
    return label


def describe_labels(label: Tensor, classes: Sequence[str], noun: str) -> list[str]:
    """Return notes on samples without a label, and on labels that few samples have."""
    empty = int((label.sum(1) == 0).sum())
    return describe_counts(label.sum(0).tolist(), empty, len(label), classes, noun)


def describe_counts(
    counts: Sequence[int], empty: int, total: int, classes: Sequence[str], noun: str
) -> list[str]:
    """Return the notes of `describe_labels`.

    Args:
        counts: how many samples have each label.
        empty: the samples without one.
        total: all samples.
        classes: the names of the labels.
        noun: what a sample is called.
    """
    notes = []
    if empty:
        notes.append(f"{empty:,} of {total:,} {noun}s have no label")
    pairs = zip(classes, counts, strict=True)
    rare = [f"{name} ({count})" for name, count in pairs if count < FEWEST]
    if rare:
        more = f" and {len(rare) - SHOWN} more" if len(rare) > SHOWN else ""
        shown = ", ".join(rare[:SHOWN])
        notes.append(f"labels with too few {noun}s to be in every part: {shown}{more}")
    return notes
