"""`python -m tasks export`: write a run for other programs."""

import argparse
import sys
from pathlib import Path

from tasks.commands.common import OK, add_run_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_run_argument(parser)
    parser.add_argument(
        "--to",
        required=True,
        choices=("onnx", "pt2", "safetensors", "hub"),
        help="onnx: for onnxruntime and others; pt2: torch.export; safetensors: the weights; "
        "hub: a folder for the Hugging Face Hub",
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "--entry", metavar="NAME", help="write an entry of the model, e.g. its encoder: encode"
    )
    part.add_argument(
        "--node",
        metavar="PATH",
        help="write the network up to a node, e.g. the encoder of a masked autoencoder: pool",
    )
    parser.add_argument(
        "-o", "--out", type=Path, help="the file or folder; default: inside the run folder"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the run, and print how close it is to the run."""
    from blocks.graph import ConfigError
    from tasks.export import (
        FORMATS,
        check_packages,
        end_at_node,
        export_run,
        make_inputs,
        read_entry_inputs,
        read_inputs,
        take_entry,
    )
    from tasks.run.load_run import open_run

    check_packages(arguments.to)
    whole = run = open_run(arguments.run, tuple(arguments.library), tuple(arguments.trust))
    if arguments.node is not None:
        whole = run = end_at_node(run, arguments.node, arguments.to)
    if arguments.entry is not None:
        run = take_entry(run, arguments.entry, arguments.to)
    path = arguments.out or arguments.run / FORMATS[arguments.to].name
    try:
        batch = read_inputs(whole)
        source = "test samples of the run"
    except ConfigError as error:
        text = "the data of the run cannot be read; random inputs are compared instead"
        print(f"{text}\n{error}", file=sys.stderr)
        batch = make_inputs(whole)
        source = "random inputs"
    if run.entry is not None:
        batch = read_entry_inputs(whole, run, batch)
    parity = export_run(run, arguments.to, path, batch, source)
    print(f"{path}\n{parity}")
    return OK
