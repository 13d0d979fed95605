"""Sequences that fit in memory: tensors whose first axis is the samples, cut into batches by
index.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from tasks.data.base import DataModule
from tasks.data.sampler import Order, Resumable
from tasks.data.split import PARTS
from tasks.errors import must_be_positive

Part = dict[str, Tensor]
IGNORED = -100  # a label at a place that nobody asks about; what torch's cross-entropy leaves out


class Batches(Resumable):
    """Iterates over tensors that share their first axis; may be iterated any number of times.

    Args:
        part: the samples by name, or what makes those of an epoch: data without end.
        size: samples in a batch of this process.
        order: which samples, in which order.
        narrow: takes away what all rows of a batch have in vain: padding.
    """

    def __init__(
        self,
        part: Part | Callable[[int], Part],
        size: int,
        order: Order,
        narrow: Callable[[Part], Part] = dict,
    ):
        self.part, self.size, self.narrow = part, size, narrow
        self.sampler, self.batch_sampler = order, None  # where Lightning looks for set_epoch

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.size)
        return whole if self.sampler.shuffle and whole else whole + bool(rest)

    def __iter__(self) -> Iterator[Part]:
        part = self.part(self.sampler.epoch) if callable(self.part) else self.part
        indices = self.sampler.indices()
        for number in range(self.first(), len(self)):
            self.taken = number + 1
            chosen = indices[number * self.size : (number + 1) * self.size]
            if not len(chosen):
                return  # this process has no samples
            batch = self.narrow(
                {name: tensor.index_select(0, chosen) for name, tensor in part.items()}
            )
            yield batch | {"index": chosen}


class HeldSequences(DataModule):
    """Base of the data modules whose sequences fit in memory: a subclass reads, this one batches.

    Args:
        batch_size: samples in a batch, of each process.
        seed: seed of the order.
        split_seed: seed of the split; kept apart so that runs with several seeds are judged on the
            same samples.
        facts: what the YAML declares about the data; checked against what is read.

    `direction` says from which tokens of the input `said` a label may be foreseen: forward: those
    up to its own place; both: all of them; None: it does not matter. `remedy` is what to write
    where the network does otherwise. `padding` names the entries of a batch that are as long as a
    mask, by the mask.
    """

    padding: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    direction: str | None = None
    remedy: str = "model/attention=causal"
    said: str = "tokens"

    def __init__(
        self, *, batch_size: int = 64, seed: int = 0, split_seed: int = 0, facts: dict | None = None
    ):
        super().__init__()
        must_be_positive("batch_size", batch_size)
        self.batch_size, self.seed, self.split_seed, self.declared = (
            batch_size,
            seed,
            split_seed,
            facts,
        )
        self.parts: dict[str, Part] = {}

    def load(self) -> dict[str, Part]:
        """The parts "train", "val" and "test"."""
        raise NotImplementedError

    def fresh(self, epoch: int) -> Part:
        """The training samples of an epoch; new ones where data have no end."""
        return self.parts["train"]

    def narrow(self, batch: Part) -> Part:
        """The batch without columns that are padding in every row."""
        return narrowed(batch, self.padding)

    def padded_batch(self, count: int = 4) -> Part | None:
        """A batch of a few training samples from the shortest to the longest; None where nothing is
        padded.
        """
        part, rows = self.parts["train"], set[int]()
        for mask in self.padding:
            length = part[mask].sum(1)
            order = length.argsort(stable=True)
            order = order[length[order] > 0]
            if len(order) and length[order[0]] < length[order[-1]]:
                places = torch.linspace(0, len(order) - 1, count).long()
                rows.update(order[places].tolist())
        if not rows:
            return None
        chosen = torch.tensor(sorted(rows))
        return self.narrow({name: tensor.index_select(0, chosen) for name, tensor in part.items()})

    def shown(self, ids: list[int]) -> str:
        """Tokens as people read them."""
        raise NotImplementedError

    def answers(self, ids: list[int]) -> str:
        """The tokens at the places that ask, as people read them."""
        return self.shown(ids)

    def token_names(self, ids: list[int]) -> list[str]:
        """Each token by itself as people read it."""
        return [
            self.shown([token]) if self.tokenizer is None else self.tokenizer.name(token)
            for token in ids
        ]

    def read(self) -> None:
        """Read the data, once."""
        self.parts = self.parts or self.load()

    def sizes(self) -> dict[str, int]:
        """Number of samples in each part."""
        return {name: len(next(iter(self.parts[name].values()))) for name in PARTS}

    def train_dataloader(self) -> Batches:
        return Batches(self.fresh, self.batch_size, self._order("train", shuffle=True), self.narrow)

    def val_dataloader(self) -> Batches:
        return Batches(self.parts["val"], self.batch_size, self._order("val"), self.narrow)

    def test_dataloader(self) -> Batches:
        return Batches(self.parts["test"], self.batch_size, self._order("test"), self.narrow)

    def _order(self, part: str, shuffle: bool = False) -> Order:
        rank, world = self.share()
        return Order(self.sizes()[part], shuffle=shuffle, seed=self.seed, rank=rank, world=world)


def padded(rows: list[list[int]], length: int, filler: int) -> Tensor:
    """(rows, length), filled up behind."""
    return torch.tensor([[*row, *[filler] * (length - len(row))] for row in rows])


def narrowed(batch: Part, groups: Mapping[str, tuple[str, ...]]) -> Part:
    """The batch without the columns that are padding in every row."""
    found = dict(batch)
    for mask, names in groups.items():
        length = max(int(batch[mask].sum(1).max()), 1)
        found.update({name: batch[name][:, :length] for name in names})
    return found
