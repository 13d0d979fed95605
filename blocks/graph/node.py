"""The words of the language, and whether a node is well formed before anything is built."""

import keyword
from collections.abc import Mapping
from typing import Any

from blocks.graph.errors import Problem, did_you_mean, show
from blocks.graph.module import Graph

KINDS = ("block", "use", "body", "share")
WORDS = (*KINDS, "in", "repeat", "scan", "as", "when", "after", "expect", "outputs", "params", "holes", "initialise")
PLACES = ("in", "repeat", "scan", "as", "when", "after", "expect")  # what belongs to a place, not to a filling
MODEL_WORDS = ("params", "inputs", "graph", "outputs", "expect", "tie", "initialise", "example")
RESERVED = frozenset(dir(Graph)) | {"training", "graph", "code", "meta", "self", "data", "input"}


def check_input(name: Any) -> Problem | None:
    """Whether what flows in may bear this name: it becomes an argument of the generated `forward`."""
    text = str(name)
    if isinstance(name, str) and text.isidentifier() and not keyword.iskeyword(text) and text != "self":
        return None
    fits = "a Python name: letters, digits, _; no keyword"
    return Problem(f"{show(name)!r} cannot name an input", fits=fits, fix="rename the input")


def check_name(name: Any, taken: tuple[str, ...]) -> Problem | None:
    """Whether a node may bear this name: it becomes a Python attribute and a prefix in the state_dict."""
    text = str(name)
    if not isinstance(name, str) or not text.isidentifier() or keyword.iskeyword(text):
        return Problem(
            f"{name!r} cannot name a node", fits="a Python name: letters, digits, _; no keyword", fix="rename the node"
        )
    if text in RESERVED or text.startswith("_"):
        return Problem(
            f"{text!r} cannot name a node: a PyTorch module uses it", fix=f"rename it, {text.strip('_')}_node say"
        )
    if text in taken:
        return Problem(f"{text!r} is an input here and cannot name a node too", fix="rename the node")
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
        return Problem("a node is a mapping", got=show(raw), fits=f"{{block: {show(raw)}}} or {{use: {show(raw)}}}")
    kinds = [word for word in KINDS if word in raw and not (word == "share" and isinstance(raw[word], bool))]
    if len(kinds) != 1:
        got = " and ".join(kinds) if kinds else ", ".join(map(str, raw)) or "{}"
        near = (did_you_mean(key, KINDS) for key in raw if key not in WORDS and not kinds)
        fits = next(
            (text for text in near if text.startswith("did")),
            "{block: Name}, {use: slot}, {body: {...}} or {share: node}",
        )
        return Problem("a node is exactly one of block, use, body, share", got=got, fits=fits)
    for word, needs in (
        ("as", ("repeat", "scan")),
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
    if raw.get("share") is True and "repeat" not in raw:
        return Problem("'share: true' goes with repeat", fits="share: NODE, to use a node again")
    if "holes" in raw and not option:
        return Problem("only an option of a slot has holes", fix="move the body to conf/model/SLOT/NAME.yaml")
    if option and (misplaced := [word for word in PLACES if word in raw]):
        return Problem(f"{misplaced[0]!r} belongs to the node that uses this, not here", fix="move it beside `use:`")
    return None


def arguments_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What a node hands to its block or template: everything that is no word of the language."""
    return {key: value for key, value in raw.items() if key not in WORDS}


def order(nodes: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, str]]]:
    """Names in the order in which they run: as written, but a node with `after` stands behind the one it names.

    Returns the names, and (node, unknown name) for each `after` that names none.
    """
    names = [name for name, raw in nodes.items() if not (isinstance(raw, Mapping) and "after" in raw)]
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
