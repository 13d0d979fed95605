"""What a model is told of its data where nobody reads them: the declared facts, or the example of
the model file.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from blocks.graph.compose.compose import Composed
from blocks.graph.errors import ConfigError, Problem, show

Facts = dict[str, Any]


def has_chosen(composed: Composed, group: str) -> bool:
    """Whether the command line chooses the files of a group, or changes them, itself or by an
    experiment.
    """
    return any(re.match(rf"[+~]*(?:{group}[.=]|experiment=)", text) for text in composed.overrides)


def declared_facts(composed: Composed) -> Facts:
    """The facts that the data file declares; raises ConfigError where a text stands in their
    place.
    """
    found: Any = composed.config
    for path in ("data", "data.facts"):
        found = found.get(path.rpartition(".")[2]) or {}
        if not isinstance(found, Mapping):
            problem, fits = (
                f"{path} holds keys",
                "data: {facts: {image: {channels: 1, height: 8, width: 8}}}",
            )
            raise ConfigError(
                [Problem(problem, composed.origin(path), path, got=show(found), fits=fits)]
            )
    return dict(found)


def example_of(composed: Composed) -> Facts:
    """The example facts that the model file states, as far as the model reads them."""
    model = composed.config.get("model")
    example = (model.get("example") if isinstance(model, Mapping) else None) or {}
    read = re.findall(r"\bdata\.(\w+)", repr(model))
    return {name: fact for name, fact in example.items() if name in read}


def look_up_facts(
    composed: Composed,
    read: Callable[[Composed], Facts | None] = lambda composed: None,
    example: Mapping[str, Any] | None = None,
) -> tuple[Facts, str | None]:
    """Facts to use over those that the data declare, and a line that says where they come from.

    Args:
        read: reads the facts of data; None for data that take longer than a second.
        example: facts to use where no data are chosen; those of the model's file when left out.
    """
    example = example_of(composed) if example is None else dict(example)
    if not has_chosen(composed, "data"):
        note = (
            f"facts: no data are chosen; these are the example of the model: {show_facts(example)}"
        )
        return example, note if example else None
    declared = declared_facts(composed)
    if not is_open(declared):
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


def is_open(fact: Any) -> bool:
    """Whether something about a fact is known only when the data are read."""
    return any(map(is_open, fact.values())) if isinstance(fact, Mapping) else fact is None


def fill_in(declared: Any, example: Any) -> Any:
    """Declared facts, with what they leave open as the example has it."""
    if isinstance(declared, Mapping) and isinstance(example, Mapping):
        return {name: fill_in(value, example.get(name)) for name, value in declared.items()}
    return example if declared is None else declared


def show_facts(facts: Mapping[str, Any]) -> str:
    """Facts in one line."""
    return ", ".join(f"{name}={show(fact)}" for name, fact in facts.items() if not is_open(fact))
