"""The schema of a weight map, `conf/weights/*.yaml`: for each of our tensors, which of theirs fill
it.
"""

from blocks.graph.describe.schema.parts import Schema, any_of, head, mapping
from blocks.graph.weights.interpolate import FITS
from blocks.graph.weights.line import WORDS
from blocks.graph.weights.names import LISTS, SECTIONS

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {
    "type": ["integer", "string"],
    "description": "A whole number, or an expression of the pieces.",
}
ABOUT = {
    "map": "Ours: theirs, or ours: {from: theirs, ...}. {i} stands for one stretch of a name, "
    "{p*} for any.",
    "rename": "Names in older files: those of today.",
    "tie": "A tensor that the file leaves out: the one that it is.",
    "drop": "Patterns of theirs that are left out on purpose.",
    "keep": "Patterns of ours that stay as they start.",
    "head": "Patterns of ours that a head with other classes replaces.",
}
LINE: dict[str, Schema] = {
    "from": {
        **any_of(TEXT, {"type": "array", "items": TEXT}),
        "description": "Theirs; several are joined.",
    },
    "parts": {
        **any_of(WHOLE, {"type": "array", "items": WHOLE}),
        "description": "Which of `of` equal parts.",
    },
    "of": {**WHOLE, "description": "Into how many equal parts it is cut."},
    "axis": {**WHOLE, "description": "Along which axis it is joined or cut; 0 when left out."},
    "transpose": {"type": "boolean", "description": "Rows become columns."},
    "permute": {
        "type": "array",
        "items": {"type": "integer"},
        "description": "The axes in another order.",
    },
    "flip": {
        "type": "array",
        "items": {"type": "integer"},
        "description": "Axes to be turned round.",
    },
    "reshape": {"type": "boolean", "description": "The same numbers in our shape."},
    "fit": {
        "enum": [*FITS],
        "description": "How a table of positions is brought to another resolution.",
    },
    "grid": {
        "type": "array",
        "items": {"type": "integer", "minimum": 1},
        "minItems": 2,
        "maxItems": 2,
        "description": "Rows and columns of their table of positions; a square when left out.",
    },
    "prefix": {
        **WHOLE,
        "description": "Rows in front of a table that stand nowhere: class tokens.",
    },
}


def weights() -> Schema:
    """Of a map."""
    assert set(LINE) == set(WORDS)
    assert set(ABOUT) == set(SECTIONS)
    line = {
        "type": "object",
        "properties": LINE,
        "required": ["from"],
        "additionalProperties": False,
    }
    names = {"type": "array", "items": TEXT}
    of = {**{word: mapping(TEXT) for word in SECTIONS}, **dict.fromkeys(LISTS, names)}
    of["map"] = mapping(any_of(TEXT, names, line), minProperties=1)
    sections = {
        word: {**schema, "type": [schema["type"], "null"], "description": ABOUT[word]}
        for word, schema in of.items()
    }
    return {
        **head("A map of weights of Dougong"),
        "type": "object",
        "properties": sections,
        "required": ["map"],
        "additionalProperties": False,
    }
