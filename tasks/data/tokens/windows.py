"""Windows of a long sequence of tokens, cut when they are asked for."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from tasks.data.sampler import IndexBatches, Order
from tasks.data.sequences.base import IGNORED, Part


class Windows:
    """Windows of a sequence of tokens: nothing but the sequence is kept.

    Windows do not overlap, but for the last one, which ends with the sequence: what the one before
    has asked for is ignored in its labels.

    Args:
        ids: (tokens,), an array or a memory map of integers; length + ahead or more.
        length: tokens in a window.
        ahead: how many tokens the labels are ahead: 1 predicts the next token, 0 the token itself.
    """

    def __init__(self, ids: np.ndarray, length: int, ahead: int):
        self.ids, self.length, self.ahead = ids, length, ahead
        self.last = len(ids) - length - ahead  # where the last window begins

    def __len__(self) -> int:
        return -(-self.last // self.length) + 1

    def take(self, index: Tensor) -> Part:
        """Return "tokens" and "label" (windows, length) of the windows of an index (windows,)."""
        starts = (index * self.length).clamp_max(self.last)
        places = starts[:, None] + torch.arange(self.length + self.ahead)
        found = torch.from_numpy(self.read(places.numpy()).astype(np.int64))
        label = found[:, self.ahead :].clone()
        seen = (len(self) - 1) * self.length - self.last
        label[index == len(self) - 1, :seen] = IGNORED
        return {"tokens": found[:, : self.length].contiguous(), "label": label}

    def read(self, places: np.ndarray) -> np.ndarray:
        """Return the tokens at places."""
        return self.ids[places]

    def take_first(self, tokens: int) -> Part:
        """Return the first windows, with about so many tokens, or all of them."""
        return self.take(torch.arange(min(len(self), max(1, tokens // self.length))))


class WindowBatches(IndexBatches):
    """Iterate over windows, any number of times.

    Args:
        cut: returns the windows of an index in an epoch.
        size: windows in a batch of this process.
        order: which windows, in which order.
    """

    def __init__(self, cut: Callable[[Tensor, int], Part], size: int, order: Order):
        super().__init__(size, order)
        self.cut = cut

    def __iter__(self) -> Iterator[Part]:
        for _, chosen in self.index_batches():
            yield self.cut(chosen, self.sampler.epoch) | {"index": chosen}
