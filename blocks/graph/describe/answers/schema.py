"""JSON Schema of the answers that `python -m blocks ... --json` prints, and of errors."""

from typing import Any

from blocks.graph.codes import CODES
from blocks.graph.describe.schema.parts import head, mapping, ref

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
WHOLE_OR_NULL: Schema = {"type": ["integer", "null"]}
SIZES: Schema = {"type": "array", "items": {"type": ["integer", "string"]}}

PROBLEM: dict[str, Schema] = {
    "file": TEXT_OR_NULL,
    "line": WHOLE_OR_NULL,
    "column": WHOLE_OR_NULL,
    "where": TEXT_OR_NULL,
    "path": TEXT_OR_NULL,
    "code": {"enum": list(CODES)},
    "problem": TEXT,
    "got": TEXT_OR_NULL,
    "from": TEXT_OR_NULL,
    "fits": TEXT_OR_NULL,
    "fix": TEXT_OR_NULL,
}
NODE: dict[str, Schema] = {
    "name": TEXT,
    "path": TEXT,
    "block": TEXT,
    "inputs": {"type": "array", "items": SIZES},
    "outputs": mapping(SIZES),
    "parameters": WHOLE,
    "share": NUMBER,
    "macs": WHOLE,
    "memory": WHOLE,
    "field": {"type": ["array", "null"], "items": NUMBER},
    "parts": mapping(TEXT),
    "arguments": mapping({"type": ["integer", "number", "string", "boolean", "null"]}),
    "where": TEXT,
    "children": {"type": "array", "items": {"$ref": "#/definitions/node"}},
}
SIDE = {"overrides": TEXT, "parameters": WHOLE, "macs": WHOLE, "outputs": TEXT}
CHOICE = ("name", "summary", "file", "origin")
NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
SCORES: Schema = {"type": "object", "additionalProperties": NUMBER}
RESULT: dict[str, Schema] = {
    "run": TEXT,
    "epochs": WHOLE,
    "status": TEXT_OR_NULL,
    "command": TEXT_OR_NULL,
    "seconds": NUMBER_OR_NULL,
    "best_epoch": WHOLE_OR_NULL,
    "checkpoint": TEXT_OR_NULL,
    "test": {"anyOf": [SCORES, {"type": "null"}]},
    "error": TEXT_OR_NULL,
    "metrics": {"type": "array", "items": SCORES},
}
BLOCK_LISTS = ("takes", "gives", "arguments", "models")
BLOCK_TEXTS = ("name", "family", "summary", "source", "documentation")
BYTES = (
    "weights",
    "gradients",
    "optimizer",
    "gathered",
    "activations",
    "activations recomputed",
    "outputs",
)


def describe_answers() -> Schema:
    """Return the schema; `definitions` has one entry for each command."""
    block = {**dict.fromkeys(BLOCK_TEXTS, TEXT), **dict.fromkeys(BLOCK_LISTS, list_of(TEXT))}
    run = {"overrides": list_of(TEXT), "ok": {"type": "boolean"}}
    fit = {"overrides": list_of(TEXT), "key": TEXT, "value": WHOLE, "parameters": WHOLE}
    fitted = record({**fit, "macs": WHOLE, "off": NUMBER}, {"base": {"type": "object"}})
    line = {"kind": TEXT, "depth": WHOLE, "name": TEXT, "details": list_of(TEXT)}
    found = list_of(record({**PROBLEM, "runs": list_of(WHOLE)}))
    definitions = {
        "problem": record(PROBLEM),
        "node": record(NODE, {"repeat": {}, "tied": mapping(TEXT)}),
        "errors": record({"errors": list_of(ref("problem")), "status": WHOLE}),
        "explain": record(
            {
                "parameters": WHOLE,
                "macs": WHOLE,
                "memory": WHOLE,
                "outputs": mapping(SIZES),
                "nodes": list_of(ref("node")),
            }
        ),
        "memory": record(dict.fromkeys(BYTES, WHOLE)),
        "time": record(
            {
                **dict.fromkeys(("products", "memory", "optimizer", "step"), NUMBER),
                "steps": WHOLE_OR_NULL,
                "training": NUMBER_OR_NULL,
            }
        ),
        "devices": record(
            {
                "rows": list_of(
                    record(
                        {
                            "devices": WHOLE,
                            "strategy": TEXT,
                            "divided": WHOLE,
                            "refused": TEXT_OR_NULL,
                        },
                        {
                            "memory": WHOLE,
                            "traffic": list_of(
                                record(
                                    {
                                        **dict.fromkeys(("collective", "purpose"), TEXT),
                                        **dict.fromkeys(("devices", "bytes", "sent"), WHOLE),
                                        "overlaps": {"type": "boolean"},
                                    }
                                )
                            ),
                            "step": NUMBER,
                            "waiting": NUMBER,
                        },
                    )
                )
            }
        ),
        "cache": record(
            {
                "token": WHOLE,
                "window": WHOLE,
                "state": WHOLE,
                "blocks": list_of(
                    record({"path": TEXT, "token": WHOLE, "window": WHOLE_OR_NULL, "state": WHOLE})
                ),
            }
        ),
        "check": record(
            {
                "runs": list_of(record(run, {"parameters": WHOLE, "macs": WHOLE})),
                "errors": found,
                "warnings": found,
                "status": WHOLE,
            }
        ),
        "diff": record(
            {
                "old": record(SIDE),
                "new": record(SIDE),
                "parameters": WHOLE,
                "macs": WHOLE,
                "nodes": list_of(record(line)),
                "data": TEXT_OR_NULL,
            }
        ),
        "fit": record({"fits": list_of(fitted)}),
        "catalog": record({"blocks": list_of(record(block))}),
        "why": record({"path": TEXT, "why": TEXT}),
        "list": record({"choices": list_of(record(dict.fromkeys(CHOICE, TEXT)))}),
        "show": record({"name": TEXT, "file": TEXT, "yaml": TEXT}),
        "result": record(RESULT),
    }
    answers = [name for name in definitions if name not in ("problem", "node")]
    return {
        **head("An answer of python -m blocks --json, or of dougong --json"),
        "anyOf": [ref(name) for name in answers],
        "definitions": definitions,
    }


def list_of(items: Schema) -> Schema:
    """A list whose items fit one schema."""
    return {"type": "array", "items": items}


def record(properties: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """An object with exactly these keys.

    Args:
        properties: keys that are always there.
        optional: keys that may be absent.
    """
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
        "additionalProperties": False,
    }
