"""Names of nodes behind `in`, `outputs`, `after` and `share`, as an editor can offer them.

A schema cannot ask what else stands in a file, but it can say: where a graph has a node `patch`,
`patch` is one of the names. So there is a rule for each name that any model uses; which of them are
offered follows from what is written in the body at hand. Any other name passes too.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from blocks.graph.describe.schema.parts import Schema, any_of, ref

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
        return sorted(
            name for name in {"x", *self.nodes, *self.inputs, *self.ports} if name.isidentifier()
        )


def names_of(files: Iterable[Any]) -> Names:
    """The names in all of these files."""
    found = Names()
    for file in files:
        _take(file, found, "")
    return found


def _take(value: Any, names: Names, section: str) -> None:
    if not isinstance(value, Mapping):
        return
    kept = {
        "graph": names.nodes,
        "body": names.nodes,
        "inputs": names.inputs,
        "state": names.ports,
    }.get(section)
    if kept is not None:
        kept.update(map(str, value))
    if section == "graph":
        names.top.update(map(str, value))
    for key, inner in value.items():
        if key != "in":
            _take(inner, names, str(key))
            continue
        if isinstance(inner, Mapping) and "body" in value:
            names.ports.update(map(str, inner))
        for name in _references(inner):
            names.dotted.setdefault(name.partition(".")[0], set()).add(name)


def _references(flow: Any) -> Iterator[str]:
    listed = (
        flow.values() if isinstance(flow, Mapping) else flow if isinstance(flow, list) else [flow]
    )
    yield from (
        name for name in listed if isinstance(name, str) and re.fullmatch(r"\w+\.[\w.]+", name)
    )


def rules(names: Names, models: Mapping[str, Any]) -> dict[str, Schema]:
    """What a graph, a node with a body and a model add to the names that are offered.

    Args:
        names: as `names_of` gives them.
        models: name -> its file, for those that start from another.
    """
    known = names.all()
    found: dict[str, Schema] = {}
    for name in known:
        found |= _offered(name, [name, *sorted(names.dotted.get(name, ()))])

    def inside(word: str, name: str) -> Schema:
        return {"properties": {word: {"additionalProperties": ref(f"from_{name}")}}}

    def gives(word: str, name: str) -> Schema:
        return _if(_has(word, name), {"properties": {"outputs": ref(f"to_{name}")}})

    ports, nodes = sorted(names.ports & {*known}), sorted(names.nodes & {*known})
    carried = [
        (any_of(_has("in", name), _has("scan", "state", name)), inside("body", name))
        for name in ports
    ]
    entered = [
        (_has("inputs", name), inside("graph", name)) for name in sorted(names.inputs & {*known})
    ]
    siblings = [
        _if({"required": [name]}, {"additionalProperties": ref(f"from_{name}")}) for name in nodes
    ]
    inner = [*(gives("body", name) for name in nodes), *(_if(*rule) for rule in carried)]
    outer = [
        *(gives("graph", name) for name in sorted(names.top & {*known})),
        *(_if(*rule) for rule in entered),
    ]
    inherited = []
    for listed, bases in _grouped(
        models
    ).items():  # a file that starts from one of these reads its nodes
        starts = {
            "properties": {"defaults": {"contains": {"enum": bases}}},
            "required": ["defaults"],
        }
        inherited.append(_if(starts, inside("graph", f"graph_of_{bases[0]}")))
        found |= _offered(f"graph_of_{bases[0]}", listed)
    return {
        **found,
        "siblings": {"allOf": siblings},
        "inner": {**inside("body", "x"), "allOf": inner},
        "outer": {"allOf": [*outer, *inherited]},
    }


def _if(condition: Schema, then: Schema) -> Schema:
    return {"if": condition, "then": then}


def _has(word: str, *rest: str) -> Schema:
    """That a mapping has this path."""
    return {
        "required": [word],
        **({"properties": {word: {"type": "object", **_has(*rest)}}} if rest else {}),
    }


def _offered(key: str, names: Iterable[str]) -> dict[str, Schema]:
    """Definitions: what may be read, one or several or in ports, and a node that may read it; all
    else passes too.
    """
    here = ref(f"to_{key}")
    several: list[Schema] = [
        {"type": "array", "items": here},
        {"type": "object", "additionalProperties": here},
        {},
    ]
    return {
        f"to_{key}": any_of({"enum": [*names]}, *several),
        f"from_{key}": {"properties": dict.fromkeys(PLACES, here)},
    }


def _grouped(models: Mapping[str, Any]) -> dict[tuple[str, ...], list[str]]:
    """Names at the top of a graph -> the models that have them, their own and those they start
    from.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for model in models:
        names = sorted(set(_inherits(model, models)))
        found.setdefault(tuple(names), []).append(model)
    return found


def _inherits(model: str, models: Mapping[str, Any]) -> Iterator[str]:
    raw = models.get(model) or {}
    for base in raw.get("defaults") or ():
        if isinstance(base, str) and base != model:
            yield from _inherits(base, models)
    for section in ("inputs", "graph"):
        yield from map(str, raw.get(section) or ())
