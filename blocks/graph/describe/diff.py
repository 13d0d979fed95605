"""The structural difference of two composed models: nodes added, removed, replaced, moved; and what
follows of it.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from blocks.graph.describe.cost import Cost, measure
from blocks.graph.describe.table import short
from blocks.graph.errors import show
from blocks.graph.record.record import Built, Node, count_parameters, fold
from blocks.graph.record.value import Value, show_shape


@dataclass
class FoldedNode:
    """A node of one side; equal repeats in a row are one."""

    name: str
    block: str
    shape: str
    parameters: int
    macs: int
    count: int = 1
    values: dict[str, list[str]] = field(
        default_factory=dict
    )  # what is written, for each of the repeats
    reads: tuple[str, ...] = ()  # where it reads something else than the sibling before
    children: list["FoldedNode"] = field(default_factory=list)

    @property
    def written(self) -> dict[str, str]:
        """Its arguments: one value, or all that occur in the repeats, "0..0.1" where they are
        many.
        """
        told = {}
        for name, values in self.values.items():
            each = list(dict.fromkeys(values))
            told[name] = "/".join(each) if len(each) <= 2 else f"{each[0]}..{each[-1]}"
        return told


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
    for node in group:
        for name in node.written:
            if name in node.values:
                found.values.setdefault(name, []).append(_number(node.values[name]))
    children = [_fold_nodes(node.children, costs, registered) for node in group]
    found.children = children[0]
    for others in children[1:]:
        for mine, other in zip(found.children, others, strict=True):
            _add_values(mine, other)
    return found


def _find_reads(nodes: Sequence[Node], registered: Container[str]) -> dict[str, tuple[str, ...]]:
    """What each node reads, where that is something else than the sibling before it."""
    found: dict[str, tuple[str, ...]] = {}
    before, skipped = "x", dict[str, str]()
    for node in nodes:
        sources = tuple(map(_source, node.flow.values()))
        seen = tuple(skipped.get(name, name) for name in sources)
        if node.path not in registered and len(seen) == 1 and seen != ("x",):
            skipped[sources[0]] = node.name  # it does nothing: what reads it reads through it
        is_chain = node.name.isdigit() or seen in ((before,), ())
        found[node.name] = () if is_chain else seen
        before = node.name
    return found


def _add_values(folded: FoldedNode, node: FoldedNode) -> None:
    """Add what is written in one more repeat."""
    for name, values in node.values.items():
        folded.values.setdefault(name, []).extend(values)
    for a, b in zip(folded.children, node.children, strict=True):
        _add_values(a, b)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else show(value)


def _source(wire: Value) -> str:
    return (
        str(wire.node.target)
        if wire.node is not None and wire.node.op == "placeholder"
        else wire.made_by
    )


def compare(old: Sequence[FoldedNode], new: Sequence[FoldedNode], depth: int = 0) -> Iterator[Line]:
    """The lines of the difference, in the order of the new model; removed nodes stand where they
    were.
    """
    twins = _twins(old, new)
    moved = _moved(old, new, twins)
    waiting = list(old)
    for index, node in enumerate(new):
        twin = twins.get(node.name)
        if twin is None:
            yield Line("added", depth, node.name, _facts(node))
            continue
        while twin.name not in moved and waiting and waiting[0] is not twin:
            yield from _gone(waiting.pop(0), twins, depth)
        waiting = [each for each in waiting if each is not twin]
        behind = f"now behind {new[index - 1].name}" if index else "now first"
        yield from _both(twin, node, behind if twin.name in moved else "", depth)
    for node in waiting:
        yield from _gone(node, twins, depth)


def _gone(node: FoldedNode, twins: Mapping[str, FoldedNode], depth: int) -> Iterator[Line]:
    if not any(twin is node for twin in twins.values()):
        yield Line("removed", depth, node.name, _facts(node))


def _twins(old: Sequence[FoldedNode], new: Sequence[FoldedNode]) -> dict[str, FoldedNode]:
    """For the names of the new side: the same node on the old one. Repeats are the same by their
    order.
    """
    if all(node.name[0].isdigit() for node in (*old, *new)):
        return {b.name: a for a, b in zip(old, new, strict=False)}
    names = {node.name: node for node in old}
    return {node.name: names[node.name] for node in new if node.name in names}


def _moved(
    old: Sequence[FoldedNode], new: Sequence[FoldedNode], twins: Mapping[str, FoldedNode]
) -> set[str]:
    """Names on the old side of nodes outside the longest run whose order stays."""
    places = {node.name: index for index, node in enumerate(old)}
    order = [twins[node.name].name for node in new if node.name in twins]
    runs: list[list[str]] = []
    for name in order:
        before: list[list[str]] = [[], *(run for run in runs if places[run[-1]] < places[name])]
        runs.append([*max(before, key=len), name])
    return set(order).difference(*sorted(runs, key=len)[-1:])


def _both(old: FoldedNode, new: FoldedNode, place: str, depth: int) -> Iterator[Line]:
    """A node that both sides have, and what differs inside it."""
    own = [place] if place else []
    own += _rewritten(old.written, new.written) if old.block == new.block else []
    if old.reads and new.reads and old.reads != new.reads:
        own.append(f"reads {', '.join(old.reads)} -> {', '.join(new.reads)}")
    times = _plain(old) == _plain(new)
    follows = [] if old.shape == new.shape else [f"{old.shape} -> {new.shape}"]
    if old.parameters != new.parameters:
        follows.append(f"{old.parameters:,} -> {new.parameters:,} parameters")
    if old.macs != new.macs:
        a, b = short(old.macs) or "0", short(new.macs) or "0"
        follows.append(f"{a} -> {b} MACs" if a != b else f"{old.macs:,} -> {new.macs:,} MACs")
    name = new.name if old.name == new.name else f"{old.name} -> {new.name}"
    pair = (old.children, new.children)
    if (
        all(len(nodes) == 1 and nodes[0].name[0].isdigit() for nodes in pair)
        and pair[0][0].block == pair[1][0].block
    ):
        pair = (
            pair[0][0].children,
            pair[1][0].children,
        )  # all repeats are equal: no line for "0-11"
    inside = list(compare(*pair, depth + 1)) if all(pair) else []
    if _block(old) != _block(new):
        kind = "moved" if place else "replaced" if not times else "changed"
        yield Line(kind, depth, name, (f"{_block(old)} -> {_block(new)}", *own, *follows))
    elif own:
        yield Line("moved" if place else "changed", depth, name, (_block(new), *own, *follows))
    elif follows or inside:
        yield Line("follows", depth, name, (_block(new), *follows))
    yield from inside


def _rewritten(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What is written on one side, or differently on both."""
    told = []
    for word in dict.fromkeys([*old, *new]):
        a, b = old.get(word), new.get(word)
        if a != b:
            told.append(
                f"{word} {b}"
                if a is None
                else f"no {word} (was {a})"
                if b is None
                else f"{word} {a} -> {b}"
            )
    return told


def _plain(node: FoldedNode) -> str:
    """What a node is: "12 times" and "4 times" are the same, and so are all blocks and options of
    one name.
    """
    return "times" if node.block.endswith(" times") else node.block


def _block(node: FoldedNode) -> str:
    return f"{node.block} x{node.count}" if node.count > 1 else node.block


def _facts(node: FoldedNode) -> tuple[str, ...]:
    facts = [_block(node), *(f"{word} {value}" for word, value in node.written.items()), node.shape]
    facts += [f"{node.parameters:,} parameters"] if node.parameters else []
    return (*facts, f"{short(node.macs)} MACs") if node.macs else tuple(facts)


def difference(old: Side, new: Side) -> list[Line]:
    """What to tell: every line but those, below the top, that only follow and have nothing inside
    but such.
    """
    lines = list(compare(old.nodes, new.nodes))
    kept = []
    for index, line in enumerate(lines):
        inside = []
        for other in lines[index + 1 :]:
            if other.depth <= line.depth:
                break
            inside.append(other)
        if (
            line.kind != "follows"
            or line.depth == 0
            or any(other.kind != "follows" for other in inside)
        ):
            kept.append(line)
    return kept
