"""`python -m tasks schema`: write the JSON Schema of conf/ for editors."""

import argparse
from pathlib import Path

from tasks.commands.common import OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("docs/schema"),
        help="the folder to write to (docs/schema)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write a file for each section, as `python -m blocks schema` does for models."""
    from blocks.graph.describe.schema import format_schema
    from tasks.config.schema import schemas

    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, content in schemas().items():
        path = arguments.output / name
        path.write_text(format_schema(content), encoding="utf-8")
        print(path)
    return OK
