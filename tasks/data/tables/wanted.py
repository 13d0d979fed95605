"""The columns that a data module needs from a table, and the names that they usually have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Header = bool | Literal["auto"]
Given = str | int | None  # a column by its name, by its number from 1, or not given

SOURCES = ("source", "src", "input", "from")
TARGETS = ("target", "tgt", "output", "to", "translation")
TEXTS = ("text", "sentence", "review", "content")
LABELS = ("label", "class", "category", "target", "sentiment", "labels")


@dataclass(frozen=True)
class Wanted:
    """A column that a reader needs.

    Args:
        option: the argument that names it.
        given: the value of that argument.
        usual: the names that it usually has, in lower case.
        label: whether its values are classes: few values that repeat.
        optional: whether a cell may be empty.
    """

    option: str
    given: Given
    usual: tuple[str, ...]
    label: bool = False
    optional: bool = False

    def has_name(self) -> bool:
        """Whether the user gave the column by its name."""
        return isinstance(self.given, str) and not self.given.isdecimal()

    def find_usual(self, names: Sequence[str]) -> int | None:
        """Return the index of the first usual name among the names of the columns."""
        lower = list(map(str.lower, names))
        for name in self.usual:
            if name in lower:
                return lower.index(name)
        return None


def wanted_pair(source: Given = None, target: Given = None) -> list[Wanted]:
    """Return the columns of a table of text pairs."""
    return [Wanted("source", source, SOURCES), Wanted("target", target, TARGETS)]


def wanted_labelled(
    text: Given = None, label: Given | Sequence[Given] = None, *, optional: bool = False
) -> list[Wanted]:
    """Return the columns of a table of texts with labels, one or several columns of them.

    Args:
        text: the column of the texts.
        label: the column of the labels, or several.
        optional: whether a text may have no label.
    """
    if label is None or isinstance(label, str | int):
        label = [label]
    wanted = [Wanted("text", text, TEXTS)]
    for column in label:
        wanted.append(Wanted("label", column, LABELS, label=True, optional=optional))
    return wanted
