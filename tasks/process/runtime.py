"""How a run uses the machine: cores, memory, layout of images, compilation.

Words of `trainer` that are ours.
"""

import ctypes
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from blocks.graph import compile_network, use_inplace, use_onednn

# Words of the section `trainer` that are no arguments of Lightning's Trainer.
OWN_OPTIONS = (
    "compile",
    "checkpoint_activations",
    "tensor_parallel_size",
    "channels_last",
    "threads",
)
# Entries that are numbers of processes, threads or machines.
COUNTED = (
    ("trainer", "devices"),
    ("trainer", "num_nodes"),
    ("trainer", "threads"),
    ("data", "workers"),
)
EXCESS = 4
QUOTA = Path(
    "/sys/fs/cgroup/cpu.max"
)  # of a container: microseconds of all cores in a period, and the period
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # of mallopt, in malloc.h


def configure_process(words: Mapping[str, Any]) -> None:
    """Take as many threads as the words say, or as there are cores for this process; keep memory
    that was freed.
    """
    threads = words.get("threads")
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = min(torch.get_num_threads(), count_cores())
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    if words.get("accelerator") == "cpu":
        keep_memory()
    # `deterministic` would write NaN into all new memory first, to show programs that read what
    # they did not write.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def prepare_network(network: nn.Module, words: Mapping[str, Any]) -> None:
    """Take faster layers with the same weights, lay out and compile the network as the words say,
    in place.

    What `blocks.graph.build` gives is made of plain layers of torch, equal to its peers to the bit;
    this is not.
    """
    use_onednn(network)
    use_inplace(network)
    if words.get("channels_last"):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if words.get("compile"):
        compile_network(network)


def count_cores() -> int:
    """Cores that this process may use: fewer than the machine has, in a container or under a
    scheduler.
    """
    found = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = QUOTA.read_text(encoding="utf-8").split() if QUOTA.is_file() else ["max"]
    if quota[0].isdigit():
        found = min(found, max(1, math.ceil(int(quota[0]) / int(quota[1]))))
    return found


def find_excess(path: tuple[str, ...], value: Any, *, typed: bool) -> tuple[str, str] | None:
    """What an entry of the configuration asks of this machine that it does not have, and what fits;
    None if nothing.

    Args:
        path: where the value stands.
        typed: it was written on the command line, which may ask for `EXCESS` times the cores.
    """
    text = str(value)
    if path not in COUNTED or isinstance(value, bool) or not text.isdecimal():
        return None
    if path == ("trainer", "num_nodes"):
        together = "MASTER_ADDR" in os.environ or int(os.environ.get("SLURM_NNODES", 1)) > 1
        fits = "1; torchrun or SLURM starts several, docs/clusters.md"
        return (
            None
            if int(text) <= 1 or together
            else ("no processes were started on other machines", fits)
        )
    most = count_cores() * (EXCESS if typed else 1)
    if path == ("trainer", "devices"):
        most = max(most, torch.cuda.device_count())
    if int(text) <= most:
        return None
    more = "" if typed else f", or on the command line up to {EXCESS * count_cores()}"
    return (
        f"this machine has {count_cores()} {'core' if count_cores() == 1 else 'cores'} for it",
        f"up to {most}{more}",
    )


def keep_memory() -> None:
    """Let glibc keep large pieces of freed memory. It would give each activation above 32 MB
    back to the system, which hands it out again page by page, zeroed: a linear layer that writes
    38 MB runs at 51 GFLOP/s instead of 95.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(MMAP_THRESHOLD, 2**30)
            mallopt(TRIM_THRESHOLD, 2**31 - 1)
