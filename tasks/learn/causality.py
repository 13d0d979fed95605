"""Which tokens a network looks at, found out by asking it: does a later token change what is said
earlier?
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tasks.data.sampler import generator

FELT = 1e-4  # of the largest logit; rounding stays far below, a token that is looked at far above


def looks_ahead(
    network: nn.Module, said: Callable[[Tensor], Tensor], tokens: Tensor, place: int, vocab: int
) -> bool:
    """Whether tokens from `place` on change the logits before it.

    Branches that start closed (a gate of zero, a scale of 1e-5) are opened for the question: they
    would hide what the network learns to look at. It is then as it was before.

    Args:
        network: the one that `said` runs.
        said: logits, (rows, tokens, vocab), of tokens, (rows, tokens).
        tokens: what to ask with.
        place: the first token that is changed.
        vocab: number of tokens.
    """
    changed = tokens.clone()
    changed[:, place:] = (changed[:, place:] + 1 + vocab // 3) % vocab
    training = network.training
    network.eval()
    try:
        with torch.no_grad(), opened(network):
            before, after = said(tokens)[:, :place], said(changed)[:, :place]
    finally:
        network.train(training)
    return bool((before - after).abs().max() > FELT * before.abs().max())


@contextmanager
def opened(network: nn.Module) -> Iterator[None]:
    """Give random values to parameters whose entries are all the same, for as long as it takes."""
    source = generator(0)
    same = [
        (parameter, float(parameter.flatten()[0]))
        for parameter in network.parameters()
        if parameter.numel() and bool((parameter == parameter.flatten()[0]).all())
    ]
    for parameter, _ in same:
        if parameter.ndim > 1:
            parameter.copy_(
                torch.randn(parameter.shape, generator=source) * parameter.shape[-1] ** -0.5
            )
        else:
            parameter.copy_(torch.rand(parameter.shape, generator=source) + 0.5)
    try:
        yield
    finally:
        for parameter, value in same:
            parameter.fill_(value)
