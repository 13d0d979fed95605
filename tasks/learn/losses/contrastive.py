"""Contrastive losses: the two of a pair are to be more alike than those of other pairs."""

from typing import Any

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor

from tasks.errors import ArgumentError


class GatherRows(torch.autograd.Function):
    """The rows of all processes; the gradient of a row is the sum of those of all processes."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.rows = len(value)
        rows = [torch.empty_like(value) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(rows, value.contiguous())
        return torch.cat(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        start = first_row(ctx.rows)
        return total[start : start + ctx.rows]


def check_others(data: Any) -> None:
    """Raise an ArgumentError for batches of one sample, which there is nothing to compare with."""
    if getattr(data, "batch_size", None) == 1:
        raise ArgumentError(
            "data",
            "contrast compares the samples of a batch, and this one has no other",
            got="data.batch_size=1",
            fix="data.batch_size=256",
        )


def gather_rows(value: Tensor) -> Tensor:
    """Return the rows of all processes, in the order of their ranks, with gradients; those of this
    process where there is no other.

    Args:
        value: (rows, dim), as many rows in every process.
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return value
    return GatherRows.apply(value)


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


def clip_loss(image: Tensor, text: Tensor, *, gather: bool = False) -> Tensor:
    """Return the symmetric cross-entropy of images that find their text and texts that find their
    image.

    The mean over the processes is the loss of one batch of all.

    Args:
        image: (batch, dim), unit vectors times the inverse temperature.
        text: (batch, dim), unit vectors.
        gather: compare with the samples of all processes.

    Source:
        Radford et al. 2021 (CLIP), arXiv:2103.00020, figure 3.
    """
    image, text = image.float(), text.float()
    images, texts = image, text
    start = 0
    if gather:
        images, texts = gather_rows(image), gather_rows(text)
        start = first_row(len(image))
    own = torch.arange(start, start + len(image), device=image.device)
    by_image = F.cross_entropy(image @ texts.T, own)
    by_text = F.cross_entropy(text @ images.T, own)
    return (by_image + by_text) / 2
