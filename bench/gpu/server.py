"""One contender in a process of its own, which builds and compiles while others do, and measures
when it is asked.
"""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch

from bench import peers
from bench.gpu.device import DEVICE, HAS_GPU, wait
from blocks.graph import compile_network

OURS = "dougong"
TRIES = 60
STEPS = 4 if HAS_GPU else 1
KERNELS = 40  # in the list of those that take longest
ATTENTION = ("flash", "fmha", "sdpa", "attention", "softmax_warp")


@dataclass(frozen=True)
class Seat:
    """Which contender a process is, and in what shape.

    Args:
        family: its name.
        contender: its name in the family.
        compiled: by torch.compile, the whole model at once.
        batch: images at a time.
        threads: of the CPU.
        infers: whether it warms up for inference, too.
    """

    family: str
    contender: str
    compiled: bool
    batch: int
    threads: int
    infers: bool

    def __str__(self) -> str:
        return self.contender + " compiled" * self.compiled


class Measured(NamedTuple):
    """Seconds of a step, and the highest number of allocated bytes during it."""

    seconds: float
    bytes: float


def serve(connection: Connection, seat: Seat) -> None:
    """Build a contender, report when it is warm, and answer each question: "train", "infer",
    "kernels".
    """
    torch.set_num_threads(seat.threads)
    peers.admit()
    from bench.families import families

    torch.manual_seed(0)
    family = families(seat.batch, DEVICE, large=HAS_GPU)[seat.family]
    made = family.contenders[seat.contender]()
    if seat.compiled and seat.contender == OURS:
        compile_network(made.model, whole=True)
    elif seat.compiled:
        made.model.compile(dynamic=False)
    step = made.trainer(bfloat16=HAS_GPU)
    warm_up(step)
    if seat.infers:
        warm_up(made.asker(bfloat16=HAS_GPU))
    connection.send(True)
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        if question == "infer":
            answer: Any = time_steps(made.asker(bfloat16=HAS_GPU))
        else:
            made.model.train()
            answer = time_steps(step) if question == "train" else list_kernels(step)
        connection.send(answer)


def warm_up(step: Callable[[], object]) -> None:
    """Run a step until all of it is compiled and the allocator knows its sizes."""
    for _ in range(3):
        run_patiently(step)
    time_steps(step)


def run_patiently(step: Callable[[], object]) -> None:
    """Run a step; retry while processes that warm up at the same time hold the memory."""
    for _ in range(TRIES - 1):
        try:
            step()
            wait()
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            time.sleep(1)
        else:
            return
    step()


def time_steps(step: Callable[[], object]) -> Measured:
    """The mean of `STEPS` steps. Gives freed memory back afterwards."""
    run_patiently(step)
    if HAS_GPU:
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    for _ in range(STEPS):
        step()
    wait()
    taken = (time.perf_counter() - begun) / STEPS
    held = torch.cuda.max_memory_allocated() if HAS_GPU else 0
    torch.cuda.empty_cache()
    return Measured(taken, held)


def list_kernels(step: Callable[[], object]) -> list[tuple[str, int, float]]:
    """The kernels of a step on the GPU, those that take longest first and all of attention: name,
    calls, microseconds; without a GPU none.
    """
    if not HAS_GPU:
        return []
    from torch.profiler import DeviceType, ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        step()
        wait()
    calls: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for event in trace.events():
        if event.device_type == DeviceType.CUDA:
            calls[event.name] += 1
            taken[event.name] += event.device_time
    found = [(name, calls[name], float(time)) for name, time in taken.most_common()]
    return found[:KERNELS] + [each for each in found[KERNELS:] if is_attention(each[0])]


def is_attention(kernel: str) -> bool:
    """Whether a kernel's name is of those that compute attention."""
    return any(word in kernel.lower() for word in ATTENTION)


class Server:
    """The other end of such a process."""

    def __init__(self, seat: Seat):
        context = multiprocessing.get_context("spawn")
        self.seat = seat
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, seat), daemon=True)
        self.process.start()
        theirs.close()

    def is_ready(self, until: float) -> bool:
        """Whether it is warm before that moment; a contender that raised never is."""
        try:
            return self.connection.poll(max(until - time.monotonic(), 0)) and self.connection.recv()
        except EOFError:
            return False

    def ask(self, question: str) -> Any:
        self.connection.send(question)
        return self.connection.recv()

    def close(self) -> None:
        self.connection.close()
        self.process.join(1)
        self.process.kill()
