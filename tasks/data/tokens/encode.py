"""Encode the pieces of a text in other processes, in order. Does not import torch."""

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any, TypeVar

from tasks.data.text.tokenizer import Tokenizer
from tasks.errors import SampleError
from tasks.process.parent import die_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")
_tokenizers: dict[Path, Tokenizer] = {}  # of this process


@dataclass(frozen=True)
class Encoded:
    """A piece of text.

    Args:
        ids: its tokens, in the type of the tokenizer.
        tokens: how many there are.
        characters: of the text.
        bytes: of the text in UTF-8.
        unknown_bytes: those that unknown tokens stand for, where they are counted.
    """

    ids: bytes
    tokens: int
    characters: int
    bytes: int
    unknown_bytes: int


@dataclass(frozen=True)
class Encoder:
    """Encodes pieces of a text.

    Args:
        path: the file of the tokenizer.
        counts_unknown: whether the bytes behind unknown tokens are counted, which takes as long
            again.
    """

    path: Path
    counts_unknown: bool = False

    def __call__(self, piece: str) -> Encoded:
        if self.path not in _tokenizers:
            _tokenizers[self.path] = Tokenizer.load(self.path)
        tokenizer = _tokenizers[self.path]
        ids = tokenizer.encode_array(piece)
        unknown = 0
        if self.counts_unknown:
            unknown = tokenizer.unknown_bytes(piece)
        return Encoded(ids.tobytes(), len(ids), len(piece), len(piece.encode()), unknown)


class Worker:
    """A process that computes one result at a time.

    Args:
        context: starts processes.
    """

    def __init__(self, context: SpawnContext):
        self.connection, end = context.Pipe()
        self.process = context.Process(target=work, args=(end,), daemon=True)
        self.process.start()
        end.close()  # so that nothing is received from a process that has ended

    def ask(self, function: Callable[[Item], Result], item: Item) -> None:
        """Let it compute the result of an item; raises SampleError if it has ended."""
        try:
            self.connection.send((function, item))
        except OSError as error:
            raise ended() from error

    def answer(self) -> Any:
        """Wait for the result; raises what the function raised, and SampleError if it has ended."""
        try:
            result, error = self.connection.recv()
        except (EOFError, OSError) as error:
            raise ended() from error
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def ended() -> SampleError:
    """Return an error for a process that has ended."""
    return SampleError(
        "a process that reads the texts was ended; fix: --processes=1 needs less memory"
    )


def work(connection: Connection) -> None:
    """Compute results until the parent ends this process, or ends itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    while True:
        function, item = connection.recv()
        try:
            connection.send((function(item), None))
        except Exception as error:  # is raised in the parent
            connection.send((None, error))


class Pool:
    """Processes that compute results in the order of what they are given.

    Args:
        workers: the processes; none: this one computes.
    """

    def __init__(self, workers: Sequence[Worker]):
        self.workers = workers

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the result of each item, in order; each process holds one of them.

        Raises:
            SampleError: a process ended.
        """
        if not self.workers:
            yield from map(function, items)
            return
        waiting: deque[Worker] = deque()
        free = deque(self.workers)
        for item in items:
            if not free:
                worker = waiting.popleft()
                yield worker.answer()
                free.append(worker)
            worker = free.popleft()
            worker.ask(function, item)
            waiting.append(worker)
        while waiting:
            yield waiting.popleft().answer()


@contextmanager
def open_pool(count: int) -> Iterator[Pool]:
    """Start processes, and end them; with one, this process computes itself."""
    workers: list[Worker] = []
    # a process that is forked may hold the locks of threads that it has not
    context = get_context("spawn")
    try:
        if count > 1:
            with hold_interrupts():
                for _ in range(count):
                    workers.append(Worker(context))
        yield Pool(workers)
    finally:
        for worker in workers:
            worker.stop()


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Deliver Ctrl-C afterwards; processes that are started meanwhile do not get it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
