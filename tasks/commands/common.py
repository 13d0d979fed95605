"""What the commands share: exit statuses and options."""

import argparse
from pathlib import Path

OK, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130


def add_code_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that allow the user's own code to run."""
    parser.add_argument(
        "--library",
        action="append",
        default=argparse.SUPPRESS,
        help="a folder or package with blocks of your own",
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=argparse.SUPPRESS,
        help="a class of your own that a run names by _target_",
    )


def add_run_argument(parser: argparse.ArgumentParser, help: str = "the run folder") -> None:
    """Add the run folder as a positional argument."""
    parser.add_argument("run", type=Path, help=help)


def add_no_cache_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that decodes without a cache."""
    parser.add_argument(
        "--no-cache", action="store_true", help="evaluate the whole network for every token"
    )
