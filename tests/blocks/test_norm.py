import pytest
import torch
from torch import nn

from blocks.norm import (
    ChannelNorm,
    FrozenBatchNorm2d,
    ResponseNorm,
    RMSNorm,
    WeightNormLinear,
)

B, N, D, H, W = 2, 7, 5, 3, 11


def shaken(block):
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    return block


def test_rms_norm_is_its_formula_and_equals_torch():
    block, x = shaken(RMSNorm(D)), torch.randn(B, N, D)
    expected = x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() * block.weight
    peer = nn.RMSNorm(D, eps=1e-6)
    peer.load_state_dict(block.state_dict())
    assert torch.allclose(block(x), expected, atol=1e-6)
    assert torch.allclose(block(x), peer(x), atol=1e-6)


def test_rms_norm_ignores_the_scale_of_a_token():
    block, x = shaken(RMSNorm(D)), torch.randn(B, N, D)
    assert torch.allclose(block(x), block(x * 1024), atol=1e-5)


def test_channel_norm_is_layer_norm_at_each_pixel():
    block, x = shaken(ChannelNorm(D)), torch.randn(B, D, H, W)
    peer = nn.LayerNorm(D, eps=1e-6)
    peer.load_state_dict(block.state_dict())
    expected = torch.stack(
        [peer(x[..., i, j]) for i in range(H) for j in range(W)], dim=-1
    ).view_as(x)
    assert torch.allclose(block(x), expected, atol=1e-6)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_channel_norm_leaves_channels_last_and_does_not_care_what_came(memory):
    block, x = shaken(ChannelNorm(D)), torch.randn(B, D, H, W)
    y = block(x.contiguous(memory_format=memory))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, block(x))


def test_a_frozen_batch_norm_is_a_batch_norm_that_is_only_judged():
    block, peer, x = FrozenBatchNorm2d(D), nn.BatchNorm2d(D), torch.randn(B, D, H, W)
    for value in peer.state_dict().values():
        if value.is_floating_point():
            nn.init.uniform_(value, 0.5, 2.0)
    assert not list(block.parameters())
    missing, left = block.load_state_dict(peer.state_dict(), strict=False)
    assert (missing, left) == ([], ["num_batches_tracked"])
    torch.testing.assert_close(block.train()(x), peer.eval()(x), atol=1e-6, rtol=0)


def test_response_norm_starts_as_the_identity():
    x = torch.randn(B, H, W, D)
    assert torch.equal(ResponseNorm(D)(x), x)


def test_response_norm_is_the_formula_of_its_paper():
    block, x = shaken(ResponseNorm(D)), torch.randn(B, H, W, D)
    strength = x.square().sum(dim=(1, 2), keepdim=True).sqrt()
    share = strength / (strength.mean(dim=-1, keepdim=True) + 1e-6)
    assert torch.allclose(
        block(x), block.weight * (x * share) + block.bias + x, atol=1e-5, rtol=1e-6
    )


def test_an_image_of_zeros_has_finite_gradients():
    block, x = shaken(ResponseNorm(D)), torch.zeros(B, H, W, D, requires_grad=True)
    block(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("block", "shape"),
    [(RMSNorm(3), (2, 4, 3)), (ChannelNorm(3), (2, 3, 2, 2)), (ResponseNorm(3), (2, 2, 2, 3))],
)
def test_gradients(block, shape):
    x = torch.randn(shape, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(shaken(block).double(), x)


@pytest.mark.parametrize(
    ("family", "shape"),
    [(RMSNorm, (B, N, D)), (ChannelNorm, (B, D, H, W)), (ResponseNorm, (B, H, W, D))],
)
def test_norms_run_on_meta_export_and_take_another_batch_size(family, shape):
    with torch.device("meta"):
        assert family(D)(torch.empty(shape)).shape == shape
    block = shaken(family(D))
    dynamic = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(block, (torch.randn(shape),), dynamic_shapes=dynamic)
    x = torch.randn(5, *shape[1:])
    assert torch.allclose(program.module()(x), block(x), atol=1e-6)


def test_a_linear_layer_of_normed_rows_is_that_of_torch():
    torch.manual_seed(0)
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(5, 7)).double()
    ours = WeightNormLinear(5, 7).double()
    length, direction = theirs.parametrizations.weight.parameters()
    nn.init.uniform_(length, 0.5, 2)
    with torch.no_grad():
        ours.length.copy_(length[:, 0])
        ours.direction.copy_(direction)
        ours.bias.copy_(theirs.bias)
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    torch.testing.assert_close(ours.direction.grad, direction.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.length.grad, length.grad[:, 0], rtol=0, atol=1e-12)
    fresh = WeightNormLinear(5, 7)
    rows = torch.linalg.vector_norm(fresh.direction, dim=1)
    torch.testing.assert_close(fresh.length, rows)
