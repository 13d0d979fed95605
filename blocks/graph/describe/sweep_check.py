"""Every combination of a sweep, built on the meta device before the first run: what fits, what it
costs.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from blocks.graph.compose.combinations import combinations
from blocks.graph.compose.compose import Composed, compose, opened_hydra
from blocks.graph.describe.cost import multiply_adds
from blocks.graph.describe.table import short
from blocks.graph.errors import ConfigError, Problem
from blocks.graph.language.words import MODEL_WORDS
from blocks.graph.read.loader import Remembering
from blocks.graph.record.record import Built, Node, count_parameters
from blocks.support.text_table import align_columns

MOST = 6  # mistakes told in full


@dataclass(frozen=True)
class Result:
    """One combination: its size and cost, or what is wrong with it.

    Args:
        overrides: the command line of this combination.
        idle: what its files say and nothing reads.
        graph: what was built; equal for two combinations that are the same model.
    """

    overrides: tuple[str, ...]
    parameters: int = 0
    macs: int = 0
    problems: tuple[Problem, ...] = ()
    idle: tuple[Problem, ...] = field(default=())
    graph: int = 0


def check(
    arguments: Sequence[str],
    config_dir: str | None = None,
    build: "Callable[[Composed], Built] | None" = None,
) -> list[Result]:
    """Build every combination; a bad one does not stop the others.

    Args:
        build: makes the plan of a composed configuration; `blocks.graph.plan` when left out.

    Raises:
        ConfigError: the command line itself cannot be read.
    """
    loader, known = Remembering(), dict[Any, Any]()
    with opened_hydra():
        return [
            _result(
                overrides,
                lambda words: compose(words, config_dir=config_dir, loader=loader),
                build,
                known,
            )
            for overrides in combinations(arguments, config_dir)
        ]


def _result(
    overrides: tuple[str, ...],
    composed: Callable[[Sequence[str]], Composed],
    build: "Callable[[Composed], Built] | None",
    known: dict[Any, Any],
) -> Result:
    from blocks.graph.build import plan

    try:
        planned = (build or plan)(composed(overrides))
    except ConfigError as error:
        return Result(overrides, problems=tuple(error.problems))
    parameters, macs = count_parameters(planned.model), multiply_adds(planned, known)
    return Result(overrides, parameters, macs, idle=tuple(idle(planned)), graph=_print_of(planned))


def _print_of(planned: Built) -> int:
    """The same number for the same blocks with the same arguments, wired and started alike."""
    recipes, found = planned.recipes, []
    for path, module in planned.model.named_modules(remove_duplicate=False):
        recipe = recipes.get(id(module))
        found.append((path, repr(recipe) if recipe else getattr(module, "code", "")))
    told = [repr(start) for start in planned.starts]
    return hash(
        (
            tuple(found),
            tuple(told),
            repr(planned.config.get("tie")),
            repr(planned.config.get("inputs")),
        )
    )


def idle(plan: Built) -> list[Problem]:
    """What the files say of the model and nothing in the built graph reads: params, slots,
    arguments of templates.
    """
    found = []
    for name in plan.config.get("params") or {}:
        place = ("model", "params", name)
        if place not in plan.read_params:
            found.append(Problem("nothing reads this param", plan.origin(place), f"params.{name}"))
    for slot in plan.config:
        if slot not in MODEL_WORDS and slot not in plan.used_slots:
            found.append(Problem("no node uses this slot", plan.origin(("model", slot)), slot))
    for node in plan.walk():
        if node.children:
            found += _idle_arguments(node, plan.read_params)
    return list({(str(problem.where), problem.path): problem for problem in found}.values())


def _idle_arguments(node: Node, read: Container[object]) -> list[Problem]:
    found = []
    for name, text in node.written.items():
        if text.path not in read:
            problem, path = f"nothing in {node.label} reads {name}", f"graph.{node.path}.{name}"
            found.append(Problem(problem, text.origin, path))
    return found


# --------------------------------------------------------------------------------------------------
# as text


def report(results: Sequence[Result]) -> str:
    """A line for each combination; then each mistake once, with the combinations that make it; then
    what is idle.
    """
    mistakes, warnings = _grouped(results, "problems"), _grouped(results, "idle")
    parts = [_table(results)]
    parts += [f"{problem}\n  {'in':<9} {where}" for problem, where in mistakes[:MOST]]
    parts += [f"... and {len(mistakes) - MOST} other mistakes"] if len(mistakes) > MOST else []
    if warnings:
        told = [
            f"  {problem.where}  {problem.path}: {problem.problem}; {where}"
            for problem, where in warnings
        ]
        parts.append("\n".join(["warning: this changes nothing", *told]))
    alike = _alike(results)
    if alike:
        parts.append("\n".join(["warning: these are the same model", *alike]))
    bad = sum(bool(result.problems) for result in results)
    count = f"{len(results)} combination{'s' * (len(results) != 1)}"
    return "\n\n".join([*parts, f"{count}, {bad} bad" if bad else f"{count}, all good"])


def _alike(results: Sequence[Result]) -> list[str]:
    """Combinations whose words for the model differ, and whose models do not."""
    keys = [key for key in _varying(results) if key.startswith("model")]
    groups: dict[int, dict[str, None]] = {}
    for result in results:
        if not result.problems and keys:
            values = _values(result)
            words = _told({key: values[key] for key in keys if key in values})
            groups.setdefault(result.graph, {})[words] = None
    same = [[*words] for words in groups.values() if len(words) > 1]
    lines = [
        "  " + ";  ".join(words[:3]) + (f"  and {len(words) - 3} more" * (len(words) > 3))
        for words in same
    ]
    return lines[:MOST] + (
        [f"  ... and {len(lines) - MOST} other groups"] if len(lines) > MOST else []
    )


def _table(results: Sequence[Result]) -> str:
    keys = _varying(results)
    head = [*(key.removeprefix("model.params.") for key in keys), "parameters", "MACs"]
    rows = []
    for result in results:
        values = _values(result)
        told = ["bad", ""] if result.problems else [f"{result.parameters:,}", short(result.macs)]
        rows.append([*(values.get(key, "") for key in keys), *told])
    texts = align_columns([head, *rows], left=range(len(keys)))
    return "\n".join([texts[0], "-" * max(map(len, texts)), *texts[1:]])


def _values(result: Result) -> dict[str, str]:
    return dict(override.partition("=")[::2] for override in result.overrides)


def _varying(results: Sequence[Result]) -> list[str]:
    """Keys of the command line whose value is not the same in all combinations."""
    seen: dict[str, set[str]] = {}
    for result in results:
        for key, value in _values(result).items():
            seen.setdefault(key, set()).add(value)
    varying = [key for key, values in seen.items() if len(values) > 1]
    return varying or list(seen)


def _grouped(results: Sequence[Result], attribute: str) -> list[tuple[Problem, str]]:
    """Equal problems of several combinations as one, and in which they are."""
    groups: dict[tuple[str, str, str], tuple[Problem, dict[int, Result]]] = {}
    for index, result in enumerate(results):
        for problem in getattr(
            result, attribute
        ):  # several times in one combination: at each of its repeats
            key = (str(problem.where), problem.problem, problem.got or "")
            groups.setdefault(key, (problem, {}))[1][index] = result
    return [(problem, _some([*found.values()], results)) for problem, found in groups.values()]


def _some(found: Sequence[Result], results: Sequence[Result]) -> str:
    """What some combinations have in common: "40 of 200, all with model.params.heads=3"."""
    keys = _varying(results)
    chosen = [
        {key: value for key, value in _values(result).items() if key in keys} for result in found
    ]
    common = " ".join(
        f"{key}={value}"
        for key, value in chosen[0].items()
        if all(c.get(key) == value for c in chosen)
    )
    if len(found) == len(results):
        return "in all" if len(results) > 1 else common or "the defaults"
    if len(found) == 1:
        return common
    return f"{len(found)} of {len(results)}" + (
        f", all with {common}" if common else f", {_told(chosen[0])} first"
    )


def _told(values: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())
