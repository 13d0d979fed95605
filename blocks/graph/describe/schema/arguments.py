"""The arguments of a constructor: what each takes, and how its docstring describes it."""

import re
import typing
from types import NoneType
from typing import Any, Literal

from blocks.graph.describe.schema.parts import STRING, Schema, any_of, array, mapping, ref
from blocks.graph.language import types
from blocks.graph.language.docstring import read_docstring, without_roles
from blocks.graph.language.signature import ArgumentSpec, Signature, is_module
from blocks.graph.language.words import KINDS

SCALARS = {int: ref("whole"), float: ref("number"), bool: ref("truth"), str: STRING}


def describe_type(hint: Any) -> Schema:
    """What YAML may give to a parameter of a type."""
    found: list[Schema] = []
    for kind in types.list_choices(hint):
        schemas = _describe_kind(kind)
        if schemas is None:
            return ref("value")
        for schema in schemas:
            if schema not in found:
                found.append(schema)
    if not found:
        return ref("value")
    return found[0] if len(found) == 1 else any_of(*found)


def _describe_kind(kind: Any) -> list[Schema] | None:
    """What fits one of the types of a union; None where anything may."""
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if kind is NoneType or kind is None:
        return [{"type": "null"}]
    if origin is Literal:
        return [{"enum": list(inner)}, ref("name")]  # a name: of a param that holds the choice
    if origin in (tuple, list):
        return [_describe_sequence(origin, inner), STRING]
    if origin is dict:
        return [mapping(describe_type(inner[-1]) if inner else ref("value"))]
    if is_module(kind):
        return [ref("inner_block")]
    if kind in SCALARS:
        return [SCALARS[kind]]
    return [] if isinstance(kind, type) else None


def _describe_sequence(origin: Any, inner: tuple[Any, ...]) -> Schema:
    """A list; a tuple of a fixed length has that length."""
    items = [item for item in inner if item is not Ellipsis]
    if not items:
        return {"type": "array"}
    schema = array(describe_type(items[0]))
    if origin is tuple and Ellipsis not in inner:
        schema |= {"minItems": len(items), "maxItems": len(items)}
    return schema


def arguments_of(signature: Signature, is_layer: bool) -> dict[str, Schema]:
    """Key in YAML -> what it takes, with the text of the docstring.

    Args:
        is_layer: whether torch wrote the docstring.
    """
    found = {}
    for key, text in texts_of(signature, is_layer).items():
        parameter = signature.parameters[key]
        description = _describe_argument(text, parameter, signature)
        found[key] = {"description": description, **wrap(describe_type(parameter.annotation))}
    return found


def texts_of(signature: Signature, is_layer: bool) -> dict[str, str]:
    """Key in YAML -> what the docstring says about it.

    Args:
        is_layer: whether torch wrote the docstring, in reStructuredText and at length: its first
            sentence is taken.
    """
    texts = read_docstring(signature.documentation).arguments
    found = {}
    for key, parameter in signature.parameters.items():
        if key == "in" or key in KINDS:
            continue
        text = texts.get(parameter.name, "")
        if is_layer:
            text = re.split(r"(?<=[.!?]) | Default:", without_roles(text))[0]
        found[key] = text
    return found


def wrap(schema: Schema) -> Schema:
    """A schema beside which others may stand: draft 7 ignores what stands beside a reference."""
    return {"allOf": [schema]} if "$ref" in schema else schema


def _describe_argument(text: str, parameter: ArgumentSpec, signature: Signature) -> str:
    kind = types.describe_type(parameter.annotation)
    if text:
        text = f"{text[:1].upper()}{text[1:].rstrip('.')}. "
    text += kind[:1].upper() + kind[1:]
    if parameter.word not in signature.infer:
        if parameter.required:
            return f"{text}; must be given."
        return f"{text}; {show_default(parameter.default)} when left out."
    if "inferred" in text:
        return f"{text}."
    return f"{text}; inferred from the input."


def show_default(value: Any) -> str:
    """A default as YAML writes it."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def summary_of(signature: Signature) -> str:
    """The first paragraph of a block's docstring."""
    return without_roles(read_docstring(signature.documentation).summary) or signature.name
