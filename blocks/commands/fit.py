"""The value of a param that meets a budget; several models at an equal budget in one call."""

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict

from blocks.commands import Planner
from blocks.graph import ConfigError, Problem
from blocks.graph.compose.combinations import combinations
from blocks.graph.describe.fit import Fit, fit
from blocks.graph.describe.table import short
from blocks.graph.read.loader import CachedLoader
from blocks.support.program import command_line, train_command
from blocks.support.text_table import align_columns

BUDGETS = {
    "parameters": "parameters",
    "macs": "macs",
    "flops": "macs",
}  # papers say FLOPs and count multiply-adds
EXAMPLE = "model=swin 'model.params.dim=?' parameters=5e6"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    parser.add_argument(
        "words", nargs="+", help=f"{EXAMPLE}; or macs=1e9, or flops=1e9, which counts the same"
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print an object: fits")
    forms.add_argument(
        "--commands",
        action="store_true",
        help="print the commands that train them; `| sh` runs them",
    )
    parser.add_argument(
        "--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)"
    )


def run(chosen: argparse.Namespace) -> int:
    """Solve for each combination, print a line each; the exit status."""
    key, budget, measure, overrides = read(chosen.words)
    loader, build = CachedLoader(), Planner()
    fits = [
        fit(each, key, budget, measure, chosen.config_dir, loader, build)
        for each in combinations(overrides, chosen.config_dir)
    ]
    if chosen.json:
        print(json.dumps({"fits": list(map(asdict, fits))}, indent=1))
    elif chosen.commands:
        print(commands(fits, chosen.config_dir))
    else:
        print(table(fits))
    return 0


def read(words: Sequence[str]) -> tuple[str, float, str, list[str]]:
    """The unknown, the budget, what the budget counts, and the rest of the command line."""
    budgets = [word for word in words if word.partition("=")[0] in BUDGETS]
    unknown = [word for word in words if word.endswith("=?")]
    fits = command_line("blocks", f"fit {EXAMPLE}")
    if len(unknown) != 1:
        problem = "nothing to solve for" if not unknown else "one unknown at a time"
        raise ConfigError(
            Problem(
                problem,
                "the command line",
                got=" ".join(unknown) or None,
                fits=fits,
                code="bad-command",
            )
        )
    if "/" in unknown[0] or unknown[0].startswith("model=") or "." not in unknown[0]:
        problem, got = "only a number has a nearest value", f"{unknown[0]}, a choice of files"
        raise ConfigError(
            Problem(problem, "the command line", got=got, fits=fits, code="bad-command")
        )
    if len(budgets) != 1:
        problem = "no budget" if not budgets else "one budget at a time"
        raise ConfigError(
            Problem(
                problem,
                "the command line",
                got=" ".join(budgets) or None,
                fits=fits,
                code="bad-command",
            )
        )
    name, _, text = budgets[0].partition("=")
    try:
        budget = float(text)
    except ValueError:
        budget = 0.0
    if not budget > 0:
        raise ConfigError(
            Problem(
                "a budget is a number above 0",
                f"the command line: {budgets[0]}",
                fits=f"{name}=5e6",
                code="bad-command",
            )
        )
    key = unknown[0].removesuffix("=?")
    key = f"model.{key}" if key.startswith("params.") else key
    return key, budget, BUDGETS[name], [word for word in words if word not in (*budgets, *unknown)]


def commands(fits: Sequence[Fit], config_dir: str | None) -> str:
    """The line that trains each model."""
    own = ["--config-dir", config_dir] if config_dir else []
    return "\n".join(
        shlex.join([*train_command(), *own, *each.overrides, f"{each.key}={each.value}"])
        for each in fits
    )


def table(fits: Sequence[Fit]) -> str:
    """A line for each model, with the override to use."""
    head = ("parameters", "MACs", "off", "use")
    rows = [
        (
            f"{each.parameters:,}",
            short(each.macs),
            f"{each.off:+.1%}",
            " ".join([*each.overrides, f"{each.key}={each.value}"]),
        )
        for each in fits
    ]
    lines = align_columns([head, *rows], left=(3,))
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
