"""What can be chosen and named in a text that goes with a model: its fields, and its names."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from blocks.graph import Composed
from blocks.graph.errors import show
from blocks.graph.language.words import KINDS
from blocks.support.conf_folders import option_files
from blocks.support.files import read_file
from blocks.watch.engine import Explained

LARGEST = 1e15  # number that a field holds


def read_options(composed: Composed) -> dict[str, str]:
    """Return the slots of a model, each with its option."""
    found = {}
    for group, option in composed.choices.items():
        folder, _, slot = group.partition("/")
        if folder == "model" and slot and "@" not in slot:
            found[slot] = option
    return found


def describe_form(composed: Composed, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what can be chosen without writing YAML: the slots, and the params.

    Args:
        params: in the place of those of the model.
    """
    if params is None:
        params = composed.config["model"].get("params") or {}
    fields = []
    slots = []
    for slot, option in read_options(composed).items():
        files = option_files(f"model/{slot}")
        options = {name: _read_summary(file) for name, file in files.items()}
        slots.append({"name": slot, "option": option, "options": options})
    for name, value in params.items():
        kind = "text"
        if isinstance(value, bool):
            kind = "switch"
        elif isinstance(value, int | float) and abs(value) < LARGEST:
            kind = "number"
        fields.append({"name": name, "value": show(value), "kind": kind})
    return {"slots": slots, "params": fields}


def list_names(planned: Explained, form: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names that completion offers in a text that goes with this model."""
    model = planned.composed.config["model"]
    data = planned.composed.config.get("data") or {}
    ports = {}
    for node in planned.built.walk():
        if len(node.shapes) > 1:
            ports[node.path.rpartition(".")[2]] = list(node.shapes)
    facts = data.get("facts") or model.get("example") or {}
    return {
        "model": model,
        "ports": ports,
        "facts": {name: show(value) for name, value in facts.items()},
        "slots": {slot["name"]: slot["options"] for slot in form["slots"]},
        "nodes": _list_nodes(model, form),
    }


def _list_nodes(model: Mapping[str, Any], form: Mapping[str, Any]) -> dict[str, str]:
    """Return the slots that a node may use as they are, each with its option."""
    found = {}
    for slot in form["slots"]:
        raw = model.get(slot["name"])
        if isinstance(raw, Mapping) and not raw.get("holes") and any(map(raw.__contains__, KINDS)):
            summary = slot["options"].get(slot["option"], "")
            found[slot["name"]] = f"{slot['option']}: {summary}"
    return found


@lru_cache(maxsize=1024)
def _read_summary(file: Path) -> str:
    """Return the first comment of a YAML file."""
    for line in read_file(file).decode("utf-8", errors="replace").splitlines():
        if line.startswith("#") and not line.startswith("# @"):
            return line.lstrip("# ").strip()
    return ""
