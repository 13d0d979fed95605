"""What this machine can do at best: a product of large matrices, and a copy of much memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

SIDE, BYTES, SECONDS = 2048, 256 * 2**20, 1.0


@dataclass(frozen=True)
class Ceiling:
    """Operations a second of the matrix product in float32 and bfloat16, bytes a second read and
    written.
    """

    float32: float
    bfloat16: float
    memory: float

    def __str__(self) -> str:
        shown = (
            f"{self.float32 / 1e9:.0f} GFLOP/s float32, {self.bfloat16 / 1e9:.0f} GFLOP/s bfloat16"
        )
        return f"matrix product {shown}; memory copy {self.memory / 1e9:.1f} GB/s"


def best(work: Callable[[], object], seconds: float = SECONDS) -> float:
    """The shortest of as many runs as fit."""
    work()
    end, found = time.perf_counter() + seconds, float("inf")
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        found = min(found, time.perf_counter() - start)
    return found


def measure() -> Ceiling:
    """Measure now: the ceiling depends on threads and on what else runs."""
    products = []
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(2, SIDE, SIDE, dtype=dtype)
        products.append(2 * SIDE**3 / best(partial(torch.matmul, a, b)))
    source = torch.zeros(BYTES, dtype=torch.uint8)
    target = torch.empty_like(source)
    bandwidth = 2 * BYTES / best(lambda: target.copy_(source))
    return Ceiling(products[0], products[1], bandwidth)
