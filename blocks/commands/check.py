"""Models and every combination of a sweep, before the first run: sizes, costs, mistakes, words that
change nothing.
"""

import argparse
from collections.abc import Callable

from blocks.commands import Planner, add_no_server, restore_the_compiler
from blocks.graph import Built
from blocks.graph.compose.compose import Composed
from blocks.graph.compose.facts import has_chosen
from blocks.graph.describe.sweep_check import check, report


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    parser.add_argument(
        "overrides", nargs="*", help="model=vit,swin model.params.depth=2,4; conf/model/*.yaml"
    )
    parser.add_argument(
        "--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)"
    )
    add_no_server(parser)


def run(chosen: argparse.Namespace) -> int:
    """Build all, print the table; 2 if any is bad."""
    results = check(chosen.overrides, chosen.config_dir, build_checked(Planner()))
    print(report(results))
    return 2 if any(result.problems for result in results) else 0


def build_checked(planner: Planner) -> Callable[[Composed], Built]:
    """Return what builds a model and checks it against the chosen task."""

    def build(composed: Composed) -> Built:
        planned = planner(composed)
        if has_chosen(composed, "task"):
            restore_the_compiler()
            from tasks.run.contract import check_contract

            check_contract(composed, planned, planned.facts)
        return planned

    return build
