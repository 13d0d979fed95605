"""Models and every combination of a sweep, before the first run: sizes, costs, mistakes, words that
change nothing.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from blocks.commands import (
    Planner,
    add_no_server,
    plan_composed_loss,
    write,
)
from blocks.graph import Built
from blocks.graph.compose.compose import Composed
from blocks.graph.compose.facts import has_chosen
from blocks.graph.describe.answers.sarif import format_sarif
from blocks.graph.describe.sweep_check import check, describe_results, report
from blocks.support.conf_folders import conf_folders
from blocks.support.stand_ins import restore_the_compiler


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    parser.add_argument(
        "overrides", nargs="*", help="model=vit,swin model.params.depth=2,4; conf/model/*.yaml"
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print an object: runs, errors, status")
    forms.add_argument(
        "--sarif",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write SARIF 2.1.0, which shows errors in pull requests; printed without a FILE",
    )
    parser.add_argument(
        "--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)"
    )
    add_no_server(parser)


def run(chosen: argparse.Namespace) -> int:
    """Build all, print the answer; 2 if any is bad."""
    results, build = [], build_checked(Planner())
    for overrides, config_dir in find_folders(chosen.overrides, chosen.config_dir):
        results += check(overrides, config_dir, build)
    status = 0
    if any(result.problems for result in results):
        status = 2
    if chosen.json:
        print(json.dumps({**describe_results(results), "status": status}, indent=1))
    elif chosen.sarif == "-":
        print(format_sarif(results))
    else:
        print(report(results))
    if chosen.sarif not in (None, "-"):
        write(Path(chosen.sarif), format_sarif(results), "--sarif")
    return status


def find_folders(
    words: Sequence[str], config_dir: str | None
) -> list[tuple[list[str], str | None]]:
    """Return the command lines to check, each with the folder that its files are in.

    A file `FOLDER/model/NAME.yaml` outside of `conf_folders` is checked as `model=NAME` with
    `--config-dir FOLDER`, with all overrides.
    """
    known = [folder.resolve() for folder in conf_folders()]
    own: dict[str, list[str]] = {}
    rest = []
    for word in words:
        file = Path(word).resolve()
        folder = file.parent
        is_own = "=" not in word and file.suffix in (".yaml", ".yml") and file.is_file()
        if is_own and folder.name == "model" and folder.parent not in known:
            own.setdefault(str(folder.parent), []).append(file.stem)
        else:
            rest.append(word)
    overrides = [word for word in rest if "=" in word]
    lines: list[tuple[list[str], str | None]] = []
    if not own or len(overrides) < len(rest):
        lines.append((rest, config_dir))
    for found, names in own.items():
        lines.append(([f"model={','.join(names)}", *overrides], found))
    return lines


def build_checked(planner: Planner) -> Callable[[Composed], Built]:
    """Return what builds a model and checks it against the chosen task."""

    def build(composed: Composed) -> Built:
        planned = planner(composed)
        if has_chosen(composed, "task"):
            restore_the_compiler()
            from tasks.run.contract import check_contract

            check_contract(composed, planned, planned.facts)
            plan_composed_loss(composed, planned)
        return planned

    return build
