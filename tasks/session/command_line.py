"""The command line of the program that trains, as Hydra's parser reads it."""

import argparse

from hydra._internal.utils import get_args_parser


def parse_command_line(words: list[str]) -> argparse.Namespace:
    """Parse a command line, in which options and overrides may stand in any order.

    Raises:
        ConfigError: an unknown option.
    """
    parser = get_args_parser()
    arguments, unknown = parser.parse_known_intermixed_args(words)
    if unknown:
        from blocks.graph.compose.flags import refuse_flags

        raise refuse_flags(words, unknown, parser.format_usage())
    return arguments


def asks_hydra(arguments: argparse.Namespace) -> bool:
    """Return whether Hydra prints something, e.g. the help, instead of running a job."""
    return any(
        (
            arguments.help,
            arguments.hydra_help,
            arguments.cfg,
            arguments.info,
            arguments.shell_completion,
        )
    )
