"""How many processes read files beside the one that trains."""

import torch

from tasks.errors import ArgumentError
from tasks.process.runtime import count_cores

MOST = 16  # processes that read for one that trains


def automatic(*, gpu: bool = False, processes: int = 1) -> int:
    """As many as training leaves cores free.

    On a GPU the process that trains takes one core, to hand out the work; on the processor each of
    its threads takes one. Where none is left, one process reads all the same while the network
    computes: decoding 64x64 pixels from files of 400x320 took 56 % of the time of a step, and a
    process for it 6 % more work. On a single core that is for nothing, and none does. Which sample
    comes when does not depend on the number, so that the result is the same.

    Args:
        gpu: whether the network computes elsewhere.
        processes: how many train on this machine and share its cores.
    """
    own = count_cores() // processes
    least = 1 if gpu or own > 1 else 0
    return min(max(own - (1 if gpu else torch.get_num_threads()), least), MOST)


def must_be_workers(value: int | str) -> None:
    """Raise an ArgumentError unless `value` is a number of processes, or auto."""
    if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        text, got = "workers is a number of processes, or auto", f"workers={value!r}"
        raise ArgumentError(
            "workers", text, got=got, fits="auto, 0 or more", fix="data.workers=auto"
        )
