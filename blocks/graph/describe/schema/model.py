"""JSON Schema of the language, for editors: what may stand in `conf/model/*.yaml` and in the
options of its slots.

Made from the signatures of the blocks, their docstrings and the folders of `conf/model`. It never
flags what the assembler would build; what only the assembler can know (shapes, whether an
expression holds, a name that no other model uses) it lets pass. Draft 7, which every YAML language
server reads.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from blocks.catalog import Layer
from blocks.graph.compose.compose import refusal
from blocks.graph.describe.schema.arguments import arguments_of
from blocks.graph.describe.schema.names import names_of, rules
from blocks.graph.describe.schema.nodes import blocks, defaults, nodes, slots_of
from blocks.graph.describe.schema.parts import DRAFT, Schema, head, text
from blocks.graph.describe.schema.values import values
from blocks.graph.errors import ConfigError
from blocks.graph.language.signature import signature_of
from blocks.graph.language.words import MODEL_WORDS
from blocks.support.yaml_rules import Refused, check

__all__ = ["DRAFT", "schemas", "text"]


def schemas(catalog: Mapping[str, Any], folders: Iterable[Path]) -> dict[str, Schema]:
    """File name -> schema: `model.json` for models, `option.json` for the options of slots,
    `weights.json` for maps.

    Args:
        catalog: name -> block, as `blocks.catalog.catalog` gives it.
        folders: each `model/` folder whose sub-folders are slots; a later one adds to the ones
            before.
    """
    slots: dict[str, dict[str, Mapping[str, Any]]] = {}
    models: dict[str, Mapping[str, Any]] = {}
    for folder in folders:
        models |= {file.stem: _read(file) for file in sorted(folder.glob("*.yaml"))}
        for file in sorted(folder.glob("*/*.yaml")):
            slots.setdefault(file.parent.name, {})[file.stem] = _read(file)
    slots = dict(sorted(slots.items()))
    signatures = {name: signature_of(name, catalog[name]) for name in sorted(catalog)}
    arguments = {
        name: arguments_of(signature, isinstance(catalog[name], Layer))
        for name, signature in signatures.items()
    }
    names = names_of(
        [*models.values(), *(option for options in slots.values() for option in options.values())]
    )
    definitions = {
        **values(),
        **blocks(signatures, arguments),
        **slots_of(slots, arguments),
        **nodes(sorted(name for name in slots if name not in MODEL_WORDS)),
        **defaults(slots, [*models]),
        **rules(names, models),
    }
    model = {
        **head("A model of Dougong"),
        "allOf": [{"$ref": "#/definitions/model"}],
        "definitions": definitions,
    }
    option = {
        **head("An option of a slot of Dougong"),
        "allOf": [{"$ref": "model.json#/definitions/file"}],
    }
    return {"model.json": model, "option.json": option}


def _read(file: Path) -> Mapping[str, Any]:
    try:
        raw = yaml.safe_load(check(file))
    except Refused as error:
        raise ConfigError([refusal(error)]) from error
    return raw if isinstance(raw, Mapping) else {}
