"""Every combination of a sweep, built on the meta device before the first run: what fits, what it
costs.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from blocks.graph.build import plan
from blocks.graph.compose.combinations import combinations
from blocks.graph.compose.compose import Composed, compose, opened_hydra
from blocks.graph.describe.cost import multiply_adds
from blocks.graph.describe.table import short
from blocks.graph.errors import ConfigError, Problem
from blocks.graph.language.words import MODEL_WORDS
from blocks.graph.read.loader import open_loader
from blocks.graph.record.record import Built, Node, count_parameters
from blocks.support.answers import problem_entry
from blocks.support.text_table import align_columns

MOST = 6  # mistakes reported in full


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
    build: Callable[[Composed], Built] | None = None,
) -> list[Result]:
    """Build every combination; a bad one does not stop the others.

    Args:
        build: makes the plan of a composed configuration; `blocks.graph.plan` when left out.

    Raises:
        ConfigError: the command line itself cannot be read.
    """
    loader, known = open_loader(), dict[Any, Any]()
    results = []
    with opened_hydra():
        for overrides in combinations(arguments, config_dir):
            try:
                built = (build or plan)(compose(overrides, config_dir=config_dir, loader=loader))
            except ConfigError as error:
                results.append(Result(overrides, problems=tuple(error.problems)))
                continue
            parameters, macs = count_parameters(built.model), multiply_adds(built, known)
            idle = tuple(find_idle(built))
            results.append(Result(overrides, parameters, macs, idle=idle, graph=_hash_of(built)))
    return results


def _hash_of(built: Built) -> int:
    """Equal for the same blocks with the same arguments, wired and initialised alike."""
    found: list[Any] = []
    for path, module in built.model.named_modules(remove_duplicate=False):
        recipe = built.recipes.get(id(module))
        found.append((path, repr(recipe) if recipe else getattr(module, "code", "")))
    found += [repr(start) for start in built.starts]
    return hash((*found, repr(built.config.get("tie")), repr(built.config.get("inputs"))))


def find_idle(built: Built) -> list[Problem]:
    """Params, slots and arguments of templates that nothing in the built graph reads."""
    found = []
    for name in built.config.get("params") or {}:
        path = ("model", "params", name)
        if path not in built.read_params:
            problem = "nothing reads this param"
            found.append(Problem(problem, built.origin(path), f"params.{name}", code="unused"))
    for slot in built.config:
        if slot not in MODEL_WORDS and slot not in built.used_slots:
            found.append(
                Problem(
                    "no node uses this slot", built.origin(("model", slot)), slot, code="unused"
                )
            )
    for node in built.walk():
        if node.children:
            found += _idle_arguments(node, built.read_params)
    return list({(str(problem.where), problem.path): problem for problem in found}.values())


def _idle_arguments(node: Node, read: Container[object]) -> list[Problem]:
    found = []
    for name, text in node.written.items():
        if text.path not in read:
            problem, path = f"nothing in {node.label} reads {name}", f"graph.{node.path}.{name}"
            found.append(Problem(problem, text.origin, path, code="unused"))
    return found


def group_problems(results: Sequence[Result], attribute: str) -> list[tuple[Problem, list[int]]]:
    """Each problem once, with the indices of the combinations that have it.

    Args:
        attribute: "problems" or "idle".
    """
    groups: dict[tuple[str, str, str], tuple[Problem, dict[int, None]]] = {}
    for index, result in enumerate(results):
        for problem in getattr(result, attribute):  # a repeated node has it several times
            key = (str(problem.where), problem.problem, problem.got or "")
            groups.setdefault(key, (problem, {}))[1][index] = None
    return [(problem, list(found)) for problem, found in groups.values()]


# As data ------------------------------------------------------------------------------------------


def describe_results(results: Sequence[Result]) -> dict[str, Any]:
    """The results as plain data: every combination, and each mistake once with its combinations."""
    runs = []
    for result in results:
        run = {"overrides": list(result.overrides), "ok": not result.problems}
        if not result.problems:
            run |= {"parameters": result.parameters, "macs": result.macs}
        runs.append(run)
    return {
        "runs": runs,
        "errors": _describe_groups(results, "problems"),
        "warnings": _describe_groups(results, "idle"),
    }


def _describe_groups(results: Sequence[Result], attribute: str) -> list[dict[str, Any]]:
    found = []
    for problem, in_runs in group_problems(results, attribute):
        found.append({**problem_entry(problem), "runs": in_runs})
    return found


# As text ------------------------------------------------------------------------------------------


def report(results: Sequence[Result]) -> str:
    """A line for each combination; then each mistake once, with the combinations that make it;
    then what nothing reads.
    """
    mistakes, warnings = _group(results, "problems"), _group(results, "idle")
    parts = [_table(results)]
    for problem, where in mistakes[:MOST]:
        parts.append(f"{problem}\n  {'in':<9} {where}")
    if len(mistakes) > MOST:
        parts.append(f"... and {len(mistakes) - MOST} other mistakes")
    if warnings:
        lines = ["warning: this changes nothing"]
        for problem, where in warnings:
            lines.append(f"  {problem.where}  {problem.path}: {problem.problem}; {where}")
        parts.append("\n".join(lines))
    alike = _list_alike(results)
    if alike:
        parts.append("\n".join(["warning: these are the same model", *alike]))
    parts.append(_count(results))
    return "\n\n".join(parts)


def _count(results: Sequence[Result]) -> str:
    bad = sum(bool(result.problems) for result in results)
    count = f"{len(results)} combination"
    if len(results) != 1:
        count += "s"
    if bad:
        return f"{count}, {bad} bad"
    return f"{count}, all good"


def _list_alike(results: Sequence[Result]) -> list[str]:
    """Combinations whose overrides of the model differ, and whose models do not."""
    keys = [key for key in _varying_keys(results) if key.startswith("model")]
    groups: dict[int, dict[str, None]] = {}
    for result in results:
        if not result.problems and keys:
            values = _values(result)
            text = _join({key: values[key] for key in keys if key in values})
            groups.setdefault(result.graph, {})[text] = None
    lines = []
    for texts in map(list, groups.values()):
        if len(texts) > 3:
            lines.append(f"  {';  '.join(texts[:3])}  and {len(texts) - 3} more")
        elif len(texts) > 1:
            lines.append(f"  {';  '.join(texts)}")
    if len(lines) > MOST:
        lines[MOST:] = [f"  ... and {len(lines) - MOST} other groups"]
    return lines


def _table(results: Sequence[Result]) -> str:
    keys = _varying_keys(results)
    rows = [[*(key.removeprefix("model.params.") for key in keys), "parameters", "MACs"]]
    for result in results:
        values = _values(result)
        row = [values.get(key, "") for key in keys]
        if result.problems:
            row += ["bad", ""]
        else:
            row += [f"{result.parameters:,}", short(result.macs)]
        rows.append(row)
    texts = align_columns(rows, left=range(len(keys)))
    return "\n".join([texts[0], "-" * max(map(len, texts)), *texts[1:]])


def _values(result: Result) -> dict[str, str]:
    return dict(override.partition("=")[::2] for override in result.overrides)


def _varying_keys(results: Sequence[Result]) -> list[str]:
    """Keys of the command line whose value is not the same in all combinations."""
    seen: dict[str, set[str]] = {}
    for result in results:
        for key, value in _values(result).items():
            seen.setdefault(key, set()).add(value)
    varying = [key for key, values in seen.items() if len(values) > 1]
    return varying or list(seen)


def _group(results: Sequence[Result], attribute: str) -> list[tuple[Problem, str]]:
    """Equal problems of several combinations as one, with the combinations that have it."""
    listed = []
    for problem, found in group_problems(results, attribute):
        listed.append((problem, _describe_some([results[index] for index in found], results)))
    return listed


def _describe_some(found: Sequence[Result], results: Sequence[Result]) -> str:
    """What some combinations have in common: "40 of 200, all with model.params.heads=3"."""
    keys = _varying_keys(results)
    chosen = []
    for result in found:
        chosen.append({key: value for key, value in _values(result).items() if key in keys})
    shared = {}
    for key, value in chosen[0].items():
        if all(each.get(key) == value for each in chosen):
            shared[key] = value
    common = _join(shared)
    if len(found) == len(results):
        if len(results) > 1:
            return "in all"
        return common or "the defaults"
    if len(found) == 1:
        return common
    if common:
        return f"{len(found)} of {len(results)}, all with {common}"
    return f"{len(found)} of {len(results)}, {_join(chosen[0])} first"


def _join(values: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())
