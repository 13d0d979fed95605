"""Results as a table of text, and as plain dictionaries."""

from collections.abc import Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns beside each other, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    line = lambda row: "  ".join(  # noqa: E731
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()
    return "\n".join([line(head), "  ".join("-" * width for width in widths), *map(line, rows)])


def ratio(values: Sequence[float]) -> str:
    """A median and its quartiles."""
    return f"{values[0]:.3f} [{values[1]:.3f}, {values[2]:.3f}]"


def row(result: dict[str, Any]) -> list[str]:
    """One contender of a family as cells of the table."""
    return [
        f"{result['contender']}{' (near)' if result['near'] else ''}",
        f"{result['seconds'] * 1e3:.1f} ms",
        ratio(result["ratio"]),
        ratio(result["processor"]),
        f"{result['gflops']:.0f}",
        f"{result['share']:.0%}",
    ]


HEAD = ("", "median", "of the fastest peer", "by processor time", "GFLOP/s", "of the ceiling")
