"""In which order samples are seen: a pure function of (seed, epoch), shared by every loader."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler


def generator(*numbers: int) -> torch.Generator:
    """A random source that depends on nothing but `numbers`, so that a resumed run sees what an unbroken one sees."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % (1 << 63)
    return torch.Generator().manual_seed(mixed)


class Order(Sampler[tuple[int, int]]):
    """Yields (epoch, index) pairs; the epoch travels along so that augmentation needs no state in the workers.

    Args:
        size: number of samples.
        shuffle: a new order in each epoch; otherwise the order of the data.
        seed: the seed of all orders.
        rank: which of the `world` processes this is; each sees its own share.
        world: number of processes that share one epoch.
    """

    def __init__(self, size: int, *, shuffle: bool = False, seed: int = 0, rank: int = 0, world: int = 1):
        self.size, self.shuffle, self.seed, self.rank, self.world = size, shuffle, seed, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def indices(self) -> Tensor:
        """This process's samples of this epoch. In training all processes get equally many."""
        if not self.shuffle:
            return torch.arange(self.rank, self.size, self.world)
        order = torch.randperm(self.size, generator=generator(self.seed, self.epoch))
        return order[self.rank : self.size - self.size % self.world : self.world]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, index) for index in self.indices().tolist())

    def __len__(self) -> int:
        if self.shuffle:
            return self.size // self.world
        return len(range(self.rank, self.size, self.world))
