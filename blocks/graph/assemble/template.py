"""Slots and templates: which option a node uses, what fills its holes, and the body that comes of
it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from blocks.graph.assemble.block import Trouble
from blocks.graph.assemble.body_builder import Room, Row, Wire
from blocks.graph.assemble.context import Filling, Later, Outputs, Site, Without, broken, mentions
from blocks.graph.errors import Problem, did_you_mean, show
from blocks.graph.language.scope import MISSING, Scope, Text
from blocks.graph.language.signature import signature_of
from blocks.graph.language.words import MODEL_WORDS, arguments_of, check_node, suggest_words
from blocks.graph.record.initialise import Section
from blocks.graph.record.module import Graph

if TYPE_CHECKING:
    from blocks.graph.assemble.model import Assembler

DEEPEST = 32  # bodies within bodies; no honest model has more


def resolve(
    assembler: "Assembler", filling: Filling, here: Scope
) -> tuple[Filling, dict[str, Text], str]:
    """Follow `use` to a block or a body, merging the arguments on the way: the nearer to the node
    wins.

    Returns:
        What it leads to, the arguments, and a label such as "residual: prenorm".
    """
    texts, label = _texts(assembler, filling), ""
    seen: list[Any] = []
    while "use" in filling.raw:
        slot = filling.raw["use"]
        if slot in seen:
            got, fix = " -> ".join([*seen, str(slot)]), "let one of them be a block or a body"
            raise Trouble(Problem(f"the slot {slot!r} uses itself", got=got, fix=fix))
        seen.append(slot)
        hole = filling.scope.holes.get(slot) if isinstance(slot, str) else None
        if hole is not None:
            filling, chosen = hole, ""
            seen.clear()
        else:
            filling, chosen = _option(assembler, slot, filling, here)
        label = f"{slot}: {chosen}" if chosen else label
        problem = check_node(filling.raw, option=True)
        if problem:
            raise Trouble(replace(problem, source=str(assembler.origin(filling.path))))
        texts = {**_texts(assembler, filling), **texts}
    return filling, texts, label


def _texts(assembler: "Assembler", filling: Filling) -> dict[str, Text]:
    places = {key: (*filling.path, key) for key in arguments_of(filling.raw)}
    return {
        key: Text(filling.raw[key], assembler.origin(path), filling.scope, path)
        for key, path in places.items()
    }


def _option(
    assembler: "Assembler", slot: Any, filling: Filling, here: Scope
) -> tuple[Filling, str]:
    """What the model has in a slot, with the names that an option file may refer to."""
    slots = {key: value for key, value in assembler.slots.items() if key not in MODEL_WORDS}
    raw = slots.get(slot) if isinstance(slot, str) else None
    if not isinstance(raw, Mapping):
        known = [
            key
            for key, value in slots.items()
            if isinstance(value, Mapping) and {"block", "use", "body"} & set(value)
        ]
        known += filling.scope.holes
        fits = did_you_mean(str(slot), known) if known else None
        fix = (
            f"add `{slot}: OPTION` to the model's defaults, or +model/{slot}=OPTION on the "
            "command line"
        )
        near = (fits or "").startswith("did")
        raise Trouble(
            Problem(
                f"no slot {slot!r} is filled here",
                got=f"use: {show(slot)}",
                fits=fits,
                fix=None if near else fix,
            )
        )
    assembler.used_slots.add(slot)
    scope = replace(assembler.outermost, axes=here.axes, counters=here.counters)
    return Filling(raw, ("model", slot), scope), assembler.choices.get(slot, "")


def build_body(
    assembler: "Assembler",
    site: Site,
    target: Filling,
    texts: dict[str, Text],
    label: str,
    kept: str = "",
) -> tuple[dict[str, Wire], Graph | None, Outputs, list[Row]]:
    """The module of a body or template: what flows in, the module (None where a node is broken),
    what it gives.

    Args:
        kept: an input that the module has even where no node reads it.
    """
    start = len(assembler.problems)
    built = _build_body(assembler, site, target, texts, label, kept)
    if "use" in site.raw:
        used = _used_at(assembler, site, label)
        assembler.problems[start:] = [
            _show_use(problem, used) for problem in assembler.problems[start:]
        ]
    return built


def _used_at(assembler: "Assembler", site: Site, label: str) -> str:
    return f"{label or 'the template'}, used at {assembler.origin(site.path)}"


def _show_use(problem: Problem, used: str) -> Problem:
    """A problem inside a template, with the line that filled it."""
    lines = [*(problem.source or "").splitlines(), used]
    return replace(problem, source="\n".join(dict.fromkeys(lines)))


def _build_body(
    assembler: "Assembler",
    site: Site,
    target: Filling,
    texts: dict[str, Text],
    label: str,
    kept: str,
) -> tuple[dict[str, Wire], Graph | None, Outputs, list[Row]]:
    raw, room, via_use = target.raw, site.room, "use" in site.raw
    if room.path.count(".") > DEEPEST:
        got, fix = f"{label or 'a body'}, in itself", "a slot must not stand in its own body"
        raise Trouble(Problem(f"nodes are nested more than {DEEPEST} deep", got=got, fix=fix))
    params, holes = dict(raw.get("params") or {}), raw.get("holes") or []
    holes = dict.fromkeys(holes) if isinstance(holes, list) else dict(holes)
    _check_arguments(texts, [*params, *holes], label or "this body")
    outer = replace(
        target.scope, axes=site.scope.axes, counters=site.scope.counters, arguments={}, trace=[]
    )
    local = _params(assembler, params, texts, target, outer, label or "this body")
    fillings = _fillings(assembler, holes, texts, target, outer, label or "the template")
    scope = replace(outer, lexical={**outer.lexical, **local}, holes={**outer.holes, **fillings})
    inner = Room(site.display)
    given = site.enter(inner)
    extras = tuple(key for key in inner.inputs if key != "x")
    body = raw["body"]
    if via_use and extras and isinstance(body, Mapping):
        body = _hand_on(assembler, raw, extras, scope, label or "this template")
    outputs = assembler.body(
        inner, body, (*target.path, "body"), scope, raw.get("outputs"), (*target.path, "outputs")
    )
    if any(wire.broken for wire in outputs.values()):
        room.spoilt = True
        return given, None, {key: broken(site.name) for key in outputs}, inner.rows
    if lines := raw.get("initialise"):
        used = _used_at(assembler, site, label) if via_use else None
        assembler.sections.append(
            Section(lines, scope, (*target.path, "initialise"), f"{site.display}.", used)
        )
    graph = assembler.close(inner, outputs, extras, kept=kept)
    room.arguments[site.name] = {param: Later(text) for param, text in local.items()}
    return given, graph, outputs, inner.rows


def _check_arguments(texts: Mapping[str, Text], known: list[str], label: str) -> None:
    problems = [
        Problem(
            f"{label} has no argument {word!r}",
            got=f"{word}: {show(text.raw)}",
            source=str(text.origin),
            fits=suggest_words(word, known),
        )
        for word, text in texts.items()
        if word not in known
    ]
    if problems:
        raise Trouble(*problems)


def _params(
    assembler: "Assembler",
    params: dict[str, Any],
    texts: dict[str, Text],
    target: Filling,
    outer: Scope,
    label: str,
) -> dict[str, Text]:
    """The template's params: what the node gives, or else the default, in the names in reach in the
    template.
    """
    local: dict[str, Text] = {}
    for param, value in params.items():
        text, place = texts.get(param), (*target.path, "params", param)
        if text is None and value == MISSING:
            raise Trouble(Problem(f"{label} needs {param}", fits=f"{param}: ..."))
        around = replace(outer, lexical=Without(local, outer.lexical, param))
        default = Text(value, assembler.origin(place), around, place)
        local[param] = default if text is None else text.at(outer.axes, {}, param)
    return local


def _fillings(
    assembler: "Assembler",
    holes: dict[str, Any],
    texts: dict[str, Text],
    target: Filling,
    outer: Scope,
    label: str,
) -> dict[str, Filling]:
    """What fills each hole: a node given where the template is used, in the names in reach there,
    or the default.
    """
    fillings = {}
    for hole, default in holes.items():
        text = texts.get(hole)
        if text is None and default is None:
            fits = f"{hole}: {{use: SLOT}} or {{block: NAME}}"
            raise Trouble(Problem(f"{label} has a hole {hole!r} to fill", fits=fits))
        filling = Filling(default, (*target.path, "holes", hole), outer)
        filling = filling if text is None else Filling(text.raw, text.path, text.scope)
        if problem := check_node(filling.raw, option=True):
            raise Trouble(replace(problem, source=str(assembler.origin(filling.path))))
        fillings[hole] = filling
    return fillings


def _hand_on(
    assembler: "Assembler",
    template: Mapping[str, Any],
    extras: tuple[str, ...],
    scope: Scope,
    label: str,
) -> dict[str, Any]:
    """A template hands every input after the first on to those of its nodes that use a slot and
    take it by name.
    """
    body = template["body"]
    ports = {name: _ports_of(assembler, raw, scope, set()) for name, raw in body.items()}
    _check_extras(extras, _names_read(template).union(*ports.values()), label)
    result = {}
    for name, raw in body.items():
        flow = raw.get("in", {}) if ports[name] else None
        flow = {"x": flow} if isinstance(flow, str) else flow
        if isinstance(flow, Mapping):
            more = {extra: extra for extra in extras if extra in ports[name] and extra not in flow}
            raw = {**raw, "in": {**flow, **more}} if more else raw
        result[name] = raw
    return result


def _check_extras(extras: tuple[str, ...], taken: set[str], label: str) -> None:
    problems = [
        Problem(
            f"{label} has no input {extra!r}",
            got=f"in: {{{extra}: ...}}",
            fits=did_you_mean(extra, taken - {"x"}),
        )
        for extra in extras
        if extra not in taken
    ]
    if problems:
        raise Trouble(*problems)


def _names_read(template: Mapping[str, Any]) -> set[str]:
    """What the nodes and outputs of a body read that is no node of it."""
    body = template["body"]
    nodes = [*body.values(), {"in": template.get("outputs")}]
    read = {reference.partition(".")[0] for node in nodes for reference in mentions(node)}
    return read - set(map(str, body))


def _ports_of(assembler: "Assembler", raw: Any, scope: Scope, seen: set[Any]) -> set[str]:
    """The names of the inputs of what stands at a node that uses a slot; none for other nodes, and
    for those seen.
    """
    if not isinstance(raw, Mapping) or "use" not in raw:
        return set()
    try:
        target, _, _ = resolve(assembler, Filling(raw, (), scope), scope)
    except (Trouble, RecursionError):
        return set()
    block, body = target.raw.get("block"), target.raw.get("body")
    if block is not None:
        known = block in assembler.catalog
        return (
            {port.name for port in signature_of(block, assembler.catalog[block]).ports}
            if known
            else set()
        )
    holes = target.raw.get("holes") or {}
    given = {
        hole: raw.get(hole) or (holes[hole] if isinstance(holes, Mapping) else None)
        for hole in holes
    }
    fillings = {
        hole: Filling(filled, (), scope)
        for hole, filled in given.items()
        if isinstance(filled, Mapping)
    }
    key = id(target.raw), *((hole, id(filling.raw)) for hole, filling in fillings.items())
    if key in seen or not isinstance(body, Mapping):
        return set()
    seen.add(key)
    inner = replace(target.scope, holes=fillings)
    return _names_read(target.raw).union(
        *(_ports_of(assembler, node, inner, seen) for node in body.values())
    )
