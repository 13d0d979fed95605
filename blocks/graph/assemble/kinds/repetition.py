"""What `repeat` and `cycle` state: how often, and what differs from repeat to repeat."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import NodeSpec, Path
from blocks.graph.assemble.kinds.template import list_slots
from blocks.graph.errors import NodeError, Problem, did_you_mean, show
from blocks.graph.language.copies import alter
from blocks.graph.language.expression import ExpressionError
from blocks.graph.language.scope import Scope, Text, read_number
from blocks.graph.language.values import read_argument
from blocks.graph.language.words import check_params

LISTS = "repeat: 4, or repeat: {depth: [2, 2], heads: [3, 6]}"
CYCLES = "cycle: {window: [128, 4096]}"


@dataclass(frozen=True)
class Repetition:
    """What `repeat` and `cycle` state.

    Args:
        count: how often.
        lists: name -> an element for each repeat.
        params: name -> values that take turns.
        slots: slot -> slots that take turns in its place.
    """

    count: int
    lists: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    params: Mapping[str, list[Text]] = field(default_factory=dict)
    slots: Mapping[str, list[Text]] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Whether something else than the counter differs from repeat to repeat."""
        return bool(self.lists or self.params or self.slots)

    def elements(self, index: int) -> tuple[Any, ...]:
        """What one repeat has of every list."""
        found: list[Any] = [values[index] for values in self.lists.values()]
        for texts in (*self.params.values(), *self.slots.values()):
            found.append(texts[index % len(texts)].raw)
        return tuple(found)

    def enter(self, scope: Scope, index: int) -> Scope:
        """The names in reach in one repeat, without its counters."""
        if not self.differs:
            return scope
        lexical, params = dict(scope.lexical), dict(scope.params)
        for name, values in self.lists.items():
            lexical[name] = values[index]
        for name, texts in self.params.items():
            lexical[name] = texts[index % len(texts)]
            if name in params:  # option files read it, too
                params[name] = lexical[name]
        slots = dict(scope.slots)
        for name, texts in self.slots.items():
            slots[name] = texts[index % len(texts)]
        return alter(scope, lexical=lexical, params=params, slots=slots)


def read_repetition(assembly: Assembly, spec: NodeSpec) -> Repetition:
    """Read `repeat` and `cycle` of a node.

    Raises:
        NodeError: no number, a number out of range, lists of different lengths, or no lists.
    """
    path = (*spec.path, "repeat")
    count, lists = _read_repeat(assembly, spec.raw["repeat"], path, spec.scope)
    params, slots = _read_cycles(assembly, spec, lists)
    return Repetition(count, lists, params, slots)


# `repeat` -----------------------------------------------------------------------------------------


def _read_repeat(
    assembly: Assembly, raw: Any, path: Path, scope: Scope
) -> tuple[int, dict[str, tuple[Any, ...]]]:
    """How often `repeat` repeats, and the lists whose elements go along."""
    text = Text(raw, assembly.origin(path), scope)
    if not isinstance(raw, Mapping):
        try:
            count = read_argument(int, text, "repeat")
        except ExpressionError as error:
            raise NodeError(_explain(error, text, "repeat")) from None
        _check_count(count, text, assembly.most)
        return count, {}
    if problem := check_params(raw, "an element of a list"):
        raise NodeError(problem)
    lists = {}
    for name, value in raw.items():
        try:
            lists[name] = read_number(Text(value, assembly.origin((*path, name)), scope))
        except ExpressionError as error:
            raise NodeError(_explain(error, text, "repeat")) from None
    return _check_lists(assembly, lists, text, path), lists


def _explain(error: ExpressionError, text: Text, word: str) -> Problem:
    return Problem(
        error.problem,
        got=f"{word}: {show(text.raw)}",
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
                fits=LISTS,
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


# `cycle` ------------------------------------------------------------------------------------------


def _read_cycles(
    assembly: Assembly, spec: NodeSpec, lists: Mapping[str, Any]
) -> tuple[dict[str, list[Text]], dict[str, list[Text]]]:
    """The params and the slots of `cycle`, each with its values as texts."""
    raw = spec.raw.get("cycle") or {}
    if problem := check_params(raw, "a cycle"):
        raise NodeError(problem)
    params: dict[str, list[Text]] = {}
    slots: dict[str, list[Text]] = {}
    for name, value in raw.items():
        path = (*spec.path, "cycle", name)
        text = Text(value, assembly.origin(path), spec.scope, path)
        if name in lists:
            raise NodeError(_explain_twice(name, text))
        if name in list_slots(assembly):
            items = value if isinstance(value, list) else _read_items(text)
            slots[name] = [alter(text, raw=item) for item in _check_items(items, text)]
        else:
            known = Scope(read=spec.scope.read)
            items = _check_items(_read_items(text), text)
            params[name] = [alter(text, raw=item, scope=known) for item in items]
    return params, slots


def _read_items(text: Text) -> Any:
    try:
        return read_number(text)
    except ExpressionError as error:
        raise NodeError(_explain(error, text, f"cycle: {text.path[-1]}")) from None


def _check_items(items: Any, text: Text) -> Any:
    if isinstance(items, list | tuple) and items:
        return items
    raise NodeError(
        Problem(
            f"a cycle is a list of values that take turns, and {text.path[-1]} has none",
            got=f"cycle: {{{text.path[-1]}: {show(text.raw)}}}",
            source=text.sources(),
            fits=CYCLES,
            code="bad-value",
        )
    )


def _explain_twice(name: str, text: Text) -> Problem:
    return Problem(
        f"{name!r} is a list of repeat and a cycle",
        got=f"cycle: {{{name}: {show(text.raw)}}}",
        source=text.sources(),
        fix="leave it out of one of them",
        code="name-taken",
    )


def check_cycles(assembly: Assembly, spec: NodeSpec, repetition: Repetition) -> list[Problem]:
    """A problem for each cycle that no node of a finished repeat read."""
    problems = []
    for name in (*repetition.params, *repetition.slots):
        path = (*spec.path, "cycle", name)
        if path in assembly.read_params:
            continue
        known = [*list_slots(assembly), *spec.scope.params, *spec.scope.lexical]
        meant = did_you_mean(name, [each for each in known if each != name])
        problems.append(
            Problem(
                f"this cycle changes nothing: no node in the repeat reads {name!r}",
                got=f"cycle: {{{name}: {show(spec.raw['cycle'][name])}}}",
                source=str(assembly.origin(path)),
                fits=meant if meant.startswith("did") else None,
                fix="name a slot or a param that a node reads, or leave it out",
                code="unused",
            )
        )
    return problems
