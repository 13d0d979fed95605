"""Encode the pieces of a text in other processes, in order. Does not import torch."""

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from tasks.data.text.tokenizer import Tokenizer
from tasks.errors import SampleError
from tasks.process.parent import die_with_parent

AHEAD = 2  # pieces that wait for each process
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


def start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()


class Pool:
    """Processes that compute results in the order of what they are given.

    Args:
        executor: of the processes; None computes in this one.
        count: how many processes there are.
    """

    def __init__(self, executor: ProcessPoolExecutor | None, count: int):
        self.executor, self.count = executor, count

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the result of each item, in order; few of them are held at a time.

        Raises:
            SampleError: a process ended.
        """
        if self.executor is None:
            yield from map(function, items)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self.executor.submit(function, item))
                if len(waiting) > AHEAD * self.count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise SampleError(
                "a process that reads the texts was ended; fix: --processes=1 needs less memory"
            ) from error


@contextmanager
def open_pool(count: int) -> Iterator[Pool]:
    """Start processes; with one, this process computes itself. Ctrl-C ends them."""
    if count == 1:
        yield Pool(None, 1)
        return
    # a process that is forked may hold the locks of threads that it has not
    executor = ProcessPoolExecutor(count, get_context("spawn"), start_worker)
    try:
        yield Pool(executor, count)
    finally:
        executor.shutdown(cancel_futures=True)
