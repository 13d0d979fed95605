"""The numbers of a model as a whole, and the least time of a step on this machine."""

from functools import cache, partial
from typing import Any

import torch

from blocks.graph.describe.answers.ceiling import best
from blocks.graph.describe.answers.step_time import OPERATIONS
from blocks.graph.describe.cost import Cost
from blocks.graph.record.record import count_parameters
from blocks.watch.engine import Explained

MOMENT = 0.05  # seconds


def sum_up(explained: Explained, node: str = "") -> dict[str, Any]:
    """Return the numbers of a model as a whole.

    Args:
        node: whose receptive field is given, the widest inside it; "" for the widest of all.
    """
    total, costs = explained.costs[""], list(explained.costs.values())
    if node:
        costs = [explained.costs.get(node, Cost())]
    fields = [max(cost.field.size) for cost in costs if cost.field is not None]
    return {
        "parameters": count_parameters(explained.built.model),
        "macs": total.macs,
        "memory": total.memory,
        "nodes": sum(1 for node in explained.built.walk() if not node.children),
        "field": max(fields, default=None),
        **_estimate_step(explained, total),
    }


def _estimate_step(explained: Explained, total: Cost) -> dict[str, float]:
    """Return the least seconds of a step of training; {} without a size of the batch."""
    data = explained.composed.config.get("data") or {}
    batch = data.get("batch_size")
    if not isinstance(batch, int):
        return {}
    return {"step": OPERATIONS * total.macs * batch / measure_ceiling()}


@cache
def measure_ceiling(size: int = 768) -> float:
    """Return the floating point operations a second of a product of matrices on the CPU, measured
    for a moment: that of `explain --time` takes seconds, and is kept outside the project.
    """
    left, right = torch.rand(2, size, size)
    return 2 * size**3 / best(partial(torch.mm, left, right), MOMENT)
