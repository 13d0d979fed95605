"""What the overrides and files of a confined process may not name (`DOUGONG_CONFINED`): anything
outside its folder, and the environment.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, QuotedString
from hydra.errors import HydraException

from blocks.graph.compose.overrides import parse_overrides
from blocks.graph.compose.policy import (
    AGENT,
    KeyPath,
    Origins,
    check_adopted,
    find_origin,
    stays_inside,
)
from blocks.graph.errors import ConfigError, Problem, show
from blocks.graph.read.loader import parse_override
from blocks.support.files import lies_outside

MOST, LONGEST = 100, 5_000  # overrides, and characters of each
FITS = "key=value, +key=value or ~key"
FITS_PATH = "a path in the project, relative to its folder"


def check_confined_overrides(overrides: Sequence[str]) -> None:
    """Check overrides before anything that they name is looked up.

    Raises:
        ConfigError: every override that is refused.
    """
    if len(overrides) > MOST:
        got = f"{len(overrides):,} overrides"
        raise ConfigError(
            Problem("too many overrides", AGENT, got=got, fits=f"{MOST}", code="too-large")
        )
    problems = list(check_adopted(overrides, AGENT))
    for text in overrides:
        problem = _check_override(text)
        if problem is not None:
            problems.append(problem)
    if problems:
        raise ConfigError(problems)


def _check_override(text: str) -> Problem | None:
    where = f"{AGENT}: {text}"[:100]
    if len(text) > LONGEST:
        got, fits = f"{len(text):,} characters", f"{LONGEST:,}"
        return Problem("the override is too long", where, got=got, fits=fits, code="too-large")
    if text.startswith("-"):
        problem = "options are not accepted here, only overrides"
        return Problem(problem, where, fits=FITS, code="not-allowed")
    if "${" in text:
        problem = "overrides read neither the environment nor other keys here"
        return Problem(problem, where, fix="write the value itself", code="not-allowed")
    try:
        parsed = parse_override(text)
    except (HydraException, RecursionError):
        return parse_overrides([text])[1][0]
    for part in (parsed.key_or_group, *_list_values(parsed)):
        if _leads_outside(part):
            return _refuse_path(part, where)
    return None


def check_confined_values(
    plain: Mapping[str, Any], origins: Origins, environment: Iterable[KeyPath]
) -> Iterator[Problem]:
    """Yield a problem for each value that names a place outside the folder, or the environment.

    Args:
        plain: the configuration, with each `${...}` as it is written.
        environment: paths of the values that read the environment.
    """
    for path in environment:
        where, shown = find_origin(origins, path), ".".join(map(str, path))
        yield Problem("files do not read the environment here", where, shown, code="not-allowed")
    for path, text in _walk_texts(plain):
        if path[0] != "hydra" and _leads_outside(text):
            yield _refuse_path(text, find_origin(origins, path), ".".join(map(str, path)))


def _refuse_path(text: str, where: Any, path: str = "") -> Problem:
    problem = "nothing outside the project is read or written"
    return Problem(problem, where, path, got=show(text)[:90], fits=FITS_PATH, code="not-allowed")


def _leads_outside(text: str) -> bool:
    """Return whether a text is a path that leads out of the folder, with links resolved."""
    if not stays_inside(text):
        return True
    return len(text) < LONGEST and os.path.lexists(text) and lies_outside(text)


def _list_values(override: Override) -> Iterator[str]:
    """Yield every text in the value of an override, or in those of a sweep."""
    value: Any = override._value
    if isinstance(value, ChoiceSweep):
        value = value.list
    elif isinstance(value, Glob):
        value = [*value.include, *value.exclude]
    for _, text in _walk_texts(value):
        yield text


def _walk_texts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield (path, text) for every text in a value, keys included."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), str(key)
            yield from _walk_texts(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _walk_texts(item, (*path, number))
    elif isinstance(value, str | QuotedString):
        yield path, str(getattr(value, "text", value))
