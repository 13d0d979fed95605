"""Which tokens a network sees, measured: whether a later token changes earlier logits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tasks.data.sampler import generator

# share of the largest logit; rounding stays far below, a token that is seen far above
TOLERANCE = 1e-4


def looks_ahead(
    network: nn.Module,
    logits_of: Callable[[Tensor], Tensor],
    tokens: Tensor,
    position: int,
    vocab: int,
) -> bool:
    """Return whether tokens from `position` on change the logits before it.

    Branches that start closed (a gate of zero, a scale of 1e-5) are opened for the measurement:
    they would hide what the network can learn to see. The network is then as it was before.

    Args:
        network: the one that `logits_of` runs.
        logits_of: gives logits, (rows, tokens, vocab), of tokens, (rows, tokens).
        tokens: the input, (rows, tokens).
        position: of the first token that is changed.
        vocab: number of tokens of the vocabulary.
    """
    changed = tokens.clone()
    changed[:, position:] = (changed[:, position:] + 1 + vocab // 3) % vocab
    training = network.training
    network.eval()
    try:
        with torch.no_grad(), open_branches(network):
            before = logits_of(tokens)[:, :position]
            after = logits_of(changed)[:, :position]
    finally:
        network.train(training)
    return bool((before - after).abs().max() > TOLERANCE * before.abs().max())


@contextmanager
def open_branches(network: nn.Module) -> Iterator[None]:
    """Give random values to parameters whose entries are all equal, within this context."""
    source = generator(0)
    constant = []
    for parameter in network.parameters():
        if parameter.numel() and bool((parameter == parameter.flatten()[0]).all()):
            constant.append((parameter, float(parameter.flatten()[0])))
    for parameter, _ in constant:
        if parameter.ndim > 1:
            scale = parameter.shape[-1] ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=source) * scale)
        else:
            parameter.copy_(torch.rand(parameter.shape, generator=source) + 0.5)
    try:
        yield
    finally:
        for parameter, value in constant:
            parameter.fill_(value)
