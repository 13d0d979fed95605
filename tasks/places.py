"""Where callbacks and loggers may write: a file that is chosen stays in the run folder and sends nothing away.

The command line may do as it likes: what it says itself is not checked here.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blocks.graph import ConfigError, Problem, stays_inside
from blocks.graph.trust import ENVIRONMENT

WRITING = ("callbacks", "logger", "trainer")
PLACES = ("dirpath", "folder", "save_dir")  # arguments that name a place inside the run folder
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
SENDING = {
    "offline": False,
    "log_model": True,
    "model_registry": None,
    "save_code": True,
}  # value, or any other than null
FIX = "say it on the command line: {}=..."


def strays(composed: Any, path: tuple[str, ...], arguments: dict[str, Any]) -> Iterator[Problem]:
    """Problems with arguments of a section that would write outside the run folder, or send something away."""
    if path[0] not in WRITING:
        return
    for key, value in arguments.items():
        here = (*path, key)
        if is_typed(composed, here):
            continue
        shown = ".".join(here)
        where, got, fix = composed.origin(shown), f"{key}={value!r}"[:90], FIX.format(shown)
        if key in SENDING and (value == SENDING[key] if SENDING[key] is not None else value is not None):
            yield Problem("a file may not send anything away", where, shown, got=got, fix=fix)
        for text in texts(value):
            if not inside(text):
                fits = "a relative path, which lies in the run folder"
                problem = "a file may not write outside the run folder"
                yield Problem(problem, where, shown, got=got, fits=fits, fix=fix)


def unchecked(composed: Any, path: tuple[str, ...], key: str) -> Iterator[Problem]:
    """A problem with an argument that a class hands on to somebody else, unless the command line says it."""
    here = (*path, key)
    if path[0] in WRITING and not is_typed(composed, here):
        shown = ".".join(here)
        text = f"{key} is handed on unchecked, so a file may not say it"
        yield Problem(text, composed.origin(shown), shown, fix=FIX.format(shown))


def is_typed(composed: Any, path: tuple[str, ...]) -> bool:
    """Whether the command line gave this value."""
    return getattr(composed, "is_typed", lambda _: False)(path)


def texts(value: Any) -> Iterator[str]:
    """Every text of an argument."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


def inside(text: str) -> bool:
    """Whether a text, taken as a path or an address, stays in the run folder."""
    scheme = SCHEME.match(text)
    if scheme is None:
        return stays_inside(text)
    return scheme[1] == "file" and stays_inside(text.partition(":")[2])


def move(composed: Any, place: Path) -> None:
    """Let the relative folders of callbacks and loggers lie in the run folder; raises ConfigError for those outside."""
    sections = [
        ((part, name), section)
        for part in ("callbacks", "logger")
        for name, section in (composed.config.get(part) or {}).items()
        if isinstance(section, dict)
    ]
    problems = [problem for path, section in sections for problem in strays(composed, path, section)]
    if problems:
        raise ConfigError(problems)
    for path, section in sections:
        for key, value in section.items():
            if not isinstance(value, str) or ENVIRONMENT.match(value):
                continue
            if key in PLACES:
                section[key] = str(place / value)
            elif value.startswith("file:") and not is_typed(composed, (*path, key)):
                section[key] = f"file:{place / value.removeprefix('file:')}"
