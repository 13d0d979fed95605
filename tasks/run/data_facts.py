"""What questions about a model ask of its data and its task: facts that are read quickly, and what
the task needs.
"""

from collections.abc import Mapping
from typing import Any

from blocks.graph import ConfigError
from tasks.config import instantiate
from tasks.config.targets import update_targets
from tasks.errors import ArgumentError
from tasks.run.contract import check_contract
from tasks.run.train import check_facts

__all__ = ["check_contract", "read_facts"]

LARGEST = 100_000  # samples, tokens, ...: data that ask for more take longer than a second


def read_facts(composed: Any) -> dict[str, Any] | None:
    """What the data say of themselves; None where reading them may take longer than a second.

    Raises:
        ConfigError: the data refuse an argument, or differ from what the YAML declares.
    """
    update_targets(composed.config)
    section = composed.config.get("data")
    if not isinstance(section, Mapping) or not getattr(
        instantiate.find(composed, ("data",)), "quick", False
    ):
        return None
    if any(isinstance(value, int) and value > LARGEST for value in section.values()):
        return None
    try:
        found: dict[str, Any] = instantiate.make(composed, ("data",)).facts()
    except ArgumentError as error:
        raise ConfigError([instantiate.told(composed, ("data",), error)]) from error
    check_facts(composed, found)
    return found
