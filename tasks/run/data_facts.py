"""Facts of the data: read them, and compare them with those that the YAML declares."""

from collections.abc import Iterator, Mapping
from typing import Any

from blocks.graph import Composed, ConfigError, Problem
from blocks.graph.errors import guess
from tasks.config import instantiate
from tasks.config.targets import update_targets

# samples, tokens, ...: data with a larger number take longer than a second to read
QUICK_LIMIT = 100_000


def read_data(composed: Composed) -> Any:
    """Return the data module, its data read and compared with the declared facts.

    Raises:
        ConfigError: the data refuse an argument, or differ from the declared facts.
    """
    data = instantiate.make(composed, ("data",))
    with instantiate.locating(composed, ("data",)):
        data.read()
    check_facts(composed, data.facts())
    return data


def read_facts(composed: Composed) -> dict[str, Any] | None:
    """Return the facts of the data; None where reading them may take longer than a second.

    Raises:
        ConfigError: the data refuse an argument, or differ from the declared facts.
    """
    update_targets(composed.config)
    section = composed.config.get("data")
    if not isinstance(section, Mapping):
        return None
    kind = instantiate.find_class(composed, ("data",))
    if not (hasattr(kind, "is_quick") and kind.is_quick(section)):
        return None
    if any(isinstance(value, int) and value > QUICK_LIMIT for value in section.values()):
        return None
    with instantiate.locating(composed, ("data",)):
        facts: dict[str, Any] = instantiate.make(composed, ("data",)).facts()
    check_facts(composed, facts)
    return facts


def check_facts(composed: Composed, facts: dict[str, Any]) -> None:
    """Raise a ConfigError where the YAML declares other facts than the data have."""
    declared = composed.config["data"].get("facts") or {}
    problems = list(compare_facts(composed, ("data", "facts"), declared, facts))
    if problems:
        raise ConfigError(problems)


def compare_facts(
    composed: Composed, path: tuple[str, ...], declared: Any, found: Any
) -> Iterator[Problem]:
    """Yield a problem for each declared fact that differs; an empty entry declares nothing."""
    if isinstance(declared, dict) and isinstance(found, dict):
        for key, value in declared.items():
            if key in found:
                yield from compare_facts(composed, (*path, key), value, found[key])
            elif not is_empty(value):
                yield instantiate.problem(
                    composed,
                    (*path, key),
                    f"the data have no fact {key}",
                    got=f"{key}={value} declared",
                    fits=guess(key, found) or ", ".join(map(str, found)),
                    code="unknown-fact",
                )
    elif declared not in (None, "???") and declared != found:
        name = path[-1]
        yield instantiate.problem(
            composed,
            path,
            "the data differ from what is declared",
            got=f"{name}={declared} declared, {name}={found} read",
            fix=f"{'.'.join(path)}={found}, or leave it out",
            code="data-mismatch",
        )


def is_empty(fact: Any) -> bool:
    """Return whether a declared fact states no size: `null`, or axes that are all `null`."""
    if isinstance(fact, dict):
        return all(size is None for axis, size in fact.items() if axis != "dtype")
    return fact is None or fact == "???"
