"""Texts with classes in the rows of a data set: `data=hub_texts`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.data.base import READER, read_reader_file
from tasks.data.hub.columns import UNKNOWN, check_column, choose_column, encode_classes, is_class
from tasks.data.hub.source import HubSource, check_keys
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
        columns: the columns of "text" and "label"; None: by their types and names.
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
        columns: Mapping[str, str | None] | None = None,
        splits: Mapping[str, str | None] | None = None,
        **options: Any,
    ):
        check_keys("columns", columns, ("text", "label"))
        self.source = HubSource(path, name, revision, subset, splits, download)
        self.columns = dict(columns or {})
        self.named: list[str] = []  # classes that the data or a finished run name
        super().__init__(**options)

    def read_parts(self) -> dict[str, list[Row]]:
        parts, _, notes = self.source.open()
        self.notes += notes
        features = parts["train"].features
        text = choose_column("text", features, self.columns.get("text"))
        label = choose_column("label", features, self.columns.get("label"), [text])
        self.column = text
        self.notes.append(f"texts: the column {text}, classes: the column {label}")
        if is_class(features[label]) and not self.named:
            self.named = list(map(str, features[label].names))
        found: dict[str, list[Row]] = {}
        for part, rows in parts.items():
            for column in (text, label):
                check_column(column, rows.features, part)
            pairs = self._read_rows(part, rows, text, label)
            if pairs:
                found[part] = pairs
        if "train" not in found:
            problem = f"{self.source.shown} has no text with a label to train on"
            raise ArgumentError("path", problem, got=self.notes[-1])
        return self.divide(found.pop("train"), found)

    def _read_rows(self, part: str, rows: Any, text: str, label: str) -> list[Row]:
        """Return the texts of a part with their labels; count those that lack one in a note."""
        table = rows.select_columns([text, label]).with_format("arrow")[:]
        codes, classes = encode_classes(table[label], rows.features[label])
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
        return self.named or super().name_classes(rows)

    def restore(self, place: Path) -> None:
        super().restore(place)
        if (place / READER).exists():
            self.named = read_reader_file(place)["classes"]
