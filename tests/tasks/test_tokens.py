"""Tasks over tokens: metrics count each token once, whatever batch it is in; padding counts
nothing.
"""

import math

import pytest
import torch
from torch import nn

from tasks.data.sequences.base import IGNORED
from tasks.learn.tokens import Tokens

VOCAB = 5


class Table(nn.Module):
    """Logits that depend on the token alone."""

    input_names = ("tokens", "padding_mask")

    def __init__(self):
        super().__init__()
        self.logits = nn.Embedding(VOCAB, VOCAB)

    def forward(self, tokens, padding_mask=None):
        return self.logits(tokens)


@pytest.fixture
def task():
    torch.manual_seed(0)
    return Tokens(Table(), optimizer=torch.optim.SGD, facts={"vocab": VOCAB})


def judged(task, batches):
    task.log = lambda *_, **__: None
    for batch in batches:
        task.validation_step(batch, 0)
    return {
        name: float(task.get_submodule(name)["val_part"].compute())
        for name in ("loss", "accuracy", "exact")
    }


def test_metrics_do_not_depend_on_the_batches(task):
    tokens, label = torch.randint(VOCAB, (6, 7)), torch.randint(VOCAB, (6, 7))
    label[0, 2:] = IGNORED  # one row has fewer questions than the others
    whole = judged(task, [{"tokens": tokens, "label": label}])
    cut = Tokens(task.network, optimizer=torch.optim.SGD, facts={"vocab": VOCAB})
    pieces = judged(
        cut,
        [{"tokens": tokens[:1], "label": label[:1]}, {"tokens": tokens[1:], "label": label[1:]}],
    )
    assert pieces == pytest.approx(whole, rel=1e-6)


def test_metrics_by_hand(task):
    with torch.no_grad():
        task.network.logits.weight.copy_(torch.eye(VOCAB) * 3)  # each token foretells itself
    tokens = torch.tensor([[0, 1, 2], [3, 4, 0]])
    label = torch.tensor([[0, 1, IGNORED], [3, 1, 0]])
    found = judged(task, [{"tokens": tokens, "label": label}])
    right, wrong = 3 - math.log(math.exp(3) + 4), -math.log(math.exp(3) + 4)
    assert found == pytest.approx(
        {"loss": -(4 * right + wrong) / 5, "accuracy": 4 / 5, "exact": 1 / 2}, rel=1e-6
    )


def test_an_optional_input_that_the_data_lack_is_left_out(task):
    assert task({"tokens": torch.zeros(2, 3, dtype=torch.long)}).shape == (2, 3, VOCAB)
