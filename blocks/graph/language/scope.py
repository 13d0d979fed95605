"""The names that a text in YAML may refer to: lexical names, axes of the inputs, counters, params
and facts.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from blocks.graph.errors import Origin, did_you_mean, show
from blocks.graph.language.copies import alter
from blocks.graph.language.expression import ExpressionError, check_size, evaluate, get_member
from blocks.graph.steps import spend

MISSING = "???"
DEEPEST = 100  # names in a chain of references; the longest chain of `conf/model` has 4
FOLLOWED = 10  # steps to follow a name


class SharedCounterError(ExpressionError):
    """The index of a counter is read where all repeats are one module."""


@dataclass(frozen=True)
class Counter:
    """The position of a repeat: `layer.index`, `layer.count`, `layer.fraction`."""

    index: int
    total: Callable[[], int]
    shared: bool = False  # all repeats are one module, which has no index

    def attribute(self, name: str, attribute: str) -> Any:
        if self.shared and attribute in ("index", "fraction"):
            raise SharedCounterError(
                f"{name}.{attribute} differs from repeat to repeat, and `share: true` "
                "makes all one module",
                f"{name}.count",
                "leave `share: true` out, or the counter",
            )
        count = self.total()
        fraction = 0.0
        if count > 1:
            fraction = self.index / (count - 1)
        values = {"index": self.index, "count": count, "fraction": fraction}
        return get_member(values, name, attribute)


@dataclass(frozen=True)
class Text:
    """A value as written in YAML, where it was written, and the names in scope there."""

    raw: Any
    origin: Origin
    scope: "Scope"
    path: tuple[Any, ...] = ()
    nearer: Mapping[str, "Text"] = field(default_factory=dict)  # keys of a mapping that a nearer
    # node wrote, with the names in reach there

    def at(self, axes: Mapping[str, int], arguments: Mapping[str, "Text"], word: str) -> "Text":
        """Return the same text where its node is used: the axes are those of the node's inputs."""
        others = dict(arguments)
        others.pop(word, None)
        return alter(self, scope=alter(self.scope, axes=axes, arguments=others))

    def sources(self) -> str:
        """Return where it was written, and where each name was that has been followed."""
        return "\n".join(dict.fromkeys([str(self.origin), *self.scope.trace]))


@dataclass(frozen=True)
class Scope:
    """The names in scope, nearest first: arguments of the same node, names that the YAML around the
    text declares (repeat lists, params), axes of the node's inputs, params of the model; `data`,
    counters and nodes by attribute.
    """

    arguments: Mapping[str, Text] = field(default_factory=dict)
    lexical: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, int] = field(default_factory=dict)
    params: Mapping[str, Text] = field(default_factory=dict)
    counters: Mapping[str, Counter] = field(default_factory=dict)
    holes: Mapping[str, Any] = field(default_factory=dict)
    slots: Mapping[str, Text] = field(default_factory=dict)  # slot -> the one in its place
    facts: Mapping[str, Any] = field(default_factory=dict)
    nodes: Callable[[str], Mapping[str, Any] | None] = lambda name: None
    node_names: Callable[[], Iterable[str]] = tuple
    trace: list[str] = field(default_factory=list)
    read: set[tuple[Any, ...]] = field(default_factory=set)
    followed: int = 0  # length of the chain of names that led here

    def value(self, name: str) -> Any:
        """Return the value of a bare name; raise ExpressionError with a similar name."""
        for names in self._declared():
            if name in names:
                return self._follow(name, names[name])
        if name == "data":
            return self.facts
        if name == "params":
            return dict.fromkeys(self.params)
        if name in self.counters:
            raise ExpressionError(
                f"{name!r} is a counter", f"{name}.index, {name}.count, {name}.fraction"
            )
        if self.nodes(name) is not None:
            raise ExpressionError(
                f"{name!r} is a node; an expression needs a number", f"e.g. {name}.shape[-1]"
            )
        known = [*self.arguments, *self.lexical, *self.axes, *self.params, *self.counters, "data"]
        raise ExpressionError(
            f"no name {name!r} in scope here", did_you_mean(name, known), code="unknown-name"
        )

    def attribute(self, name: str, attribute: str) -> Any:
        """Return the value of `name.attribute`: a counter, a node's shape, axis or argument, or a
        fact of the data; raise ExpressionError.
        """
        if name in self.counters:
            return self.counters[name].attribute(name, attribute)
        node = self.nodes(name)
        if node is not None:
            found = get_member(node, name, attribute)
            if callable(found):
                return found()
            return found
        if name == "data":
            return self._fact(attribute)
        if name == "params" and attribute in self.params:
            return self._follow(attribute, self.params[attribute])
        if any(name in names for names in self._declared()):
            return get_member(self.value(name), name, attribute)
        raise self._unknown_owner(name)

    def has(self, name: str, attribute: str) -> bool:
        """Return whether `name.attribute` has a value; raise ExpressionError for an unknown
        name.
        """
        if name in self.counters:
            return True  # of a counter, `attribute` raises for any other name
        node = self.nodes(name)
        if node is not None:
            return attribute in node
        if name == "data":
            return bool(self.facts.get(attribute, MISSING) != MISSING)
        if name == "params":
            return attribute in self.params
        if any(name in names for names in self._declared()):
            value = self.value(name)
            return isinstance(value, Mapping) and attribute in value
        raise self._unknown_owner(name)

    def _declared(self) -> tuple[Mapping[str, Any], ...]:
        """Return the names that have a value of their own, nearest first."""
        return self.arguments, self.lexical, self.axes, self.params

    def _fact(self, name: str) -> Any:
        known = [fact for fact, value in self.facts.items() if value != MISSING]
        if name not in known:
            raise ExpressionError(
                f"the data does not say {name!r}",
                f"data has {', '.join(known) or 'no facts'}",
                f"choose other data (data=...), or state it: +data.facts.{name}=...",
                code="unknown-fact",
            )
        return self.facts[name]

    def _unknown_owner(self, name: str) -> ExpressionError:
        known = [*self.counters, *self.node_names(), "data", "params"]
        return ExpressionError(
            f"no node or counter {name!r} in scope here",
            did_you_mean(name, known),
            code="unknown-name",
        )

    def at_repeat(self, end: int) -> "Scope":
        """Return the names in the first (0) or last (-1) repeat of those that are one module."""
        counters = dict(self.counters)
        for name, counter in counters.items():
            if counter.shared:
                index = range(counter.total())[end]
                counters[name] = replace(counter, index=index, shared=False)
        return replace(self, counters=counters)

    def _follow(self, name: str, found: Any) -> Any:
        """Return what a declared name stands for, evaluated with the names in scope there."""
        if not isinstance(found, Text):
            return found
        self.read.add(found.path)
        spend(FOLLOWED)
        value = found.raw
        if isinstance(value, str | list | tuple):
            _check_chain(name, self.followed)
            there = alter(found.scope, trace=self.trace, followed=self.followed + 1)
            try:
                value = read_number(alter(found, scope=there))
            except ExpressionError:
                if value != MISSING:
                    self.trace.append(f"{name}: {show(value)}  {found.origin}")
                raise
        shown = repr(value) if isinstance(value, str) else value
        self.trace.append(f"{name}={show(shown)}  {found.origin}")
        return value


def read_number(text: Text) -> Any:
    """Return the value of a text in an expression; a bare unknown word stays a word, so that `act
    != 'none'` works.

    Raises:
        ExpressionError: the text has no value.
    """
    raw = text.raw
    if raw == MISSING:
        name = ".".join(map(str, text.path)) or "it"
        raise ExpressionError(
            f"{name} is missing (???)",
            fix=f"write it at {text.origin}, or {name}=... on the command line",
            code="missing-key",
        )
    if isinstance(raw, list | tuple):
        return check_size(tuple(read_number(replace(text, raw=item)) for item in raw))
    if not isinstance(raw, str):
        return raw
    if raw.isidentifier() and not _is_in_scope(text.scope, raw):
        return raw
    try:
        return evaluate(raw, text.scope)
    except SharedCounterError:
        first = evaluate(raw, text.scope.at_repeat(0))
        last = evaluate(raw, text.scope.at_repeat(-1))
        if first != last:
            raise
        return first  # `drop_path * layer.fraction` without dropped paths


def _check_chain(name: str, followed: int) -> None:
    if followed >= DEEPEST:
        problem = f"{name!r} leads on to more than {DEEPEST} names, or to itself"
        raise ExpressionError(
            problem, "a shorter chain of names", "write the value out", code="circular"
        )


def read_word(text: Text, followed: int = 0) -> Any:
    """Return the value of a text for a parameter that takes text: the text, or what a declared name
    stands for.
    """
    raw, scope = text.raw, text.scope
    if not isinstance(raw, str) or not raw.isidentifier():
        return raw
    for names in (scope.arguments, scope.lexical, scope.params):
        if raw in names:
            found = names[raw]
            if isinstance(found, Text):
                scope.read.add(found.path)
                _check_chain(raw, followed)
                return read_word(found, followed + 1)
            return found
    return raw


def _is_in_scope(scope: Scope, name: str) -> bool:
    if name in ("data", "params") or scope.nodes(name) is not None:
        return True
    return any(name in names for names in (*scope._declared(), scope.counters))
