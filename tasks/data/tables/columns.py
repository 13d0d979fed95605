"""Which columns of a table are wanted, and whether its first row is a header."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tasks.data.tables.table import Table
from tasks.errors import ArgumentError

Header = bool | Literal["auto"]
Given = str | int | None  # a column by name, by place counted from 1, or not at all
Cells = list[str]

SHORT = 20  # rows of a table that is too small for counts
SINGLE = 0.01  # share of rows that may be single words, or labels that occur once, below a header
TOLD = 12  # columns by name in a message
NAME = re.compile(r"[^\W\d][\w ./#()\[\]:-]{0,39}")
WORD = re.compile(r"[^\W\d][\w-]*")
MISSING = ("", "-", "?", "na", "n/a", "nan", "null", "none")


@dataclass(frozen=True)
class Wanted:
    """A column that a reader needs.

    Args:
        option: the argument that names it.
        given: what the user said.
        usual: the names that it usually has.
        label: whether its values are classes: few, and each of them again and again.
    """

    option: str
    given: Given
    usual: tuple[str, ...]
    label: bool = False


@dataclass(frozen=True)
class Layout:
    """What was decided about a table.

    Args:
        table: it.
        header: whether its first row is left out of the samples.
        reason: why.
        places: the place of each wanted column, from 0.
        names: of all columns; None where there are none.
        options: the arguments that the columns stand for.
        guessed: whether contents decided, and not names.
    """

    table: Table
    header: bool
    reason: str
    places: list[int]
    names: list[str] | None
    options: list[str]
    guessed: bool

    def name(self, place: int) -> str:
        """A column as people find it."""
        return f"column {place + 1}" if self.names is None else self.names[place]

    def __str__(self) -> str:
        said = [f"{self.table.path.name}: {self.table.kind}"]
        if self.table.keys is None:
            line = self.table.rows[0][0]
            said.append(
                f"line {line} is {'a header' if self.header else 'no header'} ({self.reason})"
            )
        pairs = zip(self.options, self.places, strict=True)
        said.append(", ".join(f"{option}: {self.name(place)}" for option, place in pairs))
        return "; ".join(said)

    @property
    def note(self) -> str:
        """What was decided, and how to overrule it."""
        options = [f"data.{option}=COLUMN" for option in self.options]
        if self.table.keys is None:
            options[:0] = [f"data.header={str(not self.header).lower()}", "data.delimiter=NAME"]
        return f"{self}; to overrule: {', '.join(options)}"

    def cells(self) -> Iterator[tuple[int, list[str] | str]]:
        """The wanted cells of each row with its line, or why there are none."""
        first = self.table.rows[0][1] if self.header else None
        width = self.table.width if self.names is None else len(self.names)
        for line, row in self.table.rows[self.header :]:
            cells = [row[place] for place in self.places if place < len(row)]
            if len(cells) < len(self.places) or None in cells:
                yield line, "a column is missing"
            elif row == first:
                yield line, "the header again"
            elif any(cell and cell.strip() for cell in row[width:]):
                yield line, f"{len(row)} columns, not {width}"
            else:
                texts = [cell for cell in cells if cell is not None]
                yield line, texts if all(text.strip() for text in texts) else "an empty text"


def find_layout(table: Table, wanted: list[Wanted], header: Header = "auto") -> Layout:
    """Decide about the header and the columns of a table.

    Args:
        table: as it was parsed.
        wanted: the columns that are needed, in the order of the result.
        header: what the user says of the first row; "auto" looks at it.

    Raises:
        ArgumentError: no rows, a column that is not there, no column that would do.
    """
    if not table.rows:
        raise ArgumentError("path", f"{table.path} is empty", fits="one pair a line")
    first = [(cell or "").strip() for cell in table.rows[0][1]]
    if table.keys is not None:
        found, reason, names = False, "", table.keys
    else:
        found, reason = find_header(table, first, wanted, header)
        names = first
        if found and is_shifted(table, first):
            names = ["", *first]
    named = found or table.keys is not None
    rows = [row for _, row in table.rows[found:]]
    width = max(table.width, len(names))
    columns = [[row[place] or "" for row in rows if place < len(row)] for place in range(width)]
    chosen = [find_named(table, want, names if named else None, width) for want in wanted]
    guessed = None in chosen
    places = fill_places(table, chosen, wanted, columns, names if named else None)
    options = [want.option for want in wanted]
    return Layout(table, found, reason, places, names if named else None, options, guessed)


def is_shifted(table: Table, first: Cells) -> bool:
    """Whether a header has no name for the first column, the numbers of the rows, as R writes
    it.
    """
    numbers = [row[0] or "" for _, row in table.rows[1:]]
    return table.width == len(first) + 1 and is_numeric(numbers)


def find_named(table: Table, want: Wanted, names: list[str] | None, width: int) -> int | None:
    """The place of a column by its given name or number, or by a usual name; raises
    ArgumentError.
    """
    given = want.given
    if isinstance(given, str) and names and given in names:
        return names.index(given)
    if isinstance(given, str) and (names is None or not given.isdecimal()):
        given = int(given) if given.isdecimal() else refuse_column(table, want, given, names)
    if given is not None:
        return (
            int(given) - 1 if 1 <= int(given) <= width else refuse_column(table, want, given, names)
        )
    lower = [name.lower() for name in names or []]
    return next((lower.index(name) for name in want.usual if name in lower), None)


def refuse_column(table: Table, want: Wanted, given: Given, names: list[str] | None):
    """Raise an ArgumentError that lists the columns."""
    fits = f"1 to {table.width}"
    if names is not None:
        fits = ", ".join(name[:30] for name in names[:TOLD])
    raise ArgumentError(want.option, f"{table.path} has no column {given}", fits=fits)


# The header ---------------------------------------------------------------------------------------


def find_header(
    table: Table, first: Cells, wanted: list[Wanted], header: Header
) -> tuple[bool, str]:
    """Whether the first row names the columns, and why."""
    if isinstance(header, bool):
        return header, f"header={str(header).lower()}"
    if any(isinstance(want.given, str) and not want.given.isdecimal() for want in wanted):
        return True, "columns are given by name"
    lower = [cell.lower() for cell in first]
    usual = [next((name for name in want.usual if name in lower), None) for want in wanted]
    if None not in usual and any(usual):
        return True, f"it holds {' and '.join(dict.fromkeys(name for name in usual if name))}"
    rest = [[(cell or "").strip() for cell in row] for _, row in table.rows[1:]]
    columns = [[row[place] for row in rest if place < len(row)] for place in range(len(first))]
    if first == [str(number) for number in range(len(first))] and not all(map(is_numeric, columns)):
        return True, "it numbers the columns"
    if not is_names(first):
        return False, "its cells are no names"
    if any(cell and cell in column for cell, column in zip(first, columns, strict=True)):
        return False, "its cells occur again below"
    reason = reason_for_header(first, rest, columns, usual)
    return bool(reason), reason or "it looks like the rows below it"


def reason_for_header(
    first: Cells, rest: list[Cells], columns: list[Cells], usual: list[str | None]
) -> str | None:
    """What tells a row of names from the rows below it; None where nothing does."""
    for cell, column in zip(first, columns, strict=True):
        if cell.lower() not in MISSING and is_numeric(column):
            return f"{cell} stands above numbers"
    if any(usual):
        return f"it holds {next(name for name in usual if name)}"
    for cell, column in zip(first, columns, strict=True):
        counts = Counter(column)
        once = sum(count == 1 for count in counts.values())
        if cell and is_label(column) and once <= SINGLE * len(column):
            return f"{cell} occurs once, the values below it again and again"
    single = [is_words(row) for row in rest]
    if (
        len(rest) >= 5
        and is_words(first)
        and not any(single[:SHORT])
        and sum(single) <= SINGLE * len(rest)
    ):
        return "it holds single words, the rows below it texts"
    return None


def is_names(cells: Cells) -> bool:
    """Whether cells could be the names of columns: short, different, no numbers, no sentences."""
    named = [cell for cell in cells if cell]
    fit = all(
        NAME.fullmatch(cell) and len(cell.split()) <= 4 and cell[-1] not in ".:" for cell in named
    )
    return bool(named) and len(set(named)) == len(named) and fit


def is_words(cells: Cells) -> bool:
    """Whether every cell is a single word, or empty."""
    return all(not cell or WORD.fullmatch(cell) for cell in cells)


# Columns by their content -------------------------------------------------------------------------


def fill_places(
    table: Table,
    chosen: list[int | None],
    wanted: list[Wanted],
    columns: list[Cells],
    names: list[str] | None,
) -> list[int]:
    """The places of all wanted columns: labels are chosen first, then the texts; raises
    ArgumentError.
    """
    found = list(chosen)
    for index in sorted(range(len(wanted)), key=lambda index: not wanted[index].label):
        if found[index] is None:
            free = [place for place in range(len(columns)) if place not in found]
            find = find_label if wanted[index].label else find_text
            several = sum(not want.label for want in wanted) > 1
            guess = (
                table.keys is None or not several
            )  # keys have no order that says which is the source
            place = find(columns, free, several) if guess else None
            found[index] = (
                place if place is not None else refuse_columns(table, wanted[index], columns, names)
            )
    return [place for place in found if place is not None]


def find_label(columns: list[Cells], free: list[int], ordered: bool) -> int | None:
    """The column with the fewest values that occur again and again; words before numbers."""
    fit = [place for place in free if is_label(columns[place])]
    return min(
        fit,
        key=lambda place: (is_numeric(columns[place]), len(set(columns[place])), -place),
        default=None,
    )


def find_text(columns: list[Cells], free: list[int], ordered: bool) -> int | None:
    """The first column of texts, where their order counts; else the one with the longest."""
    fit = [place for place in free if any(columns[place]) and not is_numeric(columns[place])]
    if ordered:
        varied = [place for place in fit if len(set(columns[place])) > 1]
        return next(iter(varied or fit), None)
    return max(
        fit,
        key=lambda place: (sum(map(len, columns[place])) / len(columns[place]), -place),
        default=None,
    )


def refuse_columns(table: Table, want: Wanted, columns: list[Cells], names: list[str] | None):
    """Raise an ArgumentError that says what each column holds, and what was tried."""
    needed = "values that occur again and again" if want.label else "texts"
    labels = names or [f"column {place + 1}" for place in range(len(columns))]
    if table.keys is not None:
        fits = ", ".join(name[:30] for name in labels[:TOLD])
        raise ArgumentError(want.option, f"{table.path} has no column {want.usual[0]}", fits=fits)
    shown = ", ".join(
        f"{name[:30] or place + 1} ({describe_column(columns[place])})"
        for place, name in enumerate(labels[:TOLD])
    )
    raise ArgumentError(
        want.option,
        f"{table.path} has no column of {want.option}s",
        got=f"{shown}; {table.tried}",
        fits=f"a column of {needed}",
        fix=f"data.{want.option}=COLUMN, by its name or its number from 1; data.header=true|false",
    )


def describe_column(column: Cells) -> str:
    """What a column holds, in few words."""
    filled = [cell for cell in column if cell.strip()]
    if not filled:
        return "empty"
    kind = "numbers" if is_numeric(column) else "texts"
    several = len(set(filled))
    return f"{several:,} different {kind} in {len(filled):,} rows"


def is_label(column: Cells) -> bool:
    """Whether the values of a column are classes: few, and they occur again and again; measurements
    are none.
    """
    filled = [cell.strip() for cell in column if cell.strip()]
    several = len(set(filled))
    measured = is_numeric(filled) and several > max(SHORT, math.isqrt(len(filled)))
    again = several < len(filled) if len(filled) < SHORT else 2 * several <= len(filled)
    return several > 1 and again and not measured


def is_numeric(column: Cells) -> bool:
    """Whether a column holds numbers, apart from cells that say that there is none."""
    filled = [cell for cell in column if cell.strip().lower() not in MISSING]
    return bool(filled) and all(map(is_number, filled))


def is_number(cell: str) -> bool:
    """Whether a cell is a number."""
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True
