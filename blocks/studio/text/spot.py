"""Where the cursor stands in a model file, also while the text is no YAML: the keys around it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from blocks.support.yaml_rules import Refused, check_limits

MARK = "cursor7f3a"  # stands in the text for the word that is typed
CLOSED_BY = {"{": "}", "[": "]"}
OUTSIDE = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|(?:^|(?<=\s))#[^\n]*|[{}\[\]]")

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Spot:
    """A place in a model file.

    Args:
        path: the keys to the value; of a key, those to its mapping.
        is_key: whether a key stands there.
        start: where the word at the cursor begins, in characters.
        end: where it ends.
        root: the file as dictionaries, lists and texts, without what is typed.
        is_alone: whether a value stands where the first key of a mapping could.
    """

    path: Path
    is_key: bool
    start: int
    end: int
    root: Any
    is_alone: bool = False

    def value(self, path: Path) -> Any:
        """Return the value at a path; None where there is none."""
        found = self.root
        for key in path:
            if isinstance(found, dict):
                found = found.get(key)
            elif isinstance(found, list) and isinstance(key, int) and key < len(found):
                found = found[key]
            else:
                return None
        return found


def find_typed(text: str, offset: int) -> Spot | None:
    """Return the place of the word that is typed at an offset; None where no key leads to it."""
    head, tail = text[:offset], text[offset:]
    line = head.rpartition("\n")[2]
    if re.search(r"(^|\s)#", line):
        return None
    start = offset - len(re.search(r"[\w.]*$", head)[0])  # type: ignore[index]
    end = offset + len(re.match(r"\w*", tail)[0])  # type: ignore[index]
    before, behind = text[:start], text[end:]
    rest = behind.partition("\n")[0]
    for trial in (
        f"{before}{MARK}{behind}",
        f"{before}{MARK}:{behind}",
        _close(f"{before}{MARK}{rest}"),
        _close(f"{before}{MARK}"),
        _close(f"{before}{MARK}:"),
    ):
        for node, path, is_key in _walk(_read(trial), ()):
            if MARK in str(node.value):
                root = _strip(_plain(_read(trial)))
                alone = node.value == MARK and not before.rpartition("\n")[2].strip(" -")
                return Spot(path, is_key, start, end, root, alone or _is_item(path))
    return None


def find_written(text: str, offset: int) -> tuple[Spot, str] | None:
    """Return the place of the key or value that an offset is in, and its text."""
    root = _read(text)
    for node, path, is_key in _walk(root, ()):
        start, end = node.start_mark.index, node.end_mark.index
        if start <= offset < end:
            return Spot(path, is_key, start, end, _plain(root)), str(node.value)
    return None


def _is_item(path: Path) -> bool:
    return bool(path) and isinstance(path[-1], int)


def _read(text: str) -> yaml.Node | None:
    try:
        check_limits(text, "the text")
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except (Refused, yaml.YAMLError, RecursionError, ValueError):
        return None


def _close(text: str) -> str:
    """Close the brackets that are open at the end of a text."""
    opened: list[str] = []
    for found in OUTSIDE.findall(text):
        if found in CLOSED_BY:
            opened.append(CLOSED_BY[found])
        elif opened and found == opened[-1]:
            opened.pop()
    return text + "".join(reversed(opened))


def _walk(node: yaml.Node | None, path: Path) -> Iterator[tuple[yaml.ScalarNode, Path, bool]]:
    """Yield every scalar with its path, and whether it is a key."""
    if isinstance(node, yaml.ScalarNode):
        yield node, path, False
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield key, path, True
            yield from _walk(value, (*path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(value, (*path, index))


def _plain(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value) for value in node.value]
    return None if node is None else str(node.value)


def _strip(value: Any) -> Any:
    """Leave out what is typed."""
    if isinstance(value, dict):
        return {key: _strip(inner) for key, inner in value.items() if MARK not in key}
    if isinstance(value, list):
        return [_strip(inner) for inner in value if inner != MARK]
    if isinstance(value, str) and MARK in value:
        return ""
    return value
