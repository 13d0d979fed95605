"""A picture: the nested graph, repeats folded, shapes on the edges; a page, an SVG, Mermaid or
DOT.
"""

import argparse
from pathlib import Path

from blocks.commands import Planner, levels, write
from blocks.graph import ConfigError, Problem, compose
from blocks.graph.describe.draw import WRITERS, draw


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "overrides", nargs="*", help="as for train.py: model=vit model.params.depth=6"
    )
    formats = "its ending says what: .html, .svg, .mmd (Mermaid), .dot; MODEL.html when left out"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=formats)
    parser.add_argument(
        "--depth",
        type=levels,
        metavar="N",
        help="unfold N levels; each structure once when left out",
    )
    parser.add_argument(
        "--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)"
    )


def run(chosen: argparse.Namespace) -> int:
    composed = compose(chosen.overrides, config_dir=chosen.config_dir)
    title = composed.choices.get("model") or "model"
    file = chosen.output or Path(f"{title}.html")
    if file.suffix not in WRITERS:
        raise ConfigError(
            Problem(
                "the ending of the file says what is drawn",
                "the command line",
                got=f"-o {file}",
                fits=", ".join(WRITERS),
                code="bad-command",
            )
        )
    write(file, draw(Planner()(composed), file.suffix, title, chosen.depth), "-o")
    print(file)
    return 0
