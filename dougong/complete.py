"""Completion of a command line in a shell: commands, choices and keys of the configuration.

The shell starts `dougong` with `_ARGCOMPLETE=1`; no block and no Hydra is imported.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argcomplete
import yaml

from blocks.support.conf_folders import conf_folder, groups, option_files
from blocks.support.yaml_rules import check
from dougong.choices import list_groups
from dougong.commands.completion import SHELLS

UNSET = ("defaults", "facts", "_target_")  # keys that nobody sets
OVERRIDES = ("train", "explain", "check", "diff", "fit", "draw", "emit", "load")


def complete(commands: dict[str, str]) -> None:
    """Print the completions that the shell asks for, and exit.

    Args:
        commands: the names of all commands, with a line each.
    """
    parser = argparse.ArgumentParser("dougong")
    parsers = parser.add_subparsers()
    for name, text in commands.items():
        command = parsers.add_parser(name, help=text)
        if name in OVERRIDES:
            words = command.add_argument("overrides", nargs="*")
            words.completer = complete_override  # type: ignore[attr-defined]
        elif name == "list":
            command.add_argument("kind", choices=[group.name for group in list_groups()])
        elif name == "show":
            command.add_argument("name", choices=list(list_files()))
        elif name == "completion":
            command.add_argument("shell", choices=SHELLS)
        else:
            files = command.add_argument("words", nargs="*")
            files.completer = argcomplete.FilesCompleter()  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options=False)


def list_files() -> Iterator[str]:
    """Yield the name of every choice, e.g. "model/norm/rmsnorm"."""
    for group in groups():
        for option in option_files(group):
            yield f"{group}/{option}"


def complete_override(prefix: str, **_: Any) -> list[str]:
    """Return the overrides that begin with `prefix`: choices behind `=`, else groups and keys."""
    group, equals, _value = prefix.partition("=")
    if equals:
        return [f"{group}={option}" for option in option_files(group)]
    found = [f"{name}=" for name in groups()]
    found += [f"{key}=" for key in list_keys()]
    return [word for word in found if word.startswith(prefix)]


def list_keys() -> Iterator[str]:
    """Yield the keys of the default configuration: "seed", "trainer.max_epochs"."""
    settings = read_yaml(conf_folder() / "train.yaml")
    yield from (key for key in settings if key not in ("defaults", "hydra"))
    for entry in settings["defaults"]:
        if not isinstance(entry, dict):
            continue
        for section, option in entry.items():
            prefix, values = section, read_option(section, str(option))
            if section == "model":
                prefix, values = "model.params", values.get("params", {})
            yield from (f"{prefix}.{key}" for key in values if key not in UNSET)


def read_option(group: str, option: str) -> dict[str, Any]:
    """Return the values of an option, with those of the options that it starts from."""
    file = option_files(group).get(option)
    if file is None:
        return {}
    own = read_yaml(file)
    values: dict[str, Any] = {}
    for base in own.get("defaults", []):
        if isinstance(base, str) and base != "_self_":
            values |= read_option(group, base)
    return values | own


def read_yaml(file: Path) -> dict[str, Any]:
    """Return a YAML file as a dictionary."""
    return yaml.safe_load(check(file)) or {}
