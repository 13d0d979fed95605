"""A model as one file of plain PyTorch that needs torch alone."""

import argparse
import shlex
from pathlib import Path

from blocks.commands import Planner, add_entry, choose_part, write
from blocks.graph import ConfigError, Problem, compose
from blocks.graph.describe.emit import CannotEmit, emit, read_header
from blocks.support.conf_folders import conf_folders


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    parser.add_argument(
        "overrides", nargs="*", help="as for train.py: model=vit model.params.depth=6"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the Python file; printed when left out"
    )
    add_entry(parser)
    parser.add_argument(
        "--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)"
    )


def run(chosen: argparse.Namespace) -> int:
    """Compose, build on the meta device, write; the exit status."""
    composed = compose(chosen.overrides, config_dir=chosen.config_dir)
    title = composed.choices.get("model") or "model"
    folders = [Path(chosen.config_dir)] if chosen.config_dir else []
    files = [folder / "model" / f"{title}.yaml" for folder in (*folders, *conf_folders())]
    about = next((read_header(file) for file in files if file.is_file()), "")
    command = shlex.join(["python", "-m", "blocks", "emit", *chosen.overrides])
    planned = choose_part(Planner()(composed), chosen.entry)
    if chosen.entry is not None:
        command += f" --entry {chosen.entry}"
        title += f"_{chosen.entry}"
    try:
        text = emit(planned, title, command, about)
    except CannotEmit as error:
        problem = Problem(
            "this model cannot be written as plain PyTorch",
            "the command line",
            got=str(error),
            code="unsupported",
        )
        raise ConfigError(problem) from error
    if chosen.output is None:
        print(text, end="")
        return 0
    write(chosen.output, text, "-o")
    print(chosen.output)
    return 0
