"""The combinations of a sweep in Hydra's syntax."""

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep
from hydra.errors import HydraException

from blocks.graph.compose.compose import ERRORS, opened_hydra
from blocks.graph.compose.keys import mend_override
from blocks.graph.compose.overrides import on_command_line
from blocks.graph.errors import ConfigError, Problem
from blocks.graph.read.loader import SEARCH_PATH
from blocks.support.conf_folders import option_files

MAX_RUNS = 10_000  # of one sweep


def swept_by_files(
    arguments: Sequence[str], config_name: str = "train", config_dir: str | None = None
) -> list[str]:
    """Return what the chosen files sweep, as overrides: `hydra.sweeper.params` of an experiment.

    Empty where the files cannot be composed; composing a combination reports why.
    """
    with opened_hydra() as hydra:
        parser = OverridesParser.create(hydra.config_loader())
        single = [text for text in arguments if _is_single(parser, text)]
        if config_dir is not None:
            single.insert(0, f"{SEARCH_PATH}=['file://{Path(config_dir).resolve()}']")
        try:
            config = hydra_compose(config_name, single, return_hydra_config=True)
            params = config.hydra.sweeper.params or {}
        except ERRORS:
            return []
        return [f"{key}={value}" for key, value in params.items()]


def check_swept_once(arguments: Sequence[str]) -> None:
    """Raise a ConfigError where a swept key is given twice: Hydra would ignore the first."""
    parser = OverridesParser.create()
    seen: dict[str, str] = {}
    for text in arguments:
        key = text.partition("=")[0]
        if key in seen and not (_is_single(parser, text) and _is_single(parser, seen[key])):
            problem = Problem(
                "a swept key is given twice",
                on_command_line(text),
                key,
                got=f"{seen[key]} and {text}",
                fix=f"one list of values: {key}=1,2,3",
                code="bad-sweep",
            )
            raise ConfigError(problem)
        seen[key] = text


def _is_single(parser: OverridesParser, text: str) -> bool:
    try:
        return not parser.parse_overrides([text])[0].is_sweep_override()
    except (HydraException, RecursionError):
        return False


def combinations(arguments: Sequence[str], config_dir: str | None = None) -> list[tuple[str, ...]]:
    """Return every combination of a command line, in the order in which Hydra runs them.

    Args:
        arguments: overrides, some with several values (`a=1,2`, `a=range(1,5)`,
            `model=glob(vit*)`), and model files. What the chosen files sweep (`swept_by_files`)
            comes first; the command line wins where both name a key.
        config_dir: a folder with the user's YAML.

    Raises:
        ConfigError: an override cannot be read, or its values cannot be counted.
    """
    chosen: dict[str, tuple[str, Override | None]] = {}
    problems: list[Problem] = []
    files = [f"model={_model_of(text, problems)}" for text in arguments if _is_file(text)]
    with opened_hydra() as hydra:
        parser = OverridesParser.create(config_loader=hydra.config_loader())
        words = [text for text in arguments if not _is_file(text)]
        check_swept_once(words)
        for text in [*swept_by_files(words, config_dir=config_dir), *words]:
            chosen[text.partition("=")[0]] = text, _override(parser, text, problems)
        if problems:
            raise ConfigError(problems)
        check_count([override for _, override in chosen.values() if override is not None])
        choices = [_values(*each) for each in chosen.values()]
    if files:
        choices.insert(0, files)
    return list(product(*choices))


def parse_sweep(words: Sequence[str]) -> list[Override]:
    """Parse the overrides of a sweep.

    Raises:
        ConfigError: every override that cannot be read.
    """
    parser = OverridesParser.create()
    overrides: list[Override] = []
    problems: list[Problem] = []
    for text in words:
        try:
            overrides += parser.parse_overrides([text])
        except (HydraException, RecursionError):
            problems.append(_unreadable(text))
    if problems:
        raise ConfigError(problems)
    return overrides


def check_count(overrides: Sequence[Override]) -> None:
    """Raise ConfigError for a sweep of too many runs, before any combination is made."""
    last = {override.get_key_element(): override for override in overrides}
    counts = {key: count_values(override) for key, override in last.items()}
    if math.prod(counts.values()) > MAX_RUNS:
        largest = max(counts, key=lambda key: counts[key])
        problem = Problem(
            "the sweep has too many runs",
            "the command line, or hydra.sweeper.params of a chosen file",
            got=last[largest].input_line or "",
            fits=f"{MAX_RUNS:,} at most",
            fix="fewer values, or several sweeps",
            code="too-large",
        )
        raise ConfigError(problem)


def count_values(override: Override) -> int:
    """Count the values of an override without making them; more than `MAX_RUNS` where there is no
    end.
    """
    value: Any = override._value
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    if isinstance(value, Glob) and override.config_loader is not None:
        return sum(1 for _ in override.sweep_iterator())
    if not isinstance(value, RangeSweep):
        return 1
    assert value.start is not None
    assert value.stop is not None
    try:
        return min(max(math.ceil((value.stop - value.start) / value.step), 0), MAX_RUNS + 1)
    except (ArithmeticError, ValueError):  # a step of zero, an end at infinity
        return MAX_RUNS + 1


def _override(parser: OverridesParser, text: str, problems: list[Problem]) -> Override | None:
    try:
        # `parse_override` would not know the folders.
        override = parser.parse_overrides([text])[0]
    except (HydraException, RecursionError):
        problems.append(_unreadable(text))
        return None
    if override.is_sweep_override() and not override.is_discrete_sweep():
        problem = Problem(
            "an interval has infinitely many values",
            on_command_line(text),
            fits="key=1,2,3, key=range(1,5), key=choice(a,b) or group=glob(*)",
            code="bad-sweep",
        )
        problems.append(problem)
    return override


def _unreadable(text: str) -> Problem:
    return Problem(
        "this override cannot be read",
        f"the command line: {text}",
        fits="key=value, key=1,2 or key=range(1,5)",
        fix=mend_override(text),
        code="bad-override",
    )


def _values(text: str, override: Override | None) -> list[str]:
    if override is None or not override.is_sweep_override():
        return [text]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _is_file(text: str) -> bool:
    return "=" not in text and text.endswith((".yaml", ".yml"))


def _model_of(text: str, problems: list[Problem]) -> str:
    """Return the name that chooses a file of `model/`."""
    file = Path(text).resolve()
    chosen = option_files("model").get(file.stem)
    if chosen is not None and chosen.resolve() == file:
        return file.stem
    problem = "no model of this project" if file.is_file() else "no such file"
    fits = "a file in conf/model"
    fix = "YAML of your own: --config-dir DIR model=NAME, with DIR/model/NAME.yaml"
    problems.append(
        Problem(problem, on_command_line(text), fits=fits, fix=fix, code="missing-file")
    )
    return ""
