"""What equal nodes have in common, and how several are described in one line."""

from collections.abc import Sequence
from typing import Any

from blocks.graph.record.record import Node


def structure_of(node: Node) -> Any:
    """What a node is made of, whatever its sizes, its name and the number of its repeats."""
    inside = tuple(map(structure_of, node.children))
    if node.repeat:
        return "repeat", tuple(dict.fromkeys(inside))
    return node.label, inside


def join_names(names: Sequence[str]) -> str:
    """["3", "4", "5"] -> "3–5"."""
    if len(names) == 1:
        return names[0]
    return f"{names[0]}–{names[-1]}"


def join_paths(paths: Sequence[str]) -> str:
    """["layers.0.mlp", "layers.1.mlp"] -> "layers.0–1.mlp"."""
    longest = max(path.count(".") for path in paths)
    parts = [path.split(".") for path in paths if path.count(".") == longest]
    joined = []
    for names in zip(*parts, strict=True):
        joined.append(join_names(list(dict.fromkeys(names))))
    return ".".join(joined)


def merge_arguments(nodes: Sequence[Node]) -> dict[str, str]:
    """Arguments of equal nodes: one value, or all that occur, in order."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for node in nodes for name in node.values):
        values = found.setdefault(name, [])
        for node in nodes:
            if (text := show_value(node.values.get(name))) not in values:
                values.append(text)
    merged = {}
    for name, values in found.items():
        merged[name] = ", ".join(values)
        if len(values) > 4:
            merged[name] = f"{values[0]}, {values[1]}, ... {values[-1]}"
    return merged


def show_value(value: Any) -> str:
    """A value as text; a float has four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
