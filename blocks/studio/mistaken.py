"""Where a mistake stands in the last graph without one, and what depends on it there."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from blocks.graph.describe.draw import Picture
from blocks.graph.describe.draw.picture import Body, DrawnNode

PREFIX = "graph."  # of the path of a node in a problem


def place_mistakes(drawn: Picture, errors: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the nodes of a drawing that mistakes are in, and those that depend on them.

    Args:
        errors: problems as JSON states them; `path` is that of a node, `graph.layers.0.mlp`.

    Returns:
        wrong, behind: ids of drawn nodes.
    """
    ids = {path: node.id for node in drawn.nodes() for path in (node.id, *node.paths)}
    wrong: dict[str, None] = {}
    for entry in errors:
        found = _find(str(entry["path"] or ""), ids)
        if found:
            wrong[found] = None
    behind: dict[str, None] = {}
    _follow(drawn.body, wrong, behind)
    return {"wrong": list(wrong), "behind": [name for name in behind if name not in wrong]}


def _find(path: str, ids: Mapping[str, str]) -> str:
    """Return the drawn node of a path, or the nearest around it; "" where there is none."""
    if not path.startswith(PREFIX):
        return ""
    name = path.removeprefix(PREFIX)
    while name and name not in ids:
        name = name.rpartition(".")[0]
    return ids.get(name, "")


def _follow(body: Body, wrong: Mapping[str, None], behind: dict[str, None]) -> bool:
    """Collect what depends on a wrong node of a body; return whether it has one."""
    reached = []
    for vertex in range(body.size):
        node = body.node(vertex)
        if node is not None and (_follow_inside(node, wrong, behind) or node.id in wrong):
            reached.append(vertex)
    is_wrong, seen = bool(reached), set(reached)
    while reached:
        for edge in body.edges_from(reached.pop()):
            node = body.node(edge.target)
            if node is None or edge.target in seen:
                continue
            seen.add(edge.target)
            reached.append(edge.target)
            behind.update(dict.fromkeys(_walk(node)))
    return is_wrong


def _follow_inside(node: DrawnNode, wrong: Mapping[str, None], behind: dict[str, None]) -> bool:
    return node.body is not None and _follow(node.body, wrong, behind)


def _walk(node: DrawnNode) -> Iterator[str]:
    yield node.id
    if node.body is not None:
        yield from (inner.id for inner in node.body.walk())
