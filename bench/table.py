"""Results as a table of text, and as plain dictionaries."""

from collections.abc import Sequence
from typing import Any

from blocks.support.text_table import align_columns, column_widths


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns beside each other, the first to the left, the others to the right."""
    rule = ["-" * width for width in column_widths([head, *rows])]
    return "\n".join(align_columns([head, rule, *rows]))


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
