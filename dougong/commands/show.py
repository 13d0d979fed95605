"""Print the YAML file of a choice, or copy it into the project: `dougong show model/vit --save`."""

import argparse
import difflib
import json
import shutil
import sys
from pathlib import Path

from blocks.support.conf_folders import option_files
from blocks.support.files import read_file
from dougong.choices import list_groups


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", help="model/vit, model/norm/rmsnorm, data/digits, ...")
    parser.add_argument("--json", action="store_true", help="print an object: name, file, yaml")
    parser.add_argument(
        "--save",
        action="store_true",
        help="copy the file to conf/ of this folder, where it comes before the other of its name",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print or copy the file.

    Raises:
        ConfigError: there is no such choice; the copy exists already, or cannot be written.
    """
    name = arguments.name.replace("=", "/").removesuffix(".yaml")
    group, _, option = name.rpartition("/")
    file = option_files(group).get(option)
    if file is None:
        raise unknown_choice(arguments.name, group, option)
    if not arguments.save:
        print_file(name, file, as_json=arguments.json)
        return 0
    from blocks.graph import ConfigError, Problem

    copy = Path("conf", group, f"{option}.yaml")
    if copy.exists():
        problem = "the project has a file of this name already"
        raise ConfigError(
            Problem(problem, str(copy), fix="delete it, or rename it, first", code="bad-command")
        )
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    except OSError as error:
        problem = "the file cannot be written"
        raise ConfigError(
            Problem(problem, str(copy), got=error.strerror, code="unwritable-file")
        ) from error
    print(f"{copy} is a copy of {file}; {group}={option} reads it from now on in this folder")
    return 0


def print_file(name: str, file: Path, *, as_json: bool) -> None:
    """Print a file, and its path beside it.

    Raises:
        ConfigError: it cannot be read.
    """
    from blocks.graph import ConfigError, Problem

    try:
        text = read_file(file).decode("utf-8", errors="replace")
    except OSError as error:
        problem = "the file cannot be read"
        raise ConfigError(
            Problem(problem, str(file), got=error.strerror, code="unreadable-file")
        ) from error
    if as_json:
        print(json.dumps({"name": name, "file": str(file), "yaml": text}, ensure_ascii=False))
        return
    print(f"# {file}", file=sys.stderr)
    print(text, end="")


def unknown_choice(name: str, group: str, option: str) -> Exception:
    """Return the error for a name that no file has."""
    from blocks.graph import ConfigError, Problem

    known = []
    for each in list_groups():
        known += [f"{each.name}/{other}" for other in option_files(each.name)]
    near = [other for other in known if other.rpartition("/")[2] == option]
    near = near or difflib.get_close_matches(f"{group}/{option}".strip("/"), known, n=3)
    fits = None
    if near:
        fits = f"did you mean {' or '.join(near)}?"
    where = f"the command line: {name}"
    fix = "dougong list shows the groups, dougong list model the models"
    return ConfigError(
        Problem(
            "no file of this name can be chosen",
            where,
            fits=fits,
            fix=fix,
            code="unknown-option",
        )
    )
