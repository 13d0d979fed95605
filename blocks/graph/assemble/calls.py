"""Calls in the generated code of a body, and the nodes that the record keeps of them."""

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.context import NodeContext, Outputs
from blocks.graph.errors import NodeError, Problem, show
from blocks.graph.record.module import Graph
from blocks.graph.record.record import Node, Recipe
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
    recipe = assembly.recipes.get(id(module))
    for name, part in {} if recipe is None else recipe.arguments.items():
        if isinstance(part, Recipe) and part.shared is not None:
            share_part(assembly, f"{context.display}.{name}", part, module.get_submodule(name))
    assembly.modules[context.display] = (module, outputs)


def share_part(assembly: Assembly, path: str, part: Recipe, module: nn.Module) -> None:
    """Let the parameters of a part be those of the first part that shares them.

    Args:
        path: of the part in the model.
        part: how it is made.
        module: it.

    Raises:
        NodeError: it has no parameters, or others than the first.
    """
    names = [name for name, _ in module.named_parameters()]
    kind = part.factory.__name__
    if not names:
        problem = f"{kind} has no parameters that could be shared"
        raise NodeError(Problem(problem, got=path, fix="leave `share` out", code="unused"))
    first, made = assembly.shared.setdefault(part.shared, (path, part))
    if made.key != part.key:
        raise NodeError(
            Problem(
                "parts that share their parameters are made alike",
                got=f"{kind}({_show_arguments(part)}), and {first} is "
                f"{made.factory.__name__}({_show_arguments(made)})",
                fix="share among nodes of equal widths, or leave `share` out",
                code="shape-mismatch",
            )
        )
    for name in names:
        if first != path:
            assembly.ties[f"{path}.{name}"] = f"{first}.{name}"


def _show_arguments(part: Recipe) -> str:
    return ", ".join(f"{name}={show(value)}" for name, value in part.arguments.items())


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
