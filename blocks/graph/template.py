"""Slots and templates: which option a node uses, what fills its holes, and the body that comes of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from blocks.graph.atom import Trouble
from blocks.graph.errors import Problem, did_you_mean, show
from blocks.graph.initialise import Section
from blocks.graph.module import Graph
from blocks.graph.node import MODEL_WORDS, arguments_of, check_node
from blocks.graph.room import Room, Row, Wire
from blocks.graph.scope import MISSING, Scope, Text
from blocks.graph.signature import signature_of
from blocks.graph.site import Filling, Later, Outputs, Site, Without, broken, mentions

if TYPE_CHECKING:
    from blocks.graph.assemble import Assembler

DEEPEST = 32  # bodies within bodies; no honest model has more


def resolve(assembler: "Assembler", filling: Filling, here: Scope) -> tuple[Filling, dict[str, Text], str]:
    """Follow `use` to a block or a body, merging the arguments on the way: the nearer to the node wins.

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
    return {key: Text(filling.raw[key], assembler.origin(path), filling.scope, path) for key, path in places.items()}


def _option(assembler: "Assembler", slot: Any, filling: Filling, here: Scope) -> tuple[Filling, str]:
    """What the model has in a slot, with the names that an option file may refer to."""
    slots = {key: value for key, value in assembler.slots.items() if key not in MODEL_WORDS}
    raw = slots.get(slot) if isinstance(slot, str) else None
    if not isinstance(raw, Mapping):
        known = [
            key for key, value in slots.items() if isinstance(value, Mapping) and {"block", "use", "body"} & set(value)
        ]
        known += filling.scope.holes
        fits = did_you_mean(str(slot), known) if known else None
        fix = f"add `{slot}: OPTION` to the model's defaults, or +model/{slot}=OPTION on the command line"
        near = (fits or "").startswith("did")
        raise Trouble(
            Problem(f"no slot {slot!r} is filled here", got=f"use: {show(slot)}", fits=fits, fix=None if near else fix)
        )
    assembler.used_slots.add(slot)
    scope = replace(assembler.outermost, axes=here.axes, counters=here.counters)
    return Filling(raw, ("model", slot), scope), assembler.choices.get(slot, "")


def build_body(
    assembler: "Assembler", site: Site, target: Filling, texts: dict[str, Text], label: str, kept: str = ""
) -> tuple[dict[str, Wire], Graph | None, Outputs, list[Row]]:
    """The module of a body or template: what flows in, the module (None where a node is broken), what it gives.

    Args:
        kept: an input that the module has even where no node reads it.
    """
    raw, room, via_use = target.raw, site.room, "use" in site.raw
    if room.path.count(".") > DEEPEST:
        got, fix = f"{label or 'a body'}, in itself", "a slot must not stand in its own body"
        raise Trouble(Problem(f"nodes are nested more than {DEEPEST} deep", got=got, fix=fix))
    params, holes = dict(raw.get("params") or {}), raw.get("holes") or []
    holes = dict.fromkeys(holes) if isinstance(holes, list) else dict(holes)
    _check_arguments(texts, [*params, *holes], label or "this body")
    outer = replace(target.scope, axes=site.scope.axes, counters=site.scope.counters, arguments={}, trace=[])
    local = _params(assembler, params, texts, target, outer, label or "this body")
    fillings = _fillings(assembler, holes, texts, target, outer, label or "the template")
    scope = replace(outer, lexical={**outer.lexical, **local}, holes={**outer.holes, **fillings})
    inner = Room(site.display)
    given = site.enter(inner)
    extras = tuple(key for key in inner.inputs if key != "x")
    body = _hand_on(assembler, raw["body"], extras, scope) if via_use else raw["body"]
    outputs = assembler.body(inner, body, (*target.path, "body"), scope, raw.get("outputs"), (*target.path, "outputs"))
    if any(wire.broken for wire in outputs.values()):
        room.spoilt = True
        return given, None, {key: broken(site.name) for key in outputs}, inner.rows
    if lines := raw.get("initialise"):
        assembler.sections.append(Section(lines, scope, (*target.path, "initialise"), f"{site.display}."))
    explicit = tuple(item.name for item in site.inputs if item.port not in (None, "x"))
    graph = assembler.close(inner, outputs, explicit, kept=kept)
    room.arguments[site.name] = {param: Later(text) for param, text in local.items()}
    return given, graph, outputs, inner.rows


def _check_arguments(texts: Mapping[str, Text], known: list[str], label: str) -> None:
    problems = [
        Problem(
            f"{label} has no argument {word!r}",
            got=f"{word}: {show(text.raw)}",
            source=str(text.origin),
            fits=did_you_mean(word, known) if known else "it takes none",
        )
        for word, text in texts.items()
        if word not in known
    ]
    if problems:
        raise Trouble(*problems)


def _params(
    assembler: "Assembler", params: dict[str, Any], texts: dict[str, Text], target: Filling, outer: Scope, label: str
) -> dict[str, Text]:
    """The template's params: what the node gives, or else the default, in the names in reach in the template."""
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
    assembler: "Assembler", holes: dict[str, Any], texts: dict[str, Text], target: Filling, outer: Scope, label: str
) -> dict[str, Filling]:
    """What fills each hole: a node given where the template is used, in the names in reach there, or the default."""
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


def _hand_on(assembler: "Assembler", body: Any, extras: tuple[str, ...], scope: Scope) -> Any:
    """A template hands every input after the first on to those of its nodes that use a slot and take it by name."""
    if not extras or not isinstance(body, Mapping):
        return body
    result = {}
    for name, raw in body.items():
        flow = raw.get("in", {}) if isinstance(raw, Mapping) and "use" in raw else None
        flow = {"x": flow} if isinstance(flow, str) else flow
        if isinstance(flow, Mapping):
            more = {extra: extra for extra in extras if extra not in flow and _takes(assembler, raw, extra, scope)}
            raw = {**raw, "in": {**flow, **more}} if more else raw
        result[name] = raw
    return result


def _takes(assembler: "Assembler", raw: Any, name: str, scope: Scope) -> bool:
    """Whether what stands at a node has an input of that name."""
    try:
        target, _, _ = resolve(assembler, Filling(raw, (), scope), scope)
    except (Trouble, RecursionError):
        return False
    block = target.raw.get("block")
    if block is not None:
        return block in assembler.catalog and signature_of(block, assembler.catalog[block]).port(name) is not None
    holes = target.raw.get("holes") or {}
    given = {hole: raw.get(hole) or (holes[hole] if isinstance(holes, Mapping) else None) for hole in holes}
    fillings = {hole: Filling(filled, (), scope) for hole, filled in given.items() if isinstance(filled, Mapping)}
    inner = replace(target.scope, holes=fillings)
    nodes = [node for node in (target.raw.get("body") or {}).values() if isinstance(node, Mapping)]
    return any(name in mentions(node) or ("use" in node and _takes(assembler, node, name, inner)) for node in nodes)
