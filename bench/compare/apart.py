"""A contender in a process of its own, asked for one piece of work at a time.

So each has the memory, the threads and the allocator that it has when it runs alone: ours keeps
freed memory, as in `train.py`, and a peer that ran in the same process would have that for nothing
(`--keep` gives it to all).
"""

import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from bench import peers
from bench.measure import timed
from blocks.graph import compile_network
from tasks.process import runtime


@dataclass(frozen=True)
class Work:
    """What a contender is asked for.

    Args:
        family: its name.
        batch: how many images.
        threads: of torch.
        infer: inference in place of a step of training.
        words: what it is given: bf16 for mixed precision, compile.
        keep: freed memory is kept, as in `train.py`; ours always does.
    """

    family: str
    batch: int
    threads: int
    infer: bool = False
    words: tuple[str, ...] = ()
    keep: bool = False


class Apart:
    """One contender, ready when it is made; `ask` does the work once. To be closed, as a file."""

    def __init__(self, contender: str, work: Work):
        context = multiprocessing.get_context("spawn")  # a fork would share what torch has started
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, contender, work), daemon=True)
        self.process.start()
        theirs.close()  # so that its end is noticed
        self.connection.recv()

    def ask(self) -> tuple[float, float]:
        """Seconds by the clock and of the processor."""
        self.connection.send(True)
        found: tuple[float, float] = self.connection.recv()
        return found

    def close(self) -> None:
        self.connection.close()
        self.process.join()


def _serve(connection: Connection, contender: str, work: Work) -> None:
    torch.set_num_threads(work.threads)
    if work.keep:
        runtime.keep_memory()
    peers.admit()
    from bench.families import families

    torch.manual_seed(0)
    made = families(work.batch)[work.family].contenders[contender]()
    if "compile" in work.words:
        compile_network(made.model)
    step = made.asker() if work.infer else made.trainer(bfloat16="bf16" in work.words)
    connection.send(True)
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(timed(step))
