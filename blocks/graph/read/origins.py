"""File, line and column of every key in a YAML file, and what YAML silently makes of some words."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from blocks.graph.errors import Origin, Problem, find_look_alike

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
OCTAL = re.compile(r"[-+]?0[0-9_]+$")
SIXTIES = re.compile(r"[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$")


def read_origins(file: Path) -> tuple[list[tuple[tuple[Any, ...], Origin, bool]], list[Problem]]:
    """(path of the key, place, whether it holds a mapping) for every key, in order; and the traps
    found.

    Raises:
        yaml.YAMLError: the file is no YAML.
    """
    problems: list[Problem] = []
    root = yaml.compose(file.read_text(encoding="utf-8"), Loader=LOADER)
    found = list(_walk(root, (), str(file), problems)) if root is not None else []
    return found, problems


def _walk(
    node: yaml.Node, path: tuple[Any, ...], file: str, problems: list[Problem]
) -> Iterator[tuple[tuple[Any, ...], Origin, bool]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            origin = _origin(file, key)
            _trap(key, origin, ".".join(map(str, path)), problems, key=True)
            name = key.value
            _trap(value, _origin(file, value), ".".join(map(str, (*path, name))), problems)
            yield (*path, name), origin, isinstance(value, yaml.MappingNode)
            yield from _walk(value, (*path, name), file, problems)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            origin = _origin(file, value)
            _trap(value, origin, ".".join(map(str, (*path, index))), problems)
            yield (*path, index), origin, isinstance(value, yaml.MappingNode)
            yield from _walk(value, (*path, index), file, problems)


def _origin(file: str, node: yaml.Node) -> Origin:
    return Origin(file, node.start_mark.line + 1, node.start_mark.column + 1)


def _trap(
    node: yaml.Node, origin: Origin, path: str, problems: list[Problem], key: bool = False
) -> None:
    """Words that YAML 1.1 turns into something else without a word."""
    if not isinstance(node, yaml.ScalarNode) or node.style in ("'", '"', "|", ">"):
        return
    text = node.value
    problem = trap(text, key)
    if key and (alike := find_look_alike(text)):
        problems.append(
            Problem(
                "a key has a character that looks like another", origin, path, got=text, fix=alike
            )
        )
        return
    if problem:
        problems.append(Problem(problem[0], origin, path, got=text, fits=problem[1]))


def trap(text: str, key: bool = False) -> tuple[str, str] | None:
    """What YAML 1.1 would make of a plain word, and what to write instead; None for an honest
    one.
    """
    if text.lower() in BOOLEANS:
        return (
            f"YAML reads {text} as {BOOLEANS[text.lower()]}",
            f'{BOOLEANS[text.lower()]}, or "{text}" in quotes for the word',
        )
    if text == "None" and not key:
        return "YAML reads None as a word of four letters", 'null, or "None" in quotes for the word'
    if OCTAL.match(text) and not key:
        return (
            f"YAML reads {text} as an octal number",
            f'{text.lstrip("0") or "0"}, or "{text}" in quotes',
        )
    if SIXTIES.match(text):
        return f"YAML reads {text} as a number in base sixty", f'"{text}" in quotes'
    return None
