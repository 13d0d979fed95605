"""Calls in the generated code of a body, and the nodes that the record keeps of them."""

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.context import NodeContext, Outputs
from blocks.graph.errors import NodeError, Problem
from blocks.graph.record.module import Graph
from blocks.graph.record.record import Node
from blocks.graph.record.value import Value


def record_node(
    assembly: Assembly,
    context: NodeContext,
    label: str,
    outputs: Outputs,
    children: list[Node],
    module: nn.Module | None,
) -> Node:
    """Add a node to the record of the body around it."""
    flow = {}
    for index, item in enumerate(context.inputs):
        name = "x" if item.port is None and index == 0 else item.name
        flow[name] = item.value
    if "x" not in flow and context.previous is not None:
        flow["x"] = context.previous
    node = Node(
        name=context.name,
        path=context.display,
        label=label,
        origin=str(assembly.origin(context.path)),
        module=module,
        input_shapes=tuple(item.value.shape for item in context.inputs),
        flow=flow,
        outputs=dict(outputs),
        children=children,
    )
    context.builder.nodes.append(node)
    return node


def add_module(
    assembly: Assembly, context: NodeContext, module: nn.Module, outputs: Outputs
) -> None:
    """Give a module its name in the body, and keep it for `share`."""
    context.builder.root.add_module(context.name, module)
    assembly.modules[context.display] = (module, outputs)


def call_body(
    assembly: Assembly,
    context: NodeContext,
    node: Node,
    graph: Graph,
    given: Mapping[str, Value],
    outputs: Outputs,
) -> Outputs:
    """Put the module of a body into the body around it."""
    add_module(assembly, context, graph, outputs)
    rest = {name: given[name] for name in graph.input_names}
    first = [rest.pop(name) for name in graph.input_names[:1]]
    return emit_call(context, node, context.name, first, rest, outputs)


def call_again(
    context: NodeContext, node: Node, target: str, module: nn.Module, outputs: Outputs
) -> Outputs:
    """Call an existing module with other inputs; it runs on the meta device as it is.

    Args:
        node: the record of the call.
        target: the name of the module in the body.
        module: it.
        outputs: what an earlier call gave.

    Raises:
        NodeError: the module does not take them.
    """
    positional: list[Value] = []
    named: dict[str, Value] = {}
    for item in context.inputs:
        if item.port is None:
            positional.append(item.value)
        else:
            named[item.port] = item.value
    if named and not positional and "x" not in named and context.previous is not None:
        positional = [context.previous]
    if any(value.broken for value in (*positional, *named.values())):
        return context.broken()
    results = _run(module, positional, named)
    found = {}
    for (key, before), tensor in zip(outputs.items(), results, strict=False):
        names = before.names
        if len(names) != tensor.dim():
            names = (None,) * tensor.dim()
        found[key] = Value(tensor, names, None, context.name, grid=before.grid)
    return emit_call(context, node, target, positional, named, found)


def _run(
    module: nn.Module, positional: list[Value], named: Mapping[Any, Value]
) -> tuple[torch.Tensor, ...]:
    tensors = [value.tensor for value in positional]
    keywords = {name: value.tensor for name, value in named.items()}
    try:
        with torch.no_grad():
            result = module(*tensors, **keywords)
    except Exception as error:  # a block may raise anything; the user needs it with its place
        message = (str(error).splitlines() or [type(error).__name__])[0]
        problem = Problem(
            "the shared module does not take this",
            got=", ".join(map(str, [*positional, *named.values()])),
            source=message[:90],
            fits="what it takes where it stands first",
            code="shape-mismatch",
        )
        raise NodeError(problem) from error
    if isinstance(result, tuple):
        return result
    return (result,)


def emit_call(
    context: NodeContext,
    node: Node,
    target: str,
    positional: list[Value],
    named: Mapping[Any, Value],
    outputs: Outputs,
) -> Outputs:
    """Write the call into the generated code; the values that come out of it."""
    graph, name = context.builder.graph, context.name
    arguments: Any = tuple(value.node for value in positional)
    keywords: Any = {key: value.node for key, value in named.items()}
    call = graph.create_node("call_module", target, arguments, keywords, name=name)
    call.meta.update(node=node, inputs=(*positional, *named.values()))
    context.builder.calls[name] = call
    results = {}
    if len(outputs) == 1:
        for key, value in outputs.items():
            results[key] = value.at(call, name)
        return results
    for index, (key, value) in enumerate(outputs.items()):
        item = graph.create_node(
            "call_function", operator.getitem, (call, index), name=f"{name}_{key}"
        )
        results[key] = value.at(item, f"{name}.{key}")
    return results
