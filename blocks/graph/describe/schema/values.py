"""Values: numbers, truths, names, shapes, distributions."""

import inspect
import typing
from collections.abc import Callable
from typing import Any

from blocks.graph.describe.schema.arguments import describe_type
from blocks.graph.describe.schema.parts import (
    NAME,
    REFERENCE,
    STRING,
    Schema,
    any_of,
    array,
    closed,
    mapping,
    ref,
)
from blocks.graph.record.initialise import DISTRIBUTIONS
from blocks.graph.record.value import DTYPES

WORDS = {  # key -> definition, description
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
    "cycle": (
        "cycles",
        "Beside `repeat`: values of slots and params that take turns, "
        "{attention: [local, local, full]}.",
    ),
    "scan": ("recurrence", "Runs the body once per step along an axis, with named state."),
    "as": ("name", "Name of the counter of `repeat`; `layer` when left out."),
    "when": (
        "truth",
        "The node exists only where this is true; elsewhere its name stands for its first input.",
    ),
    "after": (
        "name",
        "Places the node behind this one; for a node that another file or the command line adds.",
    ),
    "expect": ("shape", "The expected shape of its output: {shape: [batch, 65, 192]}."),
}
ABOUT = {
    "params": "Numbers and texts by name; each may be an expression of the others.",
    "inputs": "What flows into the model: data.image, [3, 224, 224] or {channels: 3, height: "
    "224, width: 224}.",
    "graph": "The nodes, by name, in the order in which they run.",
    "outputs": "What it gives: a node, a list of nodes, or {name: node}. Left out: the last node.",
    "entries": "Parts that are called alone: {decode: {inputs: {memory: encoder}, outputs: head}}.",
    "expect": "The expected parameter count: {parameters: 5717416, when: data.classes == 1000}.",
    "tie": "Parameters that share one tensor: {head.weight: embedding.weight}; * on the left is "
    "any text.",
    "initialise": "Initial values of parameters: {Linear.weight: {trunc_normal: 0.02}, '*.bias': "
    "zeros}.",
    "example": "Facts of the data, for inspecting the model where no data are chosen: {image: [3, "
    "224, 224], classes: 1000}.",
    "block": "A block of the catalogue.",
    "use": "The option chosen for a slot of the model, or what fills a hole of the template "
    "around it; an expression may choose: local if layer.index % 2 == 0 else full.",
    "body": "A graph inside the graph. It sees its own inputs and nodes; the first input is x.",
    "share": "Calls the module of that node again, with its weights; `true` beside repeat: all "
    "repeats share one module.",
    "holes": "Places for other nodes: [inner], or {inner: {use: mlp}} with a default.",
}


def define_values() -> dict[str, Schema]:
    """Numbers, truths, names, shapes and distributions; a text may be an expression, `${...}` or
    `???`.
    """
    whole = ref("whole")
    sizes = array(whole)
    references = any_of(ref("name"), array(ref("name")), mapping(ref("name")))
    return {
        "whole": {"type": ["integer", "string"]},
        "number": {"type": ["number", "string"]},
        "truth": {"type": ["boolean", "string"]},
        "name": {"type": "string", "pattern": REFERENCE},
        **{key: ref(definition, text) for key, (definition, text) in WORDS.items()},
        "share": {"const": True, "description": ABOUT["share"]},
        "value": {"type": ["number", "boolean", "string", "array", "object", "null"]},
        "flow": references,
        "outputs": any_of(
            ref("name"), array(ref("name")), mapping(any_of(ref("name"), {"type": "null"}))
        ),
        "times": any_of(whole, mapping({"type": ["array", "string"]}, minProperties=1)),
        "cycles": mapping({"type": ["array", "string"]}, minProperties=1),
        "recurrence": _define_recurrence(any_of(whole, sizes)),
        "shape": closed({"shape": {"type": ["array", "string"]}}),
        "params": {"type": ["object", "null"], "propertyNames": {"pattern": NAME}},
        "inputs": mapping(any_of(whole, sizes, _define_input(whole), {"type": "null"})),
        "entries": mapping(
            any_of(
                closed(
                    {
                        "inputs": mapping(any_of(ref("name"), {"type": "null"})),
                        "outputs": any_of(ref("outputs"), {"type": "null"}),
                    }
                ),
                {"type": "null"},
            )
        ),
        "claim": closed(
            {"parameters": {"type": ["integer", "string", "null"]}, "when": ref("truth")}
        ),
        "tie": mapping(STRING),
        "example": {"type": ["object", "null"], "propertyNames": {"pattern": NAME}},
        "distribution": _define_distribution(),
        "initialise": {"type": ["object", "null"], "additionalProperties": ref("distribution")},
    }


def _define_recurrence(shape: Schema) -> Schema:
    properties = {
        "axis": {
            "type": ["integer", "string"],
            "description": "Along which axis: tokens, or its index.",
        },
        "state": mapping(shape, description="Name -> shape without the batch.", minProperties=1),
        "reverse": {"type": "boolean", "description": "From the last step to the first."},
    }
    return closed(properties, required=["state"])


def _define_input(whole: Schema) -> Schema:
    properties = {
        "shape": {"type": ["integer", "string", "array", "object"]},
        "optional": {"type": "boolean"},
        "dtype": {"enum": list(DTYPES)},
        "vocab": whole,
    }
    return {"type": "object", "properties": properties, "additionalProperties": whole}


def _define_distribution() -> Schema:
    """A name, or `{name: arguments}`."""
    distributions = {}
    for name, function in DISTRIBUTIONS.items():
        distributions[name] = _arguments_of(function)
    return any_of(
        {"enum": sorted(distributions)},
        {**closed(distributions), "maxProperties": 1},
        {"type": "null"},
        {"type": "string", "pattern": r"\$\{|^\?\?\?$"},
    )


def _arguments_of(function: Callable[..., Any]) -> Schema:
    """`{normal: 0.02}`, the first argument; or `{normal: {std: 0.02, mean: 1}}`."""
    hints = typing.get_type_hints(function)
    arguments = {}
    for name in list(inspect.signature(function).parameters)[1:]:
        arguments[name] = describe_type(hints[name])
    first = list(arguments.values())[:1]
    return any_of(closed(arguments), {"type": "null"}, *first)
