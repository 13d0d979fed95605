"""A picture: the nested graph, repeats folded, shapes on the edges; a page, an SVG, Mermaid,
DOT, TikZ, PDF or PNG.
"""

import argparse
from pathlib import Path

from blocks.commands import Planner, levels, write
from blocks.graph import ConfigError, Problem, compose
from blocks.graph.describe.draw import ENDINGS, PrintError, draw_file


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "overrides", nargs="*", help="as for train.py: model=vit model.params.depth=6"
    )
    formats = (
        "its ending says what: .html, .svg, .mmd (Mermaid), .dot, .tex (TikZ), .pdf, .png; "
        "MODEL.html when left out"
    )
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
    if file.suffix not in ENDINGS:
        raise ConfigError(
            Problem(
                "the ending of the file says what is drawn",
                "the command line",
                got=f"-o {file}",
                fits=", ".join(ENDINGS),
                code="bad-command",
            )
        )
    try:
        content = draw_file(Planner()(composed), file.suffix, title, chosen.depth)
    except PrintError as error:
        raise ConfigError(
            Problem(
                "a PDF or PNG needs a package that is not installed",
                "the command line",
                got=f"-o {file} ({error})",
                fits="the extra `figure` and the library cairo; .svg and .tex need neither",
                fix="pip install 'dougong[figure]'",
                code="not-installed",
            )
        ) from error
    write(file, content, "-o")
    print(file)
    return 0
