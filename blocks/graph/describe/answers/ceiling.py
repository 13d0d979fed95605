"""What this machine can do at best: a product of large matrices, and a copy of much memory."""

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from blocks.support.files import read_file, replace_file

SIDES, BYTES, SECONDS = (256, 512, 1024, 2048), 256 * 2**20, 1.0


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


def measure_product(dtype: torch.dtype) -> float:
    """Operations a second of the largest product that runs several times in `SECONDS`.

    A processor without kernels for bfloat16 needs minutes for one of 2048 x 2048.
    """
    speed = 0.0
    for side in SIDES:
        if speed and 4 * 2 * side**3 / speed > SECONDS:
            break
        a, b = torch.randn(2, side, side, dtype=dtype)
        seconds = SECONDS if side == SIDES[-1] else SECONDS / 10
        speed = 2 * side**3 / best(partial(torch.matmul, a, b), seconds)
    return speed


def measure() -> Ceiling:
    """Measure the CPU now: the ceiling depends on threads and on what else runs."""
    products = [measure_product(dtype) for dtype in (torch.float32, torch.bfloat16)]
    source = torch.zeros(BYTES, dtype=torch.uint8)
    target = torch.empty_like(source)
    bandwidth = 2 * BYTES / best(lambda: target.copy_(source))
    return Ceiling(products[0], products[1], bandwidth)


def describe_machine() -> str:
    """Return what a measurement holds for: the processor, its threads, and the version of torch."""
    kind = torch.backends.cpu.get_cpu_capability()
    threads = torch.get_num_threads()
    return (
        f"{platform.machine()} {kind}, {threads} threads of {os.cpu_count()}, {torch.__version__}"
    )


def ceiling_file() -> Path:
    """Return where measurements are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return cache / "dougong" / "ceiling.json"


def find_ceiling(again: bool = False) -> Ceiling:
    """Return the ceiling of this machine, measured once (three seconds) and kept.

    Args:
        again: measure again.
    """
    path, machine = ceiling_file(), describe_machine()
    kept = _read(path)
    if machine in kept and not again:
        return kept[machine]
    found = kept[machine] = measure()
    content = json.dumps({name: asdict(each) for name, each in kept.items()}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as draft:
            draft.write_text(content + "\n", encoding="utf-8")
    except OSError:  # a folder that cannot be written: it is measured each time
        pass
    return found


def _read(path: Path) -> dict[str, Ceiling]:
    """Return what is kept; nothing where the file is missing or damaged."""
    try:
        content = json.loads(read_file(path))
        return {name: Ceiling(**each) for name, each in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
