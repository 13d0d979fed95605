"""Use a finished run.

python -m tasks generate RUN --prompt "The "              continue a text
python -m tasks translate RUN "Monday, November 23, 2026" translate texts
python -m tasks predict RUN INPUT ...                     classify images, arrays, signals or texts
python -m tasks predict RUN IMAGE --question "..."        answer a question about an image
python -m tasks evaluate RUN [KEY=VALUE ...]              test again, on the same or other data
python -m tasks probe RUN [--node PATH]                   judge frozen features by the classes
python -m tasks export RUN --to onnx                      onnx, pt2, safetensors or hub
python -m tasks tokenize FILES -o FOLDER                  encode a corpus once, for data=tokens
python -m tasks schema                                    JSON Schema of conf/ for editors
"""

import os
import sys

if sys.path and sys.path[0] in ("", os.getcwd()):
    # `python -m` searches the current folder first, so that a yaml.py or hydra_plugins/ there would
    # run. The project is found where this file is; the user's own blocks are named by `library`.
    sys.path.pop(0)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if root not in sys.path:
        sys.path.append(root)

import argparse
import importlib
from functools import partial

from tasks.commands.common import FAILED, MISTAKE, add_code_options

# one module of tasks/commands each; they import torch in `run`, so that --help answers at once
COMMANDS = {
    "generate": "continue a text with a language model",
    "translate": "translate texts: arguments, or lines of standard input",
    "predict": "predict the class of images, arrays or texts",
    "evaluate": "test a run again, on the test part of its data or of other data",
    "probe": "judge frozen features of a run by a linear model and nearest neighbours",
    "tokenize": "encode a corpus once, for data=tokens",
    "schema": "write the JSON Schema of conf/, except the models, for editors",
    "export": "write a run for other programs, and compare it with the run",
}


def build_parser(program: str) -> argparse.ArgumentParser:
    """Build the parser of the command line; options for own code may stand before the command."""
    from blocks.support.answers import Parser

    parser = Parser(prog=program, description="Use a finished run.")
    parser.set_defaults(library=[], trust=[])
    add_code_options(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        module = importlib.import_module(f"tasks.commands.{name}")
        description = getattr(module, "DESCRIPTION", None)
        command = commands.add_parser(
            name,
            help=summary,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_code_options(command)
        module.add_arguments(command)
    return parser


def parse_arguments(words: list[str], program: str = "python -m tasks") -> argparse.Namespace:
    """Parse the command line; positional arguments may stand before and after options."""
    parser = build_parser(program)
    arguments, rest = parser.parse_known_args(words)
    repeated = None
    for name in ("input", "text", "data"):
        if isinstance(getattr(arguments, name, None), list):
            repeated = name
    options = [word for word in rest if word.startswith("-") and word != "-"]
    if rest and (repeated is None or options):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if repeated is not None:
        getattr(arguments, repeated).extend(rest)
    return arguments


def main(words: list[str] | None = None, program: str = "python -m tasks") -> int:
    """Run a command.

    Args:
        words: of the command line.
        program: how the user calls it.

    Returns:
        The exit status: 0; 1 if an item failed; 2 after a mistake of the user's; 130 after Ctrl-C.
    """
    words = sys.argv[1:] if words is None else words
    if not words:
        print(__doc__)
        return MISTAKE
    from blocks.support.program import run_quietly, spare_streams

    spare_streams()
    return run_quietly(partial(run_command, parse_arguments(words, program), words))


def run_command(arguments: argparse.Namespace, words: list[str]) -> int:
    """Run the chosen command and print the mistakes that it raises."""
    from blocks.graph import ConfigError, locate
    from blocks.support.answers import asks_for_json, error_entries, print_error
    from tasks.config.secrets import hide_in_message
    from tasks.errors import ArgumentError, SampleError

    command = importlib.import_module(f"tasks.commands.{arguments.command}")
    try:
        return command.run(arguments)
    except BrokenPipeError:  # ends quietly, in `run_quietly`
        raise
    except Exception as error:
        status, text = FAILED, hide_in_message(str(error))
        if isinstance(error, (ArgumentError, OSError)):
            status, text = MISTAKE, "\n".join(text.split("; "))
        elif isinstance(error, ConfigError):
            status = MISTAKE
        elif not isinstance(error, SampleError) and not asks_for_json(words):
            raise
        print_error(text, error_entries(error, locate(error)), status, words, hide_in_message)
        return status


if __name__ == "__main__":
    sys.exit(main())
