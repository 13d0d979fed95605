"""A step of training asks a device for no number: whoever asks a GPU waits until it has done all it
was told.
"""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tasks.learn.classify import Classify
from tasks.learn.metrics.running import Mean
from tasks.learn.tokens import Tokens

B, N, VOCAB, CLASSES = 3, 7, 11, 5
WAITING = ("_local_scalar_dense", "nonzero", "_unique2", "masked_select", "equal", "_to_copy")


class Asked(TorchDispatchMode):
    """Notes the operations for which a GPU has to be waited for."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in WAITING and (name != "_to_copy" or "device" in (kwargs or {})):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


class Pooled(nn.Module):
    """Logits of tokens, or of their mean."""

    input_names = ("tokens",)

    def __init__(self, width, pool):
        super().__init__()
        self.logits, self.pool = nn.Embedding(VOCAB, width), pool

    def forward(self, tokens):
        return self.logits(tokens).mean(1) if self.pool else self.logits(tokens)


def step(task, label):
    task.log = lambda *_, **__: None
    batch = {"tokens": torch.randint(VOCAB, (B, N)), "label": label}
    with Asked() as asked:
        task.training_step(batch, 0).backward()
    return asked.names


def test_classifying_asks_for_nothing():
    task = Classify(Pooled(CLASSES, True), optimizer=torch.optim.SGD, facts={"classes": CLASSES})
    assert step(task, torch.randint(CLASSES, (B,))) == []


def test_foreseeing_tokens_asks_for_nothing():
    task = Tokens(Pooled(VOCAB, False), optimizer=torch.optim.SGD, facts={"vocab": VOCAB})
    assert step(task, torch.randint(VOCAB, (B, N))) == []


def test_what_asks_is_noticed():
    with Asked() as asked:
        bool(torch.ones(()).isfinite())
        torch.ones(B).unique()
    assert asked.names[0] == "_local_scalar_dense"
    assert "_unique2" in asked.names


def test_a_mean_is_weighted():
    mean = Mean()
    for value, weight in ((2.0, 3), (7.0, torch.tensor(2))):
        mean.update(torch.tensor(value), weight)
    assert float(mean.compute()) == pytest.approx((2 * 3 + 7 * 2) / 5)
