"""The order in which samples are seen: a pure function of (seed, epoch), shared by every loader."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from tasks.data.permutation import Permutation, mix_key
from tasks.errors import SampleError

SAMPLINGS = (None, "balanced")
LARGE = 1 << 22  # samples; the order of more of them is computed where it is needed
STRETCH = 4096  # samples whose order is computed together


def generator(*numbers: int) -> torch.Generator:
    """Return a random source that depends on `numbers` only.

    A resumed run thus sees what an uninterrupted one sees.
    """
    return torch.Generator().manual_seed(mix_key(*numbers))


class Order(Sampler[tuple[int, int]]):
    """Yield (epoch, index) pairs, so that augmentation needs no state in the workers.

    Args:
        size: number of samples.
        shuffle: a new order in each epoch; otherwise the order of the data.
        seed: the seed of all orders.
        rank: which of the `world` processes this is; each sees its own share.
        world: number of processes that share one epoch.
        strata: (size,), the class of each sample; an epoch then has as many samples of each.
    """

    def __init__(
        self,
        size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        strata: Tensor | None = None,
    ):
        self.size, self.shuffle, self.seed, self.strata = size, shuffle, seed, strata
        self.rank, self.world = rank, world
        self.epoch = 0
        self.passed = (0, 0)  # an epoch, and how many of its samples are skipped

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; called by Lightning before each one."""
        self.epoch = epoch

    def indices(self) -> Tensor:
        """Return this process's samples of this epoch; in training as many as any other's."""
        return torch.cat([*self.stretches(max(self.size, 1)), torch.empty(0, dtype=torch.long)])

    def stretches(self, length: int, start: int = 0) -> Iterator[Tensor]:
        """Yield this process's samples of this epoch, `length` at a time.

        Args:
            length: samples in a stretch; the last one may be shorter.
            start: how many of this process's samples are passed over.
        """
        size = self.size
        if self.shuffle:
            size -= size % self.world
        places = range(self.rank, size, self.world)
        sample_at = self._order()
        for first in range(start, len(places), length):
            part = places[first : first + length]
            yield sample_at(torch.arange(part.start, part.stop, part.step))

    def _order(self) -> Callable[[Tensor], Tensor]:
        """Return the function from places in the order of this epoch to samples."""
        if not self.shuffle:
            return torch.clone
        source = generator(self.seed, self.epoch)
        if self.strata is not None:
            return draw_balanced(self.strata, source).__getitem__
        if self.size > LARGE:
            return Permutation(self.size, mix_key(self.seed, self.epoch))
        return torch.randperm(self.size, generator=source).__getitem__

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, passed = self.passed
        current = self.epoch
        if epoch != current:
            passed = 0
        for stretch in self.stretches(STRETCH, passed):
            for index in stretch.tolist():
                yield current, index

    def __len__(self) -> int:
        if self.shuffle:
            return self.size // self.world
        # A process without samples reports one: Lightning would skip its validation, with all
        # collectives in it.
        return max(1, len(range(self.rank, self.size, self.world)))


def draw_balanced(strata: Tensor, source: torch.Generator) -> Tensor:
    """Return as many indices as there are samples, each class equally often, up to one sample.

    Within a class no sample is repeated before all of them were drawn.

    Args:
        strata: (samples,), the class of each.
        source: of the order.
    """
    names, number = strata.unique(return_inverse=True)
    least, rest = divmod(len(strata), len(names))
    favoured = torch.randperm(len(names), generator=source)[:rest].tolist()
    drawn = []
    for name in range(len(names)):
        members = (number == name).nonzero()[:, 0]
        wanted = least + (name in favoured)
        for _ in range(-(-wanted // len(members))):
            order = torch.randperm(len(members), generator=source)[:wanted]
            drawn.append(members[order])
            wanted -= len(order)
    found = torch.cat(drawn)
    return found[torch.randperm(len(found), generator=source)]


class Resumable:
    """Base of the loaders: counts the batches that were taken, and can begin after them.

    Where it begins is a pure function of the epoch, because Lightning may ask for an iterator more
    than once. A loader has to wait for the first batch before it looks at the epoch: Lightning sets
    it after it has asked for the iterator.
    """

    sampler: Order
    batch_sampler = None  # Lightning looks for set_epoch in both
    taken = 0  # batches of this epoch that were handed out; prefetched ones do not count
    resumed = (0, 0)  # an epoch, and how many of its batches an earlier process has seen

    def first(self) -> int:
        """Return the number of the batch to begin with."""
        epoch, batch = self.resumed
        if epoch == self.sampler.epoch:
            return batch
        return 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.sampler.epoch, "batch": self.taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.resumed = (state["epoch"], state["batch"])


class IndexBatches(Resumable):
    """Base of the loaders of samples in memory: batches of indices.

    Args:
        size: samples in a batch of this process.
        order: which samples, in which order.
    """

    def __init__(self, size: int, order: Order):
        self.size, self.sampler = size, order

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.size)
        if self.sampler.shuffle and whole:
            return whole
        return whole + bool(rest)

    def index_batches(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the number of each batch and the indices of its samples."""
        first = self.first()
        stretches = self.sampler.stretches(self.size, first * self.size)
        # a process without samples has one batch and no stretch
        for number, chosen in zip(range(first, len(self)), stretches, strict=False):
            self.taken = number + 1
            yield number, chosen


class Workers(Resumable):
    """A `DataLoader` that can begin in the middle of an epoch.

    Args:
        loader: its sampler is an `Order`.
    """

    def __init__(self, loader: DataLoader):
        assert isinstance(loader.sampler, Order)
        self.loader, self.dataset, self.sampler = loader, loader.dataset, loader.sampler

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
