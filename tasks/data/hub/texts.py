"""Texts with classes in the rows of a data set: `data=hub_texts`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.data.base import READER, read_reader_file
from tasks.data.hub.columns import (
    UNKNOWN,
    LabelColumns,
    check_column,
    choose_column,
    choose_labels,
    is_class,
    name_labels,
    sort_names,
)
from tasks.data.hub.source import HubSource, check_keys
from tasks.data.labels import check_separator, split_labels
from tasks.data.text.labelled import LabelledTexts, Row
from tasks.errors import ArgumentError


class HubTexts(LabelledTexts):
    """Texts with classes from a data set of the Hugging Face Hub, or from files of its kinds.

    Args:
        path: a folder, a file, or several files: .parquet, .arrow, .jsonl, .csv, or what
            `save_to_disk` wrote.
        name: USER/NAME on the Hub instead, read where its cache on this machine has it.
        revision: of a name: a branch, a tag or a commit; None is main.
        subset: the subset, where there are several.
        download: fetch a name that is not in the cache.
        columns: the columns of "text" and "label"; None: by their types and names. A text has any
            number of labels if "label" has lists, or is several columns of 0 and 1.
        separator: of several labels in a cell.
        splits: the splits of "train", "val" and "test"; None: by their names. Missing ones are cut
            from the training part.
        options: those of `LabelledTexts`.
    """

    def __init__(
        self,
        path: str | Sequence[str] | None = None,
        *,
        name: str | None = None,
        revision: str | None = None,
        subset: str | None = None,
        download: bool = False,
        columns: Mapping[str, Any] | None = None,
        separator: str | None = None,
        splits: Mapping[str, str | None] | None = None,
        **options: Any,
    ):
        check_separator(separator)
        check_keys("columns", columns, ("text", "label"))
        self.source = HubSource(path, name, revision, subset, splits, download)
        self.columns, self.separator = dict(columns or {}), separator
        self.named: list[str] = []  # classes that the data or a finished run name
        super().__init__(**options)

    def read_parts(self) -> dict[str, list[Row]]:
        parts, _, notes = self.source.open()
        self.notes += notes
        features = parts["train"].features
        text = choose_column("text", features, self.columns.get("text"))
        labels = choose_labels(features, self.columns.get("label"), [text])
        self.column = text
        self.is_multilabel = LabelColumns(features, labels, self.separator).are_several
        kind, noun = "classes", "column"
        if self.is_multilabel:
            kind, noun = "labels", "columns" if len(labels) > 1 else "column"
        self.notes.append(f"texts: the column {text}, {kind}: the {noun} {', '.join(labels)}")
        if self.is_multilabel and not self.named:
            self.named = name_labels(features, labels)
        elif is_class(features[labels[0]]) and not self.named:
            self.named = list(map(str, features[labels[0]].names))
        found: dict[str, list[Row]] = {}
        for part, rows in parts.items():
            for column in (text, *labels):
                check_column(column, rows.features, part)
            pairs = self._read_rows(part, rows, text, labels)
            if pairs:
                found[part] = pairs
        if "train" not in found:
            problem = f"{self.source.shown} has no text with a label to train on"
            raise ArgumentError("path", problem, got=self.notes[-1])
        return self.divide(found.pop("train"), found)

    def _read_rows(self, part: str, rows: Any, text: str, labels: list[str]) -> list[Row]:
        """Return the texts of a part with their labels; count those that lack one in a note."""
        table = rows.select_columns([text, *labels]).with_format("arrow")[:]
        columns = LabelColumns(rows.features, labels, self.separator)
        codes, classes = columns.encode(table)
        columns.guard.check("columns", f"the part {part}")
        found = []
        for cell, code in zip(table[text].to_pylist(), codes.tolist(), strict=True):
            if code != UNKNOWN and cell and cell.strip():
                found.append((cell, classes[code]))
        if len(found) < len(codes):
            self.notes.append(
                f"{len(codes) - len(found):,} of {len(codes):,} rows of the part {part} have no "
                "text or no label and are left out"
            )
        return found

    def name_classes(self, rows: list[Row]) -> list[str]:
        if self.named or not self.is_multilabel:
            return self.named or super().name_classes(rows)
        return sort_names({name for _, labels in rows for name in split_labels(labels)})

    def restore(self, place: Path) -> None:
        super().restore(place)
        if (place / READER).exists():
            self.named = read_reader_file(place)["classes"]
