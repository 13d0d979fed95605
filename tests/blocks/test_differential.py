"""Differential attention, against the formula pair by pair in float64."""

import math

import pytest
import torch
from torch import nn

from blocks.attention import DifferentialAttention
from blocks.errors import BlockError
from blocks.position import ALiBi
from blocks.position.rotary import Rotary

B, N, H, K = 2, 7, 4, 6  # batch, tokens, pairs of heads, width of a query
DIM = 2 * H * K
REAL = torch.arange(N) < torch.tensor([[N], [4]])


def made(**options) -> DifferentialAttention:
    torch.manual_seed(0)
    block = DifferentialAttention(DIM, heads=2 * H, **options).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.4)
    return block


def softmax(scores: list[float]) -> list[float]:
    whole = sum(math.exp(score) for score in scores)
    return [math.exp(score) / whole for score in scores]


def one_by_one(block, x, real=None):
    """The formula of the paper, a head and a token at a time."""
    a, b = block.lambdas.detach().unbind(1)
    share = math.exp(a[0] @ b[0]) - math.exp(a[1] @ b[1]) + block.initial
    shared = 2 * H // block.kv_heads
    rows = block.qkv(x).detach()
    q, k, v = rows.split(block.sizes(), dim=-1)
    read = torch.zeros(B, N, H, 2 * K, dtype=torch.float64)
    for r, h, i in ((r, h, i) for r in range(B) for h in range(H) for i in range(N)):
        keys = range(i + 1) if block.causal else range(N)
        seen = [j for j in keys if real is None or real[r, j]]
        weights = []
        for part in (0, 1):
            query = q[r, i].view(H, 2, K)[h, part]
            scores = [
                float(query @ k[r, j].view(-1, 2, K)[h // shared, part]) / math.sqrt(K)
                for j in seen
            ]
            weights.append(softmax(scores))
        for j, first, second in zip(seen, *weights, strict=True):
            read[r, i, h] += (first - share * second) * v[r, j].view(-1, 2 * K)[h // shared]
        size = math.sqrt(float(read[r, i, h].square().mean()) + 1e-5)
        read[r, i, h] *= (1 - block.initial) * block.norm.weight.detach() / size
    return block.project(read.flatten(2))


@pytest.mark.parametrize("kv_heads", [2 * H, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_it_is_the_formula_of_the_paper(causal, kv_heads):
    block = made(causal=causal, kv_heads=kv_heads, initial=0.3)
    x = torch.randn(B, N, DIM, dtype=torch.float64)
    torch.testing.assert_close(block(x), one_by_one(block, x), rtol=0, atol=1e-12)
    found = block(x, padding_mask=REAL)
    torch.testing.assert_close(found, one_by_one(block, x, REAL), rtol=0, atol=1e-12)


def test_weights_are_the_difference_of_two_softmaxes():
    options = {"causal": True, "rotary": Rotary(K), "position_bias": ALiBi(2 * H)}
    block, shown = made(**options), made(**options, return_weights=True)
    x = torch.randn(B, N, DIM, dtype=torch.float64)
    tokens, weights = shown(x)
    torch.testing.assert_close(tokens, block(x), rtol=0, atol=1e-12)
    first, second = block.lambdas.prod(dim=1).sum(dim=-1).exp()
    assert weights.shape == (B, H, N, N)
    wanted = (1 - (first - second + block.initial)).expand(B, H, N)
    torch.testing.assert_close(weights.sum(-1), wanted, rtol=0, atol=1e-12)


def test_as_many_parameters_as_the_attention_of_as_many_heads():
    """Section 3.1 of the paper, but for λ and the norm."""
    block = DifferentialAttention(DIM, heads=2 * H, bias=False, project_bias=False)
    matrices = sum(each.numel() for each in (block.qkv.weight, block.project.weight))
    assert matrices == 4 * DIM**2
    assert sum(each.numel() for each in block.parameters()) - matrices == 4 * K + 2 * K


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 10}, "heads must divide dim; got heads=10, dim=48"),
        ({"heads": 3}, "heads must be a multiple of 2; got heads=3"),
        ({"heads": 8, "kv_heads": 6}, "kv_heads must divide heads; got kv_heads=6, heads=8"),
        ({"heads": 4, "initial": 1.0}, "initial must be in [0, 1); got initial=1.0"),
    ],
)
def test_a_wrong_argument_is_told(options, message):
    with pytest.raises(BlockError) as error:
        DifferentialAttention(DIM, **options)
    assert str(error.value).startswith(message)


@torch.no_grad()
def test_each_softmax_has_the_bias_of_its_head():
    block = made(position_bias=ALiBi(2 * H))
    slopes = ALiBi(2 * H).double()(N, N)
    x = torch.randn(B, N, DIM, dtype=torch.float64)
    q, k, v = block.project_heads(x)
    scores = (q @ k.mT / math.sqrt(K) + slopes).softmax(-1)
    share = float((block.lambdas.prod(1).sum(-1).exp() * torch.tensor([1, -1])).sum())
    heads = (scores[:, ::2] - (share + block.initial) * scores[:, 1::2]) @ v
    size = (heads.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    heads = heads / size * block.norm.weight * (1 - block.initial)
    wanted = block.project(heads.transpose(1, 2).flatten(2))
    torch.testing.assert_close(block(x), wanted, rtol=0, atol=1e-12)
