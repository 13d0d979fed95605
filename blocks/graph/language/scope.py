"""What a text in YAML may refer to, and from where: lexical names, axes of the inputs, counters,
params, facts.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from blocks.graph.errors import Origin, did_you_mean, show
from blocks.graph.language.expression import ExpressionError, check_size, evaluate, member
from blocks.graph.steps import spend

MISSING = "???"
DEEPEST = 100  # names that lead on to other names; the longest chain of `conf/model` has 4
FOLLOWED = 10  # steps that it takes to follow a name


class SharedCounterError(ExpressionError):
    """A counter was asked for its index where all repeats are one module."""


@dataclass(frozen=True)
class Counter:
    """Where a repeat stands: `layer.index`, `layer.count`, `layer.fraction`."""

    index: int
    total: Callable[[], int]
    shared: bool = False  # all repeats are one module, which can know no index

    def attribute(self, name: str, attribute: str) -> Any:
        if self.shared and attribute in ("index", "fraction"):
            problem = (
                f"{name}.{attribute} differs from repeat to repeat, and `share: true` "
                "makes all one module"
            )
            raise SharedCounterError(
                problem, f"{name}.count", "leave `share: true` out, or the counter"
            )
        count = self.total()
        values = {
            "index": self.index,
            "count": count,
            "fraction": self.index / (count - 1) if count > 1 else 0.0,
        }
        return member(values, name, attribute)


@dataclass(frozen=True)
class Text:
    """A value as YAML has it, the place where it was written, and the names in reach there."""

    raw: Any
    origin: Origin
    scope: "Scope"
    path: tuple[Any, ...] = ()

    def at(self, axes: Mapping[str, int], arguments: Mapping[str, "Text"], word: str) -> "Text":
        """The same text where its node is used: the axes are those of the node's own inputs."""
        others = {name: text for name, text in arguments.items() if name != word}
        return replace(self, scope=replace(self.scope, axes=axes, arguments=others))

    def sources(self) -> str:
        """Where it was written, and where each name was that has been followed."""
        return "\n".join(dict.fromkeys([str(self.origin), *self.scope.trace]))


@dataclass(frozen=True)
class Scope:
    """Names in reach, nearest first: arguments of the same node, names that the YAML around the
    text declares (repeat lists, params), axes of the node's inputs, the model's params; `data`,
    counters and nodes by attribute.
    """

    arguments: Mapping[str, Text] = field(default_factory=dict)
    lexical: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, int] = field(default_factory=dict)
    params: Mapping[str, Text] = field(default_factory=dict)
    counters: Mapping[str, Counter] = field(default_factory=dict)
    holes: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    nodes: Callable[[str], Mapping[str, Any] | None] = lambda name: None
    node_names: Callable[[], Iterable[str]] = tuple
    trace: list[str] = field(default_factory=list)
    read: set[tuple[Any, ...]] = field(default_factory=set)
    followed: int = 0  # how many names led here

    def value(self, name: str) -> Any:
        """The value of a bare name; raises ExpressionError with what was meant."""
        for names in (self.arguments, self.lexical, self.axes, self.params):
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
                f"{name!r} is a node; an expression needs a number", f"{name}.shape[-1], say"
            )
        known = [*self.arguments, *self.lexical, *self.axes, *self.params, *self.counters, "data"]
        raise ExpressionError(f"no name {name!r} in scope here", did_you_mean(name, known))

    def attribute(self, name: str, attribute: str) -> Any:
        """The value of `name.attribute`: a counter, a node's shape, axis or argument, or a fact of
        the data.
        """
        if name in self.counters:
            return self.counters[name].attribute(name, attribute)
        node = self.nodes(name)
        if node is not None:
            found = member(node, name, attribute)
            return found() if callable(found) else found
        if name == "data":
            if attribute not in self.facts or self.facts[attribute] == MISSING:
                raise ExpressionError(
                    f"the data does not say {attribute!r}",
                    "data has "
                    f"{', '.join(k for k, v in self.facts.items() if v != MISSING) or 'no facts'}",
                    f"choose other data (data=...), or state it: +data.facts.{attribute}=...",
                )
            return self.facts[attribute]
        if name == "params" and attribute in self.params:
            return self._follow(attribute, self.params[attribute])
        if any(name in names for names in (self.arguments, self.lexical, self.axes, self.params)):
            return member(self.value(name), name, attribute)
        raise self._unknown_owner(name)

    def has(self, name: str, attribute: str) -> bool:
        """Whether `name.attribute` has a value; raises ExpressionError where nothing in scope is
        called `name`.
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
        if any(name in names for names in (self.arguments, self.lexical, self.axes, self.params)):
            value = self.value(name)
            return isinstance(value, Mapping) and attribute in value
        raise self._unknown_owner(name)

    def _unknown_owner(self, name: str) -> ExpressionError:
        known = [*self.counters, *self.node_names(), "data", "params"]
        return ExpressionError(
            f"no node or counter {name!r} in scope here", did_you_mean(name, known)
        )

    def at_repeat(self, end: int) -> "Scope":
        """The same names in the first repeat (0) or the last (-1) of those that are one module."""
        counters = {
            name: replace(counter, index=range(counter.total())[end], shared=False)
            if counter.shared
            else counter
            for name, counter in self.counters.items()
        }
        return replace(self, counters=counters)

    def declares(self, name: str) -> bool:
        """Whether a text (not a number) may be a reference: only names that some YAML declares
        count.
        """
        return any(name in names for names in (self.arguments, self.lexical, self.params))

    def _follow(self, name: str, found: Any) -> Any:
        """A declared name stands for what was written there, in the names in reach there."""
        if not isinstance(found, Text):
            return found
        self.read.add(found.path)
        spend(FOLLOWED)
        value = found.raw
        if isinstance(value, str | list | tuple):
            _must_end(name, self.followed)
            there = replace(found.scope, trace=self.trace, followed=self.followed + 1)
            try:
                value = number(replace(found, scope=there))
            except ExpressionError:
                if value != MISSING:
                    self.trace.append(f"{name}: {show(value)}  {found.origin}")
                raise
        shown = show(repr(value) if isinstance(value, str) else value)
        self.trace.append(f"{name}={shown}  {found.origin}")
        return value


def number(text: Text) -> Any:
    """What a text is worth to an expression: a bare unknown word stays a word, so that `act !=
    'none'` works.
    """
    raw = text.raw
    if raw == MISSING:
        name = ".".join(map(str, text.path)) or "it"
        raise ExpressionError(
            f"{name} is missing (???)",
            fix=f"write it at {text.origin}, or {name}=... on the command line",
        )
    if isinstance(raw, list | tuple):
        return check_size(tuple(number(replace(text, raw=item)) for item in raw))
    if not isinstance(raw, str):
        return raw
    if raw.isidentifier() and not _reachable(text.scope, raw):
        return raw
    try:
        return evaluate(raw, text.scope)
    except SharedCounterError:
        first, last = (evaluate(raw, text.scope.at_repeat(end)) for end in (0, -1))
        if first != last:
            raise
        return first  # `drop_path * layer.fraction` without dropped paths


def _must_end(name: str, followed: int) -> None:
    if followed >= DEEPEST:
        problem = f"{name!r} leads on to more than {DEEPEST} names, or to itself"
        raise ExpressionError(problem, "a shorter chain of names", "write the value out")


def word(text: Text, followed: int = 0) -> Any:
    """What a text is worth to a parameter that takes text: itself, or what a declared name stands
    for.
    """
    raw, scope = text.raw, text.scope
    if isinstance(raw, str) and raw.isidentifier() and scope.declares(raw):
        for names in (scope.arguments, scope.lexical, scope.params):
            if raw in names:
                found = names[raw]
                if isinstance(found, Text):
                    scope.read.add(found.path)
                    _must_end(raw, followed)
                    return word(found, followed + 1)
                return found
    return raw


def _reachable(scope: Scope, name: str) -> bool:
    near = (scope.arguments, scope.lexical, scope.axes, scope.params, scope.counters)
    return (
        name in ("data", "params")
        or any(name in names for names in near)
        or scope.nodes(name) is not None
    )
