"""The structural difference of two models: nodes, shapes, parameters, multiply-adds."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from blocks.commands import write
from blocks.graph import ConfigError, Plan, compose, conf_folder, plan
from blocks.graph.diff import Side, side
from blocks.graph.diff_text import page, text


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    parser.add_argument("old", help="overrides, separated by commas: model=vit")
    parser.add_argument("new", help="the same: model=vit,model/residual=postnorm")
    parser.add_argument("overrides", nargs="*", help="for both sides: data=imagenet")
    parser.add_argument("--html", metavar="FILE", help="write a page that needs nothing else")
    parser.add_argument("--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)")


def run(chosen: argparse.Namespace) -> int:
    """Compose both, print the difference; the exit status."""
    old, new, data = two_sides([chosen.old, chosen.new], chosen.overrides, chosen.config_dir)
    if chosen.html:
        write(Path(chosen.html), page(old, new), "--html")
        print(f"wrote {chosen.html}")
    else:
        print(text(old, new))
    if data:
        print(f"with data={data}; the default data does not fit both")
    return 0


def split_side(argument: str) -> list[str]:
    """ "model=vit,model/residual=postnorm" as two overrides; commas inside brackets and quotes stay."""
    parts, depth, quote = [""], 0, ""
    for character in argument:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        depth += (character in "([{") - (character in ")]}") if not quote else 0
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part]


def two_sides(
    sides: Sequence[str], common: Sequence[str] = (), config_dir: str | None = None
) -> tuple[Side, Side, str]:
    """Both models, and the data they were composed for.

    Where no data is named and the default does not fit both, it is the first of `conf/data` that does.

    Raises:
        ConfigError: a side that fits no data.
    """
    overrides = [[*common, *split_side(argument)] for argument in sides]
    chosen = any(override.startswith("data=") for each in overrides for override in each)
    attempts = [None] if chosen else [None, *sorted(file.stem for file in (conf_folder() / "data").glob("*.yaml"))]
    first: ConfigError | None = None
    for data in attempts:
        try:
            plans = [_built([*([f"data={data}"] if data else []), *each], config_dir) for each in overrides]
        except ConfigError as error:
            first = first or error
            continue
        old, new = (side(label, planned) for label, planned in zip(sides, plans, strict=True))
        return old, new, data or ""
    assert first is not None
    raise first


def _built(overrides: Sequence[str], config_dir: str | None) -> Plan:
    return plan(compose(overrides, config_dir=config_dir))
