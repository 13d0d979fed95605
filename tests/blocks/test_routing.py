"""Experts that choose, experts with limited room, and the figures of a router: token by token."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blocks.errors import BlockError
from blocks.mixture import MixtureOfExperts
from blocks.support.decode_cache import DecodeCache, StepError

B, N, D, H, E = 2, 7, 5, 3, 4
REAL = torch.arange(N) < torch.tensor([[N], [4]])


def made(**options) -> MixtureOfExperts:
    torch.manual_seed(0)
    block = MixtureOfExperts(D, **{"experts": E, "hidden": H, **options}).double()
    nn.init.normal_(block.router.weight)
    return block


def tokens() -> torch.Tensor:
    return torch.randn(B, N, D, dtype=torch.float64)


def answer(block, expert, token):
    return F.gelu(token @ block.up_weight[expert]) @ block.down_weight[expert]


def chosen_by_experts(block, x, real):
    """The formula of Zhou et al., an expert after another: outputs, and how many chose each."""
    out, counts = torch.zeros_like(x), torch.zeros(B, N, dtype=torch.long)
    room = math.ceil(block.top * N / E)
    for b in range(B):
        scores = (x[b] @ block.router.weight.T).softmax(-1)
        for e in range(E):
            order = sorted((n for n in range(N) if real[b, n]), key=lambda n: -scores[n, e])
            for n in order[:room]:
                out[b, n] += scores[n, e] * answer(block, e, x[b, n])
                counts[b, n] += 1
    return out, counts


@torch.no_grad()
@pytest.mark.parametrize("top", [1, 2, E])
@pytest.mark.parametrize("real", [torch.ones(B, N).bool(), REAL])
def test_experts_choose_their_best_tokens(top, real):
    block, x = made(top=top, routing="expert"), tokens()
    wanted, counts = chosen_by_experts(block, x, real)
    torch.testing.assert_close(block(x, real), wanted, rtol=0, atol=1e-12)
    assert block.auxiliary_loss is None
    *load, entropy, dropped = block.router_figures.tolist()
    assert sum(load) == pytest.approx(1)
    assert dropped == pytest.approx(float(((counts == 0) & real).sum() / real.sum()))
    chances = (x[real] @ block.router.weight.T).softmax(-1)
    wanted = -(chances * chances.log()).sum(-1).mean() / math.log(E)
    assert entropy == pytest.approx(float(wanted))


@torch.no_grad()
@pytest.mark.parametrize("capacity", [0.3, 0.6, 1.0, 9.0])
@pytest.mark.parametrize("real", [None, REAL])
def test_an_expert_takes_the_first_tokens_that_it_has_room_for(capacity, real):
    block, x = made(top=2, capacity=capacity, scale=1.5), tokens()
    room, wanted, kept = min(N, math.ceil(capacity * 2 * N / E)), torch.zeros_like(x), [0] * E
    seen = torch.ones(B, N).bool() if real is None else real
    for b in range(B):
        taken = [0] * E
        for n in (n for n in range(N) if seen[b, n]):
            chances = (block.router.weight @ x[b, n]).softmax(0)
            chosen = chances.topk(2).indices.tolist()
            for e in chosen:
                if taken[e] == room:
                    continue
                taken[e] += 1
                weight = chances[e] / chances[chosen].sum() * 1.5
                wanted[b, n] += weight * answer(block, e, x[b, n])
        kept = [before + now for before, now in zip(kept, taken, strict=True)]
    torch.testing.assert_close(block(x, real), wanted, rtol=0, atol=1e-12)
    *load, _, dropped = block.router_figures.tolist()
    assert load == pytest.approx([count / sum(kept) for count in kept])
    assert dropped == pytest.approx(1 - sum(kept) / (2 * int(seen.sum())))
    if capacity < 0.5:
        assert dropped > 0
    free = made(top=2, scale=1.5)
    torch.testing.assert_close(block.eval()(x), free(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"routing": "expert"}, {"capacity": 0.7}])
def test_gradients_are_those_of_differences(options):
    block = made(experts=3, **options)
    x = torch.randn(1, 5, D, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, x)
    block(x).square().sum().backward()
    assert all(each.grad is not None for each in block.parameters())


@pytest.mark.parametrize("options", [{"routing": "expert"}, {"capacity": 0.7}])
def test_they_run_on_meta_and_compile_whole(options):
    with torch.device("meta"):
        block = MixtureOfExperts(D, experts=E, hidden=H, bias=True, **options)
        assert block(torch.empty(B, N, D)).shape == (B, N, D)
    torch._dynamo.reset()
    block, x = made(**options), tokens()
    wanted = block(x)
    found = torch.compile(block, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@torch.no_grad()
def test_experts_that_choose_see_later_tokens_and_have_no_steps():
    block, x = made(top=1, routing="expert"), tokens()
    changed = x.clone()
    changed[:, 3:] += 9 * block.router.weight[0]
    assert not torch.allclose(block(x)[:, :3], block(changed)[:, :3])
    with pytest.raises(StepError) as error:
        block.step(DecodeCache(N), x[:, :1])
    assert str(error.value) == (
        "an expert chooses among all tokens; got routing=expert; fits: routing=token"
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"routing": "both"}, "routing is not known"),
        ({"capacity": 0.0}, "capacity must be positive"),
        ({"routing": "expert", "capacity": 1.0}, "an expert that chooses takes as many tokens"),
        ({"routing": "expert", "balance_rate": 0.1}, "an expert that chooses takes as many tokens"),
    ],
)
def test_a_wrong_argument_is_told(options, problem):
    with pytest.raises(BlockError, match=problem):
        made(**options)
