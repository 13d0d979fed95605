"""Which repeats are equal, and how several are told in one line."""

from collections.abc import Mapping, Sequence
from typing import Any

from blocks.graph.record.record import Node


def structure(node: Node) -> Any:
    """What a node is made of, whatever its sizes, its name and how often it is repeated."""
    inside = tuple(map(structure, node.children))
    if node.repeat:
        return "repeat", tuple(dict.fromkeys(inside))
    return node.label, inside


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
