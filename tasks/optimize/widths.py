"""Starts and learning rates of a wide model that carry over from a narrow one (muP)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from blocks.graph import Composed, carry_starts, compare_widths, measure_starts, plan
from tasks.errors import ArgumentError

# optimizers whose steps do not depend on the size of the gradients
ADAPTIVE = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Lion")


def carry_widths(
    composed: Composed, network: nn.Module, facts: Mapping[str, Any]
) -> dict[str, float]:
    """Let a network that has just been made start as `weights.base` says; return the multiplier of
    the learning rate of each parameter.

    Args:
        composed: `weights.base` has the params of the narrow model that differ, e.g. {dim: 64}.
        network: on the CPU.
        facts: of the data.

    Raises:
        ArgumentError: an optimizer with other rules, or a param that the model does not have.
        ConfigError: the narrow model cannot be built, or differs in more than widths and depths.
    """
    kind = str(composed.config["optimizer"]["_target_"]).rpartition(".")[2]
    if kind not in ADAPTIVE:
        raise ArgumentError(
            "base",
            "the rules for widths are those of optimizers like Adam",
            got=f"weights.base, with {kind}",
            fits="optimizer=adamw, optimizer=lion",
            fix="weights.base=null",
            code="unsupported",
        )
    section = composed.config["model"]
    changes = composed.config["weights"]["base"]
    params = dict(section.get("params") or {})
    unknown = [name for name in changes if name not in params]
    if unknown:
        raise ArgumentError(
            "base",
            f"the model has no param {unknown[0]!r}",
            fits=", ".join(params),
            code="unknown-name",
        )
    model = {**section, "params": {**params, **changes}, "expect": None}
    narrow = replace(composed, config={**composed.config, "model": model})
    planned = plan(narrow, facts)
    transfers = compare_widths(network, planned.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        starts = measure_starts(planned.materialise())
    carry_starts(network, transfers, starts)
    return {name: transfer.learning_rate for name, transfer in transfers.items()}
