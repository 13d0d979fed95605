"""List what can be chosen: `dougong list model`, `dougong list model/norm`, `dougong list
block`.
"""

import argparse
import json
from dataclasses import asdict

from dougong.choices import PROGRAM, Choice, list_choices, list_groups

BLOCK = "block"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "kind", nargs="?", help="model, data, experiment, ...; model/norm, ...; or block"
    )
    parser.add_argument("--json", action="store_true", help="print an object: choices")


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each choice: its name, whose it is, what it is.

    Raises:
        ConfigError: nothing of this kind can be chosen.
    """
    kind = arguments.kind
    if kind is None:
        found = [*list_groups(), Choice(BLOCK, "what `block:` names in YAML", "", PROGRAM)]
    elif kind == BLOCK:
        found = list_blocks()
    else:
        found = list_choices(kind)
    if not found:
        raise unknown_kind(kind)
    if arguments.json:
        answer = {"choices": [asdict(choice) for choice in found]}
        print(json.dumps(answer, indent=1, ensure_ascii=False))
        return 0
    width = max(len(choice.name) for choice in found)
    for choice in found:
        summary = choice.summary
        if choice.origin != PROGRAM:
            summary = f"({choice.origin}) {summary}"
        print(f"{choice.name:<{width}}  {summary}".rstrip())
    return 0


def list_blocks() -> list[Choice]:
    """Return the blocks of the catalogue."""
    from blocks.catalog import catalog
    from blocks.graph import conf_folder
    from blocks.graph.describe.catalog_pages import entries

    blocks = catalog()
    found = []
    for entry in entries(blocks, conf_folder() / "model"):
        origin = PROGRAM
        module = getattr(blocks[entry.name], "__module__", PROGRAM)
        if module.partition(".")[0] not in ("blocks", "torch"):
            origin = module
        found.append(Choice(entry.name, entry.summary, "", origin))
    return found


def unknown_kind(kind: str) -> Exception:
    """Return the error for a kind that there is not."""
    from blocks.graph import ConfigError, Problem, did_you_mean

    known = [*(group.name for group in list_groups()), BLOCK]
    return ConfigError(
        Problem(
            "nothing of this kind can be chosen",
            f"the command line: {kind}",
            fits=did_you_mean(kind, known),
            fix="dougong list shows all kinds",
            code="unknown-option",
        )
    )
