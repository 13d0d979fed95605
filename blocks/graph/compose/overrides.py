"""Overrides of the command line: quoted where Hydra needs quotes, checked, and read as values."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from blocks.graph.compose.keys import mend_override
from blocks.graph.errors import ConfigError, Problem
from blocks.graph.read.loader import parse_override
from blocks.graph.read.origins import find_trap

COMMAND_LINE = "the command line"


def on_command_line(override: str) -> str:
    """Return the place of an override, for messages."""
    return f"{COMMAND_LINE}: {override}"


def make_readable(override: str) -> str:
    """Put the value of an override in quotes where Hydra can read it only so: a path with spaces,
    brackets or Chinese characters.
    """
    key, equals, value = override.partition("=")
    if not equals or not value or value[0] in "[{'" or any(mark in value for mark in '"\\,'):
        return override
    quoted = f'{key}="{value}"'
    if not _can_parse(override) and _can_parse(quoted):
        return quoted
    return override


@lru_cache(maxsize=1024)
def _can_parse(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def parse_changes(words: Sequence[str], section: str) -> dict[str, Any]:
    """Return the values of arguments such as `path=FILE` or `data.path=FILE` by key, read as
    `train.py` reads overrides.

    Args:
        words: arguments of the command line.
        section: the section of the configuration whose keys they set.

    Raises:
        ConfigError: every argument that is no override, is a sweep, or would be another value in a
            YAML file.
    """
    good, problems = parse_overrides(list(map(make_readable, words)))
    parsed = [parse_override(text) for text in good]
    for override in parsed:
        if override.is_delete() or "=" not in str(override.input_line):
            where = on_command_line(str(override.input_line))
            problems.append(
                Problem(
                    f"a change of {section} is KEY=VALUE",
                    where,
                    fits="path=FILE",
                    code="bad-override",
                )
            )
    if problems:
        raise ConfigError(problems)
    changes: dict[str, Any] = {}
    for override in parsed:
        key = override.key_or_group.removeprefix(f"{section}.")
        *parents, name = key.split(".")
        mapping = changes
        for parent in parents:
            mapping = mapping.setdefault(parent, {})
        mapping[name] = _read_value(override)
    return changes


def _read_value(override: Override) -> Any:
    """Return the value of an override as plain lists, dictionaries and texts."""
    made = OmegaConf.create({"value": override.value()})
    return OmegaConf.to_container(made)["value"]  # type: ignore[call-overload,index]


def parse_overrides(overrides: Sequence[str]) -> tuple[list[str], list[Problem]]:
    """Return the overrides that can be read, and the problems of the others."""
    good, problems = [], []
    for text in overrides:
        problem = _check_override(text)
        if problem is None:
            good.append(text)
        else:
            problems.append(problem)
    return good, problems


def _check_override(text: str) -> Problem | None:
    where = on_command_line(text)
    try:
        parsed = parse_override(text)
    except HydraException:
        fits = "key=value, +key=value or ~key"
        return Problem(
            "this override cannot be read",
            where,
            fits=fits,
            fix=mend_override(text),
            code="bad-override",
        )
    if parsed.is_sweep_override():
        fix = "sweep with -m (--multirun); one list is key=[2,4]"
        return Problem("several values at once are a sweep", where, fix=fix, code="bad-sweep")
    value: Any = parsed.value()
    quoted = "'" in text or '"' in text
    if parsed.is_delete() or quoted or not isinstance(value, str):
        return None
    caught = find_trap(value)
    if caught is None or value.lower() in ("on", "off"):
        return None
    problem = caught[0].replace("YAML reads", "a file would read")
    return Problem(problem, where, got=value, fits=caught[1], code="ambiguous-text")
