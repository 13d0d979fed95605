"""`python -m tasks evaluate`: test a run again."""

import argparse

from tasks.commands.common import OK, add_run_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument(
        "data", nargs="*", metavar="KEY=VALUE", help="changes of the section data: path=FILE"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the metrics of the test part, as train.py prints them."""
    import logging

    from blocks.graph import parse_changes
    from tasks.run.evaluate import evaluate_run
    from tasks.run.load_run import open_run

    changes = parse_changes(arguments.data, "data")
    run = open_run(arguments.run, tuple(arguments.library), tuple(arguments.trust))
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # no notes about GPUs
    for name, value in evaluate_run(run, changes).items():
        print(f"{name.replace('/', ' ')} {value:.4f}")
    return OK
