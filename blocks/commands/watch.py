"""Answers explain, check or diff again whenever a file is saved that the answer depends on."""

import argparse

from blocks.__main__ import main
from blocks.watch.client import ANSWERED
from blocks.watch.loop import watch


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    parser.add_argument("question", choices=ANSWERED, help="the command to run again")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, help="its arguments: model=vit --depth 1"
    )


def run(chosen: argparse.Namespace) -> int:
    """Answer until Ctrl-C; the exit status."""
    question = [chosen.question, *chosen.arguments]
    if not {"-h", "--help"}.isdisjoint(question):
        return main(question)
    return watch(question, main)
