"""`python -m blocks load model=vit_b16 data=imagenet --weights FILE --map timm_vit --save
out.safetensors`.
"""

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    parser.add_argument("overrides", nargs="*", help="as for train.py: model=vit_b16 data=imagenet")
    parser.add_argument(
        "--weights",
        required=True,
        metavar="FILE",
        help=".safetensors, or .pt, .pth, .bin with tensors only",
    )
    parser.add_argument(
        "--map",
        metavar="NAME",
        help="a file of conf/weights, or a path; left out: the names are ours",
    )
    parser.add_argument(
        "--head",
        choices=("keep", "replace"),
        default="keep",
        help="replace: new where the number of classes differs",
    )
    parser.add_argument(
        "--grid",
        nargs=2,
        type=int,
        metavar=("ROWS", "COLUMNS"),
        help="of the file's positions, where no square",
    )
    parser.add_argument(
        "--save", metavar="FILE", help="write the model's weights here, as safetensors"
    )
    parser.add_argument(
        "--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, weights/, ...)"
    )


def run(chosen: argparse.Namespace) -> int:
    """Build the model, load the weights, print the report; the exit status."""
    from blocks.commands import Planner
    from blocks.graph import compose
    from blocks.graph.weights import load_weights, save_weights

    model = Planner()(compose(chosen.overrides, config_dir=chosen.config_dir)).materialise()
    folder = Path(chosen.config_dir) / "weights" if chosen.config_dir else None
    grid = tuple(chosen.grid) if chosen.grid else None
    print(
        load_weights(model, chosen.weights, chosen.map, head=chosen.head, folder=folder, grid=grid)
    )
    if chosen.save:
        save_weights(model, chosen.save)
        print(f"saved {chosen.save}")
    return 0
