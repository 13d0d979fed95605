"""The keys of the language, and whether a node is well formed before anything is built."""

import keyword
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.fx import GraphModule

from blocks.graph.errors import Problem, did_you_mean, show

KINDS = ("block", "use", "body", "share")
# Keys that belong to the use of a slot, not to the option that fills it.
USE_KEYS = ("in", "repeat", "cycle", "scan", "as", "when", "after", "expect")
WORDS = (*KINDS, *USE_KEYS, "outputs", "params", "holes", "initialise")
MODEL_WORDS = (
    *("params", "inputs", "graph", "outputs", "entries"),
    *("expect", "tie", "initialise", "example"),
)
RESERVED = frozenset(dir(GraphModule)) | {
    "code",
    "data",
    "graph",
    "input",
    "input_names",
    "meta",
    "output_names",
    "self",
    "training",
}
NAME = "a Python name: letters, digits, _; no keyword"
NODE = "{block: Name}, {use: slot}, {body: {...}} or {share: node}"
COUNTERS = ("depth", "data", "params")  # names that `as` must not hide
MEANT = {
    "input": "in",
    "inputs": "in",
    "from": "in",
    "if": "when",
    "type": "block",
    "layer": "block",
    "module": "block",
}
NEEDS = {  # key -> the key that it goes with
    "as": "repeat",
    "cycle": "repeat",
    "outputs": "body",
    "params": "body",
    "holes": "body",
    "initialise": "body",
}


def check_word(name: Any, what: str = "an input") -> Problem | None:
    """Check the name of an input, port, state, param or counter.

    It becomes an argument of generated code, so it must be a Python name that Python reads as
    written (NFKC).
    """
    shown = show(name)
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        problem = f"{shown!r} cannot name {what}"
    elif unicodedata.normalize("NFKC", name) != name:
        read = unicodedata.normalize("NFKC", name)
        problem = f"{shown!r} cannot name {what}: Python reads it as {read!r}"
    elif name == "self" or name.startswith("__"):
        problem = f"{shown!r} cannot name {what}: Python uses it"
    else:
        return None
    return Problem(
        problem, fits=NAME, fix=f"rename the {what.partition(' ')[2]}", code="name-taken"
    )


def check_words(names: Iterable[Any], what: str) -> Problem | None:
    """Return the first problem with the names of a mapping or list."""
    for name in names:
        problem = check_word(name, what)
        if problem is not None:
            return problem
    return None


def check_name(name: Any, taken: tuple[str, ...]) -> Problem | None:
    """Check the name of a node: it becomes a Python attribute and a prefix in the state_dict."""
    text = str(name)
    if text not in RESERVED:
        problem = check_word(name, "a node")
        if problem is not None:
            return problem
    if text in RESERVED or text.startswith("_"):
        return Problem(
            f"{text!r} cannot name a node: a PyTorch module uses it",
            fix=f"rename it, e.g. {text.strip('_')}_node",
            code="name-taken",
        )
    if text in taken:
        return Problem(
            f"{text!r} is an input here and cannot name a node too",
            fix="rename the node",
            code="name-taken",
        )
    return None


def check_node(raw: Any, option: bool = False) -> Problem | None:
    """Check that a node has exactly one kind, and that its keys go together.

    Args:
        raw: the node.
        option: whether it is an option that fills a slot.
    """
    if raw is None:
        return Problem(
            "a node cannot be empty",
            fits=NODE,
            fix="to delete a node, write ~model.graph.NAME on the command line",
            code="bad-node",
        )
    if not isinstance(raw, Mapping):
        return Problem(
            "a node is a mapping",
            got=show(raw),
            fits=f"{{block: {show(raw)}}} or {{use: {show(raw)}}}",
            code="bad-node",
        )
    problem = _check_kind(raw) or _check_needs(raw) or _check_values(raw)
    if problem is not None:
        return problem
    if option:
        return _check_option(raw)
    if "holes" in raw:
        return Problem(
            "only an option of a slot has holes",
            fix="move the body to conf/model/SLOT/NAME.yaml",
            code="bad-node",
        )
    return None


def _check_kind(raw: Mapping[str, Any]) -> Problem | None:
    kinds = [word for word in KINDS if word in raw]
    if isinstance(raw.get("share"), bool):  # `share: true` beside repeat is no kind
        kinds.remove("share")
    if len(kinds) == 1:
        return None
    problem = "a node is exactly one of block, use, body, share"
    if kinds:
        return Problem(problem, got=" and ".join(kinds), fits=NODE, code="bad-node")
    got = ", ".join(map(str, raw)) or "{}"
    for key in map(str, raw):
        if key not in WORDS:
            fits = did_you_mean(MEANT.get(key, key), KINDS)
            if fits.startswith("did"):
                return Problem(problem, got=got, fits=fits, code="unknown-key")
    return Problem(problem, got=got, fits=NODE, code="bad-node")


def _check_needs(raw: Mapping[str, Any]) -> Problem | None:
    for word, needed in NEEDS.items():
        if word in raw and needed not in raw:
            return Problem(
                f"{word!r} goes with {needed}",
                got=f"{word}: {show(raw[word])}",
                fix=f"write {needed}: ... beside it, or leave it out",
                code="bad-node",
            )
    if isinstance(raw.get("share"), bool) and "repeat" not in raw:
        return Problem(
            f"'share: {show(raw['share'])}' goes with repeat",
            fits="share: NODE, to use a node again",
            code="bad-node",
        )
    return None


def _check_option(raw: Mapping[str, Any]) -> Problem | None:
    if "share" in raw:
        return Problem(
            "what fills a hole is no shared node",
            got=f"share: {show(raw['share'])}",
            fits="block, use or body",
            code="bad-node",
        )
    for word in USE_KEYS:
        if word in raw:
            return Problem(
                f"{word!r} belongs to the node that uses this, not here",
                fix="move it beside `use:`",
                code="bad-node",
            )
    return None


def _check_values(raw: Mapping[str, Any]) -> Problem | None:
    """Check the value of each key; what depends on the names in scope is checked later."""
    for word, (accepts, fits) in VALUES.items():
        if word in raw and not accepts(raw[word]):
            return Problem(
                f"{word!r} does not take this value",
                got=f"{word}: {show(raw[word])}",
                fits=fits,
                code="bad-value",
            )
    if raw.get("as") in COUNTERS:
        return Problem(
            f"'as: {raw['as']}' would hide what {raw['as']} means everywhere",
            fix="choose another name",
            code="name-taken",
        )
    outputs = None
    if isinstance(raw.get("outputs"), Mapping):
        outputs = check_words(raw["outputs"], "an output")
    return (
        check_word(raw.get("as", "layer"), "a counter")
        or check_params(raw.get("params"), "a param")
        or outputs
        or check_params(raw.get("holes"), "a hole")
    )


def check_params(names: Iterable[Any] | None, what: str) -> Problem | None:
    """Check names that a node gives values to: they must not be keys of the language."""
    for name in names or ():
        if name in WORDS:
            return Problem(
                f"{name!r} cannot name {what}: it is a word of the language",
                fix="rename it",
                code="name-taken",
            )
    return check_words(names or (), what)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_share(value: Any) -> bool:
    return isinstance(value, bool) or _is_name(value)


def _is_mapping(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _is_list(value: Any) -> bool:
    return value is None or isinstance(value, list | Mapping)


def _is_cycle(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value)


def is_outputs(value: Any) -> bool:
    """Return whether a value can be read as `outputs`."""
    if not isinstance(value, list | Mapping):
        return value is None or _is_name(value)
    items = value
    if isinstance(value, Mapping):
        items = list(value.values())
    return bool(value) and all(isinstance(item, str) for item in items)


VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "block": (_is_name, "block: Name"),
    "use": (_is_name, "use: SLOT"),
    "share": (_is_share, "share: NODE, or share: true beside repeat"),
    "as": (_is_name, "as: stage"),
    "cycle": (_is_cycle, "cycle: {attention: [local, local, full]}"),
    "after": (_is_name, "after: NODE"),
    "outputs": (is_outputs, "outputs: NODE, outputs: [a, b] or outputs: {name: NODE}"),
    "params": (_is_mapping, "params: {name: value}"),
    "holes": (_is_list, "holes: [name]"),
    "initialise": (_is_mapping, "initialise: {Linear.bias: zeros}"),
}


def suggest_words(word: str, known: Iterable[str]) -> str:
    """Return what fits in place of an unknown argument: a similar name, or all known names."""
    known = list(known)
    if word in MEANT:
        return f"did you mean {MEANT[word]}?"
    for names in (known, WORDS):
        text = did_you_mean(word, names)
        if text.startswith("did"):
            return text
    return ", ".join(known) or "it takes none"


def arguments_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a node hands to its block or template: every key that is not of the language."""
    return {key: value for key, value in raw.items() if key not in WORDS}


def order_nodes(nodes: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the names of nodes in the order in which they run: as written, but a node with `after`
    follows the one it names.

    Returns:
        The names, and (node, unknown name) for each `after` that names no node.
    """
    names = []
    waiting = []
    for name, raw in nodes.items():
        if isinstance(raw, Mapping) and "after" in raw:
            waiting.append(name)
        else:
            names.append(name)
    last: dict[str, str] = {}
    while waiting:
        ready = [name for name in waiting if nodes[name]["after"] in names]
        if not ready:
            break
        name = ready[0]
        anchor = nodes[name]["after"]
        names.insert(names.index(last.get(anchor, anchor)) + 1, name)
        last[anchor] = name
        waiting.remove(name)
    return names + waiting, [(name, str(nodes[name]["after"])) for name in waiting]
