"""What differs between two models, as the nodes of both drawings that are lit."""

import re
from collections.abc import Container
from dataclasses import dataclass, field

from blocks.graph.describe.diff import Line, Side, difference

FIRST = re.compile(r"\W.*")  # behind the first of equal repeats, "0-11"


@dataclass
class Lit:
    """Kind of difference by path, in the drawing of each side."""

    old: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)


def light(old: Side, new: Side, old_paths: Container[str], new_paths: Container[str]) -> Lit:
    """Find the nodes that differ.

    Args:
        old_paths: of the nodes that are drawn on the old side.
        new_paths: likewise.
    """
    found = Lit()
    names: list[tuple[str, str]] = []
    for line in difference(old, new):
        names[line.depth :] = [_names_of(line)]
        if not line.details or line.kind == "follows":
            continue
        before = _find([each[0] for each in names], old_paths)
        after = _find([each[1] for each in names], new_paths)
        if before and line.kind != "added":
            found.old[before] = line.kind
        if after and line.kind != "removed":
            found.new[after] = line.kind
    return found


def _names_of(line: Line) -> tuple[str, str]:
    """Return the name of a node on both sides: "0-3 -> 0-5" is "0" on both."""
    old, arrow, new = line.name.partition(" -> ")
    if not arrow:
        new = old
    return FIRST.sub("", old), FIRST.sub("", new)


def _find(names: list[str], paths: Container[str]) -> str:
    """Return the path of a node; where a line stands for all equal repeats, of the first."""
    path = ""
    for name in names:
        step = f"{path}.{name}".lstrip(".")
        if step not in paths:
            step = f"{path}.0.{name}".lstrip(".")
        if step not in paths:
            return ""
        path = step
    return path
