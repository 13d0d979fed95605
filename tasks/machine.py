"""How a run uses the machine: cores, memory, layout of images, compilation. Words of `trainer` that are ours."""

import ctypes
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from blocks.graph import compile_network, overwrite, quicken

# Words of the section `trainer` that are no arguments of Lightning's Trainer.
OURS = ("compile", "checkpoint_activations", "tensor_parallel_size", "channels_last", "threads")
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of all cores in a period, and the period
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # of mallopt, in malloc.h


def use(words: Mapping[str, Any]) -> None:
    """Take as many threads as the words say, or as there are cores for this process; keep memory that was freed."""
    threads = words.get("threads")
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = min(torch.get_num_threads(), cores())
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    if words.get("accelerator") == "cpu":
        keep_memory()
    # `deterministic` would write NaN into all new memory first, to show programs that read what they did not write.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def prepare(network: nn.Module, words: Mapping[str, Any]) -> None:
    """Take faster layers with the same weights, lay out and compile the network as the words say, in place.

    What `blocks.graph.build` gives is made of plain layers of torch, equal to its peers to the bit; this is not.
    """
    quicken(network)
    overwrite(network)
    if words.get("channels_last"):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if words.get("compile"):
        compile_network(network)


def cores() -> int:
    """Cores that this process may use: fewer than the machine has, in a container or under a scheduler."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = QUOTA.read_text().split() if QUOTA.is_file() else ["max"]
    if quota[0].isdigit():
        found = min(found, max(1, math.ceil(int(quota[0]) / int(quota[1]))))
    return found


def keep_memory() -> None:
    """Let glibc keep large pieces of freed memory. It would give each activation above 32 MB back to the system, which
    hands it out again page by page, zeroed: a linear layer that writes 38 MB runs at 51 GFLOP/s instead of 95."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(MMAP_THRESHOLD, 2**30)
            mallopt(TRIM_THRESHOLD, 2**31 - 1)
