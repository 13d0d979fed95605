"""Why a value is what it is: where it was written or inferred, and how a width came about on its
way.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from blocks.graph.assemble.context import axes_of
from blocks.graph.errors import ConfigError, Problem, did_you_mean, show
from blocks.graph.language.expression import ExpressionError
from blocks.graph.language.scope import Text, number, word
from blocks.graph.record.record import Built, Node
from blocks.graph.record.value import Value

READERS = 6  # told of a param; the rest is counted


@dataclass(frozen=True)
class Change:
    """A node that gave an axis a new size; `before` is None where it made the axis."""

    path: str
    before: int | None
    after: int


class Places:
    """The nodes of a model by path, each with the node around it."""

    def __init__(self, built: Built):
        self.built = built
        self.nodes: dict[str, Node] = {}
        self.around: dict[str, Node | None] = {node.path: None for node in built.nodes}
        for node in built.walk():
            self.nodes[node.path] = node
            for child in node.children:
                self.around[child.path] = node

    def source(
        self, around: Node | None, wire: Value
    ) -> tuple[Node | None, Node | None, Value | None]:
        """Who made a wire in the body of `around`: the body where its maker stands, the maker, the
        wire there.

        There is no maker of a model's input.
        """
        while wire.node is not None and wire.node.op == "placeholder" and around is not None:
            outer = around.flow.get(str(wire.node.target))
            if outer is None:
                return around, None, None
            around, wire = self.around[around.path], outer
        siblings = self.built.nodes if around is None else around.children
        name = wire.made_by.partition(".")[0]
        return around, next((row for row in siblings if row.name == name), None), wire

    def changes(self, around: Node | None, wire: Value, axis: str) -> list[Change]:
        """Every change of an axis on the way to a wire in the body of `around`, the first one
        first.
        """
        around, row, found = self.source(around, wire)
        if found is None or axis not in found.axes:
            return []
        if row is None:
            return [Change(found.made_by, None, found.axes[axis])]
        inside = row.outputs.get(found.made_by.partition(".")[2]) or next(
            iter(row.outputs.values())
        )
        return self._through(row, inside, axis, found.axes[axis])

    def came(self, row: Node) -> str:
        """What flows into a node, with who made it."""
        told = []
        for wire in row.flow.values():
            _, maker, found = self.source(self.around[row.path], wire)
            told.append(f"{maker.path if maker is not None else (found or wire).made_by} {wire}")
        return ", ".join(told)

    def _through(self, row: Node, inside: Value, axis: str, size: int) -> list[Change]:
        """Changes up to a node's output: those in front of it, and its own, told by the innermost
        node.
        """
        sizes = {name: wire for name, wire in row.flow.items() if axis in wire.axes}
        same = next((wire for wire in sizes.values() if wire.axes[axis] == size), None)
        if same is not None:
            return self.changes(self.around[row.path], same, axis)
        if row.children and inside.node is not None:
            return self.changes(row, inside, axis)
        before = next(iter(sizes.values()), None)
        earlier = self.changes(self.around[row.path], before, axis) if before is not None else []
        return [*earlier, Change(row.path, before.axes[axis] if before is not None else None, size)]


def why(built: Built, path: str) -> str:
    """Where a value comes from, as text.

    Args:
        path: of an argument or an axis of a node (`layers.0.mlp.inner.hidden`,
            `stages.1.merge.dim`), of a node (all its arguments), or of a param (`params.dim`).

    Raises:
        ConfigError: nothing bears that name.
    """
    path = re.sub(r"^(model\.)?graph\.|^model\.", "", path)
    places = Places(built)
    if path.startswith("params."):
        return _param(places, path.removeprefix("params."), path)
    if path in places.nodes:
        row = places.nodes[path]
        told = [_argument(places, row, name) for name in dict.fromkeys([*row.written, *row.values])]
        return "\n\n".join(told or [f"{path}  {row.label}  {row.origin}\n  it takes no arguments"])
    node, _, name = path.rpartition(".")
    row_found = places.nodes.get(node)
    if row_found is None:
        raise _unknown(path, [*places.nodes, *(f"params.{each}" for each in built.params)])
    return _argument(places, row_found, name)


def _unknown(path: str, known: Iterable[str]) -> ConfigError:
    problem = f"nothing in the model is called {path!r}"
    fix = "python -m blocks explain lists the nodes; PATH is NODE.ARGUMENT, NODE, or params.NAME"
    return ConfigError(
        [
            Problem(
                problem, f"the command line: --why {path}", fits=did_you_mean(path, known), fix=fix
            )
        ]
    )


def _param(places: Places, name: str, path: str) -> str:
    params = places.built.params
    if name not in params:
        raise _unknown(path, [f"params.{each}" for each in params])
    text = params[name]
    found = [f"{row.path}.{each}" for row in places.nodes.values() for each in _reading(row, name)]
    readers = list(dict.fromkeys(re.sub(r"(?<=\.)\d+(?=\.)", "*", each) for each in found))
    more = f", ... ({len(readers)})" if len(readers) > READERS else ""
    told = (
        ", ".join(readers[:READERS]) + more
        if readers
        else "no argument of a node; see `repeat`, `when`, `inputs`"
    )
    return "\n".join([f"params.{name} = {_value(text)}", *_written(text), f"  read by   {told}"])


def _reading(row: Node, param: str) -> Iterator[str]:
    for name in row.written:
        if any(line.startswith(f"{param}=") for line in _trace(_here(row, name))):
            yield name


def _argument(places: Places, row: Node, name: str) -> str:
    """One argument of a node, or an axis of what flows in."""
    axes = axes_of(list(row.flow.values()))
    values = {**axes, **row.values}
    if name in row.written:
        text = _here(row, name)
        value = show(row.values[name]) if name in row.values else _value(text)
        return "\n".join(
            [
                f"{row.path}.{name} = {value}  ({row.label})",
                *_written(text),
                *_made_of(places, row, text),
            ]
        )
    if name in values and name in axes:
        lines = [f"{row.path}.{name} = {values[name]}  ({row.label})"]
        return "\n".join(
            [*lines, f"  inferred  from {places.came(row)}", *_chain(places, row, name)]
        )
    if row.children:
        raise _unknown(
            f"{row.path}.{name}", [f"{row.path}.{each}" for each in (*values, *row.written)]
        )
    signature = places.built.catalog.get(row.label)
    parameters = _parameters(row.label, signature) if signature is not None else {}
    if name not in parameters:
        known = (*values, *row.written, *parameters)
        raise _unknown(f"{row.path}.{name}", [f"{row.path}.{each}" for each in known])
    return (
        f"{row.path}.{name} = {show(parameters[name].default)}  ({row.label})\n  default   "
        f"of {row.label}"
    )


def _parameters(block: str, item: Any) -> Mapping[str, Any]:
    from blocks.graph.language.signature import signature_of

    return signature_of(block, item).parameters


class _Watched(dict[str, int]):
    """Axes that remember which of them were read."""

    def __init__(self, axes: Mapping[str, int]):
        super().__init__(axes)
        self.read: dict[str, None] = {}

    def __getitem__(self, name: str) -> int:
        self.read[name] = None
        return super().__getitem__(name)


def _here(row: Node, name: str) -> Text:
    """A text in the names in reach where its node stands, with a trace of its own."""
    text: Text = row.written[name]
    axes = text.scope.axes if row.children else axes_of(list(row.flow.values()))
    fresh = replace(text, scope=replace(text.scope, trace=[], axes=_Watched(axes)))
    return fresh if row.children else fresh.at(fresh.scope.axes, row.written, name)


def _trace(text: Text) -> list[str]:
    """Each declared name that the text leads to, "dim=96  conf/model/swin_t.yaml:3:10"."""
    text.scope.trace.clear()
    try:
        number(text)
    except (ExpressionError, RecursionError):
        return []
    return list(dict.fromkeys(text.scope.trace))


def _value(text: Text) -> str:
    try:
        return show(number(text))
    except ExpressionError:
        return show(word(text))


def _written(text: Text) -> list[str]:
    name = str(text.path[-1]) if text.path else "it"
    lines = [f"  written   {text.origin}", f"            {name}: {show(text.raw)}"]
    return lines + [f"  with      {line}" for line in [*_trace(text), *_surroundings(text)]]


def _surroundings(text: Text) -> Iterator[str]:
    """What an expression reads of the data and of the repeats around it."""
    raw, scope = text.raw if isinstance(text.raw, str) else "", text.scope
    for name, attribute in dict.fromkeys(re.findall(r"\b(\w+)\.(\w+)", raw)):
        if name in scope.counters and attribute in ("index", "count", "fraction"):
            yield f"{name}.{attribute}={show(scope.counters[name].attribute(name, attribute))}"
        elif name == "data" and attribute in scope.facts:
            yield f"data.{attribute}={show(scope.facts[attribute])}"
    for name in dict.fromkeys(re.findall(r"(?<![\w.])[a-z_]\w*\b(?!\s*[.(])", raw)):
        if (
            name in scope.lexical
            and not isinstance(scope.lexical[name], Text)
            and name not in scope.arguments
        ):
            yield f"{name}={show(scope.lexical[name])}  a list of `repeat`"


def _made_of(places: Places, row: Node, text: Text) -> list[str]:
    """For the axes that an expression reads: how each came about."""
    watched = text.scope.axes
    _trace(text)
    names = list(watched.read) if isinstance(watched, _Watched) else []
    flowing = axes_of(list(row.flow.values()))
    return [line for name in names if name in flowing for line in _chain(places, row, name)]


def _chain(places: Places, row: Node, axis: str) -> list[str]:
    """ "dim=768: patch 96, doubled by stages.1.merge, stages.2.merge", and what its first node was
    given.
    """
    wire = next(wire for wire in row.flow.values() if axis in wire.axes)
    changes = places.changes(places.around[row.path], wire, axis)
    if not changes:
        return []
    parts: list[str] = []
    verb = ""
    for change in changes:
        if change.before is None:
            parts.append(f"{change.path} {change.after}")
            continue
        ratio = change.after / change.before
        now = {2.0: "doubled by ", 0.5: "halved by "}.get(ratio, f"{change.after} by ")
        parts.append(f"{now if now != verb else ''}{change.path}")
        verb = now
    lines = [f"  chain     {axis}={wire.axes[axis]}: {', '.join(parts)}"]
    first = places.nodes.get(changes[0].path)
    for name in first.written if first is not None else ():
        if first is not None and first.values.get(name) == changes[0].after:
            _, written, *rest = _written(_here(first, name))
            lines += [
                f"  set at    {first.path}.{written.strip()}  {first.written[name].origin}",
                *rest,
            ]
    return lines
