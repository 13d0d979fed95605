"""Which repeats are equal, and how several are told in one line."""

from collections.abc import Mapping, Sequence
from typing import Any

from blocks.graph.assemble.body_builder import Row


def equal(a: Row, b: Row) -> bool:
    """Whether two rows look the same. What differs in an argument alone (a rate, a shift) is
    told, not drawn.
    """
    same = (a.block, a.inputs, a.outputs) == (b.block, b.inputs, b.outputs) and len(
        a.children
    ) == len(b.children)
    return same and all(
        x.name == y.name and equal(x, y) for x, y in zip(a.children, b.children, strict=True)
    )


def structure(row: Row) -> Any:
    """What a row is made of, whatever its sizes, its name and how often it is repeated."""
    inside = tuple(map(structure, row.children))
    return ("repeat", tuple(dict.fromkeys(inside))) if row.repeat else (row.block, inside)


def runs(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows, with neighbouring equal repeats together."""
    groups: list[list[Row]] = []
    for row in rows:
        if (
            groups
            and row.name.isdigit()
            and groups[-1][0].name.isdigit()
            and equal(groups[-1][0], row)
        ):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def span(names: Sequence[str]) -> str:
    """["3", "4", "5"] -> "3–5"."""
    return names[0] if len(names) == 1 else f"{names[0]}–{names[-1]}"


def pattern(paths: Sequence[str]) -> str:
    """["layers.0.mlp", "layers.1.mlp"] -> "layers.0–1.mlp"."""
    longest = max(path.count(".") for path in paths)
    parts = [path.split(".") for path in paths if path.count(".") == longest]
    return ".".join(span(list(dict.fromkeys(step))) for step in zip(*parts, strict=True))


def merged(arguments: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Arguments of equal nodes: one value, or all that occur, in order."""
    result = {}
    for word in dict.fromkeys(word for given in arguments for word in given):
        values = list(dict.fromkeys(show(given[word]) for given in arguments if word in given))
        result[word] = (
            ", ".join(values) if len(values) <= 4 else f"{values[0]}, {values[1]}, ... {values[-1]}"
        )
    return result


def show(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
