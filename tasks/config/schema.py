"""JSON Schema of `conf/` outside the models, for editors: what may stand in a section, with the
words of docstrings.

Made from the same list of classes and the same signatures that a run is checked by
(`tasks.config.instantiate`, `tasks.config.hints`), so that an editor offers what a run takes.
`blocks.graph.describe.schema` has the models.
"""

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
from tasks.config.instantiate import import_name
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
    "checkpoint_activations": "Compute each repeat of the graph again in the backward pass: less "
    "memory, more time.",
    "tensor_parallel_size": "How many devices divide each layer; null: all of a machine. For "
    "fsdp and tensor_parallel.",
    "channels_last": "Lay out images with the channels last in memory, which makes convolutions "
    "faster.",
    "threads": "Threads of the processor; null for one for each core that this process may use.",
}


def schemas() -> dict[str, Schema]:
    """Return the schema of each file, by name: of each section, `train.yaml`, experiments, maps of
    weights, and Hydra's own folder.
    """
    files = {}
    whole = {}
    for section in targets.TARGETS:
        body = describe_object(section)
        if section in NAMED:
            body = describe_named(body)
        files[f"{section}.json"] = head(f"The section {section} of Dougong", body)
        whole[section] = refer_to_section(section)
    files["train.json"] = head("What train.py composes", document(whole))
    files["experiment.json"] = head(
        "An experiment of Dougong: what differs, and why", document(whole)
    )
    files["weights.json"] = weights()
    files["hydra.json"] = head("Sweepers, launchers and logging of Dougong", hydra())
    return dict(sorted(files.items()))


def describe_named(body: Schema) -> Schema:
    """Return the schema of a section with several objects by name; null removes one."""
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


def describe_object(section: str) -> Schema:
    """Return the schema of one object of a section: its class, and the arguments of that class."""
    found = {name: import_name(name) for name in targets.TARGETS[section]}
    target = {
        "enum": list(found),
        "description": "What it is; only these may stand here. " + describe_classes(found),
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
    cases = []
    for name, kind in found.items():
        properties = {**common, **arguments(kind)}
        cases.append(case_of_class(name, properties, is_open(kind)))
    without = {
        "if": {"not": {"required": ["_target_"]}},
        "then": {
            "properties": {**common, **every},
            "additionalProperties": any(map(is_open, found.values())),
        },
    }  # a file that starts from another says what differs
    return {"type": "object", "properties": {"_target_": target}, "allOf": [*cases, without]}


def words() -> Schema:
    """Return the schemas of our own options of the section `trainer`."""
    size = {"anyOf": [{**KINDS[int], "minimum": 1}, KINDS[NoneType]]}
    kinds = {
        word: size if word in ("tensor_parallel_size", "threads") else KINDS[bool]
        for word in runtime.OWN_OPTIONS
    }
    return {word: {**kind, "description": ABOUT[word]} for word, kind in kinds.items()}


def case_of_class(name: str, properties: Schema, is_open: bool) -> Schema:
    """Return the schema that applies if `_target_` names a class."""
    return {
        "if": {"properties": {"_target_": {"const": name}}, "required": ["_target_"]},
        "then": {"properties": properties, "additionalProperties": is_open},
    }


def describe_classes(found: Mapping[str, Any]) -> str:
    """Return the first sentence about each class."""
    lines = [f"{name.rpartition('.')[2]}: {first_sentence(kind)}" for name, kind in found.items()]
    return " ".join(lines)


def first_sentence(kind: Any) -> str:
    text = read_docstring(inspect.getdoc(kind) or "").summary
    text = re.sub(r":\w+:`~?\.?([^`]*)`", r"\1", text).replace("``", "").replace("`", "")
    return re.split(r"(?<=[.!?]) ", text)[0][:160]


def arguments(kind: Any) -> Schema:
    """Return the schema of each argument, described by the docstring."""
    known, _ = hints.read_parameters(kind)
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
        ) and not hints.list_choices(hint):
            continue  # what the program gives
        words = said.get(name, "") or ABOUT.get(name, "")
        described = {"description": words[:1].upper() + words[1:]} if words else {}
        found[name] = {**described, "anyOf": [*map(kind_of, hints.split_union(hint)), LATER]}
    return found


def is_open(kind: Any) -> bool:
    return hints.read_parameters(kind)[1]


def kind_of(hint: Any) -> Schema:
    """Return the schema of a type; empty, for anything, where YAML cannot write it."""
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
    """Return the texts of the Args sections of a class and its bases, by argument."""
    found: dict[str, str] = {}
    for base in kind.__mro__ if inspect.isclass(kind) else (kind,):
        text = "\n".join(
            filter(None, (inspect.getdoc(base), inspect.getdoc(getattr(base, "__init__", None))))
        )
        for name, words in read_docstring(text).arguments.items():
            found.setdefault(name, re.split(r" Default:", words.replace("``", ""))[0][:300])
    return found


def refer_to_section(section: str) -> Schema:
    """Return the schema of a section inside another file, which may hold only what differs from the
    file that it starts from.
    """
    return {"anyOf": [{"$ref": f"{section}.json"}, {"type": "object"}]}


def document(sections: Mapping[str, Schema]) -> Schema:
    """Return the schema of the whole configuration."""
    options = {}
    for folder in sorted(conf_folder().iterdir()):
        if not folder.is_dir() or folder.name == "hydra":
            continue
        names = sorted(file.stem for file in folder.glob("*.yaml"))
        for prefix in ("", "override /"):
            options[f"{prefix}{folder.name}"] = {"enum": [*names, None]}
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
    """Return the schema of sweepers and launchers by their class, and of logging."""
    names = set()
    for file in (conf_folder() / "hydra").glob("*/*.yaml"):
        content = yaml.safe_load(file.read_text("utf-8"))
        if "_target_" in content:
            names.add(content["_target_"])
    plugins = {name: import_name(name) for name in sorted(names)}
    target = {"enum": list(plugins), "description": describe_classes(plugins)}
    swept: Schema = {"params": {"type": ["object", "null"], "description": "What is swept."}}
    cases = []
    for name, kind in plugins.items():
        properties = {"_target_": target, **swept, **arguments(kind)}
        cases.append(case_of_class(name, properties, False))
    sections = ("formatters", "filters", "handlers", "loggers", "root")
    logged: Schema = {name: {"type": "object"} for name in sections}
    marks = dict.fromkeys(("disable_existing_loggers", "incremental"), KINDS[bool])
    logging = {"properties": {"version": {"const": 1}, **logged, **marks}, "required": ["version"]}
    without = {
        "if": {"not": {"required": ["_target_"]}},
        "then": {**logging, "additionalProperties": False},
    }
    return {"type": "object", "properties": {"_target_": target}, "allOf": [*cases, without]}
