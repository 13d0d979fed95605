"""Nodes, graphs, slots and files, and what may stand beside what."""

from collections.abc import Mapping
from typing import Any

from blocks.graph.describe.schema.arguments import around, shown, summary
from blocks.graph.describe.schema.parts import NAME, Schema, any_of, mapping, ref, when
from blocks.graph.describe.schema.values import ABOUT, WORDS
from blocks.graph.language.scope import MISSING
from blocks.graph.language.signature import Signature
from blocks.graph.language.words import KINDS, MODEL_WORDS, PLACES


def words(**more: Schema) -> dict[str, Schema]:
    """The words that stand beside any kind of node, and some more."""
    assert set(WORDS) == set(PLACES)
    places = {word: ref(word) for word in (*WORDS, "share")}
    return {
        **{word: {"allOf": [schema], "description": ABOUT[word]} for word, schema in more.items()},
        **places,
    }


def blocks(
    signatures: Mapping[str, Signature], arguments: Mapping[str, Mapping[str, Schema]]
) -> dict[str, Schema]:
    """A definition a block; the choice between them; and what a node of a graph cannot leave
    out.
    """
    summaries = [summary(signature) for signature in signatures.values()]
    needed = {
        name: [
            p.word
            for p in signature.parameters.values()
            if p.required and p.word not in signature.infer
        ]
        for name, signature in signatures.items()
    }
    return {
        "block": {"enum": [*signatures], "enumDescriptions": summaries},
        **{
            f"block_{name}": {
                "title": name,
                "description": summary,
                "type": "object",
                "properties": {**arguments[name], **words(block=ref("block"))},
                "additionalProperties": False,
            }
            for (name, signature), summary in zip(signatures.items(), summaries, strict=True)
        },
        "blocks": {
            "properties": {"block": {"allOf": [ref("block")], "description": ABOUT["block"]}},
            "allOf": [when("block", name, ref(f"block_{name}")) for name in signatures],
        },
        "complete": {
            "allOf": [
                when("block", name, {"required": words}) for name, words in needed.items() if words
            ]
        },
    }


def slots_of(
    slots: Mapping[str, Mapping[str, Mapping[str, Any]]],
    arguments: Mapping[str, Mapping[str, Schema]],
) -> dict[str, Schema]:
    """A definition a slot: what any of its options takes. A slot whose options lead on takes
    anything.
    """
    found: dict[str, Schema] = {}
    for slot, options in slots.items():
        taken: dict[str, list[Schema]] = {}
        closed = slot not in MODEL_WORDS
        for option, raw in options.items():
            given = _taken_by(raw, slot, arguments)
            closed = closed and given is not None
            for word, schema in (given or {}).items():
                described = {**schema, "description": f"{option}: {schema['description']}"}
                taken.setdefault(word, []).append(described)
        properties = {word: _merged(schemas) for word, schemas in taken.items()}
        text = f"The slot {slot}: {', '.join(options)}."
        found[f"slot_{slot}"] = {
            "description": text,
            "type": "object",
            "properties": {**properties, **words(use={"type": "string"})},
            "additionalProperties": not closed,
        }
    return found


def _taken_by(
    raw: Mapping[str, Any], slot: str, arguments: Mapping[str, Mapping[str, Schema]]
) -> Mapping[str, Schema] | None:
    """What an option takes; None where that cannot be told."""
    if not set(KINDS) & set(raw):  # an option for several places: what it says of this one
        raw = raw.get(slot) or {}
    if "block" in raw:
        return arguments.get(str(raw["block"]))
    if "body" not in raw:
        return None
    params, holes = raw.get("params") or {}, raw.get("holes") or ()
    return {
        **{
            name: {"description": _param(value), **around(ref("value"))}
            for name, value in params.items()
        },
        **{
            name: {"description": "A hole, filled with a node.", **around(ref("part"))}
            for name in holes
        },
    }


def _param(value: Any) -> str:
    return (
        "A param; must be given." if value == MISSING else f"A param; {shown(value)} when left out."
    )


def _merged(schemas: list[Schema]) -> Schema:
    """One argument of several options: any of what they take, and what each says."""
    kinds = [
        {key: value for key, value in schema.items() if key != "description"} for schema in schemas
    ]
    unique = [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]]
    text = "\n".join(dict.fromkeys(schema["description"] for schema in schemas))
    return {"description": text, **(unique[0] if len(unique) == 1 else any_of(*unique))}


def nodes(slots: list[str]) -> dict[str, Schema]:
    """Nodes, graphs and files. A `change` is a node or slot of a file that starts from another:
    what differs.
    """
    one = [{"required": [kind]} for kind in KINDS if kind != "share"]
    shared = {"properties": {"share": {"type": "string"}}, "required": ["share"]}
    use = {
        "properties": {
            "use": {**any_of({"enum": slots}, ref("name")), "description": ABOUT["use"]}
        },
        "allOf": [when("use", slot, ref(f"slot_{slot}")) for slot in slots],
    }
    shared_as = {"share": {"type": "string", "description": ABOUT["share"]}}
    share = {"properties": {**words(), **shared_as}, "additionalProperties": False}

    def body(graph: str, **more: Schema) -> Schema:
        properties = words(
            body=ref(graph),
            outputs=ref("outputs"),
            params=ref("params"),
            initialise=ref("initialise"),
            **more,
        )
        return {"properties": properties, "additionalProperties": False}

    def kinds(graph: str, **more: Schema) -> list[Schema]:
        return [
            {"if": {"required": ["block"]}, "then": ref("blocks")},
            {"if": {"required": ["use"]}, "then": ref("use")},
            {"if": {"required": ["body"]}, "then": body(graph, **more)},
        ]

    node = {"type": "object", "properties": _completed(slots), "oneOf": [*one, shared]}
    change_words = words(
        body=ref("changes"),
        outputs=ref("outputs"),
        params=ref("params"),
        initialise=ref("initialise"),
    )
    holes = any_of(
        {"type": "array", "items": ref("name")}, mapping(any_of(ref("part"), {"type": "null"}))
    )
    filling = {"not": {"anyOf": [{"required": [word]} for word in PLACES]}}
    option = {
        "type": "object",
        "oneOf": one,
        "allOf": [*kinds("graph", holes=holes), filling, ref("inner")],
    }
    graph = {
        "type": "object",
        "propertyNames": {"pattern": NAME},
        "minProperties": 1,
        "allOf": [ref("siblings")],
    }
    sections = {
        "defaults": ref("defaults"),
        **{word: ref(SECTIONS.get(word, word), ABOUT[word]) for word in MODEL_WORDS},
        **{
            slot: ref("change", f"The slot {slot}: what this file says of its option.")
            for slot in slots
        },
    }
    starts = {
        "properties": {"defaults": {"contains": {"type": "string", "not": {"const": "_self_"}}}},
        "required": ["defaults"],
    }
    return {
        "use": use,
        "node": {
            **node,
            "allOf": [
                *kinds("graph"),
                {"if": shared, "then": share},
                ref("complete"),
                ref("inner"),
            ],
        },
        "part": {
            "type": "object",
            "properties": _completed(slots),
            "oneOf": one,
            "allOf": [*kinds("graph"), filling],
        },
        "change": {
            "type": ["object", "null"],
            "allOf": [
                {"if": {"required": ["block"]}, "then": ref("blocks")},
                {"if": {"required": ["use"]}, "then": ref("use")},
                {
                    "if": {"not": {"anyOf": [{"required": ["block"]}, {"required": ["use"]}]}},
                    "then": {
                        "properties": {**change_words, "share": {"type": ["string", "boolean"]}}
                    },
                },
                ref("inner"),
            ],
        },
        "graph": {**graph, "additionalProperties": ref("node")},
        "changes": {**graph, "additionalProperties": ref("change")},
        "option": option,
        "model": {
            "type": "object",
            "properties": sections,
            "additionalProperties": ref("option"),
            "allOf": [ref("outer")],
            "if": starts,
            "then": {"properties": {"graph": ref("changes")}},
            "else": {"properties": {"graph": ref("graph")}, "required": ["graph"]},
        },
        # an option, one for several places (`# @package model`), or lines of `initialise`
        "file": {
            "properties": _completed(slots),
            "if": {"type": "object", "anyOf": one},
            "then": ref("option"),
            "else": {
                "type": ["object", "null"],
                "properties": {**sections, "graph": ref("changes")},
                "patternProperties": {r"[.*?\[]": ref("distribution")},
                "additionalProperties": ref("option"),
            },
        },
    }


SECTIONS = {"graph": "section", "expect": "claim"}


def _completed(slots: list[str]) -> dict[str, Schema]:
    """The kinds, so that an editor offers them in an empty node."""
    return {
        "block": {"allOf": [ref("block")], "description": ABOUT["block"]},
        "use": {**any_of({"enum": slots}, ref("name")), "description": ABOUT["use"]},
        "body": {"type": "object", "description": ABOUT["body"]},
    }


def defaults(slots: Mapping[str, Mapping[str, Any]], models: list[str]) -> dict[str, Schema]:
    """Hydra's list: models to start from, and an option for each slot; an option of one's own is a
    name too.
    """
    text = any_of({"enum": [*models, "_self_"]}, {"type": "string"})
    option = {
        slot: any_of({"enum": [*options]}, {"type": ["string", "null"]})
        for slot, options in slots.items()
    }
    told = {
        slot: {**schema, "description": f"Fills the slot {slot}."}
        for slot, schema in option.items()
    }
    words = {
        f"{word} {slot}": schema
        for word in ("override", "optional")
        for slot, schema in told.items()
    }
    entry = {
        "type": "object",
        "properties": {**told, **words},
        "minProperties": 1,
        "maxProperties": 1,
    }
    patterns = {"additionalProperties": {"type": ["string", "null"]}}
    return {
        "section": {"type": "object"},
        "defaults": {
            "description": "Which option fills each slot; another model's name to start from "
            "it; _self_ last.",
            "type": "array",
            "items": any_of(text, {**entry, **patterns}),
        },
    }
