"""In which order samples are seen: a pure function of (seed, epoch), shared by every loader."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from tasks.errors import SampleError


def generator(*numbers: int) -> torch.Generator:
    """A random source that depends on nothing but `numbers`, so that a resumed run sees what an
    unbroken one sees.
    """
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % (1 << 63)
    return torch.Generator().manual_seed(mixed)


class Order(Sampler[tuple[int, int]]):
    """Yields (epoch, index) pairs; the epoch travels along so that augmentation needs no state in
    the workers.

    Args:
        size: number of samples.
        shuffle: a new order in each epoch; otherwise the order of the data.
        seed: the seed of all orders.
        rank: which of the `world` processes this is; each sees its own share.
        world: number of processes that share one epoch.
    """

    def __init__(
        self, size: int, *, shuffle: bool = False, seed: int = 0, rank: int = 0, world: int = 1
    ):
        self.size, self.shuffle, self.seed, self.rank, self.world = size, shuffle, seed, rank, world
        self.epoch = 0
        self.passed = (0, 0)  # an epoch, and how many of its samples are passed over

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def indices(self) -> Tensor:
        """This process's samples of this epoch. In training all processes get equally many."""
        if not self.shuffle:
            return torch.arange(self.size)[self.rank :: self.world]
        order = torch.randperm(self.size, generator=generator(self.seed, self.epoch))
        return order[self.rank : self.size - self.size % self.world : self.world]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, passed = self.passed
        return (
            (self.epoch, index)
            for index in self.indices()[passed if epoch == self.epoch else 0 :].tolist()
        )

    def __len__(self) -> int:
        if self.shuffle:
            return self.size // self.world
        # A process without samples reports one: Lightning would skip its validation, with all
        # collectives in it.
        return max(1, len(range(self.rank, self.size, self.world)))


class Resumable:
    """Base of the loaders: knows how many batches were taken, and can begin behind them.

    Where it begins is a pure function of the epoch, because Lightning may ask for an iterator more
    than once. A loader has to wait for the first batch before it looks at the epoch: Lightning sets
    it after it has asked for the iterator.
    """

    sampler: Order
    taken = (
        0  # batches of this epoch that were handed out; those that workers have ready do not count
    )
    resumed = (0, 0)  # an epoch, and how many of its batches an earlier process has seen

    def first(self) -> int:
        """The number of the batch to begin with."""
        epoch, batch = self.resumed
        return batch if epoch == self.sampler.epoch else 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.sampler.epoch, "batch": self.taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.resumed = (state["epoch"], state["batch"])


class Workers(Resumable):
    """A `DataLoader` that can begin in the middle of an epoch.

    Args:
        loader: its sampler is an `Order`.
    """

    def __init__(self, loader: DataLoader):
        self.loader, self.dataset = loader, loader.dataset
        assert isinstance(loader.sampler, Order)
        self.sampler, self.batch_sampler = (
            loader.sampler,
            None,
        )  # where Lightning looks for set_epoch

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        # a generator: workers start with the first batch, when the epoch is known
        first = self.first()
        self.sampler.passed = (self.sampler.epoch, first * (self.loader.batch_size or 1))
        self.taken = first
        for batch in self.loader:
            if isinstance(batch, SampleError):
                raise batch
            self.taken += 1
            yield batch
