"""`python -m tasks predict`: predict the class of images, arrays, signals or texts."""

import argparse
from pathlib import Path

from tasks.commands.common import add_run_argument

DESCRIPTION = (
    "Write one row for each item: its most probable class and the probability, all labels above\n"
    "their thresholds where the run has several, or its numbers.\n"
    "A bad item is reported, keeps its row, and does not stop the rest."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_run_argument(parser, "the run folder, of task=classify or task=answer")
    parser.add_argument(
        "input",
        nargs="*",
        help="files, FOLDER/, FILE.npz:ARRAY, texts; - or none: lines of standard input",
    )
    parser.add_argument(
        "--question", help="the question about each image, for a run of task=answer"
    )
    parser.add_argument(
        "--caption",
        action="append",
        metavar="TEXT",
        help="a text to compare images with, for a run of task=contrast_pairs; may be repeated; "
        "default: the texts of the classes",
    )
    parser.add_argument(
        "--text",
        metavar="COLUMN",
        help="the column of a table, by name or by number from 1; default: the one of training",
    )
    parser.add_argument(
        "--header",
        choices=("auto", "true", "false"),
        default="auto",
        help="whether tables have a header (auto)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write to FILE, not to standard output; the folder for masks (masks)",
    )
    parser.add_argument(
        "--json", action="store_true", help="write one JSON object a line, instead of CSV"
    )
    parser.add_argument("--top", type=int, metavar="K", help="the K most probable classes (1)")
    parser.add_argument(
        "--batch-size", type=int, default=64, metavar="N", help="items in a batch (64)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the predictions."""
    from tasks.commands.predict_items import write_predictions

    return write_predictions(arguments)
