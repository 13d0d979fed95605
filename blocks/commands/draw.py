"""A picture: the nested graph, repeats folded, shapes on the edges; a page, an SVG, Mermaid,
DOT, TikZ, PDF or PNG.
"""

import argparse
from contextlib import suppress
from pathlib import Path

from blocks.commands import Planner, add_entry, choose_part, levels, write
from blocks.graph import ConfigError, Problem, compose
from blocks.graph.describe.draw import (
    ENDINGS,
    WRITERS,
    PrintError,
    draw_file,
    picture,
    unfold,
    write_html,
)
from blocks.graph.describe.draw.gallery import describe_model, write_index
from blocks.support.conf_folders import option_files


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
    add_entry(parser)
    parser.add_argument(
        "--all",
        type=Path,
        metavar="FOLDER",
        help="a static site of all models: a list that is searched, and a page for each",
    )
    parser.add_argument(
        "--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)"
    )


def run(chosen: argparse.Namespace) -> int:
    if chosen.all is not None:
        print(draw_all(chosen.all, chosen.overrides))
        return 0
    composed = compose(chosen.overrides, config_dir=chosen.config_dir)
    title = "_".join(filter(None, (composed.choices.get("model") or "model", chosen.entry)))
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
    planned = choose_part(Planner()(composed), chosen.entry)
    try:
        content = draw_file(planned, file.suffix, title, chosen.depth)
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


def draw_all(folder: Path, overrides: list[str]) -> Path:
    """Draw every model on its example data into a folder, and return the page that lists them."""
    build, entries = Planner(say=lambda note: None), []
    with suppress(OSError):  # `write` reports what cannot be written
        folder.mkdir(parents=True, exist_ok=True)
    for name, file in option_files("model").items():
        drawn = picture(build(compose([f"model={name}", *overrides])), name)
        write(folder / f"{name}.html", write_html(drawn, home="index.html"), "--all")
        write(folder / f"{name}.svg", WRITERS[".svg"](unfold(drawn, 0)), "--all")
        entries.append(describe_model(drawn, read_comment(file)))
    page = folder / "index.html"
    write(page, write_index(entries), "--all")
    return page


def read_comment(file: Path) -> str:
    """Return the comment at the beginning of a model file: what the model is, and its source."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# @"):
            continue
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines)
