"""Why a value is what it is: where it was written or inferred, and how a width came about."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from blocks.graph.errors import ConfigError, Problem, did_you_mean, show
from blocks.graph.language.expression import ExpressionError
from blocks.graph.language.scope import Text, read_number, read_word
from blocks.graph.language.signature import signature_of
from blocks.graph.record.record import Built, Node, maker_of
from blocks.graph.record.value import Value, axes_of

READERS = 6  # of a param that are listed; the rest is counted
RATIOS = {2.0: "doubled by ", 0.5: "halved by "}


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

    def find_source(
        self, around: Node | None, value: Value
    ) -> tuple[Node | None, Node | None, Value | None]:
        """Who made a value in the body of `around`: the body of its maker, the maker, the value
        there. An input of the model has no maker.
        """
        while value.node is not None and value.node.op == "placeholder" and around is not None:
            outer = around.flow.get(str(value.node.target))
            if outer is None:
                return around, None, None
            around, value = self.around[around.path], outer
        return around, maker_of(value), value

    def find_changes(self, around: Node | None, value: Value, axis: str) -> list[Change]:
        """Every change of an axis on the way to a value, in order."""
        around, node, found = self.find_source(around, value)
        if found is None or axis not in found.axes:
            return []
        size = found.axes[axis]
        if node is None:
            return [Change(found.made_by, None, size)]
        port = found.made_by.partition(".")[2]
        inside = node.outputs.get(port) or next(iter(node.outputs.values()))
        return self._changes_through(node, inside, axis, size)

    def _changes_through(self, node: Node, inside: Value, axis: str, size: int) -> list[Change]:
        """Changes up to a node's output: those before it, and its own, of its innermost node."""
        around = self.around[node.path]
        before = None
        for value in node.flow.values():
            if value.axes.get(axis) == size:
                return self.find_changes(around, value, axis)
            if before is None and axis in value.axes:
                before = value
        if node.children and inside.node is not None:
            return self.find_changes(node, inside, axis)
        if before is None:
            return [Change(node.path, None, size)]
        earlier = self.find_changes(around, before, axis)
        return [*earlier, Change(node.path, before.axes[axis], size)]

    def describe_inputs(self, node: Node) -> str:
        """What flows into a node, with who made it."""
        texts = []
        for value in node.flow.values():
            _, maker, found = self.find_source(self.around[node.path], value)
            name = maker.path if maker is not None else (found or value).made_by
            texts.append(f"{name} {value}")
        return ", ".join(texts)


def why(built: Built, path: str) -> str:
    """Where a value comes from, as text.

    Args:
        path: of an argument or an axis of a node (`layers.0.mlp.inner.hidden`,
            `stages.1.merge.dim`), of a node (all its arguments), or of a param (`params.dim`).

    Raises:
        ConfigError: nothing has that name.
    """
    path = re.sub(r"^(model\.)?graph\.|^model\.", "", path)
    places = Places(built)
    if path.startswith("params."):
        return _explain_param(places, path.removeprefix("params."))
    if path in places.nodes:
        return _explain_node(places, places.nodes[path])
    owner, _, name = path.rpartition(".")
    node = places.nodes.get(owner)
    if node is None:
        raise _unknown(path, [*places.nodes, *(f"params.{each}" for each in built.params)])
    return _explain_argument(places, node, name)


def _unknown(path: str, known: Iterable[str]) -> ConfigError:
    problem = Problem(
        f"nothing in the model is called {path!r}",
        f"the command line: --why {path}",
        fits=did_you_mean(path, known),
        fix="without --why the same command lists the nodes; PATH is NODE.ARGUMENT, NODE, or "
        "params.NAME",
        code="unknown-name",
    )
    return ConfigError(problem)


def _explain_param(places: Places, name: str) -> str:
    params = places.built.params
    if name not in params:
        raise _unknown(f"params.{name}", [f"params.{each}" for each in params])
    text = params[name]
    readers: dict[str, None] = {}
    for node in places.nodes.values():
        for reader in _find_readers(node, name):
            readers[re.sub(r"(?<=\.)\d+(?=\.)", "*", f"{node.path}.{reader}")] = None
    listed = ", ".join(list(readers)[:READERS])
    if len(readers) > READERS:
        listed += f", ... ({len(readers)})"
    if not readers:
        listed = "no argument of a node; see `repeat`, `when`, `inputs`"
    return "\n".join([f"params.{name} = {_value(text)}", *_written(text), f"  read by   {listed}"])


def _find_readers(node: Node, param: str) -> Iterator[str]:
    """Arguments of a node that read a param of the model."""
    for name in node.written:
        if any(line.startswith(f"{param}=") for line in _trace(_text_at(node, name))):
            yield name


def _explain_node(places: Places, node: Node) -> str:
    if not node.arguments:
        return f"{node.path}  {node.label}  {node.origin}\n  it takes no arguments"
    return "\n\n".join(_explain_argument(places, node, name) for name in node.arguments)


def _explain_argument(places: Places, node: Node, name: str) -> str:
    """One argument of a node, or an axis of what flows in."""
    axes = axes_of(list(node.flow.values()))
    values = {**axes, **node.values}
    if name in node.written:
        text = _text_at(node, name)
        value = show(node.values[name]) if name in node.values else _value(text)
        head = f"{node.path}.{name} = {value}  ({node.label})"
        return "\n".join([head, *_written(text), *_explain_axes(places, node, text)])
    if name in axes:
        head = f"{node.path}.{name} = {values[name]}  ({node.label})"
        source = f"  inferred  from {places.describe_inputs(node)}"
        return "\n".join([head, source, *_chain(places, node, name)])
    if name in node.arguments and name in node.values:
        head = f"{node.path}.{name} = {show(node.values[name])}  ({node.label})"
        return f"{head}\n  inferred  from {places.describe_inputs(node)}"
    parameters: Mapping[str, Any] = {}
    if not node.children and node.label in places.built.catalog:
        parameters = signature_of(node.label, places.built.catalog[node.label]).parameters
    if name not in parameters:
        known = (*values, *node.written, *parameters)
        raise _unknown(f"{node.path}.{name}", [f"{node.path}.{each}" for each in known])
    default = show(parameters[name].default)
    return f"{node.path}.{name} = {default}  ({node.label})\n  default   of {node.label}"


class _Watched(dict[str, int]):
    """Axes that remember which of them were read."""

    def __init__(self, axes: Mapping[str, int]):
        super().__init__(axes)
        self.read: dict[str, None] = {}

    def __getitem__(self, name: str) -> int:
        self.read[name] = None
        return super().__getitem__(name)


def _text_at(node: Node, name: str) -> Text:
    """What is written for an argument, in the scope of its node, with a trace of its own."""
    text: Text = node.written[name]
    if node.children:
        axes = _Watched(text.scope.axes)
        return replace(text, scope=replace(text.scope, trace=[], axes=axes))
    axes = _Watched(axes_of(list(node.flow.values())))
    fresh = replace(text, scope=replace(text.scope, trace=[], axes=axes))
    return fresh.at(axes, node.written, name)


def _trace(text: Text) -> list[str]:
    """Each declared name that the text leads to, "dim=96  conf/model/swin_t.yaml:3:10"."""
    text.scope.trace.clear()
    try:
        read_number(text)
    except (ExpressionError, RecursionError):
        return []
    return list(dict.fromkeys(text.scope.trace))


def _value(text: Text) -> str:
    try:
        return show(read_number(text))
    except ExpressionError:
        return show(read_word(text))


def _written(text: Text) -> list[str]:
    name = str(text.path[-1]) if text.path else "it"
    lines = [f"  written   {text.origin}", f"            {name}: {show(text.raw)}"]
    return lines + [f"  with      {line}" for line in [*_trace(text), *_surroundings(text)]]


def _surroundings(text: Text) -> Iterator[str]:
    """What an expression reads of the data and of the repeats around it."""
    if not isinstance(text.raw, str):
        return
    scope = text.scope
    for name, attribute in dict.fromkeys(re.findall(r"\b(\w+)\.(\w+)", text.raw)):
        if name in scope.counters and attribute in ("index", "count", "fraction"):
            yield f"{name}.{attribute}={show(scope.counters[name].attribute(name, attribute))}"
        elif name == "data" and attribute in scope.facts:
            yield f"data.{attribute}={show(scope.facts[attribute])}"
    for name in dict.fromkeys(re.findall(r"(?<![\w.])[a-z_]\w*\b(?!\s*[.(])", text.raw)):
        if name not in scope.lexical or name in scope.arguments:
            continue
        if not isinstance(scope.lexical[name], Text):
            yield f"{name}={show(scope.lexical[name])}  a list of `repeat`"


def _explain_axes(places: Places, node: Node, text: Text) -> list[str]:
    """For the axes that an expression reads: how each came about."""
    _trace(text)
    lines: list[str] = []
    flowing = axes_of(list(node.flow.values()))
    for name in getattr(text.scope.axes, "read", ()):
        if name in flowing:
            lines += _chain(places, node, name)
    return lines


def _chain(places: Places, node: Node, axis: str) -> list[str]:
    """How an axis came about: "dim=768: patch 96, doubled by stages.1.merge, stages.2.merge"."""
    value = next(value for value in node.flow.values() if axis in value.axes)
    changes = places.find_changes(places.around[node.path], value, axis)
    if not changes:
        return []
    parts: list[str] = []
    verb = ""
    for change in changes:
        if change.before is None:
            parts.append(f"{change.path} {change.after}")
            continue
        ratio = change.after / change.before
        now = RATIOS.get(ratio, f"{change.after} by ")
        if now == verb:
            parts.append(change.path)
        else:
            parts.append(f"{now}{change.path}")
        verb = now
    line = f"  chain     {axis}={value.axes[axis]}: {', '.join(parts)}"
    return [line, *_explain_first(places, changes[0])]


def _explain_first(places: Places, change: Change) -> list[str]:
    """What the node that made an axis was given."""
    node = places.nodes.get(change.path)
    if node is None:
        return []
    lines = []
    for name, written in node.written.items():
        if node.values.get(name) == change.after:
            _, text, *rest = _written(_text_at(node, name))
            lines += [f"  set at    {node.path}.{text.strip()}  {written.origin}", *rest]
    return lines
