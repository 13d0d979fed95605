"""The numbers of a model as a whole, and the least time of a step on this machine."""

import time
from functools import cache
from typing import Any

import torch

from blocks.graph.describe.cost import Cost
from blocks.graph.record.record import count_parameters
from blocks.watch.engine import Explained


def sum_up(explained: Explained) -> dict[str, Any]:
    """Return the numbers of a model as a whole."""
    total = explained.costs[""]
    return {
        "parameters": count_parameters(explained.built.model),
        "macs": total.macs,
        "memory": total.memory,
        "nodes": sum(1 for node in explained.built.walk() if not node.children),
        **_estimate_step(explained, total),
    }


def _estimate_step(explained: Explained, total: Cost) -> dict[str, float]:
    """Return the least seconds of a step of training; {} without a size of the batch.

    The backward pass has twice the products of the forward pass.
    """
    data = explained.composed.config.get("data") or {}
    batch = data.get("batch_size")
    if not isinstance(batch, int):
        return {}
    return {"step": 3 * 2 * total.macs * batch / measure_ceiling()}


@cache
def measure_ceiling(size: int = 768, times: int = 5) -> float:
    """Return the floating point operations a second of a product of matrices on the CPU."""
    left, right = torch.rand(size, size), torch.rand(size, size)
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
