"""How a run uses the machine: cores, memory, layout of images, compilation."""

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
from tasks.process import attention_gradients

# Options of the section `trainer` that are no arguments of Lightning's Trainer.
OWN_OPTIONS = (
    "compile",
    "checkpoint_activations",
    "tensor_parallel_size",
    "channels_last",
    "threads",
    "time",
    "accumulate_tokens",
    "find_lr",
)
# Entries that are numbers of processes, threads or machines.
COUNTED = (
    ("trainer", "devices"),
    ("trainer", "num_nodes"),
    ("trainer", "threads"),
    ("data", "workers"),
)
EXCESS = 4
# of a container: microseconds on all cores in a period, and the period
QUOTA = Path("/sys/fs/cgroup/cpu.max")
MMAP_THRESHOLD = -3  # of mallopt, in malloc.h
TRIM_THRESHOLD = -1


def configure_process(options: Mapping[str, Any]) -> None:
    """Set the number of threads, the memory allocator and the gradients of attention of this
    process.

    Args:
        options: the section `trainer`; without `threads` there is one for each usable core.
    """
    threads = options.get("threads")
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = min(torch.get_num_threads(), count_cores())
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    if options.get("accelerator") == "cpu":
        keep_memory()
        attention_gradients.use_products()
    # `deterministic` would fill all new memory with NaN first, to reveal programs that read
    # uninitialised memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def prepare_network(network: nn.Module, options: Mapping[str, Any]) -> None:
    """Replace layers by faster ones with the same weights, set the memory layout and compile.

    The network changes in place. What `blocks.graph.build` returns consists of plain layers of
    torch, bitwise equal to the reference implementations; the faster layers are not.

    Args:
        network: changed in place.
        options: the section `trainer`: `channels_last`, `compile`.
    """
    use_onednn(network)
    use_inplace(network)
    if options.get("channels_last"):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if options.get("compile"):
        compile_network(network, whole=options["compile"] == "whole")


def count_cores() -> int:
    """Return the number of cores that this process may use.

    In a container or under a scheduler these are fewer than the machine has.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    if QUOTA.is_file():
        quota, period = QUOTA.read_text(encoding="utf-8").split()
        if quota.isdigit():
            cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    return cores


def find_excess(path: tuple[str, ...], value: Any, *, typed: bool) -> tuple[str, str] | None:
    """Return what an entry of the configuration requests beyond this machine, and what fits.

    Args:
        path: of the entry.
        value: of the entry.
        typed: whether the command line has it, which may request `EXCESS` times the cores.

    Returns:
        None where the machine has enough.
    """
    text = str(value)
    if path not in COUNTED or isinstance(value, bool) or not text.isdecimal():
        return None
    count = int(text)
    if path == ("trainer", "num_nodes"):
        several = "MASTER_ADDR" in os.environ or int(os.environ.get("SLURM_NNODES", 1)) > 1
        if count <= 1 or several:
            return None
        fits = "1; torchrun or SLURM starts several, docs/clusters.md"
        return "no processes were started on other machines", fits
    cores = count_cores()
    most, hint = cores, f", or on the command line up to {EXCESS * cores}"
    if typed:
        most, hint = EXCESS * cores, ""
    if path == ("trainer", "devices"):
        most = max(most, torch.cuda.device_count())
    if count <= most:
        return None
    noun = "core" if cores == 1 else "cores"
    return f"this machine has {cores} {noun} for it", f"up to {most}{hint}"


def keep_memory() -> None:
    """Let glibc keep large pieces of freed memory.

    It would return each activation above 32 MB to the system, which hands it out again page by
    page, zeroed: a linear layer that writes 38 MB runs at 51 GFLOP/s instead of 95.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(MMAP_THRESHOLD, 2**30)
            mallopt(TRIM_THRESHOLD, 2**31 - 1)
