"""How often nodes are repeated, and how many innermost repeats a node has: `depth.count`."""

from collections.abc import Mapping
from typing import Any

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import NodeSpec, Path
from blocks.graph.assemble.kinds.template import open_body, resolve
from blocks.graph.errors import NodeError, Problem, show
from blocks.graph.language.copies import alter
from blocks.graph.language.expression import ExpressionError
from blocks.graph.language.scope import Scope, Text, read_number
from blocks.graph.language.values import read_argument
from blocks.graph.language.words import check_params

DEEPEST = 32  # slots within slots


def count_repeats(
    assembly: Assembly, raw: Any, path: Path, scope: Scope
) -> tuple[int, dict[str, tuple[Any, ...]]]:
    """How often `repeat` repeats, and the lists whose elements go along.

    Raises:
        NodeError: no number, a number out of range, or lists of different lengths.
    """
    text = Text(raw, assembly.origin(path), scope)
    if not isinstance(raw, Mapping):
        try:
            count = read_argument(int, text, "repeat")
        except ExpressionError as error:
            raise NodeError(_explain(error, text)) from None
        _check_count(count, text, assembly.most)
        return count, {}
    if problem := check_params(raw, "an element of a list"):
        raise NodeError(problem)
    lists = {}
    for name, value in raw.items():
        try:
            lists[name] = read_number(Text(value, assembly.origin((*path, name)), scope))
        except ExpressionError as error:
            raise NodeError(_explain(error, text)) from None
    return _check_lists(assembly, lists, text, path), lists


def _explain(error: ExpressionError, text: Text) -> Problem:
    return Problem(
        error.problem,
        got=f"repeat: {show(text.raw)}",
        source=text.sources(),
        fits=error.fits,
        fix=error.fix,
        code=error.code,
    )


def _check_count(count: int, text: Text, most: int) -> None:
    got = f"repeat: {show(text.raw)}"
    if isinstance(text.raw, str):
        got += f" = {count}"
    if count < 1:
        raise NodeError(
            Problem(
                "repeat is at least 1",
                got=got,
                source=text.sources(),
                fix="to leave a node out, write when: false",
                code="bad-value",
            )
        )
    if count > most:
        raise NodeError(
            Problem(
                "this is repeated too often",
                got=got,
                source=text.sources(),
                fits=f"{most:,} at most",
                fix=f"if it is meant: limits.modules={count * 20}",
                code="too-large",
            )
        )


def _check_lists(assembly: Assembly, lists: Mapping[str, Any], text: Text, path: Path) -> int:
    """The common length of the lists of `repeat`."""
    got, source = f"repeat: {show(text.raw)}", str(text.origin)
    if not lists or not all(isinstance(value, tuple) for value in lists.values()):
        raise NodeError(
            Problem(
                "repeat is a number, or lists of equal length",
                got=got,
                source=source,
                fits="repeat: 4, or repeat: {depth: [2, 2], heads: [3, 6]}",
                code="bad-value",
            )
        )
    lengths = {name: len(value) for name, value in lists.items()}
    if not min(lengths.values()):
        fix = "to leave a node out, write when: false"
        raise NodeError(
            Problem("a list of repeat is empty", got=got, source=source, fix=fix, code="bad-value")
        )
    if len(set(lengths.values())) != 1:
        raise NodeError(
            Problem(
                "the lists of repeat differ in length",
                got=", ".join(f"{name} has {length}" for name, length in lengths.items()),
                source="\n".join(f"{name}  {assembly.origin((*path, name))}" for name in lengths),
                fix="give each list the same length",
                code="shape-mismatch",
            )
        )
    return next(iter(lengths.values()))


def count_innermost(assembly: Assembly, spec: NodeSpec, level: int = 0) -> int:
    """How many innermost repeats run inside a node, through the slots that it uses."""
    raw = spec.raw
    if not isinstance(raw, Mapping) or level > DEEPEST:
        return 0
    if "repeat" not in raw:
        inner = open_nodes(assembly, spec)
        return sum(count_innermost(assembly, node, level + 1) for node in inner)
    path = (*spec.path, "repeat")
    times, lists = count_repeats(assembly, raw["repeat"], path, spec.scope)
    if not repeats_inside(assembly, spec):
        return times
    total = 0
    for index in range(times):
        for node in open_nodes(
            assembly, alter(spec, scope=with_elements(spec.scope, lists, index))
        ):
            total += count_innermost(assembly, node, level + 1)
    return total


def repeats_inside(assembly: Assembly, spec: NodeSpec, level: int = 0) -> bool:
    """Whether the body of a node repeats anything: its own repeats are not the innermost then."""
    if level > DEEPEST:
        return False
    for node in open_nodes(assembly, spec):
        if isinstance(node.raw, Mapping) and "repeat" in node.raw:
            return True
        if repeats_inside(assembly, node, level + 1):
            return True
    return False


def open_nodes(assembly: Assembly, spec: NodeSpec) -> list[NodeSpec]:
    """The nodes of the body that a node leads to; none for a block or a mistake, which is reported
    where the node is built.
    """
    if not isinstance(spec.raw, Mapping) or not {"body", "use"} & set(spec.raw):
        return []
    used = set(assembly.used_slots)
    try:
        resolved = resolve(assembly, spec, spec.scope)
        if "body" not in resolved.spec.raw:
            return []
        opened = open_body(assembly, resolved, spec.scope)
    except NodeError:
        return []
    finally:
        assembly.used_slots.intersection_update(used)  # to count a slot is not to use it
    if not isinstance(opened.nodes, Mapping):
        return []
    found = []
    for name, raw in opened.nodes.items():
        found.append(NodeSpec(raw, (*resolved.spec.path, "body", name), opened.scope))
    return found


def with_elements(scope: Scope, lists: Mapping[str, Any], index: int) -> Scope:
    """The scope of one repeat, in which each list is one of its elements."""
    elements = {name: values[index] for name, values in lists.items()}
    return alter(scope, lexical={**scope.lexical, **elements})
