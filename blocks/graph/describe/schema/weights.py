"""The schema of a weight map, `conf/weights/*.yaml`: which tensors of a file fill each of ours."""

from blocks.graph.describe.schema.parts import STRING, Schema, any_of, array, closed, head, mapping
from blocks.graph.weights.interpolate import FITS
from blocks.graph.weights.line import WORDS
from blocks.graph.weights.names import LISTS, SECTIONS

WHOLE: Schema = {
    "type": ["integer", "string"],
    "description": "A whole number, or an expression of the pieces.",
}
ABOUT = {
    "map": "Our tensor: theirs, or our tensor: {from: theirs, ...}. {i} matches text without a "
    "dot, {p*} any text.",
    "rename": "Names in older files: the names of today.",
    "tie": "A tensor that the file leaves out: the one it shares.",
    "drop": "Patterns of theirs that are left out on purpose.",
    "keep": "Patterns of ours that keep their initial values.",
    "head": "Patterns of ours that a head with other classes replaces.",
}
LINE: dict[str, Schema] = {
    "from": {
        **any_of(STRING, array(STRING)),
        "description": "Theirs; several are joined.",
    },
    "parts": {
        **any_of(WHOLE, array(WHOLE)),
        "description": "Which of the parts `of`.",
    },
    "of": {
        **any_of(WHOLE, array(WHOLE)),
        "description": "Into how many equal parts it is cut, or the size of each part.",
    },
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
        "description": "Axes to reverse.",
    },
    "interleaved": {
        **WHOLE,
        "description": "How many tensors lie in turn along the axis; they are put one after the "
        "other.",
    },
    "add": {"type": "number", "description": "A number that is added to every value."},
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
        "description": "Rows in front of a table that have no position: class tokens.",
    },
}


def weights() -> Schema:
    """The schema of a weight map."""
    assert set(LINE) == set(WORDS)
    assert set(ABOUT) == set(SECTIONS)
    properties = {}
    for section in SECTIONS:
        schema = mapping(STRING)
        if section in LISTS:
            schema = array(STRING)
        elif section == "map":
            line = closed(LINE, required=["from"])
            schema = mapping(any_of(STRING, array(STRING), line), minProperties=1)
        schema["type"] = [schema["type"], "null"]
        properties[section] = {**schema, "description": ABOUT[section]}
    return {**head("A map of weights of Dougong"), **closed(properties, required=["map"])}
