"""Overrides of the command line: quoted where Hydra needs it, checked, and read as values."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from blocks.graph.compose.keys import mend_override
from blocks.graph.errors import ConfigError, Problem
from blocks.graph.read.loader import parse_override
from blocks.graph.read.origins import trap

COMMAND_LINE = "the command line"


def on_command_line(override: str) -> str:
    return f"{COMMAND_LINE}: {override}"


def readable(override: str) -> str:
    """An override as Hydra can read it: a path with spaces, brackets or Chinese characters comes
    into quotes.
    """
    key, equals, value = override.partition("=")
    if not equals or not value or value[0] in "[{'" or any(mark in value for mark in '"\\,'):
        return override
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        quoted = f'{key}="{value}"'
        try:
            OverridesParser.create().parse_override(quoted)
        except HydraException:
            return override
        return quoted
    return override


def parse_changes(words: Sequence[str], section: str) -> dict[str, Any]:
    """The values of words such as `path=FILE` or `data.path=FILE`, by key, read as `train.py` reads
    overrides.

    Args:
        words: of the command line.
        section: the section of the configuration whose keys they set.

    Raises:
        ConfigError: every word that is no override, is a sweep, or is read otherwise by YAML files.
    """
    texts = [readable(text) for text in words]
    good, problems = parse_overrides(texts)
    parsed = [parse_override(text) for text in good]
    for override in parsed:
        if override.is_delete() or "=" not in str(override.input_line):
            fits = "path=FILE"
            got = str(override.input_line)
            problems.append(
                Problem(f"a change of {section} is KEY=VALUE", on_command_line(got), fits=fits)
            )
    if problems:
        raise ConfigError(problems)
    changes: dict[str, Any] = {}
    for override in parsed:
        key = override.key_or_group.removeprefix(f"{section}.")
        *parents, name = key.split(".")
        place = changes
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = plain_value(override)
    return changes


def plain_value(override: Override) -> Any:
    """The value of an override as plain lists, dictionaries and texts."""
    made = OmegaConf.create({"value": override.value()})
    return OmegaConf.to_container(made)["value"]  # type: ignore[call-overload,index]


def parse_overrides(overrides: Sequence[str]) -> tuple[list[str], list[Problem]]:
    good, problems = [], []
    for text in overrides:
        try:
            parsed = parse_override(text)
        except HydraException:
            fits = "key=value, +key=value or ~key"
            problems.append(
                Problem(
                    "this override cannot be read",
                    on_command_line(text),
                    fits=fits,
                    fix=mend_override(text),
                )
            )
            continue
        if parsed.is_sweep_override():
            problems.append(
                Problem(
                    "several values at once are a sweep",
                    on_command_line(text),
                    fix="sweep with -m (--multirun); one list is key=[2,4]",
                )
            )
            continue
        value: Any = parsed.value()
        plain = (
            isinstance(value, str)
            and not parsed.is_delete()
            and "'" not in text
            and '"' not in text
        )
        caught = trap(value) if plain else None
        if caught and value.lower() not in ("on", "off"):
            problems.append(
                Problem(
                    caught[0].replace("YAML reads", "a file would read"),
                    on_command_line(text),
                    got=value,
                    fits=caught[1],
                )
            )
            continue
        good.append(text)
    return good, problems
