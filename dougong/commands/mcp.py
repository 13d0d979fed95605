"""Serve a coding agent or another client of the Model Context Protocol, on standard input and
output.

The client lists the tools: list, show, catalog, explain, check, diff, fit, why, train, result.
They read and write in the working directory alone. Needs the extra `mcp`. docs/agents.md has the
configuration of a client.
"""

import argparse
import importlib.util
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "--max-seconds",
        type=float,
        default=600.0,
        metavar="N",
        help="the longest training that the client may ask for (default: 600)",
    )
    # the process that answers questions, which the server starts
    parser.add_argument("--answers", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Serve until the client closes standard input.

    Raises:
        ConfigError: the extra is not installed.
    """
    if arguments.answers:
        from dougong.agents import answers

        answers.serve()
        return 0
    if importlib.util.find_spec("mcp") is None:
        from blocks.graph import ConfigError, Problem

        problem, fix = "the package mcp is not installed", "pip install 'dougong[mcp]'"
        raise ConfigError(Problem(problem, "dougong mcp", fix=fix, code="not-installed"))
    from dougong.agents import server

    server.run(Path.cwd(), arguments.max_seconds)
    return 0
