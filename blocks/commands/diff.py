"""The structural difference of two models: nodes, shapes, parameters, multiply-adds."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from blocks.commands import Planner, add_no_server, write
from blocks.graph import Built, ConfigError, compose, plan
from blocks.graph.compose.compose import Composed
from blocks.graph.compose.facts import example_of, facts_in_file, has_chosen
from blocks.graph.describe.diff import Side, describe_difference, side
from blocks.graph.describe.diff_text import page, text
from blocks.support.conf_folders import option_files


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    parser.add_argument("old", help="overrides, separated by commas: model=vit")
    parser.add_argument("new", help="the same: model=vit,model/residual=postnorm")
    parser.add_argument("overrides", nargs="*", help="for both sides: data=imagenet")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print an object: old, new, nodes")
    forms.add_argument("--html", metavar="FILE", help="write a page that needs nothing else")
    parser.add_argument(
        "--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)"
    )
    add_no_server(parser)


def run(chosen: argparse.Namespace) -> int:
    """Compose both, print the difference; the exit status."""
    old, new, data = two_sides([chosen.old, chosen.new], chosen.overrides, chosen.config_dir)
    if chosen.json:
        answer = {**describe_difference(old, new), "data": data or None}
        print(json.dumps(answer, indent=1))
        return 0
    if chosen.html:
        write(Path(chosen.html), page(old, new), "--html")
        print(f"wrote {chosen.html}")
    else:
        print(text(old, new))
    if data:
        print(f"with data={data}; the default data does not fit both")
    return 0


def split_side(argument: str) -> list[str]:
    """ "model=vit,model/residual=postnorm" as two overrides; commas inside brackets and quotes
    stay.
    """
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
    """Both models, and the data they were composed for, where those are none that a word chose.

    Where no data are chosen, both are shown the same facts if any fit both: the example that both
    files state, the default data, the first of `conf/data` that does, or the example of one of
    them.

    Raises:
        ConfigError: a side that fits no data.
    """
    words = [[*common, *split_side(argument)] for argument in sides]
    composed = [compose(each, config_dir=config_dir) for each in words]
    first: ConfigError | None = None
    for data, built in attempts(words, composed, config_dir):
        try:
            plans = [make() for make in built]
        except ConfigError as error:
            first = first or error
            continue
        old, new = (side(label, planned) for label, planned in zip(sides, plans, strict=True))
        return old, new, data
    assert first is not None
    raise first


def attempts(
    words: Sequence[list[str]], composed: Sequence[Composed], config_dir: str | None
) -> Iterator[tuple[str, list[partial[Built]]]]:
    """What both models may be built for: a name for the data, and what builds each."""
    planner = Planner()
    own = [partial(planner, each) for each in composed]
    examples = [example_of(each) for each in composed]
    if any(has_chosen(each, "data") for each in composed) or examples[0] == examples[1] != {}:
        yield "", own
        return
    yield "", [partial(plan, each) for each in composed]
    for name in sorted(option_files("data"), key=lambda name: not _states(name, examples)):
        yield name, [partial(_with_data, each, name, config_dir) for each in words]
    for example in examples:
        yield "", [partial(planner, each, example) for each in composed]
    yield "", own


def _states(data: str, examples: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a data file states facts of an example, as that of ImageNet does, and no other."""
    facts = facts_in_file(data)
    for example in examples:
        shared = facts.keys() & example.keys()
        if shared and all(facts[name] == example[name] for name in shared):
            return True
    return False


def _with_data(words: Sequence[str], data: str, config_dir: str | None) -> Built:
    return plan(compose([f"data={data}", *words], config_dir=config_dir))
