"""Columns of a data set: found by name and by type, and what their cells mean."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tasks.data.labels import FlagGuard, join_labels, read_flags, read_list, split_cell
from tasks.data.tables.wanted import LABELS, TEXTS
from tasks.errors import ArgumentError

IMAGES = ("image", "img", "picture", "jpg", "png", "pixel_values")
USUAL = {"image": IMAGES, "label": (*LABELS, "fine_label"), "text": TEXTS}
UNKNOWN = -1  # the class of a row without a label, as test splits of benchmarks have
WHOLE = re.compile(r"-?\d{1,18}")
SHOWN = 8  # columns in a message


def describe_columns(features: Mapping[str, Any]) -> str:
    """Return the columns with their types, for a message."""
    shown = []
    for name, feature in list(features.items())[:SHOWN]:
        shown.append(f"{name} ({describe_type(feature)})")
    if len(features) > SHOWN:
        shown.append(f"and {len(features) - SHOWN} more")
    return ", ".join(shown)


def describe_type(feature: Any) -> str:
    """Return the type of a column in a few words."""
    if is_class(feature):
        return f"{len(feature.names)} classes"
    if item_of(feature) is not None:
        return f"lists of {describe_type(item_of(feature))}"
    kind = type(feature).__name__
    if kind == "Value":
        return str(feature.dtype)
    return kind.lower()


def is_class(feature: Any) -> bool:
    """Whether a column has the numbers of named classes."""
    return type(feature).__name__ == "ClassLabel"


def item_of(feature: Any) -> Any:
    """Return the type of what lies in the lists of a column; None if it has no lists."""
    if type(feature).__name__ in ("List", "LargeList", "Sequence"):
        return feature.feature
    return None


def holds_images(feature: Any) -> bool:
    """Whether a column has images: their content, or a path."""
    if type(feature).__name__ == "Image":
        return True
    if isinstance(feature, Mapping):
        return set(feature) == {"bytes", "path"}
    return getattr(feature, "dtype", "") in ("binary", "large_binary")


def holds_texts(feature: Any) -> bool:
    """Whether a column has texts."""
    return getattr(feature, "dtype", "") in ("string", "large_string") and not is_class(feature)


def holds_labels(feature: Any) -> bool:
    """Whether a column has a class of each row, its number or its name, or lists of them."""
    if item_of(feature) is not None:
        return holds_labels(item_of(feature))
    kind = str(getattr(feature, "dtype", ""))
    return is_class(feature) or kind.startswith(("int", "uint", "bool")) or holds_texts(feature)


FITTING = {"image": holds_images, "label": holds_labels, "text": holds_texts}


def choose_column(
    kind: str, features: Mapping[str, Any], given: str | None, taken: Sequence[str] = ()
) -> str:
    """Return the column of the images, the texts or the labels.

    Args:
        kind: image, text or label.
        features: the type of each column.
        given: its name; None: the one of named classes, of a usual name, or the only one that fits.
        taken: columns that are something else.

    Raises:
        ArgumentError: there is no such column, or it cannot be told.
    """
    fits = FITTING[kind]
    option = f"data.columns.{kind}"
    if given is not None:
        if given not in features:
            raise ArgumentError(
                "columns",
                f"there is no column {given}",
                got=f"columns.{kind}={given}",
                fits=describe_columns(features),
            )
        if not fits(features[given]) and not (kind == "image" and holds_texts(features[given])):
            raise ArgumentError(
                "columns",
                f"the column {given} has no {kind}s",
                got=describe_type(features[given]),
                fits=describe_columns(features),
            )
        return given
    fitting = [name for name in features if name not in taken and fits(features[name])]
    named = [name for name in fitting if name.lower() in USUAL[kind]]
    classes = [name for name in fitting if kind == "label" and is_class(features[name])]
    for found in (classes, named, fitting):
        if len(found) == 1:
            return found[0]
    problem = f"no column has {kind}s"
    fix = f"{option}=COLUMN"
    if fitting:
        problem = f"several columns may have the {kind}s"
        fix = f"{option}={(classes or named or fitting)[0]}"
    elif kind == "image":
        fix = f"{option}=COLUMN of paths, or data=hub_texts, data=hub_table"
    raise ArgumentError("columns", problem, got=describe_columns(features), fix=fix)


def choose_labels(
    features: Mapping[str, Any],
    given: str | Sequence[str] | None,
    taken: Sequence[str] = (),
) -> list[str]:
    """Return the column of the labels, or the columns that have one label each.

    Args:
        features: the type of each column.
        given: as of `choose_column`, or several columns of 0 and 1.
        taken: columns that are something else.

    Raises:
        ArgumentError: there is no such column, or it cannot be told.
    """
    if given is None or isinstance(given, str):
        return [choose_column("label", features, given, taken)]
    return [choose_column("label", features, name, taken) for name in given]


def has_several(features: Mapping[str, Any], columns: Sequence[str], separator: str | None) -> bool:
    """Return whether a row may have any number of labels.

    Raises:
        ArgumentError: a separator for lists, or for several columns.
    """
    if separator is None:
        return len(columns) > 1 or item_of(features[columns[0]]) is not None
    if len(columns) > 1 or not holds_texts(features[columns[0]]):
        shown = [f"{name} ({describe_type(features[name])})" for name in columns]
        raise ArgumentError(
            "separator",
            "a separator divides the labels of one column of texts",
            got=", ".join(shown),
            fits="separator=null",
        )
    return True


def name_labels(features: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """Return the names of several labels that the columns state; none if their cells do."""
    if len(columns) > 1:
        return list(columns)
    item = item_of(features[columns[0]])
    if is_class(item):
        return list(map(str, item.names))
    return []


@dataclass(frozen=True)
class LabelColumns:
    """The columns of the labels of a split.

    Args:
        features: the type of each column.
        names: the column of the classes; or, for several labels, one of lists, one with a
            separator, or several of 0 and 1.
        separator: of labels in a cell.

    Raises:
        ArgumentError: a separator for lists, or for several columns.
    """

    features: Mapping[str, Any]
    names: Sequence[str]
    separator: str | None = None
    guard: FlagGuard = field(default_factory=FlagGuard)

    @property
    def are_several(self) -> bool:
        """Whether a row may have any number of labels."""
        return has_several(self.features, self.names, self.separator)

    def encode(self, table: Any, first: int = 0) -> tuple[np.ndarray, list[str]]:
        """Return the class or the set of labels of each row, -1 where it has none, and the names
        of the classes or sets; as `encode_classes` or `encode_several`.

        Args:
            table: a `pyarrow.Table` with the columns.
            first: the number of its first row, for messages.
        """
        if self.are_several:
            return encode_several(table, self, first)
        return encode_classes(table[self.names[0]], self.features[self.names[0]])


def encode_several(
    table: Any, labels: LabelColumns, first_row: int = 0
) -> tuple[np.ndarray, list[str]]:
    """Return the set of labels of each row, -1 where its cell is null, and each set as
    `join_labels` joins it.

    Args:
        table: a `pyarrow.Table` with the columns.
        labels: the columns.
        first_row: the number of its first row, for messages.

    Raises:
        ArgumentError: a cell is neither 0 nor 1, or a list has what is no label.
    """
    cells = {name: table[name].to_pylist() for name in labels.names}
    held: list[list[str] | None] = []
    for row in range(len(table)):
        if any(column[row] is None for column in cells.values()):
            held.append(None)
            continue
        try:
            held.append(read_row(cells, row, labels))
        except ValueError as error:
            problem = f"row {first_row + row:,}: a column of labels has another value"
            fits = "0 and 1" if len(cells) > 1 else "lists of texts or of numbers of classes"
            raise ArgumentError("columns", problem, got=str(error), fits=fits) from error
    sets: dict[str, int] = {}
    codes = [
        UNKNOWN if row is None else sets.setdefault(join_labels(row), len(sets)) for row in held
    ]
    return np.array(codes, np.int64), list(sets)


def read_row(cells: Mapping[str, Sequence[Any]], row: int, labels: LabelColumns) -> list[str]:
    """Return the different labels of a row, sorted; raises ValueError."""
    if len(cells) > 1:
        return read_flags({name: [str(column[row])] for name, column in cells.items()}, 0)
    ((name, column),) = cells.items()
    if labels.separator is not None:
        return split_cell(column[row], labels.separator)
    item = item_of(labels.features[name])
    held = read_list(column[row], item.names if is_class(item) else None)
    labels.guard.add(held)
    return sorted(set(held))


def check_column(name: str, features: Mapping[str, Any], part: str) -> None:
    """Raise an ArgumentError where a part lacks a column of the training part."""
    if name not in features:
        raise ArgumentError(
            "columns", f"the part {part} has no column {name}", got=describe_columns(features)
        )


def encode_classes(cells: Any, feature: Any) -> tuple[np.ndarray, list[str]]:
    """Return the class of each row, -1 where it has none, and the names of the classes.

    Args:
        cells: the cells of the column, a `pyarrow.ChunkedArray`.
        feature: its type.
    """
    if is_class(feature):
        numbers = cells.fill_null(UNKNOWN).to_numpy()
        return numbers.astype(np.int64), list(map(str, feature.names))
    encoded = cells.unify_dictionaries() if is_encoded(cells) else cells.dictionary_encode()
    encoded = encoded.combine_chunks()
    values = encoded.dictionary.to_pylist()
    names = sort_names({str(value).strip() for value in values if value is not None} - {""})
    number = {name: index for index, name in enumerate(names)}
    table = [number.get(str(value).strip(), UNKNOWN) for value in values]
    codes = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return np.array([*table, UNKNOWN], np.int64)[codes], names


def is_encoded(cells: Any) -> bool:
    """Whether a column is encoded by a dictionary already."""
    return hasattr(cells.type, "value_type") and hasattr(cells.type, "index_type")


def sort_names(names: set[str]) -> list[str]:
    """Sort the names of classes: numbers by value, all else by letter."""
    if all(map(WHOLE.fullmatch, names)):
        return sorted(names, key=int)
    return sorted(names)
