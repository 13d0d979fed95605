"""The edges of a body, read from its generated code."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import fx, nn

from blocks.graph.describe.draw.picture import Body, Edge, size_text
from blocks.graph.record.module import Graph, Scan
from blocks.graph.record.record import Node


def submodule(module: nn.Module | None, path: str) -> nn.Module | None:
    """The module below a path, None where there is none; a method of the same name (`step`) does
    not hide it.
    """
    for name in path.split("."):
        module = module._modules.get(name) if module is not None else None
    return module


def calls(graph: Graph) -> Iterator[fx.Node]:
    return (node for node in graph.graph.nodes if node.op == "call_module")


def owners_of(graph: Graph, nodes: Sequence[Node]) -> dict[str, Node]:
    """fx call -> its node. With `share: true` beside `repeat` one node has several calls."""
    by_name = {node.name: node for node in nodes}
    owners = {}
    for call in calls(graph):
        name = str(call.meta["node"])
        owners[call.name] = by_name.get(name) or by_name[str(call.target)]
    return owners


def outputs_of(graph: Graph) -> list[str]:
    return list(graph.meta["step_outputs"] if isinstance(graph, Scan) else graph.output_names)


def edges_of(
    graph: Graph, body: Body, owners: Mapping[str, tuple[int, Node]], shapes: Mapping[str, str]
) -> Iterator[Edge]:
    """The edges of the generated code, each once; `owners` says which node of the body a call
    belongs to.
    """
    sources: dict[str, tuple[int, str, str]] = {}  # fx value -> vertex, output, shape
    seen: set[tuple[int, str, int, str]] = set()
    first = len(body.inputs)
    for call in graph.graph.nodes:
        targets: list[tuple[int, str, fx.Node]] = []
        if call.op == "placeholder":
            sources[call.name] = (
                body.inputs.index(str(call.target)),
                "out",
                shapes.get(str(call.target), ""),
            )
        elif call.op == "call_function":  # one of several outputs
            place, row = owners[call.args[0].name]
            port = list(row.outputs)[call.args[1]]
            sources[call.name] = (first + place, port, size_text(row.shapes[port]))
        elif call.op == "output":
            targets = [
                (first + len(body.nodes) + place, "", item)
                for place, item in enumerate(_given(call.args[0]))
            ]
        else:
            place, row = owners[call.name]
            port, sizes = next(iter(row.shapes.items()), ("out", ()))
            sources[call.name] = (first + place, port, size_text(sizes))
            targets = [(first + place, into, item) for into, item in arguments_by_port(call, graph)]
        for target, into, item in targets:
            source, port, shape = sources[item.name]
            if source != target and (source, port, target, into) not in seen:
                seen.add((source, port, target, into))
                yield Edge(source, port, target, into, shape)


def _given(value: Any) -> list[fx.Node]:
    """What a body gives: a dictionary, a tuple or one value."""
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, tuple | list) else [value]


def arguments_by_port(call: fx.Node, graph: Graph) -> Iterator[tuple[str, fx.Node]]:
    """What flows into a call, by the name that a body inside gives it; an atom's ports are
    numbered.
    """
    module = submodule(graph, str(call.target))
    names = list(module.input_names) if isinstance(module, Graph) else []
    for number, item in enumerate(call.args):
        if isinstance(item, fx.Node):
            yield (names[number] if number < len(names) else str(number)), item
    for name, item in call.kwargs.items():
        if isinstance(item, fx.Node):
            yield name, item


def input_shapes(graph: Graph, nodes: Sequence[Node]) -> dict[str, tuple[int, ...]]:
    """Shapes of the inputs of a body, as the first atom that reads each was given it."""
    found: dict[str, tuple[int, ...]] = {}
    owners = owners_of(graph, nodes)
    for call in calls(graph):
        row, module = owners[call.name], submodule(graph, str(call.target))
        inner = (
            input_shapes(module, row.children)
            if isinstance(module, Graph) and row.children
            else None
        )
        for number, (port, item) in enumerate(arguments_by_port(call, graph)):
            shape = (
                row.input_shapes[number]
                if inner is None and number < len(row.input_shapes)
                else (inner or {}).get(port)
            )
            if item.op == "placeholder" and shape:
                found.setdefault(str(item.target), shape)
    return found
