"""JSON Schema of the language, for editors: `conf/model/*.yaml` and the options of its slots.

It is made from the signatures of the blocks, their docstrings and the folders of `conf/model`. It
never flags what the assembler would build, and passes what only the assembler can know: shapes,
the value of an expression, a name that no other model uses. Draft 7, which every YAML language
server reads.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from blocks.catalog import Layer
from blocks.graph.compose.hydra_messages import explain_refusal
from blocks.graph.describe.schema.arguments import arguments_of
from blocks.graph.describe.schema.names import collect_names, define_names
from blocks.graph.describe.schema.nodes import (
    define_blocks,
    define_defaults,
    define_nodes,
    define_slots,
)
from blocks.graph.describe.schema.parts import Schema, head
from blocks.graph.describe.schema.values import define_values
from blocks.graph.errors import ConfigError
from blocks.graph.language.signature import signature_of
from blocks.graph.language.words import MODEL_WORDS
from blocks.support.yaml_rules import Refused, check

Files = dict[str, Mapping[str, Any]]


def schemas(catalog: Mapping[str, Any], folders: Iterable[Path]) -> dict[str, Schema]:
    """File name -> schema: `model.json` for models, `option.json` for the options of slots.

    Args:
        catalog: name -> block, as `blocks.catalog.catalog` gives it.
        folders: each `model/` folder whose sub-folders are slots; a later one adds to the ones
            before.
    """
    models, slots = _read_folders(folders)
    signatures, arguments = {}, {}
    for name in sorted(catalog):
        signatures[name] = signature_of(name, catalog[name])
        arguments[name] = arguments_of(signatures[name], isinstance(catalog[name], Layer))
    files = list(models.values())
    for options in slots.values():
        files += options.values()
    definitions = {
        **define_values(),
        **define_blocks(signatures, arguments),
        **define_slots(slots, arguments),
        **define_nodes(sorted(set(slots).difference(MODEL_WORDS))),
        **define_defaults(slots, [*models]),
        **define_names(collect_names(files), models),
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


def _read_folders(folders: Iterable[Path]) -> tuple[Files, dict[str, Files]]:
    """The models by name, and the options of each slot."""
    models: Files = {}
    slots: dict[str, Files] = {}
    for folder in folders:
        for file in sorted(folder.glob("*.yaml")):
            models[file.stem] = _read_file(file)
        for file in sorted(folder.glob("*/*.yaml")):
            slots.setdefault(file.parent.name, {})[file.stem] = _read_file(file)
    return models, dict(sorted(slots.items()))


def _read_file(file: Path) -> Mapping[str, Any]:
    try:
        raw = yaml.safe_load(check(file))
    except Refused as error:
        raise ConfigError(explain_refusal(error)) from error
    return raw if isinstance(raw, Mapping) else {}
