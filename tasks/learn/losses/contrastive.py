"""The contrastive loss of two views: a pair is to be more alike than all other pairs."""

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def gather_rows(value: Tensor) -> Tensor:
    """Return the rows of all processes, in the order of their ranks, with gradients; those of this
    process where there is no other.

    Args:
        value: (rows, dim), as many rows in every process.
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return value
    return torch.cat(all_gather(value.contiguous()))


def first_row(rows: int) -> int:
    """Return the number of this process's first row among those of all processes."""
    if not torch.distributed.is_initialized():
        return 0
    return torch.distributed.get_rank() * rows


def nt_xent(first: Tensor, second: Tensor, temperature: float, *, gather: bool = False) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy of two views of the same samples.

    Each view is to find the other view of its sample among the views of all samples. The mean over
    the processes is the loss of one batch of all.

    Args:
        first: (batch, dim), an embedding of each sample.
        second: (batch, dim), of other views.
        temperature: divides the cosines.
        gather: compare with the samples of all processes.

    Source:
        Chen et al. 2020 (SimCLR), arXiv:2002.05709, section 2.1, algorithm 1.
    """
    first, second = F.normalize(first.float(), dim=1), F.normalize(second.float(), dim=1)
    every, others = first, second
    start = 0
    if gather:
        every, others = gather_rows(first), gather_rows(second)
        start = first_row(len(first))
    count = len(every)
    keys = torch.cat([every, others])
    own = torch.arange(start, start + len(first), device=first.device)
    losses = []
    for queries, itself, partner in ((first, own, own + count), (second, own + count, own)):
        scores = queries @ keys.T / temperature
        scores = scores.scatter(1, itself[:, None], float("-inf"))
        losses.append(F.cross_entropy(scores, partner))
    return (losses[0] + losses[1]) / 2
