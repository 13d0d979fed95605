"""What a composed model is: one row a node, nested as the graph is, folded over repeats."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from blocks.graph.room import Row, show_shape, show_size


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    depth: int
    name: str
    block: str
    output: str
    parameters: int


def count_parameters(module: nn.Module) -> int:
    """Parameters of a module, a tied or shared one counted once."""
    return sum(parameter.numel() for parameter in module.parameters())


def describe(model: nn.Module, rows: list[Row], outputs: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """The model as plain data: totals, inputs and outputs, and its nodes, nested."""
    total = count_parameters(model)
    return {
        "parameters": total,
        "outputs": {name: _shape(shape) for name, shape in outputs.items()},
        "nodes": [_node(model, row, total) for row in rows],
    }


def _node(model: nn.Module, row: Row, total: int) -> dict[str, Any]:
    parameters = _parameters(model, row.path)
    return {
        "name": row.name,
        "path": row.path,
        "block": row.block,
        "inputs": [_shape(shape) for shape in row.inputs],
        "outputs": {name: _shape(shape) for name, shape in row.outputs.items()},
        "parameters": parameters,
        "share": parameters / total if total else 0.0,
        "arguments": {key: value if isinstance(value, int | float | str | bool | None) else str(value) for key, value in row.arguments.items()},
        "where": row.origin,
        **({"repeat": row.repeat} if row.repeat else {}),
        "children": [_node(model, child, total) for child in row.children],
    }  # fmt: skip


def _parameters(model: nn.Module, path: str) -> int:
    try:
        return count_parameters(model.get_submodule(path))
    except AttributeError:
        return 0  # left out of the code (it does nothing), or a second use of a shared module


def _shape(shape: tuple[int, ...]) -> list[int | str]:
    return [int(text) if (text := show_size(size)).isdigit() else text for size in shape]


def lines(nodes: list[dict[str, Any]], depth: int = 0, deepest: int | None = None) -> Iterator[Line]:
    """Rows of the table; equal neighbours in a repeat become one, "0-11"."""
    for group in _fold(nodes):
        first, last = group[0], group[-1]
        name = first["name"] if len(group) == 1 else f"{first['name']}-{last['name']}"
        output = ", ".join(_text(shape) for shape in last["outputs"].values())
        block = first["block"] if len(group) == 1 else f"{first['block']} x{len(group)}"
        yield Line(depth, name, block, output, sum(node["parameters"] for node in group))
        if deepest is None or depth + 1 < deepest:
            yield from lines(first["children"], depth + 1, deepest)


def _fold(nodes: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    groups: list[list[dict[str, Any]]] = []
    for node in nodes:
        if groups and node["name"].isdigit() and _same(groups[-1][0], node):
            groups[-1].append(node)
        else:
            groups.append([node])
    return groups


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two nodes look the same in the table; what differs in rate alone (stochastic depth) is folded."""
    keys = ("block", "outputs", "inputs", "parameters")
    return all(a[key] == b[key] for key in keys) and len(a["children"]) == len(b["children"]) and all(map(_same, a["children"], b["children"]))


def _text(shape: list[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"


def table(description: dict[str, Any], depth: int | None = None) -> str:
    """The table as text, 80 columns wide where the names allow it."""
    total = description["parameters"]
    rows = [(f"{'  ' * line.depth}{line.name}", line.block, line.output, f"{line.parameters:,}" if line.parameters else "",
             f"{line.parameters / total:.1%}" if line.parameters and total else "") for line in lines(description["nodes"], 0, depth)]  # fmt: skip
    head = ("node", "block", "output", "parameters", "share")
    rows.append(("total", "", ", ".join(f"{name} {_text(shape)}" for name, shape in description["outputs"].items()), f"{total:,}", "100%"))
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(5)]

    def show(row: tuple[str, ...]) -> str:
        cells = [row[i].ljust(widths[i]) for i in range(3)] + [row[i].rjust(widths[i]) for i in range(3, 5)]
        return "  ".join(cells).rstrip()

    rule = "-" * len(show(tuple("-" * width for width in widths)))
    return "\n".join([show(head), rule, *map(show, rows[:-1]), rule, show(rows[-1])])


__all__ = ["count_parameters", "describe", "lines", "show_shape", "table"]
