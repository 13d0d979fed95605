"""Facts of the data where the data are not read: the declared facts, or the example of the model
file.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from blocks.graph.compose.compose import Composed
from blocks.graph.errors import ConfigError, Problem, show
from blocks.support.conf_folders import conf_folder

Facts = dict[str, Any]
MISSING = "???"


def has_chosen(composed: Composed, group: str) -> bool:
    """Return whether the command line, or its experiment, chooses or changes the files of a
    group.
    """
    return any(re.match(rf"[+~]*(?:{group}[.=]|experiment=)", text) for text in composed.overrides)


def declared_facts(composed: Composed) -> Facts:
    """Return the facts that the data file declares; raise ConfigError where they are no mapping."""
    found: Any = composed.config
    for path in ("data", "data.facts"):
        found = found.get(path.rpartition(".")[2]) or {}
        if not isinstance(found, Mapping):
            problem = Problem(
                f"{path} is a mapping",
                composed.origin(path),
                path,
                got=show(found),
                fits="data: {facts: {image: {channels: 1, height: 8, width: 8}}}",
                code="bad-value",
            )
            raise ConfigError(problem)
    return dict(found)


def facts_in_file(data: str) -> Facts:
    """Return the facts in a packaged file of `conf/data`, without those of files that it starts
    from; {} for another, and for what other sections decide.
    """
    file = conf_folder() / "data" / f"{data}.yaml"
    if not file.is_file():
        return {}
    section = OmegaConf.select(OmegaConf.create({"data": OmegaConf.load(file)}), "data.facts")
    try:
        found: Any = OmegaConf.to_container(section, resolve=True) if section else {}
    except OmegaConfBaseException:
        return {}
    return found


def example_of(composed: Composed) -> Facts:
    """Return the example facts of the model file that the model reads."""
    model = composed.config.get("model")
    if not isinstance(model, Mapping):
        return {}
    example = model.get("example") or {}
    read = re.findall(r"\bdata\.(\w+)", repr(model))
    return {name: fact for name, fact in example.items() if name in read}


def look_up_facts(
    composed: Composed,
    read: Callable[[Composed], Facts | None] = lambda composed: None,
    example: Mapping[str, Any] | None = None,
) -> tuple[Facts, str | None]:
    """Return facts to use over those that the data declare, and a line that states their origin.

    Args:
        composed: the configuration.
        read: reads the facts of the data; returns None for data that take longer than a second.
        example: facts to use where no data are chosen; by default those of the model file.
    """
    if example is None:
        example = example_of(composed)
    if not has_chosen(composed, "data"):
        if not example:
            return {}, None
        note = "facts: no data are chosen; these are the example of the model"
        return dict(example), f"{note}: {show_facts(example)}"
    declared = declared_facts(composed)
    if declared and not is_open(declared):
        return {}, None
    data = f"data={composed.choices.get('data')}"
    found = read(composed)
    if found is not None:
        return found, f"facts: read from {data}: {show_facts(found)}"
    filled = fill_in(declared, example)
    if filled == declared:
        return {}, None
    note = f"facts: {data} was not read; what it leaves open is the example of the model"
    return filled, f"{note}: {show_facts(filled)}"


def explain_unread(error: ConfigError, composed: Composed) -> ConfigError:
    """Return the error about a model whose facts are those of data that were not read: it names
    the values without which the data cannot be read, or says that they were not read.
    """
    data = composed.config.get("data")
    if not isinstance(data, Mapping) or not has_chosen(composed, "data"):
        return error
    if any(problem.code != "unknown-fact" for problem in error.problems):
        return error
    chosen = f"data={composed.choices.get('data')}"
    problems = [
        Problem(
            f"data.{name} is missing, so that {chosen} cannot be read",
            composed.origin(f"data.{name}"),
            f"data.{name}",
            fix=f"data.{name}=...",
            code="missing-argument",
        )
        for name, value in data.items()
        if value == MISSING
    ]
    if problems:
        return ConfigError(problems)
    unread = f"{chosen} was not read, which may take longer than a second"
    return ConfigError([replace(each, fits=f"{each.fits}; {unread}") for each in error.problems])


def is_open(fact: Any) -> bool:
    """Return whether a part of a fact is known only when the data are read."""
    if isinstance(fact, Mapping):
        return any(map(is_open, fact.values()))
    return fact is None


def fill_in(declared: Any, example: Any) -> Any:
    """Return the declared facts, with their open parts from the example."""
    if isinstance(declared, Mapping) and isinstance(example, Mapping):
        return {name: fill_in(value, example.get(name)) for name, value in declared.items()}
    if declared is None:
        return example
    return declared


def show_facts(facts: Mapping[str, Any]) -> str:
    """Format facts in one line."""
    return ", ".join(f"{name}={show(fact)}" for name, fact in facts.items() if not is_open(fact))
