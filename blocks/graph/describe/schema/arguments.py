"""The arguments of a constructor: what each takes, and what its docstring says of it."""

import re
import typing
from types import NoneType
from typing import Any, Literal

from blocks.graph.describe.schema.parts import Schema, any_of, mapping, ref
from blocks.graph.language.arguments import choices, describe
from blocks.graph.language.docstring import read_docstring
from blocks.graph.language.signature import Parameter, Signature, is_module
from blocks.graph.language.words import KINDS


def typed(hint: Any) -> Schema:
    """What YAML may give to a parameter of a type."""
    found: list[Schema] = []
    for kind in choices(hint):
        origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
        if kind is NoneType or kind is None:
            found.append({"type": "null"})
        elif origin is Literal:
            found += [{"enum": list(inner)}, ref("name")]  # a name: of a param that says which
        elif origin in (tuple, list):
            items = [item for item in inner if item is not Ellipsis]
            length = len(items) if items and origin is tuple and Ellipsis not in inner else None
            fixed = {} if length is None else {"minItems": length, "maxItems": length}
            each = {"items": typed(items[0])} if items else {}
            found += [{"type": "array", **each, **fixed}, {"type": "string"}]
        elif origin is dict:
            found.append(mapping(typed(inner[-1]) if inner else ref("value")))
        elif is_module(kind):
            found.append(ref("part"))
        elif kind in SCALARS:
            found.append(ref(SCALARS[kind]) if kind is not str else {"type": "string"})
        elif not isinstance(kind, type):
            return ref("value")
    unique = [item for index, item in enumerate(found) if item not in found[:index]]
    return unique[0] if len(unique) == 1 else any_of(*unique) if unique else ref("value")


SCALARS = {int: "whole", float: "number", bool: "truth", str: "text"}


def arguments_of(signature: Signature, layer: bool) -> dict[str, Schema]:
    """Word -> what it takes, with the words of the docstring."""
    said = read_docstring(signature.documentation).arguments
    found = {}
    for word, parameter in signature.parameters.items():
        if word == "in" or word in KINDS:
            continue
        text = said.get(parameter.name, "")
        if layer:  # torch writes reStructuredText, at length: its first sentence, plainly
            text = re.sub(r":\w+:`([^`]*)`", r"`\1`", text).replace("``", "`")
            text = re.split(r"(?<=[.!?]) | Default:", text)[0]
        found[word] = {
            "description": told(text, parameter, signature),
            **around(typed(parameter.annotation)),
        }
    return found


def around(schema: Schema) -> Schema:
    return {"allOf": [schema]} if "$ref" in schema else schema


def told(text: str, parameter: Parameter, signature: Signature) -> str:
    kind = describe(parameter.annotation)
    text = text[:1].upper() + text[1:].rstrip(".") + ". " if text else ""
    if parameter.word in signature.infer:
        known = "" if "inferred" in text else "; inferred from the input"
        return f"{text}{kind[:1].upper()}{kind[1:]}{known}."
    default = "must be given" if parameter.required else f"{shown(parameter.default)} when left out"
    return f"{text}{kind[:1].upper()}{kind[1:]}; {default}."


def shown(value: Any) -> str:
    """A default as YAML writes it."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def summary(signature: Signature) -> str:
    text = read_docstring(signature.documentation).summary
    return re.sub(r":\w+:`([^`]*)`", r"`\1`", text).replace("``", "`") or signature.name
