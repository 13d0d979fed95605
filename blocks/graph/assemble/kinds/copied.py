"""A node of a repeat that gives what it gave in the repeat before: its record is copied.

Two repeats of a node differ by their counters and by what flows in. Where a node reads no counter
and equal shapes flow in, walking its YAML again would find the same blocks with the same arguments.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from torch import nn

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body import close_body
from blocks.graph.assemble.body_builder import BodyBuilder, Input, NodeSpec
from blocks.graph.assemble.calls import add_module, call_body, emit_call
from blocks.graph.assemble.context import Made, NodeContext, Outputs
from blocks.graph.assemble.kinds.block import on_meta_device
from blocks.graph.assemble.kinds.template import read_slot
from blocks.graph.language.copies import alter
from blocks.graph.language.expression import ExpressionError, parse
from blocks.graph.language.scope import Scope, Text
from blocks.graph.record.record import Node, Recipe
from blocks.graph.record.value import Value

NOT_COPIED = {"repeat", "scan", "share", "initialise"}  # what acts on more than its own place


def copy_node(assembly: Assembly, context: NodeContext) -> Outputs | None:
    """Copy a node from the repeat before; None where it must be built."""
    made = context.twin
    if made is None or assembly.problems or not _takes_the_same(made, context):
        return None
    if made.is_steady is None:
        made.is_steady = _is_steady(assembly, context)
    if not made.is_steady or not _is_whole(made):
        return None
    return _copy(assembly, context, made)


def keep(context: NodeContext, outputs: Outputs) -> None:
    """Keep a node that was built, for the repeat that follows."""
    builder, name = context.builder, context.name
    is_steady = None if context.twin is None else context.twin.is_steady
    if builder.nodes and builder.nodes[-1].name == name:
        builder.made[name] = Made(
            spec=context.spec,
            inputs=context.inputs,
            previous=context.previous,
            wanted=context.wanted,
            node=builder.nodes[-1],
            outputs=outputs,
            builder=builder,
            is_steady=is_steady,
        )


def find_body(context: NodeContext, inner: BodyBuilder) -> BodyBuilder | None:
    """The body that stood here in the repeat before, where the same flows into this one."""
    body = None if context.twin is None else context.twin.body
    if body is None or list(body.inputs) != list(inner.inputs):
        return None
    pairs = zip(body.inputs.values(), inner.inputs.values(), strict=True)
    return body if all(is_alike(old, new) for old, new in pairs) else None


def is_alike(before: Value, now: Value) -> bool:
    """Whether nothing that is computed from one of two values differs from the other."""
    if before.broken or now.broken or before.names != now.names or before.grid != now.grid:
        return False
    if before.tensor is None or now.tensor is None:
        return before.tensor is now.tensor
    types = before.tensor.dtype, now.tensor.dtype
    return before.shape == now.shape and types[0] == types[1] and before.vocab == now.vocab


def _takes_the_same(before: Made, now: NodeContext) -> bool:
    if len(before.inputs) != len(now.inputs) or before.wanted != now.wanted:
        return False
    for old, new in zip(before.inputs, now.inputs, strict=True):
        if (old.port, old.name) != (new.port, new.name) or not is_alike(old.value, new.value):
            return False
    if before.previous is None or now.previous is None:
        return before.previous is now.previous
    return is_alike(before.previous, now.previous)


# Whether a node may be copied ---------------------------------------------------------------------


def _is_steady(assembly: Assembly, context: NodeContext) -> bool:
    """Whether no text of a node, of what it uses, or of a name that it reads depends on a counter
    or on a node beside it.
    """
    counters = context.scope.counters
    outermost = alter(assembly.outermost, slots=context.scope.slots)
    waiting: list[tuple[Any, Scope]] = [(context.raw, context.scope)]
    seen: set[tuple[int, int]] = set()
    while waiting:
        raw, scope = waiting.pop()
        if (id(raw), id(scope)) in seen:
            continue
        seen.add((id(raw), id(scope)))
        if isinstance(raw, str):
            names, owners = _names_in(raw)
            if any(name in counters or scope.nodes(name) is not None for name in owners):
                return False
            for name in names:
                found = scope.lexical.get(name)
                if isinstance(found, Text):
                    waiting.append((found.raw, found.scope))
        elif isinstance(raw, Mapping):
            if NOT_COPIED & set(raw) or not _names_slot(assembly, raw, scope):
                return False
            waiting += [(value, scope) for value in _texts_of(assembly, raw)]
            waiting += _filling(assembly, raw, scope, outermost)
        elif isinstance(raw, list | tuple):
            waiting += [(value, scope) for value in raw]
    return True


@lru_cache(maxsize=4096)
def _names_in(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that an expression reads, and those of them that have an attribute read."""
    try:
        tree = parse(text)
    except ExpressionError:  # a word, which is taken as it is
        return frozenset(), frozenset()
    names, owners = set(), set()
    for part in ast.walk(tree):
        if isinstance(part, ast.Name):
            names.add(part.id)
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            owners.add(part.value.id)
    return frozenset(names), frozenset(owners)


def _texts_of(assembly: Assembly, raw: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what stands in a mapping, without the name of a block, and the nodes of a body."""
    for key, value in raw.items():
        if key == "body" and isinstance(value, Mapping):
            yield from value.values()
        elif key != "block" or not isinstance(value, str) or value not in assembly.catalog:
            yield value


def _names_slot(assembly: Assembly, raw: Mapping[str, Any], scope: Scope) -> bool:
    """Whether a node uses a slot or hole by its name, and by no expression."""
    slot = raw.get("use")
    if not isinstance(slot, str) or slot in scope.holes or slot in assembly.slots:
        return True
    return slot.isidentifier() and slot not in scope.lexical and slot not in scope.params


def _filling(
    assembly: Assembly, raw: Mapping[str, Any], scope: Scope, outermost: Scope
) -> Iterator[tuple[Any, Scope]]:
    """Yield what fills the hole or the slot that a node uses."""
    slot = raw.get("use")
    if not isinstance(slot, str):
        return
    if slot in scope.holes:
        yield scope.holes[slot].raw, scope.holes[slot].scope
    elif slot in assembly.slots:
        if slot in scope.slots:
            slot = read_slot(assembly, NodeSpec(raw, (), scope))
        yield assembly.slots.get(slot), outermost


def _is_whole(made: Made) -> bool:
    """Whether every node inside a node was built."""
    if made.body is None:
        return made.node.recipe is not None
    return not made.body.spoilt and all(map(_is_whole, made.body.made.values()))


# The copy -----------------------------------------------------------------------------------------


def _copy(assembly: Assembly, context: NodeContext, made: Made) -> Outputs:
    """Copy a block or a body, with the values that flow in here."""
    values = _match_values(made, context)
    flow = {name: values[id(value)] for name, value in made.node.flow.items()}
    node = alter(made.node, name=context.name, path=context.display, flow=flow)
    before, builder = made.builder, context.builder
    name, name_before = context.name, made.node.name
    builder.arguments[name] = before.arguments[name_before]
    if name_before in before.grids:
        builder.grids[name] = before.grids[name_before]
    if made.body is not None:
        return _copy_body(assembly, context, made.body, node)
    builder.nodes.append(node)
    if made.call is None:  # a block that does nothing
        first = next(iter(flow.values()))
        names = made.outputs["out"].names
        return {"out": alter(first, names=names, idle=(*first.idle, name))}
    assert node.recipe is not None
    node.module = module = _make_again(assembly, node.recipe)
    assembly.recipes[id(module)] = node.recipe
    add_module(assembly, context, module, node.outputs)
    given = [values[id(value)] for value in made.call.meta["inputs"]]
    count = len(made.call.args)
    named = dict(zip(made.call.kwargs, given[count:], strict=True))
    return emit_call(context, node, name, given[:count], named, node.outputs)


def _make_again(assembly: Assembly, recipe: Recipe) -> nn.Module:
    module = assembly.kept.copy(recipe.key)
    if module is not None:
        return module
    with on_meta_device(assembly.kept):
        return recipe.make()


def _match_values(before: Made, now: NodeContext) -> dict[int, Value]:
    """The id of each value that flowed in before -> the value that flows in now."""
    values = {}
    if before.previous is not None and now.previous is not None:
        values[id(before.previous)] = now.previous
    for old, new in zip(before.inputs, now.inputs, strict=True):
        values[id(old.value)] = new.value
    return values


def _copy_body(assembly: Assembly, context: NodeContext, body: BodyBuilder, node: Node) -> Outputs:
    """Copy a body node by node."""
    inner = BodyBuilder(context.display)
    inner.origins.update(body.origins)
    inner.left_out += body.left_out
    given = inner.enter(context.inputs, context.previous)
    values = {id(body.inputs[name]): value for name, value in inner.inputs.items()}
    for made in body.made.values():
        inputs = []
        for item in made.inputs:
            inputs.append(Input(item.port, item.name, values[id(item.value)]))
        previous = made.previous
        if previous is not None:
            previous = values[id(previous)]
        place = NodeContext(inner, made.node.name, made.spec, inputs, previous, made.wanted, made)
        found = _copy(assembly, place, made)
        keep(place, found)
        for port, value in made.outputs.items():
            values[id(value)] = found[port]
    outputs = {name: values[id(value)] for name, value in node.outputs.items()}
    extras = tuple(name for name in inner.inputs if name != "x")
    node.module = graph = close_body(assembly, inner, outputs, extras)
    node.outputs, node.children = outputs, inner.nodes
    context.builder.bodies[context.name] = inner
    context.builder.nodes.append(node)
    return call_body(assembly, context, node, graph, given, outputs)
