"""JSON Schema of the language, for editors: what may stand in `conf/model/*.yaml` and in the options of its slots.

Made from the signatures of the blocks, their docstrings and the folders of `conf/model`. It never flags what the
assembler would build; what only the assembler can know (names of nodes, shapes, whether an expression holds) it lets
pass. Draft 7, which every YAML language server reads.
"""

import inspect
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal

import yaml

from blocks.catalog import Layer
from blocks.graph.arguments import choices, describe
from blocks.graph.compose import refusal
from blocks.graph.errors import ConfigError
from blocks.graph.initialise import DISTRIBUTIONS
from blocks.graph.inputs import DTYPES
from blocks.graph.node import KINDS, MODEL_WORDS, PLACES
from blocks.graph.scope import MISSING
from blocks.graph.signature import Parameter, Signature, is_module, signature_of
from blocks.yaml_rules import Refused, check

Schema = dict[str, Any]
DRAFT = "http://json-schema.org/draft-07/schema#"
NAME = r"^[A-Za-z_]\w*$"
REFERENCE = r"^[A-Za-z_][\w.]*$|\$\{|^\?\?\?$"
WORDS = {  # word -> definition, what it means
    "in": ("flow", "What flows in: a node or input, [a, b] for the ports in order, {port: node}; [] for nothing. "
                   "Left out: what the sibling before gives."),
    "repeat": ("times", "How often: a number, or lists of equal length, zipped: {depth: [2, 2], heads: [3, 6]}."),
    "scan": ("recurrence", "Runs the body once per step along an axis, with named state."),
    "as": ("name", "Name of the counter of `repeat`; `layer` when left out."),
    "when": ("truth", "The node exists only where this is true; elsewhere its name stands for its first input."),
    "after": ("name", "Stands behind the node it names; for a node that another file or the command line adds."),
    "expect": ("shape", "A claim about what the node gives: {shape: [batch, 65, 192]}."),
}  # fmt: skip
ABOUT = {
    "params": "Numbers and words by name; they may be expressions of each other.",
    "inputs": "What flows into the model: data.image, [3, 224, 224] or {channels: 3, height: 224, width: 224}.",
    "graph": "The nodes, by name, in the order in which they run.",
    "outputs": "What it gives: a node, a list of nodes, or {name: node}. Left out: the last node.",
    "expect": "The claim of the file: {parameters: 5717416, when: data.classes == 1000}.",
    "tie": "Parameters that are one: {head.weight: embedding.weight}.",
    "initialise": "How parameters start: {Linear.weight: {trunc_normal: 0.02}, '*.bias': zeros}.",
    "block": "A block of the catalogue.",
    "use": "The option chosen for a slot of the model, or what fills a hole of the template around it.",
    "body": "A graph inside the graph. It sees its own inputs and nodes; the first input is x.",
    "share": "The module that stands at that node, weights and all; `true` beside repeat: all repeats are one.",
    "holes": "Places for other nodes: [inner], or {inner: {use: mlp}} with a default.",
}


def schemas(catalog: Mapping[str, Any], folders: Iterable[Path]) -> dict[str, Schema]:
    """File name -> schema: `model.json` for models, `option.json` for the options of slots.

    Args:
        catalog: name -> block, as `blocks.catalog.catalog` gives it.
        folders: each `model/` folder whose sub-folders are slots; a later one adds to the ones before.
    """
    slots: dict[str, dict[str, Mapping[str, Any]]] = {}
    models: list[str] = []
    for folder in folders:
        models += [file.stem for file in sorted(folder.glob("*.yaml")) if file.stem not in models]
        for file in sorted(folder.glob("*/*.yaml")):
            try:
                raw = yaml.safe_load(check(file))
            except Refused as error:
                raise ConfigError([refusal(error)]) from error
            slots.setdefault(file.parent.name, {})[file.stem] = raw if isinstance(raw, Mapping) else {}
    slots = dict(sorted(slots.items()))
    signatures = {name: signature_of(name, catalog[name]) for name in sorted(catalog)}
    arguments = {
        name: _arguments(signature, isinstance(catalog[name], Layer)) for name, signature in signatures.items()
    }
    definitions = {
        **_values(),
        **_blocks(signatures, arguments),
        **_slots(slots, arguments),
        **_nodes(sorted(name for name in slots if name not in MODEL_WORDS)),
        **_defaults(slots, models),
    }
    head = {"$schema": DRAFT, "$comment": "Made by `python -m blocks schema`."}
    model = {**head, "title": "A model of Dougong", **_ref("model"), "definitions": definitions}
    option = {**head, "title": "An option of a slot of Dougong", "allOf": [{"$ref": "model.json#/definitions/file"}]}
    model["allOf"] = [{"$ref": model.pop("$ref")}]  # beside a $ref draft 7 reads nothing else
    return {"model.json": model, "option.json": option}


def _ref(name: str, description: str | None = None) -> Schema:
    """A reference; with a description around it, since draft 7 ignores what stands beside one."""
    reference = {"$ref": f"#/definitions/{name}"}
    return {"description": description, "allOf": [reference]} if description else reference


def _mapping(of: Schema, **more: Any) -> Schema:
    return {"type": "object", "additionalProperties": of, **more}


def _any(*of: Schema) -> Schema:
    return {"anyOf": [*of]}


def _when(word: str, value: str, then: Schema) -> Schema:
    return {"if": {"properties": {word: {"const": value}}, "required": [word]}, "then": then}


def _values() -> dict[str, Schema]:
    """What stands where a number, a truth, a name or a shape is asked; a text may be an expression, `${...}`, `???`."""
    whole, text = _ref("whole"), {"type": "string"}
    references = _any(_ref("name"), {"type": "array", "items": _ref("name")}, _mapping(_ref("name")))
    distributions = {name: _distribution(function) for name, function in DISTRIBUTIONS.items()}
    mapping = {"type": "object", "properties": distributions, "additionalProperties": False, "maxProperties": 1}
    sizes = {"type": "array", "items": whole}
    inputs = {
        "type": "object",
        "properties": {"shape": {"type": ["integer", "string", "array", "object"]}, "optional": {"type": "boolean"},
                       "dtype": {"enum": list(DTYPES)}, "vocab": whole},
        "additionalProperties": whole,
    }  # fmt: skip
    claim = {"parameters": {"type": ["integer", "string", "null"]}, "when": _ref("truth")}
    return {
        "whole": {"type": ["integer", "string"]},
        "number": {"type": ["number", "string"]},
        "truth": {"type": ["boolean", "string"]},
        "name": {"type": "string", "pattern": REFERENCE},
        **{word: _ref(definition, text) for word, (definition, text) in WORDS.items()},
        "share": {"const": True, "description": ABOUT["share"]},
        "value": {"type": ["number", "boolean", "string", "array", "object", "null"]},
        "flow": {**references, "examples": ["x"]},
        "outputs": references,
        "times": _any(whole, _mapping({"type": ["array", "string"]}, minProperties=1)),
        "recurrence": {
            "type": "object",
            "properties": {
                "axis": {"type": ["integer", "string"], "description": "Along which axis: tokens, or its place."},
                "state": _mapping(_any(whole, sizes), description="Name -> shape without the batch.", minProperties=1),
                "reverse": {"type": "boolean", "description": "From the last step to the first."},
            },
            "required": ["state"],
            "additionalProperties": False,
        },
        "shape": {"type": "object", "properties": {"shape": {"type": ["array", "string"]}},
                  "additionalProperties": False},
        "params": {"type": ["object", "null"], "propertyNames": {"pattern": NAME}},
        "inputs": _mapping(_any(whole, sizes, inputs)),
        "claim": {"type": "object", "properties": claim, "additionalProperties": False},
        "tie": _mapping(text),
        "distribution": _any({"enum": sorted(distributions)}, mapping, {"type": "null"},
                             {"type": "string", "pattern": r"\$\{|^\?\?\?$"}),
        "initialise": {"type": ["object", "null"], "additionalProperties": _ref("distribution")},
    }  # fmt: skip


def _distribution(function: Any) -> Schema:
    """`{normal: 0.02}`, the first argument; or `{normal: {std: 0.02, mean: 1}}`."""
    hints = typing.get_type_hints(function)
    arguments = {name: _typed(hints[name]) for name in list(inspect.signature(function).parameters)[1:]}
    full = {"type": "object", "properties": arguments, "additionalProperties": False}
    first = next(iter(arguments.values()), None)
    return _any(full, {"type": "null"}, *([first] if first else []))


def _typed(hint: Any) -> Schema:
    """What YAML may give to a parameter of a type."""
    found: list[Schema] = []
    for kind in choices(hint):
        origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
        if kind is NoneType or kind is None:
            found.append({"type": "null"})
        elif origin is Literal:
            found += [{"enum": list(inner)}, _ref("name")]  # a name: of a param that says which
        elif origin in (tuple, list):
            items = [item for item in inner if item is not Ellipsis]
            length = len(items) if items and origin is tuple and Ellipsis not in inner else None
            fixed = {} if length is None else {"minItems": length, "maxItems": length}
            typed = {"items": _typed(items[0])} if items else {}
            found += [{"type": "array", **typed, **fixed}, {"type": "string"}]
        elif origin is dict:
            found.append(_mapping(_typed(inner[-1]) if inner else _ref("value")))
        elif is_module(kind):
            found.append(_ref("part"))
        elif kind in SCALARS:
            found.append(_ref(SCALARS[kind]) if kind is not str else {"type": "string"})
        elif not isinstance(kind, type):
            return _ref("value")
    unique = [item for index, item in enumerate(found) if item not in found[:index]]
    return unique[0] if len(unique) == 1 else _any(*unique) if unique else _ref("value")


SCALARS = {int: "whole", float: "number", bool: "truth", str: "text"}


def _arguments(signature: Signature, layer: bool) -> dict[str, Schema]:
    """Word -> what it takes, with the words of the docstring."""
    said = _section_of_arguments(signature.documentation)
    found = {}
    for word, parameter in signature.parameters.items():
        if word == "in" or word in KINDS:
            continue
        text = said.get(parameter.name, "")
        if layer:  # torch writes reStructuredText, at length: its first sentence, plainly
            text = re.sub(r":\w+:`([^`]*)`", r"`\1`", text).replace("``", "`")
            text = re.split(r"(?<=[.!?]) | Default:", text)[0]
        found[word] = {"description": _told(text, parameter, signature), **_around(_typed(parameter.annotation))}
    return found


def _around(schema: Schema) -> Schema:
    return {"allOf": [schema]} if "$ref" in schema else schema


def _told(text: str, parameter: Parameter, signature: Signature) -> str:
    kind = describe(parameter.annotation)
    text = text[:1].upper() + text[1:].rstrip(".") + ". " if text else ""
    if parameter.word in signature.infer:
        known = "" if "inferred" in text else "; inferred from the input"
        return f"{text}{kind[:1].upper()}{kind[1:]}{known}."
    default = "must be given" if parameter.required else f"{_shown(parameter.default)} when left out"
    return f"{text}{kind[:1].upper()}{kind[1:]}; {default}."


def _shown(value: Any) -> str:
    """A default as YAML writes it."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def _section_of_arguments(documentation: str) -> dict[str, str]:
    """Name -> text of the section Args; a continued line is indented deeper."""
    match = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", documentation, re.DOTALL | re.MULTILINE)
    found: dict[str, str] = {}
    name = ""
    for line in match[1].splitlines() if match else ():
        begun = re.match(r"    (\w+)(?: \([^)]*\))?:\s*(.*)", line)
        if begun:
            name, found[begun[1]] = begun[1], begun[2]
        elif line.strip() and name:
            found[name] += " " + line.strip()
    return {name: " ".join(text.split()) for name, text in found.items()}


def _summary(signature: Signature) -> str:
    text = " ".join(signature.documentation.split("\n\n")[0].split())
    return re.sub(r":\w+:`([^`]*)`", r"`\1`", text).replace("``", "`") or signature.name


def _words(**more: Schema) -> dict[str, Schema]:
    """The words that stand beside any kind of node, and some more."""
    assert set(WORDS) == set(PLACES)
    places = {word: _ref(word) for word in (*WORDS, "share")}
    return {**{word: {"allOf": [schema], "description": ABOUT[word]} for word, schema in more.items()}, **places}


def _blocks(signatures: Mapping[str, Signature], arguments: Mapping[str, Mapping[str, Schema]]) -> dict[str, Schema]:
    """A definition a block; the choice between them; and what a node of a graph cannot leave out."""
    summaries = [_summary(signature) for signature in signatures.values()]
    needed = {
        name: [p.word for p in signature.parameters.values() if p.required and p.word not in signature.infer]
        for name, signature in signatures.items()
    }
    return {
        "block": {"enum": [*signatures], "enumDescriptions": summaries},
        **{
            f"block_{name}": {
                "title": name,
                "description": summary,
                "type": "object",
                "properties": {**arguments[name], **_words(block=_ref("block"))},
                "additionalProperties": False,
            }
            for (name, signature), summary in zip(signatures.items(), summaries, strict=True)
        },
        "blocks": {
            "properties": {"block": {"allOf": [_ref("block")], "description": ABOUT["block"]}},
            "allOf": [_when("block", name, _ref(f"block_{name}")) for name in signatures],
        },
        "complete": {"allOf": [_when("block", name, {"required": words}) for name, words in needed.items() if words]},
    }


def _slots(
    slots: Mapping[str, Mapping[str, Mapping[str, Any]]], arguments: Mapping[str, Mapping[str, Schema]]
) -> dict[str, Schema]:
    """A definition a slot: what any of its options takes. A slot whose options lead on takes anything."""
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
        found[f"slot_{slot}"] = {"description": text, "type": "object",
                                 "properties": {**properties, **_words(use={"type": "string"})},
                                 "additionalProperties": not closed}  # fmt: skip
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
        **{name: {"description": _param(value), **_around(_ref("value"))} for name, value in params.items()},
        **{name: {"description": "A hole, filled with a node.", **_around(_ref("part"))} for name in holes},
    }


def _param(value: Any) -> str:
    return "A param; must be given." if value == MISSING else f"A param; {_shown(value)} when left out."


def _merged(schemas: list[Schema]) -> Schema:
    """One argument of several options: any of what they take, and what each says."""
    kinds = [{key: value for key, value in schema.items() if key != "description"} for schema in schemas]
    unique = [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]]
    text = "\n".join(dict.fromkeys(schema["description"] for schema in schemas))
    return {"description": text, **(unique[0] if len(unique) == 1 else _any(*unique))}


def _nodes(slots: list[str]) -> dict[str, Schema]:
    """Nodes, graphs and files. A `change` is a node or slot of a file that starts from another: what differs."""
    one = [{"required": [kind]} for kind in KINDS if kind != "share"]
    shared = {"properties": {"share": {"type": "string"}}, "required": ["share"]}
    use = {
        "properties": {"use": {**_any({"enum": slots}, _ref("name")), "description": ABOUT["use"]}},
        "allOf": [_when("use", slot, _ref(f"slot_{slot}")) for slot in slots],
    }
    shared_as = {"share": {"type": "string", "description": ABOUT["share"]}}
    share = {"properties": {**_words(), **shared_as}, "additionalProperties": False}

    def body(graph: str, **more: Schema) -> Schema:
        properties = _words(body=_ref(graph), outputs=_ref("outputs"), params=_ref("params"), **more)
        return {"properties": properties, "additionalProperties": False}

    def kinds(graph: str, **more: Schema) -> list[Schema]:
        return [
            {"if": {"required": ["block"]}, "then": _ref("blocks")},
            {"if": {"required": ["use"]}, "then": _ref("use")},
            {"if": {"required": ["body"]}, "then": body(graph, **more)},
        ]

    node = {"type": "object", "properties": _completed(slots), "oneOf": [*one, shared]}
    change_words = _words(body=_ref("changes"), outputs=_ref("outputs"), params=_ref("params"))
    holes = _any({"type": "array", "items": _ref("name")}, _mapping(_any(_ref("part"), {"type": "null"})))
    filling = {"not": {"anyOf": [{"required": [word]} for word in PLACES]}}
    option = {"type": "object", "oneOf": one, "allOf": [*kinds("graph", holes=holes), filling]}
    graph = {"type": "object", "propertyNames": {"pattern": NAME}, "minProperties": 1}
    sections = {
        "defaults": _ref("defaults"),
        **{word: _ref(SECTIONS.get(word, word), ABOUT[word]) for word in MODEL_WORDS},
        **{slot: _ref("change", f"The slot {slot}: what this file says of its option.") for slot in slots},
    }
    starts = {
        "properties": {"defaults": {"contains": {"type": "string", "not": {"const": "_self_"}}}},
        "required": ["defaults"],
    }
    return {
        "use": use,
        "node": {**node, "allOf": [*kinds("graph"), {"if": shared, "then": share}, _ref("complete")]},
        "part": {"type": "object", "properties": _completed(slots), "oneOf": one, "allOf": [*kinds("graph"), filling]},
        "change": {
            "type": ["object", "null"],
            "allOf": [
                {"if": {"required": ["block"]}, "then": _ref("blocks")},
                {"if": {"required": ["use"]}, "then": _ref("use")},
                {
                    "if": {"not": {"anyOf": [{"required": ["block"]}, {"required": ["use"]}]}},
                    "then": {"properties": {**change_words, "share": {"type": ["string", "boolean"]}}},
                },
            ],
        },
        "graph": {**graph, "additionalProperties": _ref("node")},
        "changes": {**graph, "additionalProperties": _ref("change")},
        "option": option,
        "model": {
            "type": "object",
            "properties": sections,
            "additionalProperties": _ref("option"),
            "if": starts,
            "then": {"properties": {"graph": _ref("changes")}},
            "else": {"properties": {"graph": _ref("graph")}, "required": ["graph"]},
        },
        "file": {  # an option, one for several places (`# @package model`), or lines of `initialise`
            "properties": _completed(slots),
            "if": {"type": "object", "anyOf": one},
            "then": _ref("option"),
            "else": {
                "type": ["object", "null"],
                "properties": {**sections, "graph": _ref("changes")},
                "patternProperties": {r"[.*?\[]": _ref("distribution")},
                "additionalProperties": _ref("option"),
            },
        },
    }


SECTIONS = {"graph": "section", "expect": "claim"}


def _completed(slots: list[str]) -> dict[str, Schema]:
    """The kinds, so that an editor offers them in an empty node."""
    return {
        "block": {"allOf": [_ref("block")], "description": ABOUT["block"]},
        "use": {**_any({"enum": slots}, _ref("name")), "description": ABOUT["use"]},
        "body": {"type": "object", "description": ABOUT["body"]},
    }


def _defaults(slots: Mapping[str, Mapping[str, Any]], models: list[str]) -> dict[str, Schema]:
    """Hydra's list: models to start from, and an option for each slot; an option of one's own is a name too."""
    text = _any({"enum": [*models, "_self_"]}, {"type": "string"})
    option = {slot: _any({"enum": [*options]}, {"type": ["string", "null"]}) for slot, options in slots.items()}
    told = {slot: {**schema, "description": f"Fills the slot {slot}."} for slot, schema in option.items()}
    words = {f"{word} {slot}": schema for word in ("override", "optional") for slot, schema in told.items()}
    entry = {"type": "object", "properties": {**told, **words}, "minProperties": 1, "maxProperties": 1}
    patterns = {"additionalProperties": {"type": ["string", "null"]}}
    return {
        "section": {"type": "object"},
        "defaults": {
            "description": "Which option fills each slot; another model's name to start from it; _self_ last.",
            "type": "array",
            "items": _any(text, {**entry, **patterns}),
        },
    }
