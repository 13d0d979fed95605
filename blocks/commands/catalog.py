"""Every block: what it takes, gives and does, and which models use it."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from blocks.catalog import catalog
from blocks.errors import BlockError
from blocks.graph import ConfigError, Problem, conf_folder
from blocks.graph.describe.catalog_pages import entries, search
from blocks.graph.errors import guess
from blocks.support.program import command_line

MOST = 20  # lines of a search


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="one block, or several, in full; another word is searched for in names and "
        "descriptions of blocks, options and models",
    )
    parser.add_argument("--json", action="store_true", help="print an object: blocks")
    parser.add_argument(
        "--library", action="append", default=[], metavar="FOLDER", help="with blocks of your own"
    )


def run(chosen: argparse.Namespace) -> int:
    known = read_catalog(chosen.library)
    found = {entry.name: entry for entry in entries(known, conf_folder() / "model")}
    unknown = [name for name in chosen.names if name not in found]
    searched = {name: search(name, found.values(), conf_folder() / "model") for name in unknown}
    missing = [name for name in unknown if chosen.json or not searched[name]]
    if missing:
        raise ConfigError(
            [
                Problem(
                    f"no block {name!r}",
                    "the command line",
                    fits=guess(name, found, most=2),
                    fix=f"{command_line('blocks', 'catalog')} lists all",
                    code="unknown-block",
                )
                for name in missing
            ]
        )
    if chosen.json:
        names = chosen.names or list(found)
        print(json.dumps({"blocks": [asdict(found[name]) for name in names]}, indent=1))
        return 0
    if chosen.names:
        texts = []
        for name in chosen.names:
            texts.append(show_found(searched[name]) if name in searched else found[name].text())
        print("\n\n".join(texts))
        return 0
    width = max(map(len, found))
    for entry in found.values():
        print(f"{entry.name:<{width}}  {entry.family:<15}  {entry.summary}"[:150])
    return 0


def show_found(lines: Sequence[tuple[str, str]]) -> str:
    """What a search found: what to write, and what it is."""
    width = max(len(write) for write, _ in lines)
    shown = [f"{write:<{width}}  {summary}"[:150].rstrip() for write, summary in lines[:MOST]]
    if len(lines) > MOST:
        shown.append(f"... and {len(lines) - MOST} more")
    return "\n".join(shown)


def read_catalog(library: Sequence[str]) -> Mapping[str, Any]:
    """Every block, with those of folders of the user's own; raises ConfigError."""
    try:
        return catalog(library)
    except BlockError as error:
        raise ConfigError(
            Problem(
                error.problem,
                "the command line: --library",
                "library",
                got=error.got,
                fits=error.fits,
                fix=error.fix,
                code=error.code,
            )
        ) from error
