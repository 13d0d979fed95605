"""Names of nodes behind `in`, `outputs`, `after` and `share`, as an editor can offer them.

A schema cannot ask what else a file contains, but it can state: where a graph has a node `patch`,
`patch` is one of the names. So there is a rule for each name that any model uses; the body at hand
decides which of them are offered. Any other name passes too.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from blocks.graph.describe.schema.parts import Schema, any_of, array, has, if_then, mapping, ref

PLACES = ("in", "after", "share")


@dataclass
class Names:
    """What files call their nodes and inputs.

    Args:
        nodes: of a graph or a body.
        top: of those, the ones that stand in a model's graph.
        inputs: of a model.
        ports: what a body calls its inputs after the first, and the state of a scan.
        dotted: name -> what is read of it with a dot: `lstm.state`.
    """

    nodes: set[str] = field(default_factory=set)
    top: set[str] = field(default_factory=set)
    inputs: set[str] = field(default_factory=set)
    ports: set[str] = field(default_factory=set)
    dotted: dict[str, set[str]] = field(default_factory=dict)

    def all(self) -> list[str]:
        return _identifiers({"x", *self.nodes, *self.inputs, *self.ports})


def _identifiers(names: Iterable[str]) -> list[str]:
    return sorted(filter(str.isidentifier, names))


def collect_names(files: Iterable[Any]) -> Names:
    """The names in all of these files."""
    found = Names()
    for file in files:
        _add_names(file, found, "")
    return found


def _add_names(value: Any, names: Names, section: str) -> None:
    if not isinstance(value, Mapping):
        return
    if section in ("graph", "body"):
        names.nodes.update(map(str, value))
    if section == "graph":
        names.top.update(map(str, value))
    elif section == "inputs":
        names.inputs.update(map(str, value))
    elif section == "state":
        names.ports.update(map(str, value))
    for key, inner in value.items():
        if key != "in":
            _add_names(inner, names, str(key))
            continue
        if isinstance(inner, Mapping) and "body" in value:
            names.ports.update(map(str, inner))
        for name in _dotted_references(inner):
            names.dotted.setdefault(name.partition(".")[0], set()).add(name)


def _dotted_references(flow: Any) -> Iterator[str]:
    listed = flow if isinstance(flow, list) else [flow]
    if isinstance(flow, Mapping):
        listed = list(flow.values())
    for name in listed:
        if isinstance(name, str) and re.fullmatch(r"\w+\.[\w.]+", name):
            yield name


def define_names(names: Names, models: Mapping[str, Any]) -> dict[str, Schema]:
    """What a graph, a node with a body and a model add to the names that are offered.

    Args:
        names: as `collect_names` gives them.
        models: name -> its file, for those that start from another.
    """
    found: dict[str, Schema] = {}
    for name in names.all():
        found |= _define_offer(name, [name, *sorted(names.dotted.get(name, ()))])
    nodes = _identifiers(names.nodes)
    inner = list(map(partial(_offer_as_output, "body"), nodes))
    for name in _identifiers(names.ports):
        carried = any_of(_has("in", name), _has("scan", "state", name))
        inner.append(if_then(carried, _offer_inside("body", name)))
    outer = list(map(partial(_offer_as_output, "graph"), _identifiers(names.top)))
    for name in _identifiers(names.inputs):
        outer.append(if_then(_has("inputs", name), _offer_inside("graph", name)))
    for listed, bases in _group_models(models).items():
        # a file that starts from one of these reads its nodes
        key = f"graph_of_{bases[0]}"
        starts = {"properties": {"defaults": {"contains": {"enum": bases}}}, **has("defaults")}
        outer.append(if_then(starts, _offer_inside("graph", key)))
        found |= _define_offer(key, listed)
    return {
        **found,
        "siblings": {"allOf": list(map(_offer_to_siblings, nodes))},
        "inner": {**_offer_inside("body", "x"), "allOf": inner},
        "outer": {"allOf": outer},
    }


def _offer_to_siblings(name: str) -> Schema:
    """A node of a graph may be read by all nodes of it."""
    return if_then(has(name), {"additionalProperties": ref(f"from_{name}")})


def _offer_inside(section: str, name: str) -> Schema:
    """All nodes of a graph or body may read a name."""
    return {"properties": {section: {"additionalProperties": ref(f"from_{name}")}}}


def _offer_as_output(section: str, name: str) -> Schema:
    """A node of a graph or body may be an output of it."""
    return if_then(_has(section, name), {"properties": {"outputs": ref(f"to_{name}")}})


def _has(key: str, *rest: str) -> Schema:
    """A mapping that has this path."""
    if not rest:
        return has(key)
    return {**has(key), "properties": {key: {"type": "object", **_has(*rest)}}}


def _define_offer(key: str, names: Iterable[str]) -> dict[str, Schema]:
    """Two definitions: what may be read, one name or several or in ports; and a node that may read
    it. Anything else passes too.
    """
    here = ref(f"to_{key}")
    return {
        f"to_{key}": any_of({"enum": [*names]}, array(here), mapping(here), {}),
        f"from_{key}": {"properties": dict.fromkeys(PLACES, here)},
    }


def _group_models(models: Mapping[str, Any]) -> dict[tuple[str, ...], list[str]]:
    """Names at the top of a graph, inherited ones included -> the models that have them."""
    found: dict[tuple[str, ...], list[str]] = {}
    for model in models:
        names = sorted(set(_names_at_top(model, models)))
        found.setdefault(tuple(names), []).append(model)
    return found


def _names_at_top(model: str, models: Mapping[str, Any]) -> Iterator[str]:
    raw = models.get(model) or {}
    for base in raw.get("defaults") or ():
        if isinstance(base, str) and base != model:
            yield from _names_at_top(base, models)
    for section in ("inputs", "graph"):
        yield from map(str, raw.get(section) or ())
