"""What stands where a number, a truth, a name, a shape or a distribution is asked."""

import inspect
import typing
from typing import Any

from blocks.graph.describe.schema.arguments import typed
from blocks.graph.describe.schema.parts import NAME, REFERENCE, Schema, any_of, mapping, ref
from blocks.graph.record.initialise import DISTRIBUTIONS
from blocks.graph.record.value import DTYPES

WORDS = {  # word -> definition, what it means
    "in": (
        "flow",
        "What flows in: a node or input, [a, b] for the ports in order, {port: node}; [] for "
        "nothing. "
        "Left out: what the sibling before gives.",
    ),
    "repeat": (
        "times",
        "How often: a number, or lists of equal length, zipped: {depth: [2, 2], heads: [3, 6]}.",
    ),
    "scan": ("recurrence", "Runs the body once per step along an axis, with named state."),
    "as": ("name", "Name of the counter of `repeat`; `layer` when left out."),
    "when": (
        "truth",
        "The node exists only where this is true; elsewhere its name stands for its first input.",
    ),
    "after": (
        "name",
        "Stands behind the node it names; for a node that another file or the command line adds.",
    ),
    "expect": ("shape", "A claim about what the node gives: {shape: [batch, 65, 192]}."),
}
ABOUT = {
    "params": "Numbers and words by name; they may be expressions of each other.",
    "inputs": "What flows into the model: data.image, [3, 224, 224] or {channels: 3, height: "
    "224, width: 224}.",
    "graph": "The nodes, by name, in the order in which they run.",
    "outputs": "What it gives: a node, a list of nodes, or {name: node}. Left out: the last node.",
    "expect": "The claim of the file: {parameters: 5717416, when: data.classes == 1000}.",
    "tie": "Parameters that are one: {head.weight: embedding.weight}.",
    "initialise": "How parameters start: {Linear.weight: {trunc_normal: 0.02}, '*.bias': zeros}.",
    "example": "Facts to look at the model with where no data are chosen: {image: [3, 224, "
    "224], classes: 1000}.",
    "block": "A block of the catalogue.",
    "use": "The option chosen for a slot of the model, or what fills a hole of the template "
    "around it.",
    "body": "A graph inside the graph. It sees its own inputs and nodes; the first input is x.",
    "share": "The module that stands at that node, weights and all; `true` beside repeat: all "
    "repeats are one.",
    "holes": "Places for other nodes: [inner], or {inner: {use: mlp}} with a default.",
}


def values() -> dict[str, Schema]:
    """What stands where a number, a truth, a name or a shape is asked; a text may be an expression,
    `${...}`, `???`.
    """
    whole, text = ref("whole"), {"type": "string"}
    references = any_of(ref("name"), {"type": "array", "items": ref("name")}, mapping(ref("name")))
    distributions = {name: _distribution(function) for name, function in DISTRIBUTIONS.items()}
    named = {
        "type": "object",
        "properties": distributions,
        "additionalProperties": False,
        "maxProperties": 1,
    }
    sizes = {"type": "array", "items": whole}
    inputs = {
        "type": "object",
        "properties": {
            "shape": {"type": ["integer", "string", "array", "object"]},
            "optional": {"type": "boolean"},
            "dtype": {"enum": list(DTYPES)},
            "vocab": whole,
        },
        "additionalProperties": whole,
    }
    claim = {"parameters": {"type": ["integer", "string", "null"]}, "when": ref("truth")}
    return {
        "whole": {"type": ["integer", "string"]},
        "number": {"type": ["number", "string"]},
        "truth": {"type": ["boolean", "string"]},
        "name": {"type": "string", "pattern": REFERENCE},
        **{word: ref(definition, text) for word, (definition, text) in WORDS.items()},
        "share": {"const": True, "description": ABOUT["share"]},
        "value": {"type": ["number", "boolean", "string", "array", "object", "null"]},
        "flow": references,
        "outputs": references,
        "times": any_of(whole, mapping({"type": ["array", "string"]}, minProperties=1)),
        "recurrence": {
            "type": "object",
            "properties": {
                "axis": {
                    "type": ["integer", "string"],
                    "description": "Along which axis: tokens, or its place.",
                },
                "state": mapping(
                    any_of(whole, sizes),
                    description="Name -> shape without the batch.",
                    minProperties=1,
                ),
                "reverse": {"type": "boolean", "description": "From the last step to the first."},
            },
            "required": ["state"],
            "additionalProperties": False,
        },
        "shape": {
            "type": "object",
            "properties": {"shape": {"type": ["array", "string"]}},
            "additionalProperties": False,
        },
        "params": {"type": ["object", "null"], "propertyNames": {"pattern": NAME}},
        "inputs": mapping(any_of(whole, sizes, inputs)),
        "claim": {"type": "object", "properties": claim, "additionalProperties": False},
        "tie": mapping(text),
        "example": {"type": ["object", "null"], "propertyNames": {"pattern": NAME}},
        "distribution": any_of(
            {"enum": sorted(distributions)},
            named,
            {"type": "null"},
            {"type": "string", "pattern": r"\$\{|^\?\?\?$"},
        ),
        "initialise": {"type": ["object", "null"], "additionalProperties": ref("distribution")},
    }


def _distribution(function: Any) -> Schema:
    """`{normal: 0.02}`, the first argument; or `{normal: {std: 0.02, mean: 1}}`."""
    hints = typing.get_type_hints(function)
    arguments = {
        name: typed(hints[name]) for name in list(inspect.signature(function).parameters)[1:]
    }
    full = {"type": "object", "properties": arguments, "additionalProperties": False}
    first = next(iter(arguments.values()), None)
    return any_of(full, {"type": "null"}, *([first] if first else []))
