"""Print the YAML file of a choice, or copy it into the project: `dougong show model/vit --save`."""

import argparse
import difflib
import shutil
import sys
from pathlib import Path

from blocks.support.conf_folders import option_files
from dougong.choices import list_groups


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", help="model/vit, model/norm/rmsnorm, data/digits, ...")
    parser.add_argument(
        "--save",
        action="store_true",
        help="copy the file to conf/ of this folder, where it comes before the other of its name",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print or copy the file.

    Raises:
        ConfigError: there is no such choice, or the copy exists already.
    """
    name = arguments.name.replace("=", "/").removesuffix(".yaml")
    group, _, option = name.rpartition("/")
    file = option_files(group).get(option)
    if file is None:
        raise unknown_choice(arguments.name, group, option)
    if not arguments.save:
        print(f"# {file}", file=sys.stderr)
        print(file.read_text(encoding="utf-8"), end="")
        return 0
    copy = Path("conf", group, f"{option}.yaml")
    if copy.exists():
        from blocks.graph import ConfigError, Problem

        problem = "the project has a file of this name already"
        raise ConfigError(
            Problem(problem, str(copy), fix="delete it, or rename it, first", code="bad-command")
        )
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, copy)
    print(f"{copy} is a copy of {file}; {group}={option} reads it from now on in this folder")
    return 0


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
