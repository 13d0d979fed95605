"""Mamba's state space: the scan of pieces against the definition, with its own gradients."""

import pytest
import torch
import torch.nn.functional as F

from blocks.errors import BlockError
from blocks.recurrent import SelectiveStateSpace
from blocks.recurrent.selective_scan import scan_channels

B, N, D, S = 2, 23, 5, 3  # rows, tokens, channels, numbers of a state
DIM = 24


@pytest.fixture(autouse=True)
def _one_thread():
    """Blocks this small only wait for each other's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def draw(tokens=N):
    torch.manual_seed(0)
    kind = {"dtype": torch.float64}
    given = [
        F.softplus(torch.randn(B, tokens, D, **kind)),
        -torch.rand(D, S, **kind),
        torch.randn(B, tokens, D, **kind),
        torch.randn(B, tokens, S, **kind),
        torch.randn(B, tokens, S, **kind),
        torch.randn(B, D, S, **kind),
    ]
    return [each.requires_grad_() for each in given]


def define(step, rate, written, keys, queries, state):
    """Token by token."""
    read = []
    for i in range(step.shape[1]):
        state = state * (step[:, i, :, None] * rate).exp()
        state = state + written[:, i, :, None] * keys[:, i, None]
        read.append((state * queries[:, i, None]).sum(-1))
    return torch.stack(read, dim=1), state


def all_of(given, run):
    read, state = run(*given)
    loss = read.sin().sum() + state.cos().sum()
    return read, state, *torch.autograd.grad(loss, given)


@pytest.mark.parametrize("tokens", [1, 7, N])
@pytest.mark.parametrize("chunk", [1, 4, 100, None])
def test_pieces_are_equal_to_the_definition_with_their_gradients(tokens, chunk):
    given = draw(tokens)
    wanted = all_of(given, define)
    found = all_of(given, lambda *each: scan_channels(*each, chunk=chunk))
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_gradients_are_right():
    run = lambda *each: scan_channels(*each, chunk=3)  # noqa: E731
    assert torch.autograd.gradcheck(run, draw(7), fast_mode=True)


def test_it_starts_as_the_authors_start_it():
    block = SelectiveStateSpace(DIM, state=7)
    rate = block.log_rate.exp()
    torch.testing.assert_close(rate, torch.arange(1.0, 8).expand(48, -1))
    step = F.softplus(block.steps.bias)
    assert 0.001 <= step.min() < step.max() <= 0.1
    assert block.rank == 2


@torch.no_grad()
def test_padding_on_either_side_changes_nothing():
    torch.manual_seed(0)
    block = SelectiveStateSpace(DIM).double().eval()
    x = torch.randn(1, 11, DIM, dtype=torch.float64)
    noise = torch.randn(1, 5, DIM, dtype=torch.float64)
    padded = torch.cat((noise, x, noise), dim=1)
    real = (torch.arange(21) >= 5) & (torch.arange(21) < 16)
    found = block(padded, padding_mask=real[None])[:, 5:16]
    torch.testing.assert_close(found, block(x), rtol=0, atol=1e-10)


def test_a_size_that_is_not_positive_is_told():
    with pytest.raises(BlockError) as error:
        SelectiveStateSpace(DIM, state=0)
    assert str(error.value) == "state must be positive; got state=0; fits: state=1 or more"
