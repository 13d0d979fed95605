"""Rows of a table that are an image and its caption each."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tasks.data.images.listing.samples import Samples
from tasks.data.images.listing.table import LabelTable

CAPTIONS = ("caption", "text", "title", "description", "sentence")


@dataclass(frozen=True)
class CaptionRows(LabelTable):
    """A table of images with a caption a row. An image may have several rows, and images may share
    a caption; the captions take the place of the classes.

    Args:
        path: .csv, .tsv, .jsonl or .parquet.
        image: the column of the paths; None: by its name.
        label: the column of the captions; none: the one called caption, text, title, description
            or sentence, or the only other one.
        separator: None.
        split_column: the column of the part of each pair: train, val or test.
    """

    option: ClassVar[str] = "caption"
    usual: ClassVar[tuple[str, ...]] = CAPTIONS
    noun: ClassVar[str] = "pair"

    def _drop_repeated(
        self,
        files: Sequence[str],
        held: Sequence[Sequence[str]],
        part_of: Sequence[str],
        lines: Sequence[int],
        notes: list[str],
    ) -> dict[int, int]:
        """Return the first row of each pair with its line; count the rows that repeat one."""
        first: dict[tuple[str, str], int] = {}
        home: dict[str, int] = {}  # the first row of each file
        leaks = []
        for row, (name, (caption,)) in enumerate(zip(files, held, strict=True)):
            file = os.path.normpath(name)
            first.setdefault((file, caption), row)
            before = home.setdefault(file, row)
            if part_of[before] != part_of[row]:
                leaks.append((lines[row], f"{name}, as line {lines[before]}"))
        self._refuse(
            "repeat an image in another part", leaks, len(files), "one part for each image", None
        )
        if len(first) < len(files):
            notes.append(f"{len(files) - len(first):,} rows repeat a pair; each is taken once")
        return {row: lines[row] for row in first.values()}

    def _name_classes(self, label: Sequence[str], held: Sequence[Sequence[str]]) -> list[str]:
        return []

    def _check_known(
        self, held: Sequence[Sequence[str]], lines: Mapping[int, int], classes: Sequence[str]
    ) -> None:
        """A caption need not be in training."""


def number_files(samples: Samples) -> np.ndarray:
    """Return the number of the file of each pair (pairs,)."""
    names = [os.path.normpath(samples.name(index)) for index in range(len(samples))]
    return np.unique(names, return_inverse=True)[1]


def group_pairs(samples: Samples) -> np.ndarray:
    """Return the group of each pair (pairs,): pairs that share an image or a caption, directly or
    by others, are one group.
    """
    file = number_files(samples)
    group = file
    while True:
        # the lowest number of a file spreads over its captions, and over their files
        shared = lowest_of_each(samples.codes, group)
        spread = lowest_of_each(file, shared)
        if np.array_equal(spread, group):
            return group
        group = spread


def lowest_of_each(owner: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return for each row the lowest value of the rows of its owner (rows,)."""
    if not len(owner):
        return value
    lowest = np.full(int(owner.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(lowest, owner, value)
    return lowest[owner]
