"""What a composed model is: a line a node, nested as the graph is, folded over repeats."""

import csv
import io
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from blocks.graph.describe.answers.letters import MODEL, Letters
from blocks.graph.describe.cost import Cost
from blocks.graph.record.objective import BuiltObjective
from blocks.graph.record.record import (
    Built,
    Node,
    count_parameters,
    gather,
    list_differences,
)
from blocks.graph.record.value import Value, show_shape, show_size
from blocks.support.text_table import align_columns, column_widths

Costs = Mapping[str, Cost]
Tied = Mapping[str, Mapping[str, str]]  # path of a node -> its parameter -> the one that it is
COLUMNS = ("node", "block", "output", "parameters", "MACs")
MORE = ("share", "memory", "field", "input", "where")  # shown when asked for
LEFT = ("node", "block", "output", "input", "where")  # aligned to the left; the others are numbers
CSV = ("path", "block", "inputs", "outputs", "parameters", "macs", "memory", "field", "where")
TERMS = ("loss", "block", "inputs", "weight")  # of a composed loss
WIDEST = 28  # letters of a block with its parts, then a further line
RUNS = 4  # of numbers of equal repeats, then "..."
PREFIXES = ("", "k", "M", "G", "T")


# As data ------------------------------------------------------------------------------------------


def describe(
    built: Built,
    costs: Costs | None = None,
    depth: int | None = None,
    letters: Letters | None = None,
) -> dict[str, Any]:
    """The model as plain data: totals, outputs, and its nodes, nested.

    Args:
        costs: what `cost.measure` found; without them costs are not mentioned.
        depth: how many levels of nested nodes; all when left out.
        letters: sizes of outputs with letters in place of numbers.
    """
    total = count_parameters(built.model)
    depth = sys.maxsize if depth is None else depth
    outputs = {name: _sizes(value.shape) for name, value in built.outputs.items()}
    found: dict[str, Any] = {"parameters": total}
    if costs is not None:
        found |= {"macs": costs[""].macs, "memory": costs[""].memory}
    tied = built.find_tied()
    nodes = [_describe_node(node, total, costs, depth, letters, tied) for node in built.nodes]
    if letters is not None:
        outputs = {name: letters.sizes(MODEL, name) for name in outputs}
    return {**found, "outputs": outputs, "nodes": nodes}


def _describe_node(
    node: Node,
    total: int,
    costs: Costs | None,
    depth: int,
    letters: Letters | None,
    tied: Tied,
) -> dict[str, Any]:
    parameters = node.parameters
    found: dict[str, Any] = {
        "name": node.name,
        "path": node.path,
        "block": node.label,
        "inputs": list(map(_sizes, node.input_shapes)),
        "outputs": {name: _sizes(shape) for name, shape in node.shapes.items()},
        "parameters": parameters,
        "share": parameters / total if total else 0.0,
    }
    if costs is not None:
        cost = costs.get(node.path, Cost())  # a node that does nothing costs nothing
        field = list(cost.field.size) if cost.field else None
        found |= {"macs": cost.macs, "memory": cost.memory, "field": field}
    found["parts"] = {name: part.name for name, part in node.parts.items()}
    found["arguments"] = {name: _plain(value) for name, value in node.values.items()}
    found["where"] = node.origin
    if node.path in tied:
        found["tied"] = tied[node.path]
    if node.repeat:
        found["repeat"] = node.repeat
    found["children"] = []
    if depth > 1:
        found["children"] = [
            _describe_node(child, total, costs, depth - 1, letters, tied) for child in node.children
        ]
    if letters is not None:
        found["outputs"] = {name: letters.sizes(node.path, name) for name in node.outputs}
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, int | float | str | bool | None):
        return value
    return str(value)


def _sizes(shape: tuple[int, ...]) -> list[int | str]:
    sizes: list[int | str] = []
    for text in map(show_size, shape):
        sizes.append(int(text) if text.isdigit() else text)
    return sizes


def comma_separated(built: Built, costs: Costs) -> str:
    """Every node in a line of its own, for a spreadsheet."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV, lineterminator="\n")
    writer.writeheader()
    for node in built.walk():
        cost = costs.get(node.path, Cost())
        writer.writerow(
            {
                "path": node.path,
                "block": node.title,
                "inputs": " ".join(map(show_shape, node.input_shapes)),
                "outputs": " ".join(map(show_shape, node.shapes.values())),
                "parameters": node.parameters,
                "macs": cost.macs,
                "memory": cost.memory,
                "field": str(cost.field or ""),
                "where": node.origin,
            }
        )
    return text.getvalue().rstrip("\n")


# As text ------------------------------------------------------------------------------------------


def walk_folded(
    nodes: Sequence[Node],
    deepest: int | None = None,
    depth: int = 0,
    twins: Sequence[Sequence[Node]] = (),
) -> Iterator[tuple[int, list[Node], list[Node]]]:
    """Every line of the table: its depth, a node or equal repeats of one (0, 2, 5), and all nodes
    that the line stands for.

    Args:
        deepest: levels to walk; None is all.
        twins: bodies like that of the nodes, which the same lines stand for.
    """
    places = {node.name: place for place, node in enumerate(nodes)}
    for group in gather(nodes):
        every = list(group)
        for body in twins:
            every += [body[places[node.name]] for node in group]
        yield depth, group, every
        if deepest is None or depth + 1 < deepest:
            others = [node.children for node in every[1:]]
            yield from walk_folded(group[0].children, deepest, depth + 1, others)


def describe_group(
    group: Sequence[Node],
    total: int,
    costs: Costs | None = None,
    every: Sequence[Node] = (),
    tied: Tied | None = None,
) -> dict[str, str]:
    """The columns of a line; equal repeats together are "0-11", or "0, 2, 5".

    Args:
        total: parameters of the model.
        every: all nodes that the line stands for; what they differ in is named.
        tied: what `Built.find_tied` found.
    """
    first, last = group[0], group[-1]
    name, label, parameters, share = first.name, first.title, "", ""
    if len(group) > 1:
        name, label = _join_numbers([int(node.name) for node in group]), f"{label} x{len(group)}"
    if differences := list_differences(every):
        shown = [f"{word} {_join_values(values)}" for word, values in differences.items()]
        label = f"{label} ({'; '.join(shown)})"
    if names := _list_tied(every, tied or {}):
        label = f"{label} ({', '.join(names)} tied)"
    if count := count_parameters(*(node.module for node in group)):
        parameters, share = f"{count:,}", f"{count / total:.1%}"
    cost = Cost()
    for node in group:
        one = (costs or {}).get(node.path, Cost())
        cost = Cost(cost.macs + one.macs, cost.memory + one.memory, one.field)
    return {
        "node": name,
        "block": label,
        "output": ", ".join(map(show_shape, last.shapes.values())),
        "parameters": parameters,
        "MACs": short(cost.macs),
        "share": share,
        "memory": short(cost.memory, "B"),
        "field": str(cost.field or ""),
        "input": ", ".join(map(show_shape, first.input_shapes)),
        "where": first.origin,
    }


def _list_tied(nodes: Sequence[Node], tied: Tied) -> list[str]:
    """Tied parameters of nodes; of a part its name alone."""
    found: dict[str, None] = {}
    for node in nodes:
        for name in tied.get(node.path, {}):
            found[name.partition(".")[0]] = None
    return list(found)


def _join_numbers(numbers: Sequence[int]) -> str:
    """[0, 1, 2, 5] -> "0-2, 5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = []
    for run in runs:
        texts.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    if len(texts) > RUNS:
        texts = [*texts[: RUNS - 1], "..."]
    return ", ".join(texts)


def _join_values(values: Sequence[Any]) -> str:
    """The first values and the last one."""
    shown = list(map(str, values))
    if len(shown) > 4:
        shown = [*shown[:2], "...", shown[-1]]
    return ", ".join(shown)


def short(number: float | None, unit: str = "") -> str:
    """A large number in three digits: 4,490,566,656 -> "4.49 G"; nothing for 0."""
    if not number:
        return ""
    prefixes = list(PREFIXES)
    while number >= 999.5 and len(prefixes) > 1:
        del prefixes[0]
        number /= 1000
    digits = 2
    if not prefixes[0] or number >= 99.95:
        digits = 0
    elif number >= 9.995:
        digits = 1
    return f"{number:.{digits}f} {prefixes[0]}{unit}".rstrip()


def table(
    built: Built,
    costs: Costs | None = None,
    depth: int | None = None,
    more: bool = False,
    letters: Letters | None = None,
) -> str:
    """The table as text, 80 columns wide where the names allow it; `more` shows every column, and
    `letters` show sizes as letters.
    """
    columns = list(COLUMNS)
    if costs is None:
        columns.remove("MACs")
    elif more:
        columns += MORE
    total, tied = count_parameters(built.model), built.find_tied()
    rows = [{name: name for name in columns}]
    for level, group, every in walk_folded(built.nodes, depth):
        cells = describe_group(group, total, costs, every, tied)
        if letters is not None:
            last = group[-1]
            cells["output"] = ", ".join(letters.show(last.path, name) for name in last.outputs)
        block, *further = textwrap.wrap(
            cells["block"], WIDEST, subsequent_indent="  ", break_on_hyphens=False
        )
        rows.append({**cells, "node": "  " * level + cells["node"], "block": block})
        rows += [{**dict.fromkeys(columns, ""), "block": text} for text in further]
    rows.append(_total_cells(built, costs, total))
    if letters is not None:
        outputs = [f"{name} {letters.show(MODEL, name)}" for name in built.outputs]
        rows[-1]["output"] = ", ".join(outputs)
    columned = [[row[name] for name in columns] for row in rows]
    texts = align_columns(columned, [columns.index(name) for name in columns if name in LEFT])
    rule = "-" * (sum(column_widths(columned)) + 2 * len(columns) - 2)
    return "\n".join([texts[0], rule, *texts[1:-1], rule, texts[-1]])


def _total_cells(built: Built, costs: Costs | None, total: int) -> dict[str, str]:
    cells = dict.fromkeys((*COLUMNS, *MORE), "")
    outputs = [f"{name} {show_shape(value.shape)}" for name, value in built.outputs.items()]
    cells |= {"node": "total", "output": ", ".join(outputs)}
    cells |= {"parameters": f"{total:,}", "share": "100%"}
    if costs is not None:
        cells |= {"MACs": short(costs[""].macs), "memory": short(costs[""].memory, "B")}
    return cells


# The loss -----------------------------------------------------------------------------------------


def describe_objective(objective: BuiltObjective) -> dict[str, Any]:
    """The objective as plain data: `terms`, `nodes` and `metrics`, each with its inputs."""
    found: dict[str, Any] = {"terms": [], "nodes": [], "metrics": []}
    for node in objective.built.nodes:
        kind = "nodes"
        entry: dict[str, Any] = {"name": node.name, "block": node.label}
        if node.name in objective.weights:
            kind = "terms"
            entry["weight"] = objective.weights[node.name]
        entry["inputs"] = list(map(describe_value, node.flow.values()))
        found[kind].append(entry)
    for name, metric in objective.metrics.items():
        inputs = list(map(describe_value, metric.values))
        found["metrics"].append(
            {
                "name": name,
                "block": metric.spec.get("block", metric.spec.get("_target_")),
                "inputs": inputs,
            }
        )
    return found


def describe_value(value: Value) -> dict[str, str]:
    """The name of a value, and its shape."""
    return {"name": value.made_by, "shape": show_shape(value.shape)}


def table_objective(objective: BuiltObjective) -> str:
    """The objective as a table of text."""
    described = describe_objective(objective)
    rows = [TERMS, *list_rows(described["nodes"]), *list_rows(described["terms"])]
    lines = align_columns(rows, (0, 1, 2))
    rule = "-" * (sum(column_widths(rows)) + 2 * len(TERMS) - 2)
    lines.insert(1, rule)
    if described["metrics"]:
        found = [
            ("metric", "block", "inputs"),
            *(row[:3] for row in list_rows(described["metrics"])),
        ]
        shown = align_columns(found, (0, 1, 2))
        lines += ["", shown[0], "-" * len(rule), *shown[1:]]
    return "\n".join(lines)


def list_rows(entries: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the cells of each entry."""
    for entry in entries:
        inputs = ", ".join(f"{each['name']} {each['shape']}" for each in entry["inputs"])
        weight = entry.get("weight", "")
        if isinstance(weight, float):
            weight = f"{weight:.4g}"
        yield entry["name"], entry["block"], inputs, weight
