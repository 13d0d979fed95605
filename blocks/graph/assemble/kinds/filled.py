"""A node that is a block or a body, written where it stands or chosen by a slot."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body import build_body, close_body
from blocks.graph.assemble.body_builder import BodyBuilder, Input
from blocks.graph.assemble.calls import add_module, call_body, emit_call, record_node
from blocks.graph.assemble.context import Later, NodeContext, Outputs, PartContext, broken
from blocks.graph.assemble.kinds.block import build_block
from blocks.graph.assemble.kinds.block_recipe import Unbuilt
from blocks.graph.assemble.kinds.copied import find_body
from blocks.graph.assemble.kinds.hand_on import hand_on
from blocks.graph.assemble.kinds.template import Resolved, open_body, resolve
from blocks.graph.errors import NodeError, Problem
from blocks.graph.language.scope import Text
from blocks.graph.record.initialise import Section
from blocks.graph.record.module import Graph
from blocks.graph.record.record import UNREAD, Argument, MakeBody, Node, Recipe
from blocks.graph.record.token_grid import trace_grid
from blocks.graph.record.value import Value

Axes = tuple[str | None, ...]
DEEPEST = 32  # bodies within bodies; no honest model has more


@dataclass(frozen=True)
class BuiltBody:
    """The module of a body.

    Args:
        given: what flows in, by name.
        graph: None where a node of it is broken.
        outputs: by name.
        nodes: the record of its nodes.
        params: of the template, as they were written.
    """

    given: Mapping[str, Value]
    graph: Graph | None
    outputs: Outputs
    nodes: list[Node]
    params: Mapping[str, Text]


def build_filled(assembly: Assembly, context: NodeContext) -> Outputs:
    """Build the block or the body that a node leads to; what it gives."""
    resolved = resolve(assembly, context.spec, context.scope)
    if "block" in resolved.spec.raw:
        return _build_block(assembly, context, resolved)
    built = build_template(assembly, context, resolved)
    if built.graph is None:
        return built.outputs
    label = resolved.name_or("body")
    node = record_node(assembly, context, label, built.outputs, built.nodes, built.graph)
    node.arguments = {name: Argument(text=text) for name, text in built.params.items()}
    return call_body(assembly, context, node, built.graph, built.given, built.outputs)


# Blocks -------------------------------------------------------------------------------------------


def _build_block(assembly: Assembly, context: NodeContext, resolved: Resolved) -> Outputs:
    builder, name, spec = context.builder, context.name, resolved.spec
    signature = assembly.find_signature(spec.raw["block"], assembly.origin((*spec.path, "block")))
    inputs = context.inputs
    if not signature.ports:
        inputs = [item for item in inputs if item.port is not None]
    build_part = partial(_build_part, assembly, context)
    built = build_block(assembly, signature, resolved.texts, inputs, context.previous, build_part)
    builder.arguments[name] = built.arguments
    values = [*built.positional, *built.named.values()]
    first = values[0] if values else None
    outputs = _outputs_of(built.outputs, values, built.module, name)
    node = record_node(assembly, context, signature.name, outputs, [], None)
    node.input_shapes = tuple(value.shape for value in values)
    node.flow = {str(index): value for index, value in enumerate(values)}
    node.arguments = _arguments_of(built.arguments, resolved.texts)
    node.recipe = built.recipe
    if built.idle and len(outputs) == 1 and first is not None:
        names = next(iter(outputs.values())).names
        return {"out": replace(first, names=names, idle=(*first.idle, name))}
    node.module = built.module
    assembly.recipes[id(built.module)] = built.recipe
    add_module(assembly, context, built.module, outputs)
    if first is not None and first.cells and hasattr(built.module, "position_tables"):
        builder.grids[name] = first.cells
    return emit_call(context, node, name, list(built.positional), built.named, outputs)


def _outputs_of(
    found: Mapping[str, tuple[Tensor, Axes]], values: list[Value], module: nn.Module, name: str
) -> Outputs:
    """Values for what a block gives, with the vocabulary and the grid of what flows in."""
    vocab = next((value.vocab for value in values if value.vocab is not None), None)
    first = values[0] if values else None
    outputs = {}
    for key, (tensor, names) in found.items():
        kept = None if tensor.is_floating_point() else vocab
        grid = trace_grid(module, first, tensor)
        outputs[key] = Value(tensor, names, None, name, kept, grid=grid)
    return outputs


def _arguments_of(values: Mapping[str, Any], texts: Mapping[str, Text]) -> dict[str, Argument]:
    """The record of a block's arguments; a block inside a block has no value to show."""
    arguments = {}
    for name in dict.fromkeys([*texts, *values]):
        value = values.get(name, UNREAD)
        if isinstance(value, Recipe):
            value = UNREAD
        arguments[name] = Argument(value, texts.get(name))
    return arguments


# Bodies -------------------------------------------------------------------------------------------


def build_template(
    assembly: Assembly, context: NodeContext, resolved: Resolved, kept: Collection[str] = ()
) -> BuiltBody:
    """Build a body, written in place or in a template.

    Args:
        kept: inputs that the module has even where no node reads them.
    """
    if "use" not in context.raw:
        return _build_body(assembly, context, resolved, kept)
    used = f"{resolved.name_or('the template')}, used at {assembly.origin(context.path)}"
    start = len(assembly.problems)
    built = _build_body(assembly, context, resolved, kept, used)
    for index in range(start, len(assembly.problems)):
        assembly.problems[index] = _show_use(assembly.problems[index], used)
    return built


def _show_use(problem: Problem, used: str) -> Problem:
    """A problem inside a template, with the line that uses it."""
    lines = [*(problem.source or "").splitlines(), used]
    return replace(problem, source="\n".join(dict.fromkeys(lines)))


def _build_body(
    assembly: Assembly,
    context: NodeContext,
    resolved: Resolved,
    kept: Collection[str],
    used: str | None = None,
) -> BuiltBody:
    spec, label = resolved.spec, resolved.name_or("a body")
    if context.builder.path.count(".") > DEEPEST:
        problem = f"nodes are nested more than {DEEPEST} deep"
        fix = "a slot must not stand in its own body"
        raise NodeError(Problem(problem, got=f"{label}, in itself", fix=fix, code="too-large"))
    opened = open_body(assembly, resolved, context.scope)
    inner = BodyBuilder(context.display)
    given = context.enter(inner)
    inner.twin = find_body(context, inner)
    extras = tuple(name for name in inner.inputs if name != "x" and name not in kept)
    nodes = opened.nodes
    if used and extras and isinstance(nodes, Mapping):
        label = resolved.name_or("this template")
        nodes = hand_on(assembly, spec.raw, extras, opened.scope, label)
    outputs = build_body(
        assembly,
        inner,
        nodes,
        (*spec.path, "body"),
        opened.scope,
        spec.raw.get("outputs"),
        (*spec.path, "outputs"),
    )
    if any(value.broken for value in outputs.values()):
        context.builder.spoilt = True
        outputs = {name: broken(context.name) for name in outputs}
        return BuiltBody(given, None, outputs, inner.nodes, opened.params)
    if lines := spec.raw.get("initialise"):
        path = (*spec.path, "initialise")
        assembly.sections.append(Section(lines, opened.scope, path, f"{context.display}.", used))
    graph = close_body(assembly, inner, outputs, extras, kept=kept)
    context.builder.bodies[context.name] = inner
    context.builder.arguments[context.name] = {
        name: Later(text) for name, text in opened.params.items()
    }
    return BuiltBody(given, graph, outputs, inner.nodes, opened.params)


# Parts --------------------------------------------------------------------------------------------


def _build_part(
    assembly: Assembly, context: NodeContext, part: Unbuilt, name: str, given: Sequence[Tensor]
) -> MakeBody:
    """Build a part that is written as a body, for what the block around it gives.

    Args:
        context: of the block.
        part: as it is written.
        name: of the part in the block.
        given: what the block calls it with.
    """
    inputs = []
    for word, tensor in zip(part.names, given, strict=True):
        value = Value(tensor, (None,) * tensor.dim(), None, context.name)
        inputs.append(Input(word, word, value))
    place = PartContext(context.builder, f"{context.name}.{name}", part.spec, inputs, None)
    resolved = resolve(assembly, part.spec, part.spec.scope)
    built = build_template(assembly, place, resolved, kept=part.names)
    if built.graph is None:  # reported already
        raise NodeError
    recipes = {}
    for path, module in built.graph.named_modules(remove_duplicate=False):
        if id(module) in assembly.recipes:
            recipes[id(module)] = assembly.recipes[id(module)]
        assembly.modules.pop(f"{place.display}.{path}", None)
    for key in recipes:  # the block makes its own
        del assembly.recipes[key]
    return MakeBody(built.graph, recipes, resolved.name_or("body"))
