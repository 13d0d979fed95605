"""`repeat`: a node several times in a row, its first input carried through."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from blocks.graph.assemble.block import Trouble
from blocks.graph.assemble.body_builder import Input, Room, Wire
from blocks.graph.assemble.context import Filling, Outputs, Path, Site, axes_of
from blocks.graph.errors import Problem, show
from blocks.graph.language.arguments import coerce
from blocks.graph.language.expression import ExpressionError
from blocks.graph.language.scope import Counter, Scope, Text, number
from blocks.graph.language.words import check_params

if TYPE_CHECKING:
    from blocks.graph.assemble.model import Assembler

NOT_REPEATED = ("repeat", "in", "as", "when", "after", "expect")


def repeat(assembler: "Assembler", site: Site) -> Outputs:
    """Build a node as often as `repeat` says, in a room of its own; what the last one gives."""
    count, lists = repetitions(assembler, site.raw["repeat"], (*site.path, "repeat"), site.scope)
    once, shared = site.without(*NOT_REPEATED), site.raw.get("share") is True
    if isinstance(once.get("share"), str):
        once["share"] = assembler.locate(site.room, once["share"])
    elif "share" in once:
        del once["share"]
    if shared and lists:
        fix = "give a number of times, or leave `share: true` out"
        raise Trouble(
            Problem("one module cannot take another element of a list at each repeat", fix=fix)
        )
    inner = Room(site.display)
    given = site.enter(inner)
    flow, carried = dict(inner.inputs), next(iter(inner.inputs), None)
    outputs: Outputs = {}
    for index in range(count):
        scope = _scope_of(assembler, site, index, count, lists, flow, shared)
        passed = assembler.passed
        items = [Input(None if key == carried else key, key, wire) for key, wire in flow.items()]
        inner.origins[str(index)] = str(assembler.origin(site.path))
        place = Site(
            inner,
            str(index),
            Filling(once, site.path, scope),
            items,
            next(iter(flow.values()), None),
        )
        again = shared and index > 0
        outputs = assembler.call_again(place, "0", outputs) if again else assembler.once(place)
        if shared and not index:
            assembler.passed += (assembler.passed - passed) * (count - 1)
        inner.results[str(index)] = outputs
        if any(wire.broken for wire in outputs.values()):
            return site.broken()
        _carry(flow, outputs, carried)
    results = dict(outputs)
    asked = [port for port in site.wanted if port.isdigit() and port in inner.results]
    results.update({port: next(iter(inner.results[port].values())) for port in asked})
    graph = assembler.close(inner, results, tuple(key for key in flow if key != carried))
    graph.meta["repeat"] = count
    site.room.rows.append(assembler.row(site, f"{count} times", results, inner.rows, repeat=count))
    return assembler.call(site, graph, given, results)


def _scope_of(
    assembler: "Assembler",
    site: Site,
    index: int,
    count: int,
    lists: Mapping[str, Any],
    flow: Mapping[str, Wire],
    shared: bool,
) -> Scope:
    """The names in reach in one repeat: its counter, its elements of the lists, the axes of what
    flows in.
    """
    counters = {
        **site.scope.counters,
        site.raw.get("as", "layer"): Counter(index, lambda: count, shared),
    }
    around = counters.get("depth")
    alike = shared or (around is not None and around.shared)
    innermost = not repeats_inside(site.raw.get("body"))
    if innermost or alike:
        counters["depth"] = Counter(assembler.passed, assembler.total, alike)
    if innermost:
        assembler.passed += 1
    lexical = {**site.scope.lexical, **{name: values[index] for name, values in lists.items()}}
    return replace(
        site.scope, lexical=lexical, counters=counters, axes=axes_of(list(flow.values()))
    )


def _carry(flow: dict[str, Wire], outputs: Outputs, carried: str | None) -> None:
    """What the next repeat gets: every output that bears an input's name, and the first input in
    any case.
    """
    flow.update({key: wire for key, wire in outputs.items() if key in flow})
    if carried is not None and carried not in outputs:
        flow[carried] = next(iter(outputs.values()))


def repetitions(
    assembler: "Assembler", raw: Any, path: Path, scope: Scope
) -> tuple[int, dict[str, tuple[Any, ...]]]:
    """How often, and the lists that are zipped along."""
    text = Text(raw, assembler.origin(path), scope)
    try:
        if not isinstance(raw, Mapping):
            return _bounded(_positive(coerce(int, text, "repeat"), text), text, assembler.most), {}
        if problem := check_params(raw, "an element of a list"):
            raise Trouble(problem)
        lists = {
            key: number(Text(value, assembler.origin((*path, key)), scope))
            for key, value in raw.items()
        }
    except ExpressionError as error:
        got, source = f"repeat: {show(raw)}", text.sources()
        problem = Problem(error.problem, got=got, source=source, fits=error.fits, fix=error.fix)
        raise Trouble(problem) from None
    got, source = f"repeat: {show(raw)}", str(text.origin)
    if not lists or not all(isinstance(value, tuple) for value in lists.values()):
        fits = "repeat: 4, or repeat: {depth: [2, 2], heads: [3, 6]}"
        raise Trouble(
            Problem(
                "repeat is a number, or lists of equal length", got=got, source=source, fits=fits
            )
        )
    lengths = {key: len(value) for key, value in lists.items()}
    if not min(lengths.values()):
        fix = "to leave a node out, write when: false"
        raise Trouble(Problem("a list of repeat is empty", got=got, source=source, fix=fix))
    if len(set(lengths.values())) != 1:
        got = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        source = "\n".join(f"{key}  {assembler.origin((*path, key))}" for key in lengths)
        fix = "give each list the same length"
        raise Trouble(
            Problem("the lists of repeat differ in length", got=got, source=source, fix=fix)
        )
    return next(iter(lengths.values())), lists


def _positive(count: int, text: Text) -> int:
    if count < 1:
        got = f"repeat: {show(text.raw)}" + (f" = {count}" if isinstance(text.raw, str) else "")
        source = text.sources()
        fix = "to leave a node out, write when: false"
        raise Trouble(Problem("repeat is at least 1", got=got, source=source, fix=fix))
    return count


def _bounded(count: int, text: Text, most: int) -> int:
    if count > most:
        got = f"repeat: {show(text.raw)}" + (f" = {count}" if isinstance(text.raw, str) else "")
        source = text.sources()
        fits, fix = f"{most:,} at most", f"if it is meant: limits.modules={count * 20}"
        raise Trouble(
            Problem("this is repeated too often", got=got, source=source, fits=fits, fix=fix)
        )
    return count


def count_innermost(assembler: "Assembler", raw: Any, path: Path, scope: Scope) -> int:
    """How many innermost repeats run inside a node: what `depth.count` says."""
    if not isinstance(raw, Mapping):
        return 0
    body = raw.get("body")
    nodes = list(body.values()) if isinstance(body, Mapping) else []
    if "repeat" not in raw:
        return sum(count_innermost(assembler, node, path, scope) for node in nodes)
    times, lists = repetitions(assembler, raw["repeat"], (*path, "repeat"), scope)
    if not repeats_inside(body):
        return times
    total = 0
    for index in range(times):
        lexical = {**scope.lexical, **{name: values[index] for name, values in lists.items()}}
        inner = replace(scope, lexical=lexical)
        total += sum(count_innermost(assembler, node, path, inner) for node in nodes)
    return total


def repeats_inside(body: Any) -> bool:
    """Whether a body repeats anything: its own repeats are not the innermost then."""
    nodes = body.values() if isinstance(body, Mapping) else ()
    return any(
        isinstance(node, Mapping) and ("repeat" in node or repeats_inside(node.get("body")))
        for node in nodes
    )
