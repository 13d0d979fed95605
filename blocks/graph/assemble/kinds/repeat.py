"""`repeat`: a node several times in a row, its first input carried through."""

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
from blocks.graph.errors import NodeError, Problem
from blocks.graph.language.copies import alter
from blocks.graph.language.scope import Counter, Scope
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
    given = context.enter(inner)
    flow, carried = dict(inner.inputs), next(iter(inner.inputs), None)
    outputs: Outputs = {}
    alike: dict[str, int] = {}  # elements of lists -> the last repeat that had them
    for index in range(repeats.stated.count):
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
        if repeats.shared and index > 0:
            first = inner.nodes[0]
            if first.module is not None:  # a block that does nothing may do it again
                outputs = call_again(place, first, "0", first.module, outputs)
        else:
            outputs = _build_first(assembly, place, repeats)
        inner.results[str(index)] = outputs
        if any(value.broken for value in outputs.values()):
            return context.broken()
        _carry(flow, outputs, carried)
    results = dict(outputs)
    for port in context.wanted:
        if port.isdigit() and port in inner.results:
            results[port] = next(iter(inner.results[port].values()))
    for problem in check_cycles(assembly, context.spec, repeats.stated):
        assembly.report(problem, context.path, context.display)
    extras = tuple(name for name in flow if name != carried)
    graph = close_body(assembly, inner, results, extras)
    graph.meta["repeat"] = repeats.stated.count
    label = f"{repeats.stated.count} times"
    node = record_node(assembly, context, label, results, inner.nodes, graph)
    node.repeat = repeats.stated.count
    return call_body(assembly, context, node, graph, given, results)


def _read_repeats(assembly: Assembly, context: NodeContext) -> Repeats:
    stated = read_repetition(assembly, context.spec)
    shared = context.raw.get("share") is True
    if shared and stated.differs:
        problem = "one module cannot take another element of a list at each repeat"
        fix = "give a number of times without a cycle, or leave `share: true` out"
        raise NodeError(Problem(problem, fix=fix, code="bad-value"))
    first = replace(context.spec, scope=stated.enter(context.scope, 0))
    return Repeats(stated, shared, not repeats_inside(assembly, first))


def _once(assembly: Assembly, context: NodeContext) -> dict[str, Any]:
    """What is written at the node, without what belongs to the repetition."""
    once = context.without(*NOT_REPEATED)
    share = once.pop("share", None)
    if isinstance(share, str):
        once["share"] = locate_shared(assembly, context.builder, share)
    return once


def _build_first(assembly: Assembly, place: NodeContext, repeats: Repeats) -> Outputs:
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
    scope = context.scope
    counters = dict(scope.counters)
    name = context.raw.get("as", "layer")
    counters[name] = Counter(index, lambda: repeats.stated.count, repeats.shared)
    around = scope.counters.get("depth")
    alike = repeats.shared or (around is not None and around.shared)
    if repeats.innermost or alike:
        counters["depth"] = Counter(assembly.passed, assembly.total, alike)
    if repeats.innermost:
        assembly.passed += 1
    scope = repeats.stated.enter(scope, index)
    return alter(scope, counters=counters, axes=axes_of(list(flow.values())))


def _carry(flow: dict[str, Value], outputs: Outputs, carried: str | None) -> None:
    """What the next repeat gets: each output named as an input, and the first input in any case."""
    for name, value in outputs.items():
        if name in flow:
            flow[name] = value
    if carried is not None and carried not in outputs:
        flow[carried] = next(iter(outputs.values()))
