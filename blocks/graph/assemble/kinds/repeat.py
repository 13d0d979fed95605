"""`repeat`: a node several times in a row, its first input carried through."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body import close_body
from blocks.graph.assemble.body_builder import BodyBuilder, Input, NodeSpec
from blocks.graph.assemble.calls import call_again, call_body, record_node
from blocks.graph.assemble.context import NodeContext, Outputs
from blocks.graph.assemble.counting import repeats_inside
from blocks.graph.assemble.kinds.repetition import Repetition, check_cycles, read_repetition
from blocks.graph.assemble.kinds.share import locate_shared
from blocks.graph.assemble.references import choose_repeat
from blocks.graph.errors import NodeError, Problem
from blocks.graph.language.copies import alter
from blocks.graph.language.scope import Counter, Scope, Text
from blocks.graph.record.value import Value, axes_of

NOT_REPEATED = ("repeat", "cycle", "in", "as", "when", "after", "expect")


@dataclass(frozen=True)
class Repeats:
    """What `repeat` states.

    Args:
        stated: how often, and what differs from repeat to repeat.
        shared: whether one module is called in every repeat.
        innermost: whether nothing inside is repeated.
    """

    stated: Repetition
    shared: bool
    innermost: bool


def build_repeat(assembly: Assembly, context: NodeContext) -> Outputs:
    """Build a node as often as `repeat` says, in a body of its own; what the last one gives."""
    repeats = _read_repeats(assembly, context)
    once = _once(assembly, context)
    inner = BodyBuilder(context.display)
    context, turns = _spread_inputs(assembly, context, repeats)
    given = context.enter(inner)
    flow, carried = dict(inner.inputs), next(iter(inner.inputs), None)
    for name in itertools.chain(*turns.values()):
        flow.pop(name, None)
    outputs: Outputs = {}
    alike: dict[str, int] = {}  # elements of lists -> the last repeat that had them
    for index in range(repeats.stated.count):
        for name, names in turns.items():
            flow[name] = inner.inputs[names[index]]
        scope = _scope_of(assembly, context, repeats, index, flow)
        inputs = []
        for name, value in flow.items():
            inputs.append(Input(None if name == carried else name, name, value))
        previous = next(iter(flow.values()), None)
        spec = NodeSpec(once, context.path, scope)
        elements = repr(repeats.stated.elements(index))
        before = inner.made.get(str(alike.get(elements)))
        alike[elements] = index
        place = NodeContext(inner, str(index), spec, inputs, previous, twin=before)
        inner.origins[str(index)] = str(assembly.origin(context.path))
        outputs = _build_one(assembly, place, repeats, outputs)
        inner.results[str(index)] = outputs
        if any(value.broken for value in outputs.values()):
            return context.broken()
        _carry(flow, outputs, carried)
    for problem in check_cycles(assembly, context.spec, repeats.stated):
        assembly.report(problem, context.path, context.display)
    results = {**outputs, **_find_wanted(context, inner)}
    extras = tuple(name for name in inner.inputs if name != carried)
    graph = close_body(assembly, inner, results, extras)
    graph.meta["repeat"] = repeats.stated.count
    label = f"{repeats.stated.count} times"
    node = record_node(assembly, context, label, results, inner.nodes, graph)
    node.repeat = repeats.stated.count
    return call_body(assembly, context, node, graph, given, results)


def _find_wanted(context: NodeContext, inner: BodyBuilder) -> Outputs:
    """The outputs of single repeats that siblings read."""
    found = {}
    for port, outputs in inner.results.items():
        if port.isdigit() and (port in context.wanted or "*" in context.wanted):
            found[port] = next(iter(outputs.values()))
    return found


def _read_repeats(assembly: Assembly, context: NodeContext) -> Repeats:
    stated = read_repetition(assembly, context.spec)
    shared = context.raw.get("share") is True
    if shared and stated.differs:
        problem = "one module cannot take another element of a list at each repeat"
        fix = "give a number of times without a cycle, or leave `share: true` out"
        raise NodeError(Problem(problem, fix=fix, code="bad-value"))
    first = replace(context.spec, scope=stated.enter(context.scope, 0))
    return Repeats(stated, shared, not repeats_inside(assembly, first))


def _spread_inputs(
    assembly: Assembly, context: NodeContext, repeats: Repeats
) -> tuple[NodeContext, dict[str, list[str]]]:
    """Let all outputs flow in among which an input chooses at each repeat.

    Returns:
        The place with these inputs, and the name of each such input -> that of what it is in each
        repeat.
    """
    inputs: list[Input] = []
    turns: dict[str, list[str]] = {}
    for item in context.inputs:
        if not item.index:
            inputs.append(item)
            continue
        if item.port == "x" or (item is context.inputs[0] and item.port is None):
            raise NodeError(_explain_carried(item))
        origin = assembly.origin((*context.path, "in"))
        names = turns[item.name] = []
        for index in range(repeats.stated.count):
            # what flows in may differ even where all repeats are one module
            scope = _with_counter(context, repeats, index, False)
            chosen = choose_repeat(len(item.each), Text(item.index, origin, scope))
            name = f"{item.name}_{chosen}"
            if name not in names:
                inputs.append(Input(name, name, item.each[chosen]))
            names.append(name)
    return replace(context, inputs=inputs), turns


def _explain_carried(item: Input) -> Problem:
    return Problem(
        "the first input is carried from repeat to repeat, so that no counter can choose it",
        got=f"[{item.index}]",
        fits="in: {skip: encoder[layer.index]}, which the body reads as `skip`",
        code="wrong-inputs",
    )


def _once(assembly: Assembly, context: NodeContext) -> dict[str, Any]:
    """What is written at the node, without what belongs to the repetition."""
    once = context.without(*NOT_REPEATED)
    share = once.pop("share", None)
    if isinstance(share, str):
        once["share"] = locate_shared(assembly, context.builder, share)
    return once


def _build_one(
    assembly: Assembly, place: NodeContext, repeats: Repeats, outputs: Outputs
) -> Outputs:
    """Build one repeat, or call the first again where all are one module.

    Args:
        outputs: of the repeat before.
    """
    if repeats.shared and place.builder.nodes:
        first = place.builder.nodes[0]
        if first.module is None:  # a block that does nothing may do it again
            return outputs
        return call_again(place, first, "0", first.module, outputs)
    passed = assembly.passed
    outputs = assembly.build_kind(assembly, place)
    if repeats.shared:
        # the repeats that follow call the module again and pass nothing
        assembly.passed += (assembly.passed - passed) * (repeats.stated.count - 1)
    return outputs


def _scope_of(
    assembly: Assembly,
    context: NodeContext,
    repeats: Repeats,
    index: int,
    flow: Mapping[str, Value],
) -> Scope:
    """The names in reach in one repeat: its counters, its elements of the lists, its axes."""
    scope = _with_counter(context, repeats, index, repeats.shared)
    counters = dict(scope.counters)
    around = context.scope.counters.get("depth")
    alike = repeats.shared or (around is not None and around.shared)
    if repeats.innermost or alike:
        counters["depth"] = Counter(assembly.passed, assembly.total, alike)
    if repeats.innermost:
        assembly.passed += 1
    scope = repeats.stated.enter(scope, index)
    return alter(scope, counters=counters, axes=axes_of(list(flow.values())))


def _with_counter(context: NodeContext, repeats: Repeats, index: int, shared: bool) -> Scope:
    counters = dict(context.scope.counters)
    name = context.raw.get("as", "layer")
    counters[name] = Counter(index, lambda: repeats.stated.count, shared)
    return alter(context.scope, counters=counters)


def _carry(flow: dict[str, Value], outputs: Outputs, carried: str | None) -> None:
    """What the next repeat gets: each output named as an input, and the first input in any case."""
    for name, value in outputs.items():
        if name in flow:
            flow[name] = value
    if carried is not None and carried not in outputs:
        flow[carried] = next(iter(outputs.values()))
