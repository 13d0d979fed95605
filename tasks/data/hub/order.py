"""The order of streamed rows: row groups at random, rows at random within a buffer."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tasks.data.sampler import Order, generator


class StreamOrder(Order):
    """Yield (epoch, index) pairs so that neighbours lie in few row groups.

    An epoch takes the row groups in a random order, gives each process a stretch of the rows in
    this order, and shuffles `buffer` rows after the other. Like `Order` it is a pure function of
    (seed, epoch), which any position can begin, and does not depend on the number of workers. Of
    the rows it keeps the numbers of one buffer only.

    Args:
        counts: (groups,), the samples in each row group; an index counts them in this order.
        buffer: rows that are shuffled together.
        shuffle: a new order in each epoch; otherwise the order of the data.
        seed: the seed of all orders.
        rank: which of the `world` processes this is.
        world: number of processes that share one epoch.
    """

    def __init__(
        self,
        counts: Tensor,
        *,
        buffer: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        super().__init__(int(counts.sum()), shuffle=shuffle, seed=seed, rank=rank, world=world)
        self.counts, self.buffer = counts, buffer

    def stretch(self) -> tuple[int, int]:
        """Return where this process begins and ends; in training all have as many rows."""
        if self.shuffle:
            share = self.size // self.world
            return self.rank * share, (self.rank + 1) * share
        return (
            self.size * self.rank // self.world,
            self.size * (self.rank + 1) // self.world,
        )

    def buffers(self, passed: int = 0) -> Iterator[Tensor]:
        """Yield the indices of one buffer after the other, without the first `passed` indices."""
        groups = torch.arange(len(self.counts))
        if self.shuffle:
            groups = torch.randperm(len(groups), generator=generator(self.seed, self.epoch))
        counts = self.counts[groups]
        ends = counts.cumsum(0)
        # of each group: its first index less its first position in this order
        shift = (self.counts.cumsum(0) - self.counts)[groups] - (ends - counts)
        begin, end = self.stretch()
        for number in range(passed // self.buffer, -(-(end - begin) // self.buffer)):
            first = begin + number * self.buffer
            position = torch.arange(first, min(first + self.buffer, end))
            index = position + shift[torch.searchsorted(ends, position, right=True)]
            if self.shuffle:
                source = generator(self.seed, self.epoch, self.rank, number)
                index = index[torch.randperm(len(index), generator=source)]
            yield index[max(passed - number * self.buffer, 0) :]

    def indices(self) -> Tensor:
        return torch.cat([torch.zeros(0, dtype=torch.long), *self.buffers()])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, passed = self.passed
        if epoch != self.epoch:
            passed = 0
        for indices in self.buffers(passed):
            for index in indices.tolist():
                yield self.epoch, index

    def __len__(self) -> int:
        begin, end = self.stretch()
        # a process without samples reports one, as that of `Order`
        return end - begin if self.shuffle else max(1, end - begin)
