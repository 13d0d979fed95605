"""Pieces of JSON Schema, draft 7, and how a schema is written into a file."""

import json
from typing import Any

Schema = dict[str, Any]
DRAFT = "http://json-schema.org/draft-07/schema#"
NAME = r"^[A-Za-z_]\w*$"
REFERENCE = r"^[A-Za-z_][\w.]*(\.\*|\[.+\])?$|\$\{|^\?\?\?$"


STRING: Schema = {"type": "string"}


def head(title: str) -> Schema:
    """What every file begins with."""
    return {"$schema": DRAFT, "$comment": "Made by `make schema`.", "title": title}


def ref(name: str, description: str | None = None) -> Schema:
    """A reference; with a description around it, since draft 7 ignores what stands beside one."""
    reference = {"$ref": f"#/definitions/{name}"}
    return {"description": description, "allOf": [reference]} if description else reference


def mapping(of: Schema, **more: Any) -> Schema:
    """A mapping whose values all fit one schema."""
    return {"type": "object", "additionalProperties": of, **more}


def array(of: Schema) -> Schema:
    """A list whose items all fit one schema."""
    return {"type": "array", "items": of}


def closed(properties: Schema, **more: Any) -> Schema:
    """A mapping that takes these keys alone."""
    return {"type": "object", "properties": properties, **more, "additionalProperties": False}


def any_of(*of: Schema) -> Schema:
    """What fits any of several schemas."""
    return {"anyOf": [*of]}


def has(*keys: str) -> Schema:
    """A mapping that has these keys."""
    return {"required": [*keys]}


def if_then(condition: Schema, then: Schema) -> Schema:
    """What must fit where a condition fits."""
    return {"if": condition, "then": then}


def when(key: str, value: str, then: Schema) -> Schema:
    """What must fit where a key has a value."""
    return if_then({"properties": {key: {"const": value}}, **has(key)}, then)


# As text ------------------------------------------------------------------------------------------


def format_schema(schema: Any, width: int = 200) -> str:
    """A schema as a file: one argument a line, however long its description, so that a change reads
    well.
    """
    return "\n".join(_format(schema, 0, width)) + "\n"


def _format(value: Any, depth: int, width: int, before: str = "", behind: str = "") -> list[str]:
    """The lines of a value, with what stands before and behind it."""
    whole = before + json.dumps(value, ensure_ascii=False) + behind
    if not value or not isinstance(value, dict | list):
        return [" " * depth + whole]
    if depth + len(whole) - _description_length(value) <= width:
        return [" " * depth + whole]
    pairs: list[tuple[str, Any]] = []
    if isinstance(value, list):
        begin, end = "[", "]"
        pairs += [("", item) for item in value]
    else:
        begin, end = "{", "}"
        pairs += [(f"{json.dumps(name)}: ", item) for name, item in value.items()]
    lines: list[str] = []
    for index, (name, item) in enumerate(pairs, 1):
        lines += _format(item, depth + 1, width, name, "," if index < len(pairs) else "")
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        lines = _fill_lines(lines, width)
    return [" " * depth + before + begin, *lines, " " * depth + end + behind]


def _description_length(value: dict[str, Any] | list[Any]) -> int:
    if isinstance(value, list):
        return 0
    return sum(len(text) for text in value.values() if isinstance(text, str))


def _fill_lines(items: list[str], width: int) -> list[str]:
    """As many items in a line as fit."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + len(item.strip()) < width:
            lines[-1] += " " + item.strip()
        else:
            lines.append(item)
    return lines
