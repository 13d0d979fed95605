"""The arguments of a node in the text of a model file: where they belong, and edits of them.

A node of the graph may be written in the text, fill a hole of a template, or stand in the file of
an option. A key that is set where the model has it (`mlp: {body: {expand: {bias: false}}}`) is
merged over the option by Hydra, so each of them is edited in the same text.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from blocks.studio.text.edits import (
    EditError,
    add_key,
    check_value,
    find_key,
    insert_section,
    read_root,
    remove_pair,
    replace_value,
)

Keys = tuple[str, ...]


@dataclass(frozen=True)
class Site:
    """Where a model has a node.

    Args:
        keys: that lead to it, ("graph", "layers", "body", "attention", "inner").
        raw: what is written there.
        holes: what fills the holes of the template around it.
    """

    keys: Keys
    raw: Any
    holes: Mapping[str, "Site"] = field(default_factory=dict)

    @property
    def is_own_body(self) -> bool:
        """Whether it is a body that is written there: its arguments are its params."""
        return isinstance(self.raw, Mapping) and "body" in self.raw and "use" not in self.raw

    def argument(self, name: str) -> Keys:
        """Return the keys of an argument."""
        is_param = self.is_own_body and name != "repeat"
        return (*self.keys, "params", name) if is_param else (*self.keys, name)


def find_site(model: Mapping[str, Any], path: str) -> Site | None:
    """Return where a model has a node; None where an expression chooses what is around it.

    Args:
        model: its composed section.
        path: of the node, "layers.0.attention.inner".
    """
    around: Any = model.get("graph")
    keys: Keys = ("graph",)
    holes: Mapping[str, Site] = {}
    names = [name for name in path.split(".") if not name.isdigit()]
    for number, name in enumerate(names, start=1):
        if not isinstance(around, Mapping) or name not in around:
            return None
        site = _fill(Site((*keys, name), around[name], holes))
        if number == len(names):
            return site
        opened = open_site(model, site)
        if opened is None or not isinstance(opened.raw.get("body"), Mapping):
            return None
        around, keys, holes = opened.raw["body"], (*opened.keys, "body"), opened.holes
    return None


def _fill(site: Site) -> Site:
    """Return what fills a hole, where a node is one."""
    for _ in range(len(site.keys)):
        used = site.raw.get("use") if isinstance(site.raw, Mapping) else None
        if not isinstance(used, str) or used not in site.holes:
            break
        site = site.holes[used]
    return site


def open_site(model: Mapping[str, Any], site: Site) -> Site | None:
    """Return the block or body that a node leads to through its slots, with its holes filled."""
    chain: list[Site] = [site]
    while isinstance(site.raw, Mapping) and "use" in site.raw:
        slot = site.raw["use"]
        if not isinstance(slot, str):
            return None
        if slot in site.holes:
            site = site.holes[slot]
        elif isinstance(model.get(slot), Mapping):
            site = Site((slot,), model[slot])
        else:
            return None
        if any(site.keys == each.keys for each in chain):
            return None
        chain.append(site)
    if not isinstance(site.raw, Mapping):
        return None
    holes = site.raw.get("holes") or []
    defaults = holes if isinstance(holes, Mapping) else dict.fromkeys(holes)
    filled = dict(site.holes)
    for hole, default in defaults.items():
        found = Site((*site.keys, "holes", hole), default, site.holes)
        given = [each for each in chain if isinstance(each.raw, Mapping) and hole in each.raw]
        for each in given[:1]:
            found = Site((*each.keys, hole), each.raw[hole], each.holes)
        filled[hole] = found
    return Site(site.keys, site.raw, filled)


# Edits --------------------------------------------------------------------------------------------


def has_value(root: yaml.Node | None, keys: Sequence[str]) -> bool:
    """Return whether a text has something at these keys."""
    for key in keys:
        found = find_key(root, key)
        if found is None:
            return False
        root = found[1]
    return True


def set_value(text: str, keys: Sequence[str], value: str) -> str:
    """Set the value at some keys; mappings that are missing are added around it.

    Args:
        value: as YAML, or an expression.

    Raises:
        EditError: the text cannot be edited there.
    """
    written = quote(value)
    mapping = read_root(text)
    for place, key in enumerate(keys):
        found = find_key(mapping, key)
        rest = keys[place + 1 :]
        if found is None:
            return _check(text, _add(text, mapping, key, _nest(rest, written)), keys, written)
        if not rest or not isinstance(found[1], yaml.MappingNode):
            if rest and found[1].value not in ("", "null", "~"):
                raise EditError(f"`{key}` is no mapping")
            after = replace_value(text, found[1], _nest(rest, written))
            return _check(text, after, keys, written)
        mapping = found[1]
    raise EditError("no argument is named")


def _add(text: str, mapping: yaml.MappingNode, key: str, value: str) -> str:
    """Add a key to a mapping; to the file, as a section."""
    if mapping.start_mark.column == 0 and not mapping.flow_style:
        return insert_section(text, mapping, f"{key}: {value}")
    return add_key(text, mapping, key, value)


def _nest(keys: Sequence[str], value: str) -> str:
    """Write a value inside of mappings."""
    for key in reversed(keys):
        value = f"{{{key}: {value}}}"
    return value


def quote(value: str) -> str:
    """Write a value so that it may stand inside braces: an expression with a comma in quotes."""
    value = value.strip()
    try:
        check_value(value)
    except EditError:
        if not value:
            raise
        return json.dumps(value, ensure_ascii=False)
    return value


def remove_value(text: str, keys: Sequence[str]) -> str:
    """Remove the value at some keys, and the mappings around it that are empty then.

    Raises:
        EditError: the text has none.
    """
    mapping, found = read_root(text), list[tuple[yaml.MappingNode, int]]()
    for key in keys:
        index = _index_of(mapping, key)
        if index is None:
            raise EditError(f"`{'.'.join(keys)}` is not written in this text")
        found.append((mapping, index))
        mapping = mapping.value[index][1]
    while len(found) > 1 and len(found[-1][0].value) == 1:
        found.pop()
    return remove_pair(text, *found[-1])


def _index_of(mapping: yaml.Node, name: str) -> int | None:
    if isinstance(mapping, yaml.MappingNode):
        for index, (key, _) in enumerate(mapping.value):
            if key.value == name:
                return index
    return None


def _check(before: str, after: str, keys: Sequence[str], written: str) -> str:
    """Return a text after an edit; raise EditError where more than the value has changed."""
    wanted = yaml.safe_load(before)
    inner = wanted
    for key in keys[:-1]:
        inner[key] = dict(inner.get(key) or {})  # an alias is another mapping
        inner = inner[key]
    inner[keys[-1]] = yaml.safe_load(f"{{value: {written}}}")["value"]
    try:
        if yaml.safe_load(after) == wanted:
            return after
    except yaml.YAMLError:
        pass
    raise EditError("this place of the text cannot be edited from here: write it in the text")


# What is shown ------------------------------------------------------------------------------------


def write_raw(raw: Any) -> str:
    """Write a value of the configuration as a field shows it: an expression without quotes."""
    if isinstance(raw, str):
        return raw
    if isinstance(raw, bool) or raw is None:
        return {True: "true", False: "false", None: "null"}[raw]
    if isinstance(raw, Mapping | list | tuple):
        plain = json.loads(json.dumps(raw))
        flow = yaml.safe_dump(plain, default_flow_style=True, width=10**6, sort_keys=False)
        return str(flow).strip()
    return str(raw)
