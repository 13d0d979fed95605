"""Pieces of JSON Schema, draft 7, and how a schema is written into a file."""

import json
from typing import Any

Schema = dict[str, Any]
DRAFT = "http://json-schema.org/draft-07/schema#"
NAME = r"^[A-Za-z_]\w*$"
REFERENCE = r"^[A-Za-z_][\w.]*$|\$\{|^\?\?\?$"


def head(title: str) -> Schema:
    """What every file begins with."""
    return {"$schema": DRAFT, "$comment": "Made by `make schema`.", "title": title}


def ref(name: str, description: str | None = None) -> Schema:
    """A reference; with a description around it, since draft 7 ignores what stands beside one."""
    reference = {"$ref": f"#/definitions/{name}"}
    return {"description": description, "allOf": [reference]} if description else reference


def mapping(of: Schema, **more: Any) -> Schema:
    return {"type": "object", "additionalProperties": of, **more}


def any_of(*of: Schema) -> Schema:
    return {"anyOf": [*of]}


def when(word: str, value: str, then: Schema) -> Schema:
    return {"if": {"properties": {word: {"const": value}}, "required": [word]}, "then": then}


def text(schema: Any, width: int = 200) -> str:
    """A schema as a file: an argument a line, however much is said of it, so that a change reads
    well.
    """
    return "\n".join(_laid(schema, 0, width)) + "\n"


def _laid(value: Any, depth: int, width: int, before: str = "", behind: str = "") -> list[str]:
    whole = before + json.dumps(value, ensure_ascii=False) + behind
    said = (
        sum(len(text) for text in value.values() if isinstance(text, str))
        if isinstance(value, dict)
        else 0
    )
    if depth + len(whole) - said <= width or not isinstance(value, dict | list) or not value:
        return [" " * depth + whole]
    listed = isinstance(value, list)
    pairs = [("", item) for item in value] if isinstance(value, list) else value.items()
    items = [(f"{json.dumps(name)}: " if name else "", item) for name, item in pairs]
    inner = [
        _laid(item, depth + 1, width, name, "," if index < len(items) - 1 else "")
        for index, (name, item) in enumerate(items)
    ]
    words = listed and all(isinstance(item, str) for item in value)
    lines = _filled(inner, width) if words else [line for item in inner for line in item]
    return [
        " " * depth + before + ("[" if listed else "{"),
        *lines,
        " " * depth + ("]" if listed else "}") + behind,
    ]


def _filled(items: list[list[str]], width: int) -> list[str]:
    """As many words in a line as fit."""
    lines: list[str] = []
    for (item,) in items:
        if lines and len(lines[-1]) + len(item.strip()) < width:
            lines[-1] += " " + item.strip()
        else:
            lines.append(item)
    return lines
