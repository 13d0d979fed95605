"""What a composed model is: one row a node, nested as the graph is, folded over repeats."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from blocks.graph.assemble.body_builder import Row, show_shape, show_size
from blocks.graph.describe.cost import Cost
from blocks.support.text_table import align_columns

COLUMNS = ("node", "block", "output", "parameters", "MACs")
MORE = ("share", "memory", "field", "input", "where")  # shown when asked for
LEFT = (
    "node",
    "block",
    "output",
    "input",
    "where",
)  # the others are numbers, and stand to the right


@dataclass(frozen=True)
class Line:
    """One line of the table: a node, or equal repeats of one. Costs are None where they were not
    measured.
    """

    depth: int
    name: str
    block: str
    output: str
    parameters: int
    macs: int | None = None
    memory: int | None = None
    field: str = ""
    input: str = ""
    where: str = ""


def count_parameters(module: nn.Module) -> int:
    """Parameters of a module, a tied or shared one counted once."""
    return sum(parameter.numel() for parameter in module.parameters())


def describe(
    model: nn.Module,
    rows: list[Row],
    outputs: Mapping[str, tuple[int, ...]],
    costs: Mapping[str, Cost] | None = None,
) -> dict[str, Any]:
    """The model as plain data: totals, outputs, and its nodes, nested.

    Args:
        costs: what `cost.measure` found; left out, costs are not mentioned.
    """
    total = count_parameters(model)
    return {
        "parameters": total,
        **_costs(costs, ""),
        "outputs": {name: _shape(shape) for name, shape in outputs.items()},
        "nodes": [_node(model, row, total, costs) for row in rows],
    }


def _node(
    model: nn.Module, row: Row, total: int, costs: Mapping[str, Cost] | None
) -> dict[str, Any]:
    parameters = _parameters(model, row.path)
    return {
        "name": row.name,
        "path": row.path,
        "block": row.block,
        "inputs": [_shape(shape) for shape in row.inputs],
        "outputs": {name: _shape(shape) for name, shape in row.outputs.items()},
        "parameters": parameters,
        "share": parameters / total if total else 0.0,
        **_costs(costs, row.path),
        "arguments": {key: _plain(value) for key, value in row.arguments.items()},
        "where": row.origin,
        **({"repeat": row.repeat} if row.repeat else {}),
        "children": [_node(model, child, total, costs) for child in row.children],
    }


def _costs(costs: Mapping[str, Cost] | None, path: str) -> dict[str, Any]:
    if costs is None:
        return {}
    cost = costs.get(path, Cost())  # a node that does nothing is left out of the code
    found: dict[str, Any] = {"macs": cost.macs, "memory": cost.memory}
    return {**found, "field": list(cost.field.size) if cost.field else None} if path else found


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def _parameters(model: nn.Module, path: str) -> int:
    try:
        return count_parameters(model.get_submodule(path))
    except AttributeError:
        return 0  # left out of the code (it does nothing), or a second use of a shared module


def _shape(shape: tuple[int, ...]) -> list[int | str]:
    return [int(text) if (text := show_size(size)).isdigit() else text for size in shape]


def lines(
    nodes: list[dict[str, Any]], depth: int = 0, deepest: int | None = None
) -> Iterator[Line]:
    """Rows of the table; equal neighbours in a repeat become one, "0-11"."""
    for group in _fold(nodes):
        first, last = group[0], group[-1]
        many = len(group) > 1
        yield Line(
            depth,
            f"{first['name']}-{last['name']}" if many else first["name"],
            f"{first['block']} x{len(group)}" if many else first["block"],
            ", ".join(map(_text, last["outputs"].values())),
            sum(node["parameters"] for node in group),
            sum(node["macs"] for node in group) if "macs" in first else None,
            sum(node["memory"] for node in group) if "memory" in first else None,
            _field(last.get("field")),
            ", ".join(map(_text, first["inputs"])),
            first["where"],
        )
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
    """Whether two nodes look the same in the table; what differs in rate alone (stochastic depth)
    is folded.
    """
    keys = ("block", "outputs", "inputs", "parameters")
    children = a["children"], b["children"]
    return (
        all(a[key] == b[key] for key in keys)
        and len(children[0]) == len(children[1])
        and all(map(_same, *children))
    )


def _text(shape: list[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"


def _field(sizes: list[float] | None) -> str:
    texts = [f"{size:g}" for size in sizes or ()]
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)


def short(number: float | None, unit: str = "") -> str:
    """A large number in three digits: 4,490,566,656 -> "4.49 G"; nothing for 0."""
    prefixes, number = ["", "k", "M", "G", "T"], number or 0
    while number >= 999.5 and len(prefixes) > 1:
        prefixes, number = prefixes[1:], number / 1000
    digits = 0 if not prefixes[0] or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{digits}f} {prefixes[0]}{unit}".rstrip() if number else ""


def table(description: dict[str, Any], depth: int | None = None, more: bool = False) -> str:
    """The table as text, 80 columns wide where the names allow it; `more` shows every column."""
    total = description["parameters"]
    columns = [name for name in COLUMNS if name != "MACs" or "macs" in description]
    columns += MORE if more and "macs" in description else ()
    found = [_cells(line, total) for line in lines(description["nodes"], 0, depth)]
    whole = {
        "node": "total",
        "output": ", ".join(
            f"{name} {_text(shape)}" for name, shape in description["outputs"].items()
        ),
        "parameters": f"{total:,}",
        "MACs": short(description.get("macs")),
        "share": "100%",
        "memory": short(description.get("memory"), "B"),
    }
    rows = [{name: name for name in columns}, *found, whole]
    left = [number for number, name in enumerate(columns) if name in LEFT]
    texts = align_columns([[row.get(name, "") for name in columns] for row in rows], left)
    rule = "-" * max(map(len, texts))
    return "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])


def _cells(line: Line, total: int) -> dict[str, str]:
    return {
        "node": f"{'  ' * line.depth}{line.name}",
        "block": line.block,
        "output": line.output,
        "parameters": f"{line.parameters:,}" if line.parameters else "",
        "MACs": short(line.macs),
        "share": f"{line.parameters / total:.1%}" if line.parameters and total else "",
        "memory": short(line.memory, "B"),
        "field": line.field,
        "input": line.input,
        "where": line.where,
    }


def comma_separated(description: dict[str, Any]) -> str:
    """Every node in a line of its own, for a spreadsheet."""
    head = ("path", "block", "inputs", "outputs", "parameters", "macs", "memory", "field", "where")
    text = io.StringIO()
    writer = csv.DictWriter(text, head, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    waiting = list(description["nodes"])
    while waiting:
        node = waiting.pop(0)
        waiting = node["children"] + waiting
        shapes = {"inputs": node["inputs"], "outputs": node["outputs"].values()}
        told = {name: " ".join(map(_text, each)) for name, each in shapes.items()}
        writer.writerow({**node, **told, "field": _field(node.get("field"))})
    return text.getvalue().rstrip("\n")


__all__ = [
    "comma_separated",
    "count_parameters",
    "describe",
    "lines",
    "short",
    "show_shape",
    "table",
]
