"""How many processes read files beside the one that trains."""

import torch

from tasks.errors import ArgumentError
from tasks.process.runtime import count_cores

MOST = 16  # processes that read for one that trains


def automatic(*, gpu: bool = False, processes: int = 1) -> int:
    """Return as many processes as training leaves cores free.

    On a GPU the process that trains takes one core, to distribute the work; on the processor each
    of its threads takes one. If none is left, one process still reads while the network computes:
    decoding 64x64 pixels from files of 400x320 took 56 % of the time of a step, and a process for
    it adds 6 % of work. On a single core that gains nothing, and no process is started. The order
    of the samples does not depend on the number, so that the result is the same.

    Args:
        gpu: whether the network computes on a GPU.
        processes: how many train on this machine and share its cores.
    """
    own = count_cores() // processes
    busy = torch.get_num_threads()
    least = int(own > 1)
    if gpu:
        busy = least = 1
    return min(max(own - busy, least), MOST)


def must_be_workers(value: int | str) -> None:
    """Raise an ArgumentError unless `value` is a number of processes, or auto."""
    if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ArgumentError(
            "workers",
            "workers is a number of processes, or auto",
            got=f"workers={value!r}",
            fits="auto, 0 or more",
            fix="data.workers=auto",
        )
