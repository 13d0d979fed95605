"""JSON Schema for editors: completes and checks model files and options as they are written."""

import argparse
from pathlib import Path

from blocks.catalog import catalog
from blocks.commands import write
from blocks.errors import BlockError
from blocks.graph import ConfigError, Problem
from blocks.graph.describe.answers.schema import describe_answers
from blocks.graph.describe.schema import format_schema, schemas
from blocks.support.conf_folders import conf_folders


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    parser.add_argument(
        "-o", "--output", default="docs/schema", metavar="DIR", help="where to write (docs/schema)"
    )
    parser.add_argument(
        "--library", action="append", default=[], metavar="FOLDER", help="with blocks of your own"
    )
    parser.add_argument(
        "--config-dir", metavar="DIR", help="with the slots and options of its model/ folder"
    )


def run(chosen: argparse.Namespace) -> int:
    """Write `model.json`, `option.json` and `answers.json`."""
    own = Path(chosen.config_dir) if chosen.config_dir else None
    if own and not own.is_dir():
        problem = Problem(
            f"no folder {chosen.config_dir!r}",
            "the command line",
            fits="a folder with model/",
            code="missing-file",
        )
        raise ConfigError(problem)
    folders = [folder / "model" for folder in (*conf_folders(), *filter(None, [own]))]
    target = Path(chosen.output)
    try:
        blocks = catalog(chosen.library)
        target.mkdir(parents=True, exist_ok=True)
    except BlockError as error:
        raise ConfigError(
            Problem(error.problem, "the command line", fits=error.fits, code=error.code)
        ) from error
    except OSError as error:
        got = f"-o {target} ({error.strerror})"
        raise ConfigError(
            Problem(
                "the folder cannot be made", "the command line", got=got, code="unwritable-file"
            )
        ) from error
    found = {**schemas(blocks, folders), "answers.json": describe_answers()}
    for name, schema in found.items():
        write(target / name, format_schema(schema), "-o")
        print(target / name)
    return 0
