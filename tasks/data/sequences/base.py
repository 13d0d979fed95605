"""Sequences in memory: tensors whose first axis is the samples, cut into batches by index."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from tasks.data.base import DataModule
from tasks.data.sampler import IndexBatches, Order
from tasks.data.split import PARTS
from tasks.errors import must_be_positive

Part = dict[str, Tensor]
IGNORED = -100  # the label of a token that is not judged; torch's cross-entropy ignores it


class Batches(IndexBatches):
    """Iterate over tensors that share their first axis, any number of times.

    Args:
        part: the samples by name, or a function that makes those of an epoch.
        size: samples in a batch of this process.
        order: which samples, in which order.
        narrow: removes the padding that a batch does not need.
    """

    def __init__(
        self,
        part: Part | Callable[[int], Part],
        size: int,
        order: Order,
        narrow: Callable[[Part], Part] = dict,
    ):
        super().__init__(size, order)
        self.part, self.narrow = part, narrow

    def __iter__(self) -> Iterator[Part]:
        part = self.part
        if callable(part):
            part = part(self.sampler.epoch)
        for _, chosen in self.index_batches():
            yield self.narrow(take_rows(part, chosen)) | {"index": chosen}


class Sequences(DataModule):
    """Base of the data modules of sequences.

    Args:
        batch_size: samples in a batch, of each process.
        seed: seed of the order.
        split_seed: seed of the split; separate, so that runs with several seeds are judged on the
            same samples.
        facts: what the YAML declares about the data; checked against what is read.

    Attributes:
        direction: on which tokens of `predicted_input` the prediction of a label may depend.
            "forward": those up to its own position; "both": all of them; None: not checked.
        predicted_input: the input that holds the tokens that are predicted.
        remedy: what to change in the YAML if the network depends on other tokens.
    """

    direction: str | None = None
    remedy: str = "model/attention=causal"
    predicted_input: str = "tokens"

    def __init__(
        self, *, batch_size: int = 64, seed: int = 0, split_seed: int = 0, facts: dict | None = None
    ):
        super().__init__()
        must_be_positive("batch_size", batch_size)
        self.batch_size, self.declared = batch_size, facts
        self.seed, self.split_seed = seed, split_seed

    def padded_batch(self, count: int = 4) -> Part | None:
        """Return a batch of training samples from the shortest to the longest.

        None if nothing is padded.
        """
        return None

    def shown(self, ids: list[int]) -> str:
        """Return tokens as text for people."""
        raise NotImplementedError

    def answers(self, ids: list[int]) -> str:
        """Return the predicted tokens of one sample as text for people."""
        return self.shown(ids)

    def token_names(self, ids: list[int]) -> list[str]:
        """Return each token by itself as text for people."""
        if self.tokenizer is not None:
            return list(map(self.tokenizer.name, ids))
        return [self.shown([token]) for token in ids]


class InMemorySequences(Sequences):
    """Base of the data modules whose sequences fit in memory.

    A subclass reads them; this class makes batches.

    Args:
        options: those of `Sequences`.

    Attributes:
        padding: the names of the tensors that are as long as a mask, by the mask.
    """

    padding: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.parts: dict[str, Part] = {}

    def load(self) -> dict[str, Part]:
        """Return the parts "train", "val" and "test"."""
        raise NotImplementedError

    def fresh(self, epoch: int) -> Part:
        """Return the training samples of an epoch; generated data are new in each one."""
        return self.parts["train"]

    def narrow(self, batch: Part) -> Part:
        """Return the batch without the columns that are padding in every row."""
        return trim_padding(batch, self.padding)

    def padded_batch(self, count: int = 4) -> Part | None:
        part, rows = self.parts["train"], set[int]()
        for mask in self.padding:
            length = part[mask].sum(1)
            order = length.argsort(stable=True)
            order = order[length[order] > 0]
            if len(order) and length[order[0]] < length[order[-1]]:
                evenly = torch.linspace(0, len(order) - 1, count).long()
                rows.update(order[evenly].tolist())
        if not rows:
            return None
        return self.narrow(take_rows(part, torch.tensor(sorted(rows))))

    def read(self) -> None:
        """Read the data, once."""
        if not self.parts:
            self.parts = self.load()

    def sizes(self) -> dict[str, int]:
        return {name: len(next(iter(self.parts[name].values()))) for name in PARTS}

    def loader(self, part: str) -> Batches:
        samples = self.fresh if part == "train" else self.parts[part]
        return Batches(samples, self.batch_size, self.order(part), self.narrow)

    def plain_loader(self, part: str) -> Batches:
        order = self.order(part, shuffle=False)
        return Batches(self.parts[part], self.batch_size, order, self.narrow)


def take_rows(part: Part, index: Tensor) -> Part:
    """Return the samples of an index, from each tensor."""
    return {name: tensor.index_select(0, index) for name, tensor in part.items()}


def pad_rows(rows: Sequence[Sequence[int]], length: int, filler: int) -> Tensor:
    """Return rows of tokens as (rows, length), padded at the end with `filler`."""
    return torch.tensor([[*row, *[filler] * (length - len(row))] for row in rows])


def trim_padding(batch: Part, padding: Mapping[str, tuple[str, ...]]) -> Part:
    """Return the batch without the columns that are padding in every row.

    Args:
        batch: tensors by name.
        padding: the names of the tensors that are as long as a mask, by the mask.
    """
    trimmed = dict(batch)
    for mask, names in padding.items():
        length = max(int(batch[mask].sum(1).max()), 1)
        for name in names:
            trimmed[name] = batch[name][:, :length]
    return trimmed
