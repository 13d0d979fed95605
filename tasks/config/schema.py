"""JSON Schema of `conf/` outside the models, for editors: what may stand in a section, with the
words of docstrings.

Made from the same list of classes and the same signatures that a run is checked by
(`tasks.config.instantiate`, `tasks.config.hints`), so that an editor offers what a run takes.
`blocks.graph.describe.schema` has the models.
"""

import importlib
import inspect
import re
import typing
from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal

import yaml

from blocks.graph import conf_folder
from blocks.graph.describe.schema.weights import weights
from blocks.graph.language.docstring import read_docstring
from tasks.config import hints, targets
from tasks.process import runtime
from tasks.run.sections import SECTIONS

Schema = dict[str, Any]
DRAFT = "http://json-schema.org/draft-07/schema#"
NAMED = ("callbacks", "logger")  # sections that hold several, by name
LATER = {
    "type": "string",
    "pattern": r"\$\{|^\?\?\?$",
}  # `${...}`, or a value that the command line must give
KINDS: dict[Any, Schema] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
    NoneType: {"type": "null"},
    dict: {"type": "object"},
}
ABOUT = {
    "defaults": "Files that this one starts from, of the same folder; _self_ where its own "
    "values come in.",
    "facts": "What is known of the data beforehand, so that a model can be explained without them.",
    "compile": "Compile the network with torch.compile; a body that is repeated is compiled once.",
    "checkpoint_activations": "Compute each repeat of the graph anew in the backward pass: less "
    "memory, more time.",
    "tensor_parallel_size": "How many devices divide each layer; null: all of a machine. For "
    "fsdp and tensor_parallel.",
    "channels_last": "Lay out images with the channels last in memory, which makes convolutions "
    "faster.",
    "threads": "Threads of the processor; null for one for each core that this process may use.",
}


def schemas() -> dict[str, Schema]:
    """File name -> schema: for each section, `train.yaml`, experiments, maps of weights, and
    Hydra's own folder.
    """
    made = {section: one(section) for section in targets.TARGETS}
    bodies = {
        section: several(body) if section in NAMED else body for section, body in made.items()
    }
    files = {
        f"{section}.json": head(f"The section {section} of Dougong", body)
        for section, body in bodies.items()
    }
    whole = {section: loose(section) for section in bodies}
    files["train.json"] = head("What train.py composes", document(whole))
    files["experiment.json"] = head(
        "An experiment of Dougong: what differs, and why", document(whole)
    )
    files["weights.json"] = weights()
    files["hydra.json"] = head("Sweepers, launchers and logging of Dougong", hydra())
    return dict(sorted(files.items()))


def several(body: Schema) -> Schema:
    """A section of objects by name, null for one that is taken away."""
    files = {"type": "array", "description": ABOUT["defaults"]}
    each = {"anyOf": [body, {"type": "null"}]}
    return {"type": "object", "properties": {"defaults": files}, "additionalProperties": each}


def head(title: str, body: Schema) -> Schema:
    return {
        "$schema": DRAFT,
        "$comment": "Made by `python -m tasks schema`.",
        "title": title,
        **body,
    }


def one(section: str) -> Schema:
    """What describes one object of a section: its class, and the arguments of that class."""
    found = {name: load(name) for name in targets.TARGETS[section]}
    target = {
        "enum": list(found),
        "description": "What it is; only these may stand here. " + told(found),
    }
    every: Schema = {}
    for kind in found.values():
        every |= arguments(kind)
    extra = words() if section == "trainer" else {}
    common = {
        "_target_": target,
        "defaults": {"type": "array", "description": ABOUT["defaults"]},
        **extra,
    }
    cases = [
        {
            "if": {"properties": {"_target_": {"const": name}}, "required": ["_target_"]},
            "then": {
                "properties": {**common, **arguments(kind)},
                "additionalProperties": is_open(kind),
            },
        }
        for name, kind in found.items()
    ]
    without = {
        "if": {"not": {"required": ["_target_"]}},
        "then": {
            "properties": {**common, **every},
            "additionalProperties": any(map(is_open, found.values())),
        },
    }  # a file that starts from another says what differs
    return {"type": "object", "properties": {"_target_": target}, "allOf": [*cases, without]}


def load(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def words() -> Schema:
    """What the section `trainer` says to this program, and not to Lightning."""
    size = {"anyOf": [{**KINDS[int], "minimum": 1}, KINDS[NoneType]]}
    kinds = {
        word: size if word in ("tensor_parallel_size", "threads") else KINDS[bool]
        for word in runtime.OWN_OPTIONS
    }
    return {word: {**kind, "description": ABOUT[word]} for word, kind in kinds.items()}


def told(found: Mapping[str, Any]) -> str:
    """The first sentence of each class."""
    lines = [f"{name.rpartition('.')[2]}: {first_sentence(kind)}" for name, kind in found.items()]
    return " ".join(lines)


def first_sentence(kind: Any) -> str:
    text = read_docstring(inspect.getdoc(kind) or "").summary
    text = re.sub(r":\w+:`~?\.?([^`]*)`", r"\1", text).replace("``", "").replace("`", "")
    return re.split(r"(?<=[.!?]) ", text)[0][:160]


def arguments(kind: Any) -> Schema:
    """Argument -> what it takes, with the words of the docstring."""
    known, _ = hints.parameters(kind)
    said = documented(kind)
    found = {}
    for name, (hint, _) in known.items():
        if name in (
            "params",
            "optimizer",
            "network",
            "config",
            "rates",
            "schedule",
        ) and not hints.choices(hint):
            continue  # what the program gives
        words = said.get(name, "") or ABOUT.get(name, "")
        described = {"description": words[:1].upper() + words[1:]} if words else {}
        found[name] = {**described, "anyOf": [*map(kind_of, hints.options(hint)), LATER]}
    return found


def is_open(kind: Any) -> bool:
    return hints.parameters(kind)[1]


def kind_of(hint: Any) -> Schema:
    """A type as JSON has it; what YAML cannot write is anything."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    kind = origin or hint
    if origin is Literal:
        return {"enum": list(inner)}
    if kind in KINDS:
        return KINDS[kind]
    if not isinstance(kind, type) or kind is object:
        return {}
    if hints.is_list(kind):
        return {"type": "array"}
    if issubclass(dict, kind):
        return {"type": "object"}
    if kind.__name__ in ("Path", "PathLike"):
        return {"type": "string"}
    return {"type": "number"} if kind.__name__ == "Tensor" else {}


def documented(kind: Any) -> dict[str, str]:
    """Argument -> text of the sections Args of a class and its bases."""
    found: dict[str, str] = {}
    for base in kind.__mro__ if inspect.isclass(kind) else (kind,):
        text = "\n".join(
            filter(None, (inspect.getdoc(base), inspect.getdoc(getattr(base, "__init__", None))))
        )
        for name, words in read_docstring(text).arguments.items():
            found.setdefault(name, re.split(r" Default:", words.replace("``", ""))[0][:300])
    return found


def loose(section: str) -> Schema:
    """A section inside another file, which may say only what differs and leave the rest to the file
    it starts from.
    """
    return {"anyOf": [{"$ref": f"{section}.json"}, {"type": "object"}]}


def document(sections: Mapping[str, Schema]) -> Schema:
    """The whole configuration: sections, and what stands beside them."""
    groups = sorted(
        place.name for place in conf_folder().iterdir() if place.is_dir() and place.name != "hydra"
    )
    options = {
        f"{mark}{group}": {
            "enum": [*sorted(file.stem for file in (conf_folder() / group).glob("*.yaml")), None]
        }
        for group in groups
        for mark in ("", "override /")
    }
    entries = {"anyOf": [{"type": "string"}, {"type": "object", "properties": options}]}
    known: Schema = {name: {} for name in (*SECTIONS, "hydra")}
    return {
        "type": "object",
        "properties": {
            "defaults": {"type": "array", "items": entries, "description": ABOUT["defaults"]},
            **known,
            **sections,
            "seed": {
                "anyOf": [{"type": "integer", "minimum": 0}, LATER],
                "description": "Of weights, order, chance.",
            },
        },
        "additionalProperties": False,
    }


def hydra() -> Schema:
    """Sweepers and launchers by their class, and what is logged where."""
    files = [
        yaml.safe_load(file.read_text("utf-8"))
        for file in sorted((conf_folder() / "hydra").glob("*/*.yaml"))
    ]
    plugins = {
        name: load(name)
        for name in sorted(file["_target_"] for file in files if "_target_" in file)
    }
    target = {"enum": list(plugins), "description": told(plugins)}
    swept: Schema = {"params": {"type": ["object", "null"], "description": "What is swept."}}
    cases = [
        {
            "if": {"properties": {"_target_": {"const": name}}, "required": ["_target_"]},
            "then": {
                "properties": {"_target_": target, **swept, **arguments(kind)},
                "additionalProperties": False,
            },
        }
        for name, kind in plugins.items()
    ]
    logged = {
        word: {"type": "object"}
        for word in ("formatters", "filters", "handlers", "loggers", "root")
    }
    marks = dict.fromkeys(("disable_existing_loggers", "incremental"), KINDS[bool])
    logging = {"properties": {"version": {"const": 1}, **logged, **marks}, "required": ["version"]}
    without = {
        "if": {"not": {"required": ["_target_"]}},
        "then": {**logging, "additionalProperties": False},
    }
    return {"type": "object", "properties": {"_target_": target}, "allOf": [*cases, without]}
