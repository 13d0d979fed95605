"""The structural difference of two composed models: nodes added, removed, replaced and moved."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from blocks.graph.describe.cost import Cost, measure
from blocks.graph.describe.table import short
from blocks.graph.errors import show
from blocks.graph.record.record import Built, Node, count_parameters, fold
from blocks.graph.record.value import Value, show_shape


@dataclass
class FoldedNode:
    """A node of one side; equal repeats in a row are one.

    Args:
        values: what is written, for each of the repeats.
        reads: what it reads, where that is something else than the sibling before.
    """

    name: str
    label: str
    shape: str
    parameters: int
    macs: int
    count: int = 1
    values: dict[str, list[str]] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    children: list["FoldedNode"] = field(default_factory=list)

    @property
    def written(self) -> dict[str, str]:
        """Its arguments: one value, or those of all repeats, "0..0.1" where they are many."""
        texts = {}
        for name, values in self.values.items():
            each = list(dict.fromkeys(values))
            if len(each) > 2:
                texts[name] = f"{each[0]}..{each[-1]}"
            else:
                texts[name] = "/".join(each)
        return texts

    @property
    def title(self) -> str:
        """Its label, with the number of repeats."""
        if self.count > 1:
            return f"{self.label} x{self.count}"
        return self.label

    @property
    def kind(self) -> str:
        """Its label without numbers: "12 times" and "4 times" are of one kind."""
        if self.label.endswith(" times"):
            return "times"
        return self.label

    def summary(self) -> tuple[str, ...]:
        """What is reported of a node that one side alone has."""
        parts = [self.title]
        parts += [f"{name} {value}" for name, value in self.written.items()]
        parts.append(self.shape)
        if self.parameters:
            parts.append(f"{self.parameters:,} parameters")
        if self.macs:
            parts.append(f"{short(self.macs)} MACs")
        return tuple(parts)


@dataclass(frozen=True)
class Line:
    """One node in the difference, and what differs in words."""

    kind: str
    depth: int
    name: str
    details: tuple[str, ...]


@dataclass(frozen=True)
class Side:
    """One model as a whole."""

    label: str
    parameters: int
    macs: int
    outputs: str
    nodes: list[FoldedNode]


def side(label: str, built: Built) -> Side:
    """One of the two models, folded."""
    costs = measure(built)
    outputs = [f"{name} {show_shape(value.shape)}" for name, value in built.outputs.items()]
    nodes = _fold_nodes(built.nodes, costs, built.registered)
    total = count_parameters(built.model)
    return Side(label, total, costs[""].macs, ", ".join(outputs), nodes)


def _fold_nodes(
    nodes: Sequence[Node], costs: Mapping[str, Cost], registered: Container[str]
) -> list[FoldedNode]:
    reads = _find_reads(nodes, registered)
    return [_fold_group(group, costs, registered, reads) for group in fold(nodes)]


def _fold_group(
    group: Sequence[Node],
    costs: Mapping[str, Cost],
    registered: Container[str],
    reads: Mapping[str, tuple[str, ...]],
) -> FoldedNode:
    """One node for equal repeats, with what is written in each of them."""
    first, last = group[0], group[-1]
    found = FoldedNode(
        first.name,
        first.label,
        ", ".join(map(show_shape, first.shapes.values())),
        sum(node.parameters for node in group),
        sum(costs.get(node.path, Cost()).macs for node in group),
        count=len(group),
        reads=reads[first.name],
    )
    if len(group) > 1:
        found.name = f"{first.name}-{last.name}"
    found.children = _fold_nodes(first.children, costs, registered)
    _add_values(found, first)
    for node in group[1:]:
        _add_values(found, node)
        others = _fold_nodes(node.children, costs, registered)
        for mine, other in zip(found.children, others, strict=True):
            _merge_values(mine, other)
    return found


def _add_values(found: FoldedNode, node: Node) -> None:
    for name in node.written:
        if name in node.values:
            found.values.setdefault(name, []).append(_show(node.values[name]))
    for name, part in node.parts.items():
        found.values.setdefault(name, []).append(str(part))


def _merge_values(found: FoldedNode, other: FoldedNode) -> None:
    """Add what is written in one more repeat."""
    for name, values in other.values.items():
        found.values.setdefault(name, []).extend(values)
    for mine, theirs in zip(found.children, other.children, strict=True):
        _merge_values(mine, theirs)


def _find_reads(nodes: Sequence[Node], registered: Container[str]) -> dict[str, tuple[str, ...]]:
    """What each node reads, where that is something else than the sibling before it."""
    found: dict[str, tuple[str, ...]] = {}
    before, skipped = "x", dict[str, str]()
    for node in nodes:
        sources = tuple(map(_source, node.flow.values()))
        seen = tuple(skipped.get(name, name) for name in sources)
        if node.path not in registered and len(seen) == 1 and seen != ("x",):
            skipped[sources[0]] = node.name  # it does nothing: what reads it reads through it
        if node.name.isdigit() or seen in ((before,), ()):
            found[node.name] = ()
        else:
            found[node.name] = seen
        before = node.name
    return found


def _source(value: Value) -> str:
    if value.node is not None and value.node.op == "placeholder":
        return str(value.node.target)
    return value.made_by


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return show(value)


# The difference -----------------------------------------------------------------------------------


def difference(old: Side, new: Side) -> list[Line]:
    """The lines to report.

    Below the top, a line whose size follows from others is left out, unless a node inside it
    differs by itself.
    """
    lines = list(compare(old.nodes, new.nodes))
    kept = []
    for index, line in enumerate(lines):
        if line.kind != "follows" or line.depth == 0 or _differs_inside(lines, index):
            kept.append(line)
    return kept


def _differs_inside(lines: Sequence[Line], index: int) -> bool:
    for other in lines[index + 1 :]:
        if other.depth <= lines[index].depth:
            return False
        if other.kind != "follows":
            return True
    return False


def compare(old: Sequence[FoldedNode], new: Sequence[FoldedNode], depth: int = 0) -> Iterator[Line]:
    """The lines of two bodies in the order of the new one; removed nodes stand where they were."""
    twins = _find_twins(old, new)
    moved = _find_moved(old, new, twins)
    waiting = list(old)
    before = None
    for node in new:
        twin = twins.get(node.name)
        if twin is None:
            yield Line("added", depth, node.name, node.summary())
        else:
            while twin.name not in moved and waiting and waiting[0] is not twin:
                yield from _removed(waiting.pop(0), twins, depth)
            waiting = [each for each in waiting if each is not twin]
            position = ""
            if twin.name in moved:
                position = f"now behind {before.name}" if before else "now first"
            yield from _compare_pair(twin, node, position, depth)
        before = node
    for node in waiting:
        yield from _removed(node, twins, depth)


def _removed(node: FoldedNode, twins: Mapping[str, FoldedNode], depth: int) -> Iterator[Line]:
    if not any(twin is node for twin in twins.values()):
        yield Line("removed", depth, node.name, node.summary())


def _find_twins(old: Sequence[FoldedNode], new: Sequence[FoldedNode]) -> dict[str, FoldedNode]:
    """New name -> the same node on the old side. Repeats are the same by their order."""
    if all(node.name[0].isdigit() for node in (*old, *new)):
        return {b.name: a for a, b in zip(old, new, strict=False)}
    names = {node.name: node for node in old}
    return {node.name: names[node.name] for node in new if node.name in names}


def _find_moved(
    old: Sequence[FoldedNode], new: Sequence[FoldedNode], twins: Mapping[str, FoldedNode]
) -> set[str]:
    """Names on the old side of nodes outside the longest run whose order stays."""
    positions = {node.name: index for index, node in enumerate(old)}
    order = [twins[node.name].name for node in new if node.name in twins]
    runs: list[list[str]] = []
    longest: list[str] = []
    for name in order:
        before: list[str] = []
        for run in runs:
            if positions[run[-1]] < positions[name] and len(run) > len(before):
                before = run
        runs.append([*before, name])
        if len(runs[-1]) >= len(longest):
            longest = runs[-1]
    return set(order).difference(longest)


def _compare_pair(old: FoldedNode, new: FoldedNode, position: str, depth: int) -> Iterator[Line]:
    """A node that both sides have, and what differs inside it."""
    own = [position] if position else []
    if old.label == new.label:
        own += _rewritten(old.written, new.written)
    if old.reads and new.reads and old.reads != new.reads:
        own.append(f"reads {', '.join(old.reads)} -> {', '.join(new.reads)}")
    follows = _resized(old, new)
    name = new.name
    if old.name != new.name:
        name = f"{old.name} -> {new.name}"
    inside = list(_compare_inside(old, new, depth))
    kind = "moved" if position else "changed"
    if old.title != new.title:
        if not position and old.kind != new.kind:
            kind = "replaced"
        yield Line(kind, depth, name, (f"{old.title} -> {new.title}", *own, *follows))
    elif own:
        yield Line(kind, depth, name, (new.title, *own, *follows))
    elif follows or inside:
        yield Line("follows", depth, name, (new.title, *follows))
    yield from inside


def _resized(old: FoldedNode, new: FoldedNode) -> list[str]:
    """Sizes that differ."""
    found = []
    if old.shape != new.shape:
        found.append(f"{old.shape} -> {new.shape}")
    if old.parameters != new.parameters:
        found.append(f"{old.parameters:,} -> {new.parameters:,} parameters")
    if old.macs != new.macs:
        before, after = short(old.macs) or "0", short(new.macs) or "0"
        if before == after:
            before, after = f"{old.macs:,}", f"{new.macs:,}"
        found.append(f"{before} -> {after} MACs")
    return found


def _compare_inside(old: FoldedNode, new: FoldedNode, depth: int) -> Iterator[Line]:
    mine, theirs = old.children, new.children
    if _is_one_repeat(mine) and _is_one_repeat(theirs) and mine[0].label == theirs[0].label:
        # all repeats are equal: no line for "0-11"
        mine, theirs = mine[0].children, theirs[0].children
    if mine and theirs:
        yield from compare(mine, theirs, depth + 1)


def _is_one_repeat(nodes: Sequence[FoldedNode]) -> bool:
    return len(nodes) == 1 and nodes[0].name[0].isdigit()


def _rewritten(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Arguments that are written on one side, or differently on both."""
    found = []
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if before is None:
            found.append(f"{name} {after}")
        elif after is None:
            found.append(f"no {name} (was {before})")
        else:
            found.append(f"{name} {before} -> {after}")
    return found


def describe_difference(old: Side, new: Side) -> dict[str, Any]:
    """Both models as a whole, and the nodes that differ, as plain data."""
    found: dict[str, Any] = {}
    for name, each in (("old", old), ("new", new)):
        found[name] = {
            "overrides": each.label,
            "parameters": each.parameters,
            "macs": each.macs,
            "outputs": each.outputs,
        }
    found["parameters"] = new.parameters - old.parameters
    found["macs"] = new.macs - old.macs
    found["nodes"] = list(map(asdict, difference(old, new)))
    return found
