"""Tables of text: columns beside each other."""

from collections.abc import Container, Sequence


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """How many characters each column needs."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def align_columns(rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> list[str]:
    """A line for each row; columns numbered in `left` stand left, others right."""
    widths, lines = column_widths(rows), []
    for row in rows:
        cells = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            cells.append(cell.ljust(width) if column in left else cell.rjust(width))
        lines.append("  ".join(cells).rstrip())
    return lines
