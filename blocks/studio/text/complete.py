"""What can be written at the cursor, and what the key or value below the pointer means."""

from collections.abc import Iterator, Mapping
from typing import Any

from blocks.graph.errors import show
from blocks.studio.text.spot import Path, Spot, find_typed, find_written
from blocks.studio.text.vocabulary import Vocabulary, description_of, values_of

NAMED = ("in", "after", "share", "outputs")  # keys whose values are nodes
FIXED = (*NAMED, "block", "use", "defaults", "as", "tie")  # keys whose values hold no expression
KINDS = ("block", "use", "body", "share")  # a node has one of them
FUNCTIONS = {
    "min": "the least of its arguments",
    "max": "the greatest of its arguments",
    "round": "a number, rounded",
    "len": "how many entries a list has",
    "sqrt": "the square root",
    "log": "the natural logarithm",
    "default": "default(params.x, 4): a param, or a value where there is none",
}
COUNTER = {
    "index": "the number of the repeat, from 0",
    "count": "how many repeats there are",
    "fraction": "from 0 at the first repeat to 1 at the last",
}
LONGEST = 300  # characters of a description

Option = dict[str, str]


def complete(
    text: str, offset: int, vocabulary: Vocabulary, names: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what fits at an offset of a text.

    Args:
        names: of the last model without a mistake: `model`, its composed section; `ports` of
            nodes with several outputs, `facts` of the data, `slots` with their options.

    Returns:
        from, to: the word that an option replaces, in characters.
        options: each with label, kind, detail (a line), and what is inserted.
    """
    spot = find_typed(text, offset)
    if spot is None:
        return {"from": offset, "to": offset, "options": []}
    options = list(_list_options(spot, vocabulary, names))
    return {"from": spot.start, "to": spot.end, "options": options}


def _list_options(spot: Spot, vocabulary: Vocabulary, names: Mapping[str, Any]) -> Iterator[Option]:
    whole = _merge(names.get("model", {}), spot.root)
    schemas = vocabulary.at(whole, spot.path)
    if spot.is_key or spot.is_alone:
        written = spot.value(spot.path)
        taken = set(written) if isinstance(written, dict) else set()
        if not taken.isdisjoint(KINDS):
            taken.update(KINDS)
        keys = vocabulary.keys(schemas)
        if len(spot.path) > 1 and spot.path[-2] in ("graph", "body"):
            keys = {**vocabulary.kinds, **keys}
        for key, text in keys.items():
            if key not in taken:
                yield _option(key, "property", text, f"{key}: ")
        if spot.is_key:
            return
    slot = str(spot.path[-1]) if spot.path else ""
    summaries = names.get("slots", {}).get(slot.removeprefix("override "), {})
    for value, text in values_of(schemas).items():
        yield _option(value, "enum", text or summaries.get(value, ""))
    near = [key for key in spot.path if isinstance(key, str)]
    if any(key in NAMED for key in near[-2:]):
        yield from _list_nodes(spot, names)
    elif near and not any(key in FIXED for key in near[-2:]):
        yield from _list_expressions(spot, names)


def _merge(model: Any, root: Any) -> Any:
    """Return a file with what it starts from, and the options of its slots, around it."""
    if not isinstance(model, Mapping) or not isinstance(root, Mapping):
        return root
    if not root.keys().isdisjoint(KINDS) and "body" not in root:
        return root
    return {**model, **{key: _merge(model.get(key), value) for key, value in root.items()}}


def _list_nodes(spot: Spot, names: Mapping[str, Any]) -> Iterator[Option]:
    """Yield the nodes and inputs that can be read at a place."""
    ports = names.get("ports", {})
    own = _own_node(spot.path)
    for name, kind in _nodes_around(spot, names).items():
        if name == own:
            continue
        yield _option(name, "variable", kind)
        for port in ports.get(name, ()):
            yield _option(f"{name}.{port}", "variable", "an output of it")


def _own_node(path: Path) -> str:
    """Return the node whose keys a path leads to."""
    for index in range(len(path) - 1, 0, -1):
        if path[index - 1] in ("graph", "body"):
            return str(path[index])
    return ""


def _nodes_around(spot: Spot, names: Mapping[str, Any]) -> dict[str, str]:
    """Return the names in the nearest graph around a place, each with what it is."""
    path = spot.path
    for index in range(len(path) - 1, -1, -1):
        inside = path[index] in ("graph", "body")
        beside = path[index] == "outputs"
        if inside and path[index] == "body":
            return _inside(spot, path[:index])
        if beside and index and "body" in (spot.value(path[:index]) or {}):
            return _inside(spot, path[:index])
        if inside or beside:
            break
    found = dict.fromkeys(names.get("model", {}).get("graph") or (), "a node")
    found |= dict.fromkeys(spot.value(("inputs",)) or (), "an input of the model")
    found |= {name: _kind(node) for name, node in (spot.value(("graph",)) or {}).items()}
    return found


def _inside(spot: Spot, path: Path) -> dict[str, str]:
    """Return the names that a body at a path sees."""
    holder = spot.value(path) or {}
    body = holder.get("body") or {}
    found = {"x": "the first input of the body"}
    found |= dict.fromkeys(_mapping(holder.get("in")), "an input of the body")
    state = _mapping(_mapping(holder.get("scan")).get("state"))
    found |= dict.fromkeys(state, "a state of the scan")
    return found | {name: _kind(node) for name, node in _mapping(body).items()}


def _kind(node: Any) -> str:
    """Return what a node is, in a line."""
    if isinstance(node, dict):
        for key in ("block", "use"):
            if node.get(key):
                return f"{key}: {node[key]}"
    return "a node"


def _list_expressions(spot: Spot, names: Mapping[str, Any]) -> Iterator[Option]:
    """Yield what an expression can read."""
    for index in range(len(spot.path), 0, -1):
        around = spot.value(spot.path[:index])
        if isinstance(around, dict):
            yield from _list_counters(around)
            for name, value in _mapping(around.get("params")).items():
                yield _option(name, "variable", f"a param of this body: {show(value)}")
    for name, value in _list_params(spot, names).items():
        yield _option(name, "variable", f"a param: {show(value)}")
    for name, value in names.get("facts", {}).items():
        yield _option(f"data.{name}", "variable", f"of the data: {show(value)}")
    for name, text in FUNCTIONS.items():
        yield _option(name, "function", text, f"{name}(")


def _list_counters(around: Mapping[str, Any]) -> Iterator[Option]:
    """Yield the names that change with each repeat of a node."""
    if "repeat" in around:
        counter = str(around.get("as") or "layer")
        for name, text in COUNTER.items():
            yield _option(f"{counter}.{name}", "variable", text)
    for name, values in _mapping(around.get("repeat")).items():
        yield _option(name, "variable", f"takes turns: {show(values)}")


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a value where it is a mapping, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def _list_params(spot: Spot, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of the model, as the text has them and what it starts from."""
    base = _mapping(names.get("model", {}).get("params"))
    return {**base, **_mapping(spot.value(("params",)))}


def _option(label: str, kind: str, text: str, apply: str = "") -> Option:
    line = " ".join(text.split())
    if len(line) > LONGEST:
        line = line[:LONGEST] + "…"
    return {"label": label, "kind": kind, "detail": line, "apply": apply or label}


def explain(
    text: str, offset: int, vocabulary: Vocabulary, names: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the key or value at an offset means: from, to, title, text; {} where unknown."""
    found = find_written(text, offset)
    if found is None:
        return {}
    spot, word = found
    schemas = vocabulary.at(_merge(names.get("model", {}), spot.root), spot.path)
    if spot.is_key:
        meaning = vocabulary.keys(schemas).get(word, "")
    else:
        slot = str(spot.path[-1]) if spot.path else ""
        summaries = names.get("slots", {}).get(slot.removeprefix("override "), {})
        meaning = values_of(schemas).get(word) or summaries.get(word, "")
        params = _list_params(spot, names)
        if not meaning and slot not in FIXED and word in params:
            meaning = f"A param: {show(params[word])}"
        meaning = meaning or description_of(schemas)
    if not meaning:
        return {}
    return {"from": spot.start, "to": spot.end, "title": word, "text": meaning}
