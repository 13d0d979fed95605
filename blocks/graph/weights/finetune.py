"""Fine-tuning: which parameters are frozen, and the learning rates of the others, by pattern."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from blocks.graph.errors import ConfigError, Problem, did_you_mean, show
from blocks.graph.language.expression import ExpressionError, evaluate, limited
from blocks.graph.language.patterns import Pieces, find_matches, list_parameters, no_match_problem
from blocks.graph.weights import Report, load_weights
from blocks.graph.weights.first import find_last

KEYS = ("load", "map", "head", "grid", "freeze", "learning_rate", "layer_decay", "base")

TYPES: dict[str, tuple[Any, str, str]] = {
    "load": (str, "a file", "weights.safetensors"),
    "map": ((str, Mapping), "the name of a map, or a file", "timm_vit"),
    "grid": (list, "rows and columns", "[4, 8]"),
    "freeze": ((list, str), "a list of patterns", "[layers.0.*]"),
    "learning_rate": (Mapping, "a mapping of patterns to numbers", "{patch: 0.1}"),
    "layer_decay": ((int, float), "a number in (0, 1]", "0.75"),  # read by those who train
    "base": (Mapping, "a mapping of params to numbers", "{dim: 64}"),  # as well
}


@limited()
def freeze(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Freeze parameters, and return their names.

    Args:
        model: the model.
        patterns: of paths (`layers.[0-3].*`), modules (`patch`), or kinds (`LayerNorm.*`).

    Raises:
        ConfigError: a pattern matches nothing.
    """
    if isinstance(patterns, str):
        patterns = [patterns]
    parameters, frozen, problems = list_parameters(model), {}, []
    for pattern in patterns:
        try:
            found = find_matches(parameters, str(pattern))
        except ExpressionError as error:
            problems.append(
                Problem(error.problem, path="weights.freeze", fits=error.fits, code=error.code)
            )
            continue
        if not found:
            problems.append(no_match_problem(str(pattern), parameters, None, "weights.freeze"))
        frozen.update({each.path: each.value for each, _ in found})
    if problems:
        raise ConfigError(problems)
    for value in frozen.values():
        value.requires_grad_(False)
    return list(frozen)


@limited()
def learning_rates(model: nn.Module, multipliers: Mapping[str, Any]) -> dict[str, float]:
    """Return the multiplier of the learning rate of each parameter: that of the last pattern that
    matches, or 1.

    Args:
        model: the model.
        multipliers: pattern -> number, or an expression of the pattern's pieces: {"layers.{i}":
            "0.75 ** (12 - i)"}.

    Raises:
        ConfigError: a pattern matches nothing, or a multiplier is no number or negative.
    """
    parameters, problems = list_parameters(model), []
    rates = {each.path: 1.0 for each in parameters}
    for pattern, raw in multipliers.items():
        try:
            found = find_matches(parameters, str(pattern))
            if not found:
                problems.append(
                    no_match_problem(str(pattern), parameters, None, "weights.learning_rate")
                )
            for each, pieces in found:
                value = raw
                if isinstance(raw, str):
                    value = evaluate(raw, Pieces(pieces))
                if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
                    raise ExpressionError(
                        f"{pattern}: a multiplier is a number from 0", "0.1, or 0.75 ** (12 - i)"
                    )
                rates[each.path] = float(value)
        except ExpressionError as error:
            got, where = f"{pattern}: {show(raw)}", "weights.learning_rate"
            problems.append(
                Problem(
                    error.problem,
                    path=where,
                    got=got,
                    fits=error.fits,
                    fix=error.fix,
                    code=error.code,
                )
            )
    if problems:
        raise ConfigError(problems)
    return rates


def load_donor(model: nn.Module, donor: nn.Module, section: Mapping[str, Any]) -> Report:
    """Copy into a model what another model has under the same names.

    A layer that gives an output of the model stays as it is where its shape differs; the report
    names what was not loaded.

    Args:
        model: the model.
        donor: the other one.
        section: as `fine_tune` takes it.

    Raises:
        ConfigError: no name is the same, or the shapes of another layer differ.
    """
    names: Any = section.get("map")
    if names is None:
        heads = [f"{name}.*" for name in find_last(model)]
        names = {"map": {"{name*}": {"from": "{name*}", "fit": "own"}}, "head": heads}
    report = load_weights(
        model, donor, names, head="replace", strict=False, grid=section.get("grid")
    )
    if not report.matched:
        raise ConfigError(
            Problem(
                "this run and the model have no layer of the same name",
                path="weights.load",
                got=", ".join(name for name, _ in donor.named_children()),
                fits=", ".join(name for name, _ in model.named_children()),
                fix="a run of a model with the same nodes, or weights.map",
                code="weights-mismatch",
            )
        )
    return report


@limited()
def fine_tune(
    model: nn.Module,
    section: Mapping[str, Any],
    folder: Path | None = None,
    donor: nn.Module | None = None,
) -> tuple[Report | None, list[str], dict[str, float]]:
    """Apply the section `weights` of a configuration: load, freeze, multiply learning rates.

    Args:
        model: the model.
        section: {load: FILE, map: NAME, head: keep, grid: [rows, columns], freeze: [pattern],
            learning_rate: {pattern: number}}; all optional.
        folder: a folder with the user's maps, searched first.
        donor: the network of the run that `load` names, if it names one.

    Returns:
        The report of the load (None without one), the frozen parameters, and the multiplier of each
        parameter.
    """
    unknown = [key for key in section if key not in KEYS]
    if unknown:
        fits = did_you_mean(unknown[0], KEYS)
        raise ConfigError(
            Problem(
                f"no key {unknown[0]!r} in weights",
                path="weights",
                fits=fits,
                code="unknown-key",
            )
        )
    problems = []
    for key, (kinds, what, fits) in TYPES.items():
        if section.get(key) is not None and not isinstance(section[key], kinds):
            got = f"{key}: {show(section[key])}"
            problems.append(
                Problem(
                    f"{key} is {what}", path=f"weights.{key}", got=got, fits=fits, code="bad-value"
                )
            )
    if section.get("head") not in (None, "keep", "replace"):
        problem = Problem(
            "head is keep or replace, for the last layer",
            path="weights.head",
            got=f"head: {show(section['head'])}",
            fits="keep, replace",
            code="bad-value",
        )
        problems.append(problem)
    if problems:
        raise ConfigError(problems)
    report = None
    if donor is not None:
        report = load_donor(model, donor, section)
    elif section.get("load"):
        report = load_weights(
            model,
            section["load"],
            section.get("map"),
            head=section.get("head") or "keep",
            folder=folder,
            grid=section.get("grid"),
        )
    elif section.get("map") or section.get("grid") or section.get("head") == "replace":
        text = "weights.map, weights.head and weights.grid need weights.load, which is missing"
        raise ConfigError(
            Problem(text, path="weights", fix="weights.load=FILE", code="missing-key")
        )
    frozen = freeze(model, section.get("freeze") or [])
    return report, frozen, learning_rates(model, section.get("learning_rate") or {})
