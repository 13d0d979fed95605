"""Edits of the text of a model file: comments, order and layout stay as they are."""

import re
from collections.abc import Container, Sequence
from functools import lru_cache
from typing import Any

import yaml

from blocks.support.yaml_rules import Refused, check_limits

SELF = "_self_"


class EditError(ValueError):
    """An edit that does not fit the text; the message says why."""


def read_root(text: str) -> yaml.MappingNode:
    """Return the YAML of a model file with the place of each value; raises EditError."""
    try:
        check_limits(text, "the text")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (Refused, yaml.YAMLError, RecursionError) as error:
        raise EditError("the text is not YAML at the moment") from error
    if not isinstance(root, yaml.MappingNode):
        raise EditError("the text is no mapping")
    return root


def find_key(mapping: yaml.Node | None, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return key and value of a mapping; None where it has no such key."""
    if not isinstance(mapping, yaml.MappingNode):
        return None
    for key, value in mapping.value:
        if key.value == name:
            return key, value
    return None


def end_of(text: str, node: yaml.Node) -> int:
    """Return where a value ends; YAML ends a block where the next key begins, behind comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return end_of(text, last[1] if isinstance(last, tuple) else last)
    start, end = node.start_mark.index, node.end_mark.index
    while end > start and text[end - 1] in " \n":
        end -= 1
    return end


def line_end(text: str, place: int) -> int:
    """Return the end of a line, behind a comment."""
    end = text.find("\n", place)
    return len(text) if end < 0 else end


def replace_value(text: str, node: yaml.Node, new: str) -> str:
    """Replace a value by the text of another."""
    return text[: node.start_mark.index] + new + text[end_of(text, node) :]


def add_key(text: str, mapping: yaml.MappingNode, name: str, value: str) -> str:
    """Add a key at the end of a mapping, in its own style."""
    if mapping.flow_style:
        end = mapping.end_mark.index - 1
        comma = ", " if mapping.value else ""
        return f"{text[:end].rstrip()}{comma}{name}: {value}{text[end:]}"
    indent = " " * mapping.start_mark.column
    end = line_end(text, end_of(text, mapping.value[-1][1]))  # behind a comment
    return f"{text[:end]}\n{indent}{name}: {value}{text[end:]}"


# Params and slots ---------------------------------------------------------------------------------


def set_param(text: str, name: str, value: str) -> str:
    """Set a param of the model.

    Args:
        value: as YAML: "12", "dim // 32", "[2, 2, 6, 2]".

    Raises:
        EditError: the value is not YAML on one line, or the text cannot be edited.
    """
    check_value(value)
    root = read_root(text)
    params = find_key(root, "params")
    if params is None:
        return insert_section(text, root, f"params: {{{name}: {value}}}")
    if not isinstance(params[1], yaml.MappingNode):
        raise EditError("`params` is no mapping")
    found = find_key(params[1], name)
    if found is None:
        return add_key(text, params[1], name, value)
    return replace_value(text, found[1], value)


def write_overrides(text: str, words: Sequence[str]) -> tuple[str, list[str]]:
    """Write the slots and params of a command line into the text, where the page edits them.

    Args:
        words: overrides; `model/norm=rmsnorm` and `model.params.dim=96` become text.

    Returns:
        The text, and the other overrides.

    Raises:
        EditError: a value that does not fit the text.
    """
    rest = []
    for word in words:
        name, _, value = word.removeprefix("+").partition("=")
        if name.startswith("model/"):
            text = set_slot(text, name.removeprefix("model/"), value)
        elif name.startswith("model.params."):
            text = set_param(text, name.removeprefix("model.params."), value)
        else:
            rest.append(word)
    return text, rest


def check_value(value: str) -> None:
    """Raise EditError for what is no single value of YAML that may stand inside braces."""
    try:
        read = yaml.safe_load(f"{{value: {value}}}")
    except yaml.YAMLError:
        read = None
    if "\n" in value or not isinstance(read, dict) or list(read) != ["value"] or not value.strip():
        raise EditError(f"{value[:60]!r} is no value of YAML")


def insert_section(text: str, root: yaml.MappingNode, line: str) -> str:
    """Insert a section behind `defaults`, or before all others."""
    defaults = find_key(root, "defaults")
    if defaults is None:
        start = root.start_mark.index
        return f"{text[:start]}{line}\n{text[start:]}"
    end = defaults[1].end_mark.index
    head = text[:end].rstrip()
    return f"{head}\n{line}{text[len(head) :]}"


def set_slot(text: str, slot: str, option: str) -> str:
    """Choose the option of a slot in `defaults`.

    Args:
        slot: "norm".
        option: "rmsnorm".

    Raises:
        EditError: the text has no list of defaults.
    """
    defaults = find_key(read_root(text), "defaults")
    if defaults is None or not isinstance(defaults[1], yaml.SequenceNode):
        raise EditError("the file has no `defaults`")
    items = defaults[1].value
    for item in items:
        found = find_key(item, slot) or find_key(item, f"override {slot}")
        if found is not None:
            return replace_value(text, found[1], option)
    own = [item for item in items if item.value == SELF]
    line = f"override {slot}: {option}"
    if defaults[1].flow_style:
        if own:
            start = own[0].start_mark.index
            return f"{text[:start]}{line}, {text[start:]}"
        end = defaults[1].end_mark.index - 1
        return f"{text[:end].rstrip()}, {line}{text[end:]}"
    place = (own or items[-1:])[0]
    indent = " " * defaults[1].start_mark.column
    if own:
        start = text.rindex("\n", 0, place.start_mark.index) + 1
        return f"{text[:start]}{indent}- {line}\n{text[start:]}"
    end = place.end_mark.index
    return f"{text[:end].rstrip()}\n{indent}- {line}{text[end:]}"


# Keys anywhere ------------------------------------------------------------------------------------


def find_pair(text: str, line: int, name: str) -> tuple[Any, int, yaml.Node, yaml.Node] | None:
    """Return the mapping, the index, key and value of a key on a line, from 1; the first there."""
    stack: list[yaml.Node] = [read_root(text)]
    while stack:
        node = stack.pop(0)
        if isinstance(node, yaml.MappingNode):
            for index, (key, value) in enumerate(node.value):
                if key.value == name and key.start_mark.line == line - 1:
                    return node, index, key, value
                stack.append(value)
        elif isinstance(node, yaml.SequenceNode):
            stack += node.value
    return None


def remove_key(text: str, line: int, name: str) -> str:
    """Remove a key with its value.

    Raises:
        EditError: there is none on that line.
    """
    found = find_pair(text, line, name)
    if found is None:
        raise EditError(f"no key {name!r} in line {line}")
    return remove_pair(text, found[0], found[1])


def remove_pair(text: str, mapping: yaml.MappingNode, index: int) -> str:
    """Remove a key with its value from a mapping."""
    key, value = mapping.value[index]
    start, end = key.start_mark.index, value.end_mark.index
    if not mapping.flow_style:
        start = text.rfind("\n", 0, start) + 1
        return text[:start] + text[line_end(text, end_of(text, value)) + 1 :]
    if index + 1 < len(mapping.value):
        end = mapping.value[index + 1][0].start_mark.index
    elif index:
        start = mapping.value[index - 1][1].end_mark.index
    return text[:start] + text[end:]


def insert_before(text: str, line: int, name: str, node: str) -> str:
    """Insert a node before the one on a line, from 1, with a name that is new there."""
    lines = text.split("\n")
    below = lines[line - 1]
    indent = below[: len(below) - len(below.lstrip())]
    number, unique = 1, name
    while re.search(rf"(?<!\w){unique}\s*:", text):
        number += 1
        unique = f"{name}_{number}"
    lines.insert(line - 1, f"{indent}{unique}: {node}")
    return "\n".join(lines)


def read_slots(text: str) -> dict[str, Any]:
    """Return the options of the slots that a text chooses; raises EditError where it is no YAML."""
    defaults = find_key(read_root(text), "defaults")
    if defaults is None:
        return {}
    found = _read_defaults(_load(text)["defaults"])
    return {} if found is None else found[1]


def read_params(text: str) -> dict[str, Any]:
    """Return the params that a text writes; raises EditError where it is no model."""
    try:
        found = _load(text)
    except (Refused, yaml.YAMLError, RecursionError, ValueError) as error:
        raise EditError("the text is not YAML at the moment") from error
    params = found.get("params") if isinstance(found, dict) else None
    if not isinstance(params, dict):
        return {}
    return {str(name): value for name, value in params.items()}


# What changed -------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def _load(text: str) -> Any:
    """Return what a text says, which nobody changes; raises as YAML does, and Refused."""
    check_limits(text, "the text")
    return yaml.safe_load(text)


def read_changes(before: str, after: str, known: Container[str]) -> list[str] | None:
    """Return the overrides that make one text of the other; None where more than options of slots
    and values of params differ.

    Args:
        known: the params of the model as a whole; the command line adds others with a +.
    """
    try:
        old, new = _load(before), _load(after)
    except (Refused, yaml.YAMLError, RecursionError, ValueError):
        return None
    if not isinstance(old, dict) or not isinstance(new, dict):
        return None
    for section in (old.keys() | new.keys()) - {"defaults", "params"}:
        if old.get(section) != new.get(section):
            return None
    slots = _changed_slots(old.get("defaults") or [], new.get("defaults") or [])
    params = _changed_params(old.get("params") or {}, new.get("params") or {}, known)
    if slots is None or params is None:
        return None
    return [*slots, *params]


def _changed_slots(old: Any, new: Any) -> list[str] | None:
    before, after = _read_defaults(old), _read_defaults(new)
    if before is None or after is None or before[0] != after[0]:
        return None
    if before[1].keys() - after[1].keys():
        return None
    changed = {name: option for name, option in after[1].items() if before[1].get(name) != option}
    if any("@" in name or "/" in name or not isinstance(changed[name], str) for name in changed):
        return None
    return [f"model/{name}={option}" for name, option in changed.items()]


def _read_defaults(items: Any) -> tuple[list[Any], dict[str, Any]] | None:
    """Return the files of a list of defaults, and the options of its slots."""
    files: list[Any] = []
    slots: dict[str, Any] = {}
    if not isinstance(items, list):
        return None
    for item in items:
        if isinstance(item, dict):
            slots |= {str(key).removeprefix("override "): option for key, option in item.items()}
        else:
            files.append(item)
    return files, slots


def _changed_params(old: Any, new: Any, known: Container[str]) -> list[str] | None:
    if not isinstance(old, dict) or not isinstance(new, dict) or old.keys() - new.keys():
        return None
    words = []
    for name, value in new.items():
        if name not in old or old[name] != value or type(old[name]) is not type(value):
            shown = _show_override(value)
            if shown is None:
                return None
            plus = "" if name in known else "+"
            words.append(f"{plus}model.params.{name}={shown}")
    return words


def _show_override(value: Any) -> str | None:
    """Return a value as the command line takes it; None for one that is not simple."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        shown = [_show_override(item) for item in value]
        return None if None in shown else f"[{','.join(map(str, shown))}]"
    if isinstance(value, str) and "'" not in value and "\\" not in value and "${" not in value:
        return value if re.fullmatch(r"[A-Za-z_]\w*", value) else f"'{value}'"
    return None
