"""The words of the language, and whether a node is well formed before anything is built."""

import keyword
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from blocks.graph.errors import Problem, did_you_mean, show
from blocks.graph.record.module import Graph

KINDS = ("block", "use", "body", "share")
WORDS = (
    *KINDS,
    "in",
    "repeat",
    "scan",
    "as",
    "when",
    "after",
    "expect",
    "outputs",
    "params",
    "holes",
    "initialise",
)
PLACES = (
    "in",
    "repeat",
    "scan",
    "as",
    "when",
    "after",
    "expect",
)  # what belongs to a place, not to a filling
MODEL_WORDS = ("params", "inputs", "graph", "outputs", "expect", "tie", "initialise", "example")
RESERVED = frozenset(dir(Graph)) | {"training", "graph", "code", "meta", "self", "data", "input"}
NAME = "a Python name: letters, digits, _; no keyword"
COUNTERS = ("depth", "data", "params")  # what `as` may not hide
MEANT = {
    "input": "in",
    "inputs": "in",
    "from": "in",
    "if": "when",
    "type": "block",
    "layer": "block",
    "module": "block",
}


def check_word(name: Any, what: str = "an input") -> Problem | None:
    """Check the name of an input, port, state, param or counter.

    It becomes an argument of generated code, so it must be a Python name which Python reads as it
    is written (NFKC).
    """
    rename = f"rename the {what.partition(' ')[2]}"
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        return Problem(f"{show(name)!r} cannot name {what}", fits=NAME, fix=rename)
    read = unicodedata.normalize("NFKC", name)
    if read != name:
        return Problem(
            f"{show(name)!r} cannot name {what}: Python reads it as {read!r}", fits=NAME, fix=rename
        )
    if name == "self" or name.startswith("__"):
        return Problem(f"{show(name)!r} cannot name {what}: Python uses it", fits=NAME, fix=rename)
    return None


def check_words(names: Iterable[Any], what: str) -> Problem | None:
    """The first problem with the names of a mapping or list."""
    return next(filter(None, (check_word(name, what) for name in names)), None)


def check_name(name: Any, taken: tuple[str, ...]) -> Problem | None:
    """Check the name of a node: it becomes a Python attribute and a prefix in the state_dict."""
    text = str(name)
    if text not in RESERVED and (problem := check_word(name, "a node")):
        return problem
    if text in RESERVED or text.startswith("_"):
        return Problem(
            f"{text!r} cannot name a node: a PyTorch module uses it",
            fix=f"rename it, {text.strip('_')}_node say",
        )
    if text in taken:
        return Problem(
            f"{text!r} is an input here and cannot name a node too", fix="rename the node"
        )
    return None


def check_node(raw: Any, option: bool = False) -> Problem | None:
    """Whether a node says what it is, once, and its words go together."""
    if raw is None:
        return Problem(
            "a node cannot be empty",
            fits="{block: Name}, {use: slot}, {body: {...}} or {share: node}",
            fix="to delete a node, write ~model.graph.NAME on the command line",
        )
    if not isinstance(raw, Mapping):
        return Problem(
            "a node is a mapping",
            got=show(raw),
            fits=f"{{block: {show(raw)}}} or {{use: {show(raw)}}}",
        )
    kinds = [
        word
        for word in KINDS
        if word in raw and not (word == "share" and isinstance(raw[word], bool))
    ]
    if len(kinds) != 1:
        got = " and ".join(kinds) if kinds else ", ".join(map(str, raw)) or "{}"
        near = (
            did_you_mean(MEANT.get(str(key), str(key)), KINDS)
            for key in raw
            if key not in WORDS and not kinds
        )
        fits = next(
            (text for text in near if text.startswith("did")),
            "{block: Name}, {use: slot}, {body: {...}} or {share: node}",
        )
        return Problem("a node is exactly one of block, use, body, share", got=got, fits=fits)
    for word, needs in (
        ("as", ("repeat",)),
        ("outputs", ("body",)),
        ("params", ("body",)),
        ("holes", ("body",)),
        ("initialise", ("body",)),
    ):
        if word in raw and not any(need in raw for need in needs):
            return Problem(
                f"{word!r} goes with {' or '.join(needs)}",
                got=f"{word}: {show(raw[word])}",
                fix=f"write {needs[0]}: ... beside it, or leave it out",
            )
    if isinstance(raw.get("share"), bool) and "repeat" not in raw:
        return Problem(
            f"'share: {show(raw['share'])}' goes with repeat",
            fits="share: NODE, to use a node again",
        )
    if problem := _check_values(raw):
        return problem
    if option and "share" in raw:
        return Problem(
            "what fills a hole is no shared node",
            got=f"share: {show(raw['share'])}",
            fits="block, use or body",
        )
    if "holes" in raw and not option:
        return Problem(
            "only an option of a slot has holes", fix="move the body to conf/model/SLOT/NAME.yaml"
        )
    if option and (misplaced := [word for word in PLACES if word in raw]):
        return Problem(
            f"{misplaced[0]!r} belongs to the node that uses this, not here",
            fix="move it beside `use:`",
        )
    return None


def _check_values(raw: Mapping[str, Any]) -> Problem | None:
    """Whether each word of the language has a value of its kind; what needs names in reach is
    checked later.
    """
    for word, (holds, fits) in VALUES.items():
        if word in raw and not holds(raw[word]):
            return Problem(
                f"{word!r} does not take this value", got=f"{word}: {show(raw[word])}", fits=fits
            )
    if raw.get("as") in COUNTERS:
        return Problem(
            f"'as: {raw['as']}' would hide what {raw['as']} means everywhere",
            fix="choose another name",
        )
    counter = check_word(raw.get("as", "layer"), "a counter")
    params = check_params(raw.get("params"), "a param")
    outputs = (
        check_words(raw["outputs"], "an output")
        if isinstance(raw.get("outputs"), Mapping)
        else None
    )
    return counter or params or outputs or check_params(raw.get("holes"), "a hole")


def check_params(names: Iterable[Any] | None, what: str) -> Problem | None:
    """Check names that a node gives values to: they must be no words of the language."""
    taken = next((name for name in names or () if name in WORDS), None)
    if taken is not None:
        return Problem(
            f"{taken!r} cannot name {what}: it is a word of the language", fix="rename it"
        )
    return check_words(names or (), what)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def is_outputs(value: Any) -> bool:
    """Whether a value can be read as `outputs`."""
    if isinstance(value, list | Mapping):
        items = value.values() if isinstance(value, Mapping) else value
        return bool(value) and all(isinstance(item, str) for item in items)
    return value is None or _is_name(value)


VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "block": (_is_name, "block: Name"),
    "use": (_is_name, "use: SLOT"),
    "share": (
        lambda value: isinstance(value, bool) or _is_name(value),
        "share: NODE, or share: true beside repeat",
    ),
    "as": (_is_name, "as: stage"),
    "after": (_is_name, "after: NODE"),
    "outputs": (is_outputs, "outputs: NODE, outputs: [a, b] or outputs: {name: NODE}"),
    "params": (lambda value: value is None or isinstance(value, Mapping), "params: {name: value}"),
    "holes": (lambda value: value is None or isinstance(value, list | Mapping), "holes: [name]"),
    "initialise": (
        lambda value: value is None or isinstance(value, Mapping),
        "initialise: {Linear.bias: zeros}",
    ),
}


def suggest_words(word: str, known: Iterable[str]) -> str:
    """What fits in place of an argument that a block or template does not have: a word near it, or
    all it knows.
    """
    known = list(known)
    if word in MEANT:
        return f"did you mean {MEANT[word]}?"
    near = (did_you_mean(word, words) for words in (known, WORDS))
    return next(
        (text for text in near if text.startswith("did")), ", ".join(known) or "it takes none"
    )


def arguments_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What a node hands to its block or template: everything that is no word of the language."""
    return {key: value for key, value in raw.items() if key not in WORDS}


def order(nodes: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, str]]]:
    """Names in the order in which they run: as written, but a node with `after` stands behind the
    one it names.

    Returns the names, and (node, unknown name) for each `after` that names none.
    """
    names = [
        name for name, raw in nodes.items() if not (isinstance(raw, Mapping) and "after" in raw)
    ]
    waiting = [name for name in nodes if name not in names]
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
