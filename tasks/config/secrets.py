"""Secrets, which no file of a run may contain: values of environment variables, and keys and
passwords of the command line.

A configuration refers to a variable as `${oc.env:NAME}`. Its value is read when an object is
created from the section (`tasks.config.instantiate.make`); whatever is written or printed
afterwards has `${oc.env:NAME}` in its place again.
"""

import html
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blocks.support.yaml_rules import ENVIRONMENT
from tasks.errors import ArgumentError

HIDDEN = "***"
SHORTEST = 6  # characters; a shorter value would be found inside other words
SHORTEST_WORD = 4  # in messages, as a whole word; a shorter one may be any number
SHORTEST_PART = 8  # of a component of a path that is hidden by itself
SECRET = re.compile(
    r"(^|[_.-])(api_?key|key|token|secret|password|passwd|pwd|credentials?|auth)$", re.IGNORECASE
)
LOGIN = re.compile(r"(?<=://)[^\s/@'\"]+:[^\s/@'\"]+(?=@)")

_replacements: dict[str, str] = {}  # value -> what replaces it in everything that is written
# value -> what replaces it in messages only: short values as whole words, and components of paths
_message_replacements: dict[str, str] = {}


def reveal(value: Any) -> Any:
    """Return a value with environment variables in place of `${oc.env:NAME}`, and remember what to
    hide.
    """
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return list(map(reveal, value))
    if isinstance(value, str):
        return ENVIRONMENT.sub(_read_variable, value)
    return value


def _read_variable(found: re.Match[str]) -> str:
    name, default = found[1], found[2]
    if name in os.environ:
        _remember(os.environ[name], found[0])
        return os.environ[name]
    if default is None:
        fix = "set it: export NAME=value, or give a default: ${oc.env:NAME,value}"
        problem = f"the environment has no {name}"
        raise ArgumentError("", problem, got=found[0], fix=fix, code="missing-key")
    return default.strip()


def _remember(value: str, written: str) -> None:
    """Hide the value of an environment variable in each form in which a program may write it."""
    forms = {value, repr(value)[1:-1], json.dumps(value)[1:-1], html.escape(value)}
    if value and "\0" not in value:
        forms |= {str(Path(value)), os.path.expanduser(value)}
    for form in forms:
        if len(form) >= SHORTEST:
            _replacements[form] = written
    if SHORTEST_WORD <= len(value) < SHORTEST:
        _message_replacements[value] = written
    for part in re.split(r"[/\\\s]", value):
        if len(part) >= SHORTEST_PART:
            _message_replacements[part] = written


def keep(config: Mapping[str, Any]) -> None:
    """Remember the values of a configuration whose keys name secrets."""
    for section, value in config.items():
        if section != "model":
            _keep(value)


def _keep(value: Any, key: str = "") -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            _keep(item, str(name))
    elif isinstance(value, str) and len(value) >= SHORTEST and _is_secret(key, value):
        _replacements[value] = HIDDEN


def _is_secret(key: str, value: str) -> bool:
    """Return whether a key names a secret, and the value is not a reference to a variable."""
    return bool(value and SECRET.search(key) and not ENVIRONMENT.search(value))


def hide_in_message(text: str) -> str:
    """Return a message without values of environment variables, even short or truncated ones."""
    text = hide(text)
    for value in sorted(_message_replacements, key=len, reverse=True):
        parts = re.split(rf"(?<!\w){re.escape(value)}(?!\w)", text)
        text = _message_replacements[value].join(parts)
    for value, written in _replacements.items():
        for end in range(len(value) - 1, SHORTEST, -1):
            if text.endswith(value[:end]):
                return text[:-end] + written
    return text


def hide(text: str) -> str:
    """Return a text without secrets."""
    for value in sorted(_replacements, key=len, reverse=True):
        text = text.replace(value, _replacements[value])
    return LOGIN.sub(HIDDEN, text)


def hidden(value: Any, key: str = "", section: str = "") -> Any:
    """Return plain data without secrets."""
    if isinstance(value, Mapping):
        return {name: hidden(item, str(name), section or str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [hidden(item, "", section) for item in value]
    if not isinstance(value, str):
        return value
    if section != "model" and _is_secret(key, value):
        return HIDDEN
    return hide(value)


def hidden_override(text: str) -> str:
    """Return an argument of the command line without secrets, and remember them."""
    key, _, value = text.partition("=")
    bare = key.lstrip("+~")
    if bare.startswith("model") or not _is_secret(bare.rpartition(".")[2], value):
        return hide(text)
    if len(value) >= SHORTEST:
        _replacements[value.strip("'\"")] = HIDDEN
    return f"{key}={HIDDEN}"
