"""Every block: what it takes, gives and does, and which models use it."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from blocks.catalog import catalog
from blocks.errors import BlockError
from blocks.graph import ConfigError, Problem, conf_folder, did_you_mean
from blocks.graph.describe.catalog_pages import entries


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="one block, or several, in full")
    parser.add_argument("--json", action="store_true", help="print an object: blocks")
    parser.add_argument(
        "--library", action="append", default=[], metavar="FOLDER", help="with blocks of your own"
    )


def run(chosen: argparse.Namespace) -> int:
    known = read_catalog(chosen.library)
    found = {entry.name: entry for entry in entries(known, conf_folder() / "model")}
    unknown = [name for name in chosen.names if name not in found]
    if unknown:
        raise ConfigError(
            [
                Problem(
                    f"no block {name!r}",
                    "the command line",
                    fits=did_you_mean(name, found),
                    code="unknown-block",
                )
                for name in unknown
            ]
        )
    if chosen.json:
        names = chosen.names or list(found)
        print(json.dumps({"blocks": [asdict(found[name]) for name in names]}, indent=1))
        return 0
    if chosen.names:
        print("\n\n".join(found[name].text() for name in chosen.names))
        return 0
    width = max(map(len, found))
    for entry in found.values():
        print(f"{entry.name:<{width}}  {entry.family:<15}  {entry.summary}"[:150])
    return 0


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
