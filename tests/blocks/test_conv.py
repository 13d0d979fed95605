import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from blocks.conv import CausalConv1d, ResizeLike, SqueezeExcite, WeightNormConv2d
from blocks.errors import BlockError

B, N, D, F = 2, 13, 6, 5


def test_squeeze_excite_is_its_formula():
    block, x = SqueezeExcite(D, reduction=3), torch.randn(B, D, 5, 7)
    inner = torch.relu(x.mean(dim=(2, 3)) @ block.squeeze.weight.T + block.squeeze.bias)
    gate = torch.sigmoid(inner @ block.excite.weight.T + block.excite.bias)
    assert block.squeeze.out_features == 2
    assert torch.allclose(block(x), torch.einsum("bchw,bc->bchw", x, gate), atol=1e-6)


def test_squeeze_excite_commutes_with_moving_pixels():
    block, x = SqueezeExcite(D, reduction=2), torch.randn(B, D, 5, 7)
    assert torch.allclose(block(x.roll((1, 3), (2, 3))), block(x).roll((1, 3), (2, 3)), atol=1e-6)


def test_a_reduction_that_does_not_divide_the_channels_is_told():
    with pytest.raises(BlockError) as error:
        SqueezeExcite(D, reduction=4)
    assert (
        str(error.value)
        == "reduction must divide channels; got reduction=4, channels=6; fits: reduction in 1, "
        "2, 3, 6"
    )


@pytest.mark.parametrize(
    ("kernel", "dilation", "groups"), [(1, 1, 1), (3, 1, 1), (3, 2, 2), (2, 5, 6)]
)
def test_a_causal_convolution_sums_over_its_past(kernel, dilation, groups):
    block, x = (
        CausalConv1d(D, D, kernel=kernel, dilation=dilation, groups=groups),
        torch.randn(B, N, D),
    )
    y = torch.zeros(B, N, D)
    for group in range(groups):
        part = slice(group * D // groups, (group + 1) * D // groups)
        for token in range(N):
            y[:, token, part] += block.project.bias[part]
            for k in range(kernel):
                past = token - (kernel - 1 - k) * dilation
                if past >= 0:
                    y[:, token, part] += x[:, past, part] @ block.project.weight[part, :, k].T
    assert torch.allclose(block(x), y, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(kernel=st.integers(1, 4), dilation=st.integers(1, 4), now=st.integers(0, N - 1))
def test_a_token_ignores_the_future(kernel, dilation, now):
    block, x = CausalConv1d(D, F, kernel=kernel, dilation=dilation), torch.randn(B, N, D)
    other = x.clone()
    other[:, now + 1 :] = torch.randn(B, N - now - 1, D)
    assert block(x).shape == (B, N, F)
    assert torch.allclose(block(x)[:, : now + 1], block(other)[:, : now + 1], atol=1e-6)


def test_a_causal_convolution_moves_with_its_tokens():
    block, x = CausalConv1d(D, F, kernel=3, dilation=2), torch.randn(B, N, D)
    later = nn.functional.pad(x, (0, 0, 3, 0))
    assert torch.allclose(block(later)[:, 3:], block(x), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": 0}, "kernel must be positive; got kernel=0; fits: kernel=1 or more"),
        (
            {"kernel": 2, "dilation": 0},
            "dilation must be positive; got dilation=0; fits: dilation=1 or more",
        ),
        (
            {"kernel": 2, "groups": 4},
            "groups must divide dim; got groups=4, dim=6; fits: groups in 1, 2, 3, 6",
        ),
        (
            {"kernel": 2, "groups": 3},
            "groups must divide features; got groups=3, features=5; fits: groups in 1, 5",
        ),
    ],
)
def test_bad_arguments_are_told(arguments, message):
    with pytest.raises(BlockError) as error:
        CausalConv1d(D, F, **arguments)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("block", "shape"),
    [
        (SqueezeExcite(4, reduction=2), (2, 4, 2, 3)),
        (CausalConv1d(4, 3, kernel=2, dilation=2), (2, 5, 4)),
    ],
)
def test_gradients(block, shape):
    assert torch.autograd.gradcheck(
        block.double(), torch.randn(shape, dtype=torch.double, requires_grad=True)
    )


def test_an_image_takes_the_size_of_another_one():
    x, like = torch.randn(B, D, 5, 7), torch.randn(B, 3, 11, 13)
    found = ResizeLike()(x, like)
    expected = torch.nn.Upsample(size=(11, 13), mode="bilinear")(x)
    assert torch.equal(found, expected)
    assert torch.equal(ResizeLike()(x, x[:, :1]), x)
    constant = ResizeLike()(torch.full((B, D, 2, 3), 4.0), like)
    torch.testing.assert_close(constant, torch.full((B, D, 11, 13), 4.0), rtol=0, atol=1e-6)


def test_everything_is_made_and_runs_on_meta():
    with torch.device("meta"):
        assert SqueezeExcite(D, reduction=2)(torch.empty(B, D, 5, 7)).shape == (B, D, 5, 7)
        assert CausalConv1d(D, F, kernel=3)(torch.empty(B, N, D)).shape == (B, N, F)


@pytest.mark.parametrize(
    ("block", "shape"),
    [(SqueezeExcite(D, reduction=2), (D, 5, 7)), (CausalConv1d(D, F, kernel=3), (N, D))],
)
def test_exported_blocks_take_another_batch_size(block, shape):
    dynamic = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(block, (torch.randn(B, *shape),), dynamic_shapes=dynamic)
    x = torch.randn(5, *shape)
    assert torch.allclose(program.module()(x), block(x), atol=1e-6)


def test_a_convolution_of_normed_filters_is_that_of_torch():
    torch.manual_seed(0)
    options = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}
    theirs = nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 10, 3, **options)).double()
    ours = WeightNormConv2d(6, 10, kernel=3, **options).double()
    length, direction = theirs.parametrizations.weight.parameters()
    nn.init.uniform_(length, 0.5, 2)
    with torch.no_grad():
        ours.length.copy_(length.flatten())
        ours.direction.copy_(direction)
        ours.bias.copy_(theirs.bias)
    x = torch.randn(2, 6, 11, 13, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    torch.testing.assert_close(ours.direction.grad, direction.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.length.grad, length.grad.flatten(), rtol=0, atol=1e-12)
    fresh = WeightNormConv2d(6, 10, kernel=3)
    sizes = torch.linalg.vector_norm(fresh.direction, dim=(1, 2, 3))
    torch.testing.assert_close(fresh.length, sizes)
