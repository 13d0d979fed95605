"""Nodes, graphs, slots and files, and which keys may stand beside which."""

from collections.abc import Iterable, Mapping
from typing import Any

from blocks.graph.describe.schema.arguments import show_default, summary_of, wrap
from blocks.graph.describe.schema.parts import (
    NAME,
    STRING,
    Schema,
    any_of,
    array,
    closed,
    has,
    if_then,
    mapping,
    ref,
    when,
)
from blocks.graph.describe.schema.values import ABOUT, WORDS
from blocks.graph.language.scope import MISSING
from blocks.graph.language.signature import Signature
from blocks.graph.language.words import KINDS, MODEL_WORDS, USE_KEYS

Options = Mapping[str, Mapping[str, Any]]  # name of an option -> its file
Arguments = Mapping[str, Mapping[str, Schema]]  # name of a block -> key -> what it takes
SECTIONS = {"graph": "section", "expect": "claim"}
NULLABLE = {"type": ["string", "null"]}
PIECE = {"not": {"anyOf": [has(key) for key in USE_KEYS if key != "in"]}}  # a part of a block
FILLING = {"not": {"anyOf": [has(key) for key in USE_KEYS]}}  # what has no place of its own
STARTS = {
    "properties": {"defaults": {"contains": {"type": "string", "not": {"const": "_self_"}}}},
    **has("defaults"),
}


def _beside(**more: Schema) -> dict[str, Schema]:
    """The keys that stand beside any kind of node, and some more."""
    assert set(WORDS) == set(USE_KEYS)
    found = {}
    for key, schema in more.items():
        found[key] = {"allOf": [schema], "description": ABOUT[key]}
    for key in (*WORDS, "share"):
        found[key] = ref(key)
    return found


# Blocks and slots ---------------------------------------------------------------------------------


def define_blocks(signatures: Mapping[str, Signature], arguments: Arguments) -> dict[str, Schema]:
    """A definition a block; the choice between them; and what a node of a graph must state."""
    summaries = list(map(summary_of, signatures.values()))
    found: dict[str, Schema] = {
        "block": {"enum": [*signatures], "enumDescriptions": summaries},
    }
    complete = []
    for (name, signature), summary in zip(signatures.items(), summaries, strict=True):
        properties = {**arguments[name], **_beside(block=ref("block"))}
        found[f"block_{name}"] = {"title": name, "description": summary, **closed(properties)}
        if needed := _needed_keys(signature):
            complete.append(when("block", name, has(*needed)))
    found["blocks"] = {
        "properties": {"block": {"allOf": [ref("block")], "description": ABOUT["block"]}},
        "allOf": [when("block", name, ref(f"block_{name}")) for name in signatures],
    }
    found["complete"] = {"allOf": complete}
    return found


def _needed_keys(signature: Signature) -> list[str]:
    """Arguments that are neither inferred nor have a default."""
    needed = []
    for parameter in signature.parameters.values():
        if parameter.required and parameter.word not in signature.infer:
            needed.append(parameter.word)
    return needed


def define_slots(slots: Mapping[str, Options], arguments: Arguments) -> dict[str, Schema]:
    """A definition a slot: what any of its options takes. A slot with an option that only leads to
    others takes anything.
    """
    found: dict[str, Schema] = {}
    for slot, options in slots.items():
        taken: dict[str, list[Schema]] = {}
        is_closed = slot not in MODEL_WORDS
        for option, raw in options.items():
            given = _keys_of_option(raw, slot, arguments)
            if given is None:
                is_closed = False
                continue
            for key, schema in given.items():
                described = {**schema, "description": f"{option}: {schema['description']}"}
                taken.setdefault(key, []).append(described)
        properties = {key: _merge(schemas) for key, schemas in taken.items()}
        found[f"slot_{slot}"] = {
            "description": f"The slot {slot}: {', '.join(options)}.",
            "type": "object",
            "properties": {**properties, **_beside(use=STRING)},
            "additionalProperties": not is_closed,
        }
    return found


def _keys_of_option(
    raw: Mapping[str, Any], slot: str, arguments: Arguments
) -> Mapping[str, Schema] | None:
    """What an option takes; None where that is unknown."""
    if raw.keys().isdisjoint(KINDS):  # an option for several slots: its part for this one
        raw = raw.get(slot) or {}
    if "block" in raw:
        return arguments.get(str(raw["block"]))
    if "body" not in raw:
        return None
    found = {}
    for name, value in (raw.get("params") or {}).items():
        found[name] = {"description": _describe_param(value), **wrap(ref("value"))}
    for name in raw.get("holes") or ():
        found[name] = {"description": "A hole, filled with a node.", **wrap(ref("part"))}
    return found


def _describe_param(value: Any) -> str:
    if value == MISSING:
        return "A param; must be given."
    return f"A param; {show_default(value)} when left out."


def _merge(schemas: list[Schema]) -> Schema:
    """One argument of several options: any of what they take, and the text of each."""
    kinds: list[Schema] = []
    texts = []
    for schema in schemas:
        kind = dict(schema)
        texts.append(kind.pop("description"))
        if kind not in kinds:
            kinds.append(kind)
    merged = kinds[0] if len(kinds) == 1 else any_of(*kinds)
    return {"description": "\n".join(dict.fromkeys(texts)), **merged}


# Nodes and files ----------------------------------------------------------------------------------


def define_nodes(slots: list[str]) -> dict[str, Schema]:
    """Nodes, graphs and files. A `change` is a node or slot of a file that starts from another:
    what differs.
    """
    one = [has(kind) for kind in KINDS if kind != "share"]
    graph = {
        "type": "object",
        "propertyNames": {"pattern": NAME},
        "minProperties": 1,
        "allOf": [ref("siblings")],
    }
    holes = any_of(array(ref("name")), mapping(any_of(ref("part"), {"type": "null"})))
    use = {
        "properties": {"use": _describe_use(slots)},
        "allOf": [when("use", slot, ref(f"slot_{slot}")) for slot in slots],
    }
    part = {
        "type": "object",
        "properties": _offer_kinds(slots),
        "oneOf": one,
        "allOf": [*_kinds_of("graph"), FILLING],
    }
    option = {
        "type": "object",
        "oneOf": one,
        "allOf": [*_kinds_of("graph", holes=holes), FILLING, ref("inner")],
    }
    return {
        "use": use,
        "node": _define_node(slots, one),
        "part": any_of(part, _describe_change_of_part(one)),
        "inner_block": any_of(
            {**part, "allOf": [*_kinds_of("graph"), PIECE]}, _describe_change_of_part(one)
        ),
        "change": _define_change(),
        "graph": {**graph, "additionalProperties": ref("node")},
        "changes": {**graph, "additionalProperties": ref("change")},
        "option": option,
        "model": _define_model(slots),
        "file": _define_file(slots, one),
    }


def _describe_change_of_part(one: list[Schema]) -> Schema:
    """What a node changes in a part of its option, or the part of another node that it shares."""
    share = {**any_of(STRING, {"const": True}), "description": ABOUT["share"]}
    changed = {"type": "object", "minProperties": 1, "not": any_of(*one)}
    return {**changed, "properties": {"share": share}}


def _kinds_of(graph: str, **more: Schema) -> list[Schema]:
    """What each kind of node takes."""
    properties = _beside(**_body_keys(graph), **more)
    body = {"properties": properties, "additionalProperties": False}
    return [
        if_then(has("block"), ref("blocks")),
        if_then(has("use"), ref("use")),
        if_then(has("body"), body),
    ]


def _body_keys(graph: str) -> dict[str, Schema]:
    keys = ("outputs", "params", "initialise")
    return {"body": ref(graph), **{key: ref(key) for key in keys}}


def _define_node(slots: list[str], one: list[Schema]) -> Schema:
    shared = {"properties": {"share": STRING}, **has("share")}
    share = {"type": "string", "description": ABOUT["share"]}
    shares = {"properties": {**_beside(), "share": share}, "additionalProperties": False}
    return {
        "type": "object",
        "properties": _offer_kinds(slots),
        "oneOf": [*one, shared],
        "allOf": [*_kinds_of("graph"), if_then(shared, shares), ref("complete"), ref("inner")],
    }


def _define_change() -> Schema:
    properties = {**_beside(**_body_keys("changes")), "share": {"type": ["string", "boolean"]}}
    neither = {"not": {"anyOf": [has("block"), has("use")]}}
    changed = {
        "type": "object",
        "allOf": [
            if_then(has("block"), ref("blocks")),
            if_then(has("use"), ref("use")),
            if_then(neither, {"properties": properties}),
            ref("inner"),
        ],
    }
    return any_of(changed, {"type": "null"})  # null removes what another file has


def _sections_of(slots: list[str]) -> dict[str, Schema]:
    """The sections of a model, and its slots."""
    found = {"defaults": ref("defaults")}
    for key in MODEL_WORDS:
        found[key] = ref(SECTIONS.get(key, key), ABOUT[key])
    for slot in slots:
        found[slot] = ref("change", f"The slot {slot}: what this file changes in its option.")
    return found


def _define_model(slots: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": _sections_of(slots),
        "additionalProperties": ref("option"),
        "allOf": [ref("outer")],
        **if_then(STARTS, {"properties": {"graph": ref("changes")}}),
        "else": {"properties": {"graph": ref("graph")}, **has("graph")},
    }


def _define_file(slots: list[str], one: list[Schema]) -> Schema:
    """An option, one for several slots (`# @package model`), or lines of `initialise`."""
    sections = {
        "type": ["object", "null"],
        "properties": {**_sections_of(slots), "graph": ref("changes")},
        "patternProperties": {r"[.*?\[]": ref("distribution")},
        "additionalProperties": ref("option"),
    }
    return {
        "properties": _offer_kinds(slots),
        **if_then({"type": "object", "anyOf": one}, ref("option")),
        "else": sections,
    }


def _offer_kinds(slots: list[str]) -> dict[str, Schema]:
    """The kinds, so that an editor offers them in an empty node."""
    return {
        "block": {"allOf": [ref("block")], "description": ABOUT["block"]},
        "use": _describe_use(slots),
        "body": {"type": "object", "description": ABOUT["body"]},
    }


def _describe_use(slots: list[str]) -> Schema:
    return {**any_of({"enum": slots}, STRING), "description": ABOUT["use"]}


def define_defaults(slots: Mapping[str, Options], models: list[str]) -> dict[str, Schema]:
    """Hydra's list: models to start from, and an option for each slot; an option of the user's own
    is a name too.
    """
    properties = {}
    for slot, options in slots.items():
        described = {**any_of(_enum(options), NULLABLE), "description": f"Fills the slot {slot}."}
        properties[slot] = described
    for key in ("override", "optional"):
        for slot in slots:
            properties[f"{key} {slot}"] = properties[slot]
    entry = {
        "type": "object",
        "properties": properties,
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": NULLABLE,
    }
    return {
        "section": {"type": "object"},
        "defaults": {
            "description": "Which option fills each slot; another model's name to start from "
            "it; _self_ last.",
            **array(any_of(any_of(_enum([*models, "_self_"]), STRING), entry)),
        },
    }


def _enum(names: Iterable[str]) -> Schema:
    return {"enum": [*names]}
