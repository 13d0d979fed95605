"""What no file of a run may hold: values read from the environment, and keys and passwords of the
command line.

A configuration says `${oc.env:NAME}`; the value is read at the last moment, when an object is made
of the section that says so (`tasks.config.instantiate.make`), and whatever is written or printed
afterwards says `${oc.env:NAME}` again.
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
SHORTEST = 6  # a shorter value would be found in words that mean something else
SHORTEST_WORD = 4  # in messages, where a shorter one may be any number
SECRET = re.compile(
    r"(^|[_.-])(api_?key|key|token|secret|password|passwd|pwd|credentials?|auth)$", re.IGNORECASE
)
LOGIN = re.compile(r"(?<=://)[^\s/@'\"]+:[^\s/@'\"]+(?=@)")

PART = 8  # letters of a part of a path that could be told by itself

_shown: dict[str, str] = {}  # value -> what stands for it in everything that is written
_told: dict[
    str, str
] = {}  # what messages hide as well: short values, as whole words, and parts of paths


def reveal(value: Any) -> Any:
    """A value with what the environment says in place of `${oc.env:NAME}`; remembers what must not
    be written.
    """
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return ENVIRONMENT.sub(_read, value) if isinstance(value, str) else value


def _read(found: re.Match[str]) -> str:
    name, default = found[1], found[2]
    value = os.environ.get(name, default.strip() if default is not None else None)
    if value is None:
        fix = "set it: export NAME=value, or give a default: ${oc.env:NAME,value}"
        raise ArgumentError(
            "", f"the environment has no {name}", got=found[0], fix=fix, code="missing-key"
        )
    if name in os.environ:
        _remember(value, found[0])
    return value


def _remember(value: str, written: str) -> None:
    """Hide a value of the environment in each form in which a program may write it."""
    paths = [str(Path(value)), os.path.expanduser(value)] if value and "\0" not in value else []
    forms = {value, *paths, repr(value)[1:-1], json.dumps(value)[1:-1], html.escape(value)}
    _shown.update(dict.fromkeys((form for form in forms if len(form) >= SHORTEST), written))
    if SHORTEST_WORD <= len(value) < SHORTEST:
        _told[value] = written
    pieces = [piece for piece in re.split(r"[/\\\s]", value) if len(piece) >= PART]
    _told.update(dict.fromkeys(pieces, written))


def keep(config: Mapping[str, Any]) -> None:
    """Remember the values of a configuration whose keys say that they are secrets."""
    for section, value in config.items():
        if section != "model":
            _keep(value)


def _keep(value: Any, key: str = "") -> None:
    if isinstance(value, Mapping):
        for name, item in value.items():
            _keep(item, str(name))
    elif (
        isinstance(value, str)
        and SECRET.search(key)
        and len(value) >= SHORTEST
        and not ENVIRONMENT.search(value)
    ):
        _shown[value] = HIDDEN


def hide_in_message(text: str) -> str:
    """A message without anything that the environment says, also where it is short, or cut off."""
    text = hide(text)
    for value in sorted(_told, key=len, reverse=True):
        text = _told[value].join(re.split(rf"(?<!\w){re.escape(value)}(?!\w)", text))
    for value, written in _shown.items():
        for end in range(len(value) - 1, SHORTEST, -1):
            if text.endswith(value[:end]):
                return text[:-end] + written
    return text


def hide(text: str) -> str:
    """A text without secrets."""
    for value in sorted(_shown, key=len, reverse=True):
        text = text.replace(value, _shown[value])
    return LOGIN.sub(HIDDEN, text)


def hidden(value: Any, key: str = "", section: str = "") -> Any:
    """Plain data without secrets, as they are written."""
    if isinstance(value, Mapping):
        return {name: hidden(item, str(name), section or str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [hidden(item, "", section) for item in value]
    if not isinstance(value, str):
        return value
    secret = (
        section != "model"
        and key
        and SECRET.search(key)
        and value
        and not ENVIRONMENT.search(value)
    )
    return HIDDEN if secret else hide(value)


def hidden_override(text: str) -> str:
    """A word of the command line without secrets; remembers them."""
    key, equals, value = text.partition("=")
    bare = key.lstrip("+~")
    inside = (
        bool(equals and value)
        and not bare.startswith("model")
        and SECRET.search(bare.rpartition(".")[2])
    )
    if not inside or ENVIRONMENT.search(value):
        return hide(text)
    if len(value) >= SHORTEST:
        _shown[value.strip("'\"")] = HIDDEN
    return f"{key}={HIDDEN}"
