from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from blocks.errors import BlockError
from blocks.graph import build
from blocks.pool import AttentionPool, GlobalAverage, LastToken, MaxTokens, MeanTokens, SelectToken

B, N, D, H = 3, 7, 15, 5
RESAMPLER = Path(__file__).resolve().parents[2] / "conf/model/resampler/perceiver.yaml"
LENGTHS = [7, 4, 1]
MASKED = [MeanTokens(), MaxTokens(), LastToken(), AttentionPool(D, heads=H)]


def mask_of(lengths, tokens=N):
    return torch.arange(tokens) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("block", MASKED)
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(1, N), min_size=B, max_size=B))
def test_padding_is_as_if_it_were_not_there(block, lengths):
    x = torch.randn(B, N, D)
    alone = torch.cat([block(x[i : i + 1, :length]) for i, length in enumerate(lengths)])
    assert torch.allclose(block(x, mask_of(lengths)), alone, atol=1e-6)


@pytest.mark.parametrize("block", MASKED)
def test_a_mask_of_real_tokens_changes_nothing(block):
    x = torch.randn(B, N, D)
    assert torch.allclose(block(x, mask_of([N] * B)), block(x), atol=1e-6)


@pytest.mark.parametrize("block", MASKED)
def test_a_row_without_tokens_is_finite_forward_and_backward(block):
    x = torch.randn(B, N, D, requires_grad=True)
    y = block(x, mask_of([0, 4, 7]))
    y.sum().backward()
    assert y.isfinite().all()
    assert not x.grad[0].any()
    assert x.grad.isfinite().all()
    if not isinstance(block, AttentionPool):  # whose projection has a bias
        assert not y[0].any()


@pytest.mark.parametrize("block", [MeanTokens(), MaxTokens(), LastToken()])
def test_not_even_nan_leaks_from_padding(block):
    x = torch.randn(B, N, D)
    x[~mask_of(LENGTHS)] = float("nan")
    assert block(x, mask_of(LENGTHS)).isfinite().all()


@pytest.mark.parametrize("block", [MeanTokens(), MaxTokens(), AttentionPool(D, heads=H)])
def test_the_order_of_tokens_does_not_matter(block):
    x, order = torch.randn(B, N, D), torch.randperm(N)
    assert torch.allclose(block(x[:, order]), block(x), atol=1e-6)


@pytest.mark.parametrize(("block", "reduce"), [(MeanTokens, torch.mean), (MaxTokens, torch.amax)])
@pytest.mark.parametrize("masked", [False, True])
def test_skipped_tokens_do_not_count(block, reduce, masked):
    x = torch.randn(B, N, D)
    mask = mask_of([N] * B) if masked else None
    assert torch.allclose(block(skip=2)(x, mask), reduce(x[:, 2:], dim=1), atol=1e-6)


@pytest.mark.parametrize(
    ("block", "reduce"), [(MeanTokens(), torch.mean), (MaxTokens(), torch.amax)]
)
def test_grids_are_pooled_whole(block, reduce):
    x, mask = torch.randn(B, 2, 5, D), torch.ones(B, 2, 5, dtype=torch.bool)
    assert torch.allclose(block(x), reduce(x, dim=(1, 2)), atol=1e-6)
    assert torch.allclose(block(x, mask), reduce(x, dim=(1, 2)), atol=1e-6)


@pytest.mark.parametrize("index", [0, 3, -1])
def test_a_token_is_selected_by_its_place(index):
    x = torch.randn(B, N, D)
    assert torch.equal(SelectToken(index)(x), x[:, index])


def test_the_last_token_is_found_on_whichever_side_the_padding_stands():
    x = torch.randn(B, N, D)
    assert torch.equal(
        LastToken()(x, mask_of(LENGTHS)), x[torch.arange(B), torch.tensor(LENGTHS) - 1]
    )
    assert torch.equal(LastToken()(x, mask_of(LENGTHS).flip(1)), x[:, -1])


@pytest.mark.parametrize("size", [(11,), (5, 7), (2, 3, 5)])
def test_a_global_average_is_that_of_torch(size):
    x = torch.randn(B, D, *size)
    peer = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[len(size) - 1](1)
    assert torch.allclose(GlobalAverage()(x), peer(x).flatten(1), atol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_pool_equals_torch(masked):
    block, peer = AttentionPool(D, heads=H), nn.MultiheadAttention(D, H, batch_first=True)
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    with torch.no_grad():
        peer.in_proj_weight.copy_(torch.cat((block.query.weight, block.key_value.weight)))
        peer.in_proj_bias.copy_(torch.cat((block.query.bias, block.key_value.bias)))
        peer.out_proj.weight.copy_(block.project.weight)
        peer.out_proj.bias.copy_(block.project.bias)
    x, mask = torch.randn(B, N, D) / 4, mask_of(LENGTHS) if masked else None
    expected, _ = peer(
        block.token.expand(B, 1, D), x, x, key_padding_mask=None if mask is None else ~mask
    )
    assert torch.allclose(block(x, mask), expected.squeeze(1), atol=1e-5, rtol=1e-6)


def test_heads_that_do_not_divide_dim_are_told():
    with pytest.raises(BlockError) as error:
        AttentionPool(D, heads=4)
    assert (
        str(error.value) == "heads must divide dim; got heads=4, dim=15; fits: heads in 1, 3, 5, 15"
    )


def test_a_token_that_is_not_there_is_told():
    with pytest.raises(BlockError) as error:
        SelectToken(7)(torch.randn(B, N, D))
    assert str(error.value) == "there is no such token; got index=7, tokens=7; fits: index in -7..6"


@pytest.mark.parametrize("block", [MeanTokens, MaxTokens])
def test_skipping_every_token_is_told(block):
    with pytest.raises(BlockError) as error:
        block(7)(torch.randn(B, N, D))
    assert str(error.value) == "skip must leave a token; got skip=7, tokens=7; fits: skip in 0..6"
    with pytest.raises(BlockError) as error:
        block(-1)
    assert str(error.value) == "skip must not be negative; got skip=-1; fits: skip=0 or more"


@pytest.mark.parametrize(
    "block", [MeanTokens(), MaxTokens(), LastToken(), AttentionPool(6, heads=2).double()]
)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients(block, masked):
    x = torch.randn(2, 3, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x, mask_of([3, 2], 3) if masked else None))


@pytest.mark.parametrize("block", MASKED)
def test_pools_run_on_meta_export_and_take_another_batch_size(block):
    with torch.device("meta"):
        made = AttentionPool(D, heads=H) if isinstance(block, AttentionPool) else block
        assert made(torch.empty(B, N, D), torch.empty(B, N, dtype=torch.bool)).shape == (B, D)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(
        block, (torch.randn(B, N, D), mask_of(LENGTHS)), dynamic_shapes=(batch, batch)
    )
    x, mask = torch.randn(2, N, D), mask_of([2, 5])
    assert torch.allclose(program.module()(x, mask), block(x, mask), atol=1e-6)


@torch.no_grad()
def test_a_resampler_is_the_formula_of_flamingo():
    """Appendix A.1.1: latents attend to the tokens and themselves, then an MLP, twice; a norm."""
    model = build(
        {
            "inputs": {"x": {"tokens": 5, "dim": 12}},
            "resampler": yaml.safe_load(RESAMPLER.read_text(encoding="utf-8")),
            "graph": {"out": {"use": "resampler", "queries": 3, "depth": 2, "heads": 2}},
        }
    ).double()
    norm = torch.nn.functional.layer_norm
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    body = model.get_submodule("out")
    latents = body.latents.token.expand(2, -1, -1)
    for layer in body.layers.children():
        known, own = norm(x, (12,)), norm(latents, (12,))
        context = torch.cat((known, own), dim=1)
        q = (own @ layer.attend.q.weight.T).view(2, 3, 2, 6)
        k, v = (context @ layer.attend.kv.weight.T).view(2, 8, 2, 2, 6).unbind(2)
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / 6**0.5
        read = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2)
        latents = latents + read @ layer.attend.project.weight.T
        inner = torch.nn.functional.gelu(norm(latents, (12,)) @ layer.expand.weight.T)
        latents = latents + inner @ layer.project.weight.T
    torch.testing.assert_close(model(x), norm(latents, (12,)), rtol=0, atol=1e-12)
