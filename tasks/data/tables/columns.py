"""Find the wanted columns of a table: by name, by number or by their content."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

from tasks.data.tables.cells import (
    Cells,
    collect_columns,
    describe_column,
    is_label,
    is_numeric,
    strip_cells,
)
from tasks.data.tables.header import find_header
from tasks.data.tables.table import Table
from tasks.data.tables.wanted import Given, Header, Wanted
from tasks.errors import ArgumentError

SHOWN = 12  # columns in a message
WIDEST = 30  # characters of a name in a message


@dataclass(frozen=True)
class Layout:
    """How a table is read.

    Args:
        table: the table.
        header: whether its first row is left out of the samples.
        reason: why.
        indices: the index of each wanted column, from 0.
        names: the names of all columns; None if they have none.
        options: the arguments that name the wanted columns.
        guessed: whether a column was chosen by its content.
        needed: whether each wanted column has a text in every row.
    """

    table: Table
    header: bool
    reason: str
    indices: list[int]
    names: list[str] | None
    options: list[str]
    guessed: bool
    needed: list[bool]

    def column_name(self, index: int) -> str:
        """Return the name of a column, or its number from 1."""
        if self.names is None:
            return f"column {index + 1}"
        return self.names[index]

    def __str__(self) -> str:
        parts = [f"{self.table.path.name}: {self.table.kind}"]
        if self.table.keys is None:
            kind = "no header"
            if self.header:
                kind = "a header"
            parts.append(f"line {self.table.rows[0][0]} is {kind} ({self.reason})")
        pairs = zip(self.options, self.indices, strict=True)
        parts.append(", ".join(f"{option}: {self.column_name(index)}" for option, index in pairs))
        return "; ".join(parts)

    @property
    def note(self) -> str:
        """The decisions, and the options that overrule them."""
        options = [f"data.{option}=COLUMN" for option in dict.fromkeys(self.options)]
        if self.table.keys is None:
            options[:0] = [f"data.header={str(not self.header).lower()}", "data.delimiter=NAME"]
        return f"{self}; to overrule: {', '.join(options)}"

    def cells(self) -> Iterator[tuple[int, list[str] | str]]:
        """Yield the line of each row with its wanted cells, or with the reason why it has none."""
        width = self.table.width
        if self.names is not None:
            width = len(self.names)
        first = None
        if self.header:
            first = self.table.rows[0][1]
        for line, row in self.table.rows[self.header :]:
            cells = self._wanted_cells(row)
            if cells is None:
                yield line, "a column is missing"
            elif row == first:
                yield line, "the header again"
            elif any(strip_cells(row[width:])):
                yield line, f"{len(row)} columns, not {width}"
            elif not all(map(str.strip, compress(cells, self.needed))):
                yield line, "an empty text"
            else:
                yield line, cells

    def _wanted_cells(self, row: Sequence[str | None]) -> list[str] | None:
        cells = []
        for index in self.indices:
            cell = row[index] if index < len(row) else None
            if cell is None:
                return None
            cells.append(cell)
        return cells


def find_layout(table: Table, wanted: list[Wanted], header: Header = "auto") -> Layout:
    """Decide about the header and the columns of a table.

    Args:
        table: as it was parsed.
        wanted: the columns that are needed, in the order of the result.
        header: whether the first row is a header; "auto" looks at it.

    Raises:
        ArgumentError: the table has no rows, a given column is missing, or no column fits.
    """
    if not table.rows:
        raise ArgumentError("path", f"{table.path} is empty", fits="one pair a line")
    first = strip_cells(table.rows[0][1])
    names = table.keys
    found, reason = False, ""
    if names is None:
        found, reason = find_header(table, first, wanted, header)
        if found:
            names = name_columns(table, first)
    width = max(table.width, len(names or first))
    columns = collect_columns([row for _, row in table.rows[found:]], width)
    chosen = [find_named(table, want, names, width) for want in wanted]
    return Layout(
        table=table,
        header=found,
        reason=reason,
        indices=fill_columns(table, chosen, wanted, columns, names),
        names=names,
        options=[want.option for want in wanted],
        guessed=None in chosen,
        needed=[not want.optional for want in wanted],
    )


def name_columns(table: Table, first: Cells) -> list[str]:
    """Return the names of the columns by the header of a table.

    R writes no name above the first column, the numbers of the rows.
    """
    numbers = [row[0] or "" for _, row in table.rows[1:]]
    if table.width == len(first) + 1 and is_numeric(numbers):
        return ["", *first]
    return first


def find_named(table: Table, want: Wanted, names: list[str] | None, width: int) -> int | None:
    """Return the index of a column by its given name or number, or by a usual name.

    Raises:
        ArgumentError: the table has no such column.
    """
    given = want.given
    if given is None:
        return want.find_usual(names or [])
    if isinstance(given, str) and given in (names or []):
        return (names or []).index(given)
    if want.has_name() or not 1 <= int(given) <= width:
        raise unknown_column(table, want, given, names)
    return int(given) - 1


def unknown_column(
    table: Table, want: Wanted, given: Given, names: list[str] | None
) -> ArgumentError:
    """Return an error that lists the columns."""
    fits = f"1 to {table.width}"
    if names is not None:
        fits = list_names(names)
    return ArgumentError(want.option, f"{table.path} has no column {given}", fits=fits)


def list_names(names: list[str]) -> str:
    """List the first columns by name."""
    return ", ".join(name[:WIDEST] for name in names[:SHOWN])


# Columns by their content -------------------------------------------------------------------------


def fill_columns(
    table: Table,
    chosen: list[int | None],
    wanted: list[Wanted],
    columns: list[Cells],
    names: list[str] | None,
) -> list[int]:
    """Return the indices of all wanted columns; those not chosen yet are found by their content.

    Raises:
        ArgumentError: no column fits.
    """
    found = {want: index for want, index in zip(wanted, chosen, strict=True) if index is not None}
    labels = [want for want in wanted if want.label]
    texts = [want for want in wanted if not want.label]
    for want in labels + texts:
        if want not in found:
            free = sorted(set(range(len(columns))) - set(found.values()))
            index = guess_column(table, want, columns, free, ordered=len(texts) > 1)
            if index is None:
                raise no_fitting_column(table, want, columns, names)
            found[want] = index
    return [found[want] for want in wanted]


def guess_column(
    table: Table, want: Wanted, columns: list[Cells], free: list[int], *, ordered: bool
) -> int | None:
    """Return the free column whose content fits best; None if there is none.

    Several texts are told apart by their order; the keys of objects have none.
    """
    if ordered and table.keys is not None:
        return None
    if want.label:
        return find_label(columns, free)
    return find_text(columns, free, ordered=ordered)


def find_label(columns: list[Cells], free: list[int]) -> int | None:
    """Return the column of classes with the fewest values; text is preferred to numbers."""

    def rank(index: int) -> tuple[bool, int, int]:
        return is_numeric(columns[index]), len(set(columns[index])), -index

    fit = [index for index in free if is_label(columns[index])]
    return min(fit, key=rank, default=None)


def find_text(columns: list[Cells], free: list[int], *, ordered: bool) -> int | None:
    """Return the first column of texts if their order matters, else the one with the longest."""

    def rank(index: int) -> tuple[float, int]:
        return sum(map(len, columns[index])) / len(columns[index]), -index

    fit = [index for index in free if any(columns[index]) and not is_numeric(columns[index])]
    if not ordered:
        return max(fit, key=rank, default=None)
    for index in fit:
        if len(set(columns[index])) > 1:
            return index
    return min(fit, default=None)


def no_fitting_column(
    table: Table, want: Wanted, columns: list[Cells], names: list[str] | None
) -> ArgumentError:
    """Return an error that says what each column holds, and what was tried."""
    if table.keys is not None:
        text = f"{table.path} has no column {want.usual[0]}"
        return ArgumentError(want.option, text, fits=list_names(table.keys))
    if names is None:
        names = [f"column {number}" for number in range(1, len(columns) + 1)]
    shown = []
    for number, (name, column) in enumerate(zip(names[:SHOWN], columns, strict=False), 1):
        shown.append(f"{name[:WIDEST] or number} ({describe_column(column)})")
    needed = "texts"
    if want.label:
        needed = "values that repeat"
    return ArgumentError(
        want.option,
        f"{table.path} has no column of {want.option}s",
        got=f"{', '.join(shown)}; {table.tried}",
        fits=f"a column of {needed}",
        fix=f"data.{want.option}=COLUMN, by its name or its number from 1; data.header=true|false",
    )
