"""File, line and column of every key in a YAML file, and words that YAML 1.1 converts silently."""

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
    """Return (path of the key, origin, whether its value is a mapping) for every key, in order, and
    the traps found.

    Raises:
        yaml.YAMLError: the file is not YAML.
    """
    problems: list[Problem] = []
    root = yaml.compose(file.read_text(encoding="utf-8"), Loader=LOADER)
    if root is None:
        return [], problems
    return list(_walk(root, (), str(file), problems)), problems


def _walk(
    node: yaml.Node, path: tuple[Any, ...], file: str, problems: list[Problem]
) -> Iterator[tuple[tuple[Any, ...], Origin, bool]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            origin, below = _origin_of(file, key), (*path, key.value)
            _check_scalar(key, origin, path, problems, key=True)
            _check_scalar(value, _origin_of(file, value), below, problems)
            yield below, origin, isinstance(value, yaml.MappingNode)
            yield from _walk(value, below, file, problems)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            origin, below = _origin_of(file, value), (*path, index)
            _check_scalar(value, origin, below, problems)
            yield below, origin, isinstance(value, yaml.MappingNode)
            yield from _walk(value, below, file, problems)


def _origin_of(file: str, node: yaml.Node) -> Origin:
    return Origin(file, node.start_mark.line + 1, node.start_mark.column + 1)


def _check_scalar(
    node: yaml.Node,
    origin: Origin,
    path: tuple[Any, ...],
    problems: list[Problem],
    key: bool = False,
) -> None:
    """Report a word that YAML 1.1 converts silently, and a look-alike character in a key."""
    if not isinstance(node, yaml.ScalarNode) or node.style in ("'", '"', "|", ">"):
        return
    text = node.value
    shown = ".".join(map(str, path))
    alike = find_look_alike(text) if key else None
    if alike:
        problem = "a key has a character that looks like another"
        problems.append(Problem(problem, origin, shown, got=text, fix=alike, code="ambiguous-text"))
        return
    caught = find_trap(text, key)
    if caught:
        problems.append(
            Problem(caught[0], origin, shown, got=text, fits=caught[1], code="ambiguous-text")
        )


def find_trap(text: str, key: bool = False) -> tuple[str, str] | None:
    """Return how YAML 1.1 would convert a plain word, and what to write instead; None where it
    keeps the word.
    """
    boolean = BOOLEANS.get(text.lower())
    if boolean:
        return f"YAML reads {text} as {boolean}", f'{boolean}, or "{text}" in quotes for the word'
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
