"""Slots and templates: which option a node uses, its arguments, and what fills its holes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import NodeSpec
from blocks.graph.assemble.context import Without
from blocks.graph.errors import NodeError, Problem, did_you_mean, show
from blocks.graph.language.copies import alter
from blocks.graph.language.expression import ExpressionError, evaluate
from blocks.graph.language.scope import MISSING, Scope, Text, read_word
from blocks.graph.language.words import MODEL_WORDS, arguments_of, suggest_words

KINDS = {"block", "use", "body"}  # one of these makes a mapping an option of a slot


@dataclass(frozen=True)
class Resolved:
    """What a node leads to.

    Args:
        spec: a block or a body.
        texts: its arguments, as they were written.
        label: such as "residual: prenorm"; empty where no slot was used.
    """

    spec: NodeSpec
    texts: dict[str, Text]
    label: str

    def name_or(self, default: str) -> str:
        return self.label or default


@dataclass(frozen=True)
class Opened:
    """A body with the names in reach in it.

    Args:
        nodes: of the body.
        scope: the names in reach.
        params: of the template, as they were written.
    """

    nodes: Any
    scope: Scope
    params: dict[str, Text]


def resolve(assembly: Assembly, spec: NodeSpec, here: Scope) -> Resolved:
    """Follow `use` to a block or a body, merging the arguments: the nearer to the node wins.

    Raises:
        NodeError: a slot that is not filled, or that uses itself.
    """
    texts, label = _read_arguments(assembly, spec), ""
    seen: list[str] = []
    while "use" in spec.raw:
        slot = read_slot(assembly, spec)
        if slot in seen:
            got, fix = " -> ".join([*seen, slot]), "let one of them be a block or a body"
            raise NodeError(
                Problem(f"the slot {slot!r} uses itself", got=got, fix=fix, code="circular")
            )
        seen.append(slot)
        hole = spec.scope.holes.get(slot)
        if hole is not None:
            spec = hole
            seen.clear()
        else:
            spec = _find_option(assembly, slot, spec, here)
            chosen = assembly.choices.get(slot, "")
            if chosen:
                label = f"{slot}: {chosen}"
        if problem := assembly.check_node(spec.raw, option=True):
            raise NodeError(replace(problem, source=str(assembly.origin(spec.path))))
        texts = _merge_arguments(_read_arguments(assembly, spec), texts)
    return Resolved(spec, texts, label)


# Which slot `use` names ---------------------------------------------------------------------------


def list_slots(assembly: Assembly) -> dict[str, Any]:
    """The slots of the model that an option fills."""
    return {name: raw for name, raw in assembly.slots.items() if name not in MODEL_WORDS}


@dataclass(frozen=True)
class SlotNames:
    """The names of an expression that chooses a slot: those of slots and holes mean themselves.

    Args:
        slots: names of slots and holes.
        scope: all other names.
    """

    slots: Mapping[str, Any]
    scope: Scope

    def value(self, name: str) -> Any:
        return name if name in self.slots else self.scope.value(name)

    def attribute(self, name: str, attribute: str) -> Any:
        return self.scope.attribute(name, attribute)

    def has(self, name: str, attribute: str) -> bool:
        """Return whether `name.attribute` has a value."""
        return self.scope.has(name, attribute)


def read_slot(assembly: Assembly, spec: NodeSpec) -> str:
    """The slot or hole that `use` names, after expressions and cycles.

    Raises:
        NodeError: an expression that names none.
    """
    scope, path = spec.scope, (*spec.path, "use")
    slot = _choose_slot(assembly, Text(spec.raw["use"], assembly.origin(path), scope, path))
    if slot in scope.slots and slot not in scope.holes:
        turn = scope.slots[slot]
        scope.read.add(turn.path)
        return _choose_slot(assembly, turn)
    return slot


def _choose_slot(assembly: Assembly, text: Text) -> str:
    known = {**list_slots(assembly), **text.scope.holes}
    if text.raw in known:
        return str(text.raw)
    value = read_word(text)
    if value == text.raw and not str(value).isidentifier():
        value = _evaluate_slot(text, known)
    if isinstance(value, str):
        return value
    raise NodeError(
        Problem(
            "`use` names a slot",
            got=f"use: {show(text.raw)}, which is {show(value)}",
            source=text.sources(),
            fits=did_you_mean("", known),
            code="bad-value",
        )
    )


def _evaluate_slot(text: Text, known: Mapping[str, Any]) -> Any:
    try:
        return evaluate(str(text.raw), SlotNames(known, text.scope))
    except ExpressionError as error:
        raise NodeError(
            Problem(
                f"use: {error.problem}",
                got=f"use: {show(text.raw)}",
                source=text.sources(),
                fits=error.fits,
                fix=error.fix,
                code=error.code,
            )
        ) from None


# What fills it ------------------------------------------------------------------------------------


def _read_arguments(assembly: Assembly, spec: NodeSpec) -> dict[str, Text]:
    texts = {}
    for name, raw in arguments_of(spec.raw).items():
        path = (*spec.path, name)
        texts[name] = Text(raw, assembly.origin(path), spec.scope, path)
    return {**texts, **spec.nearer}


def _merge_arguments(far: Mapping[str, Text], near: Mapping[str, Text]) -> dict[str, Text]:
    """The arguments of an option and of the node that uses it: the nearer wins. Of a part
    (`rotary: {block: Rotary}`), the nearer may state what differs: `rotary: {base: 5e5}`.
    """
    texts = {**far, **near}
    for name in far.keys() & near.keys():
        if _is_part(far[name].raw) and _is_change(near[name].raw):
            texts[name] = _merge_part(far[name], near[name])
    return texts


def _is_part(raw: Any) -> bool:
    return isinstance(raw, Mapping) and bool(KINDS & set(raw))


def _is_change(raw: Any) -> bool:
    if not isinstance(raw, Mapping) or KINDS & set(raw):
        return False
    return bool(raw) and not isinstance(raw.get("share"), str)


def _merge_part(far: Text, near: Text) -> Text:
    nearer = dict(far.nearer)
    for key, raw in near.raw.items():
        nearer[key] = alter(near, raw=raw, path=(*near.path, key), nearer={})
    return alter(far, raw={**far.raw, **near.raw}, path=near.path, nearer={**nearer, **near.nearer})


def _find_option(assembly: Assembly, slot: str, spec: NodeSpec, here: Scope) -> NodeSpec:
    """What the model has in a slot, with the names that an option file may refer to."""
    slots = list_slots(assembly)
    raw = slots.get(slot)
    if not isinstance(raw, Mapping):
        raise NodeError(_explain_empty_slot(slot, slots, spec))
    assembly.used_slots.add(slot)
    scope = alter(
        assembly.outermost,
        axes=here.axes,
        counters=here.counters,
        params=here.params,
        slots=here.slots,
    )
    return NodeSpec(raw, ("model", slot), scope)


def _explain_empty_slot(slot: str, slots: Mapping[str, Any], spec: NodeSpec) -> Problem:
    known = []
    for name, value in slots.items():
        if isinstance(value, Mapping) and KINDS & set(value):
            known.append(name)
    known += spec.scope.holes
    problem, got = f"no slot {slot!r} is filled here", f"use: {show(spec.raw['use'])}"
    if slot != spec.raw["use"]:
        got += f", which is {slot}"
    fits = did_you_mean(str(slot), known) if known else None
    if fits and fits.startswith("did"):
        return Problem(problem, got=got, fits=fits, code="unknown-name")
    fix = (
        f"add `{slot}: OPTION` to the model's defaults, or +model/{slot}=OPTION on the command line"
    )
    return Problem(problem, got=got, fits=fits, fix=fix, code="unknown-option")


def open_body(assembly: Assembly, resolved: Resolved, here: Scope) -> Opened:
    """The body that a node leads to, with its params bound and its holes filled.

    Args:
        here: the scope of the node, whose axes and counters the body sees.

    Raises:
        NodeError: an unknown or a missing argument.
    """
    spec, texts = resolved.spec, resolved.texts
    params = dict(spec.raw.get("params") or {})
    holes: Any = spec.raw.get("holes") or []
    if isinstance(holes, list):
        holes = dict.fromkeys(holes)
    _check_arguments(texts, [*params, *holes], resolved.name_or("this body"))
    outer = alter(spec.scope, axes=here.axes, counters=here.counters, arguments={}, trace=[])
    bound = _bind_params(assembly, params, resolved, outer)
    filled = _fill_holes(assembly, holes, resolved, outer)
    scope = alter(outer, lexical={**outer.lexical, **bound}, holes={**outer.holes, **filled})
    return Opened(spec.raw["body"], scope, bound)


def _check_arguments(texts: Mapping[str, Text], known: list[str], label: str) -> None:
    problems = []
    for name, text in texts.items():
        if name not in known:
            problems.append(
                Problem(
                    f"{label} has no argument {name!r}",
                    got=f"{name}: {show(text.raw)}",
                    source=str(text.origin),
                    fits=suggest_words(name, known),
                    code="unknown-argument",
                )
            )
    if problems:
        raise NodeError(*problems)


def _bind_params(
    assembly: Assembly, params: Mapping[str, Any], resolved: Resolved, outer: Scope
) -> dict[str, Text]:
    """The template's params: what the node gives, or else the default, in the template's scope."""
    bound: dict[str, Text] = {}
    for param, value in params.items():
        text = resolved.texts.get(param)
        if text is not None:
            bound[param] = text.at(outer.axes, {}, param)
            continue
        if value == MISSING:
            problem = f"{resolved.name_or('this body')} needs {param}"
            raise NodeError(Problem(problem, fits=f"{param}: ...", code="missing-argument"))
        path = (*resolved.spec.path, "params", param)
        around = alter(outer, lexical=Without(bound, outer.lexical, param))
        bound[param] = Text(value, assembly.origin(path), around, path)
    return bound


def _fill_holes(
    assembly: Assembly, holes: Mapping[str, Any], resolved: Resolved, outer: Scope
) -> dict[str, NodeSpec]:
    """What fills each hole: a node given where the template is used, with the names in reach
    there, or the default.
    """
    filled = {}
    for hole, default in holes.items():
        text = resolved.texts.get(hole)
        if text is not None:
            spec = NodeSpec(text.raw, text.path, text.scope, text.nearer)
        elif default is not None:
            spec = NodeSpec(default, (*resolved.spec.path, "holes", hole), outer)
        else:
            problem = f"{resolved.name_or('the template')} has a hole {hole!r} to fill"
            fits = f"{hole}: {{use: SLOT}} or {{block: NAME}}"
            raise NodeError(Problem(problem, fits=fits, code="missing-argument"))
        if problem_found := assembly.check_node(spec.raw, option=True):
            raise NodeError(replace(problem_found, source=str(assembly.origin(spec.path))))
        filled[hole] = spec
    return filled
