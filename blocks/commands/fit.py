"""The value of a param that meets a budget; several models at an equal budget in one call."""

import argparse
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace

from blocks.commands import Planner
from blocks.graph import ConfigError, Problem, compose
from blocks.graph.compose.combinations import combinations
from blocks.graph.describe.fit import Fit, Rung, fit, make_rung
from blocks.graph.describe.table import short
from blocks.graph.read.loader import CachedLoader
from blocks.support.program import command_line, train_command
from blocks.support.text_table import align_columns

BUDGETS = {
    "parameters": "parameters",
    "macs": "macs",
    "flops": "macs",
}  # papers say FLOPs and count multiply-adds
LADDER = "model=llama 'model.params.dim=?' model.params.depth=4,6 parameters=1e6,4e6 --ladder"
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
        "--multiple", type=int, default=1, metavar="N", help="only multiples of N, e.g. 16"
    )
    parser.add_argument(
        "--ladder",
        action="store_true",
        help="a budget a step (parameters=1e6,4e6): one family, whose starts and learning rates "
        "carry over from the first (muP); lists of as many values change with the steps",
    )
    parser.add_argument(
        "--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)"
    )


def run(chosen: argparse.Namespace) -> int:
    """Solve for each combination, print a line each; the exit status."""
    loader, build = CachedLoader(), Planner()
    if chosen.ladder:
        key, budgets, measure, steps = read_ladder(chosen.words)
        rungs: list[Rung] = []
        for step, each in zip(steps, budgets, strict=True):
            rungs.append(climb(chosen, rungs, step, (key, each, measure), loader, build))
        print(show_ladder(chosen, rungs))
        return 0
    key, budget, measure, overrides = read(chosen.words)
    fits = [
        fit(each, key, budget, measure, chosen.config_dir, loader, build, chosen.multiple)
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
    budget = read_budget(name, text)
    key = unknown[0].removesuffix("=?")
    key = f"model.{key}" if key.startswith("params.") else key
    return key, budget, BUDGETS[name], [word for word in words if word not in (*budgets, *unknown)]


def read_budget(name: str, text: str) -> float:
    """The number of a budget; raises ConfigError."""
    try:
        budget = float(text)
    except ValueError:
        budget = 0.0
    if budget > 0:
        return budget
    raise ConfigError(
        Problem(
            "a budget is a number above 0",
            f"the command line: {name}={text}",
            fits=f"{name}=5e6",
            code="bad-command",
        )
    )


def read_ladder(words: Sequence[str]) -> tuple[str, list[float], str, list[list[str]]]:
    """The unknown, the budgets, what they count, and the other words of each step.

    Raises:
        ConfigError: a list has another length than the budgets, or the unknown is no param.
    """
    budgets: list[float] = []
    name = "parameters"
    for word in words:
        if word.partition("=")[0] in BUDGETS:
            name, _, text = word.partition("=")
            budgets = [read_budget(name, each) for each in text.split(",")]
    first = f"{name}={budgets[0]:g}" if budgets else ""
    plain = [word for word in words if word.partition("=")[0] not in BUDGETS]
    key, _, measure, others = read([*plain, *filter(None, [first])])
    if not key.startswith("model.params."):
        raise ConfigError(
            Problem(
                "a ladder widens a param of the model",
                "the command line",
                got=f"{key}=?",
                fits="'model.params.dim=?'",
                code="bad-command",
            )
        )
    steps: list[list[str]] = [[] for _ in budgets]
    for word in others:
        name, _, text = word.partition("=")
        values = (
            text.split(",") if re.fullmatch(r"[^\[{(]*,[^\]})]*", text) else [text] * len(steps)
        )
        if len(values) != len(steps):
            raise ConfigError(
                Problem(
                    "a list of a ladder has a value for each budget",
                    f"the command line: {word}",
                    got=f"{len(values)} values, {len(steps)} budgets",
                    fits=command_line("blocks", f"fit {LADDER}"),
                    code="bad-command",
                )
            )
        for step, value in zip(steps, values, strict=True):
            step.append(f"{name}={value}" if "=" in word else word)
    return key, budgets, measure, steps


def climb(
    chosen: argparse.Namespace,
    rungs: Sequence[Rung],
    step: Sequence[str],
    goal: tuple[str, float, str],
    loader: CachedLoader,
    build: Planner,
) -> Rung:
    """Fit a step of a ladder, and compare it with the first one.

    Args:
        rungs: the steps before.
        step: its words.
        goal: the unknown, the budget, and what that counts.
    """
    found = fit(step, *goal, chosen.config_dir, loader, build, chosen.multiple)
    words = [*step, f"{found.key}={found.value}"]
    composed = compose(words, config_dir=chosen.config_dir, loader=loader)
    params = dict(composed.config["model"]["params"])
    first = rungs[0] if rungs else None
    return make_rung(found, build(composed), params, first)


def show_ladder(chosen: argparse.Namespace, rungs: Sequence[Rung]) -> str:
    """The ladder as it was asked for: an object, commands or a table."""
    if chosen.json:
        entries = [{**asdict(rung.fit), "base": rung.base} for rung in rungs]
        return json.dumps({"fits": entries}, indent=1)
    fits = []
    for rung in rungs:
        overrides = rung.fit.overrides
        if rung.base:
            values = ", ".join(f"{name}: {value}" for name, value in rung.base.items())
            overrides = (*overrides, f"weights.base={{{values}}}")
        fits.append(replace(rung.fit, overrides=overrides))
    if chosen.commands:
        return commands(fits, chosen.config_dir)
    lines = table(fits).splitlines()
    rules = [("width", "rate of hidden, output", "start of hidden, output")]
    for rung in rungs:
        rates = ", ".join(f"{rung.rules[role][0]:.3g}" for role in ("hidden", "output"))
        starts = ", ".join(f"{rung.rules[role][1]:.3g}" for role in ("hidden", "output"))
        rules.append((f"{rung.width:.3g}", rates, starts))
    shown = align_columns(rules)
    return "\n".join([*lines, "", shown[0], "-" * max(map(len, shown)), *shown[1:]])


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
