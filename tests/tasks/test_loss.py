"""The losses of classification."""

import pytest
import torch
import torch.nn.functional as F

from tasks.errors import ArgumentError
from tasks.learn.classify import Classify

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]])
LABEL = torch.tensor([0, 2])


def task(**options):
    return Classify(torch.nn.Identity(), optimizer=torch.optim.SGD, facts={"classes": 3}, **options)


def test_squared_error_is_that_of_the_probabilities():
    share = LOGITS.softmax(1)
    wanted = ((share[0] - torch.tensor([1.0, 0, 0])) ** 2).sum() + (
        (share[1] - torch.tensor([0, 0, 1.0])) ** 2
    ).sum()
    assert task(loss="squared_error").loss(LOGITS, LABEL) == pytest.approx(float(wanted) / 2)


def test_smoothing_spreads_the_target_of_either():
    even = torch.zeros(2, 3)
    smooth = {"label_smoothing": 0.3}
    spread = torch.tensor([0.8, 0.1, 0.1])
    assert task(loss="squared_error", **smooth).loss(even, LABEL) == pytest.approx(
        float((1 / 3 - spread).square().sum())
    )
    assert task(**smooth).loss(LOGITS, LABEL) == F.cross_entropy(LOGITS, LABEL, label_smoothing=0.3)


def test_another_loss_is_told():
    with pytest.raises(
        ArgumentError,
        match=r"^loss is none of its choices; got loss=hinge; fits: cross_entropy, squared_",
    ):
        task(loss="hinge")
