"""Gradient accumulation by tokens: how many batches a step of the optimizer takes."""

from collections.abc import Mapping
from typing import Any

from tasks.errors import ArgumentError


def count_tokens(facts: Mapping[str, Any]) -> int:
    """Return the largest number of tokens in a sample, of all its sequences; 0 without one."""
    total = 0
    for fact in facts.values():
        if isinstance(fact, Mapping) and "tokens" in fact and fact.get("dtype") == "int":
            total += int(fact["tokens"])
    return total


def choose_batches(asked: int, facts: Mapping[str, Any], samples: int) -> int:
    """Return the number of batches whose tokens are nearest to a number of tokens, at least one.

    Padding counts; a step is weighted by its real targets in any case.

    Args:
        asked: tokens of a step.
        facts: of the data.
        samples: in a batch of all processes together.

    Raises:
        ArgumentError: the data have no tokens.
    """
    tokens = count_tokens(facts) * samples
    if not tokens:
        raise ArgumentError(
            "accumulate_tokens",
            "these data have no tokens",
            got=f"accumulate_tokens={asked}",
            fits="null",
            fix="trainer.accumulate_grad_batches=4",
        )
    return max(1, round(asked / tokens))
