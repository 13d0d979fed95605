import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from blocks.attention.patch import CrossPatchAttention, InnerPatchAttention
from blocks.attention.window import WindowAttention
from blocks.errors import BlockError

B, H, K = 2, 3, 5  # batch, heads, width of a head
DIM = H * K


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def by_channel(block, x, patch):
    """The same by torch.nn.MultiheadAttention, one channel after the other."""
    cells = patch[0] * patch[1]
    other = nn.MultiheadAttention(cells, 1, batch_first=True).to(x.dtype)
    other.load_state_dict(
        {
            "in_proj_weight": block.qkv.weight,
            "in_proj_bias": block.qkv.bias,
            "out_proj.weight": block.project.weight,
            "out_proj.bias": block.project.bias,
        }
    )
    _, height, width, dim = x.shape
    corners = [(r, c) for r in range(0, height, patch[0]) for c in range(0, width, patch[1])]
    out = torch.empty_like(x)
    for channel in range(dim):
        tokens = [x[:, r : r + patch[0], c : c + patch[1], channel].flatten(1) for r, c in corners]
        tokens = torch.stack(tokens, dim=1)
        for (r, c), token in zip(corners, other(tokens, tokens, tokens)[0].unbind(1), strict=True):
            out[:, r : r + patch[0], c : c + patch[1], channel] = token.unflatten(-1, patch)
    return out


@pytest.mark.parametrize(("height", "width"), [(6, 9), (3, 3), (2, 1), (2, 9)])
def test_across_patches_equals_torch_channel_by_channel(height, width):
    block, x = CrossPatchAttention(height, width, patch=3), torch.randn(B, height, width, DIM)
    expected = by_channel(block, x, (min(3, height), min(3, width)))
    torch.testing.assert_close(block(x), expected, atol=1e-6, rtol=0)


def test_a_grid_that_patches_do_not_divide_is_padded_with_zeros():
    block, x = CrossPatchAttention(7, 11, patch=3), torch.randn(B, 7, 11, DIM)
    padded = torch.zeros(B, 9, 12, DIM)
    padded[:, :7, :11] = x
    torch.testing.assert_close(block(x), block(padded)[:, :7, :11], atol=1e-6, rtol=0)


@settings(max_examples=10, deadline=None)
@given(channel=st.integers(0, DIM - 1))
def test_across_patches_channels_do_not_mix(channel):
    block, x = CrossPatchAttention(6, 9, patch=3), torch.randn(B, 6, 9, DIM)
    changed = x.clone()
    changed[..., channel] += torch.randn(B, 6, 9)
    moved = (block(x) - block(changed)).abs().amax((0, 1, 2)) > 1e-6
    assert moved.nonzero().flatten().tolist() == [channel]


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(3)))
def test_across_patches_order_does_not_matter(order):
    block, x = CrossPatchAttention(3, 9, patch=3), torch.randn(B, 3, 9, DIM)

    def shuffle(grid):
        return grid.unflatten(2, (3, 3))[:, :, order].flatten(2, 3)

    torch.testing.assert_close(block(shuffle(x)), shuffle(block(x)), atol=1e-6, rtol=0)


def test_across_patches_the_width_of_the_model_costs_no_weights():
    block = CrossPatchAttention(14, 14, patch=7)
    assert sum(weight.numel() for weight in block.parameters()) == 49 * 147 + 147 + 49 * 49 + 49
    for dim in (5, 11):
        assert block(torch.randn(B, 14, 14, dim)).shape == (B, 14, 14, dim)


@pytest.mark.parametrize(("side", "rows"), [(6, 25), (3, 25), (2, 9)])
def test_inside_patches_is_window_attention_without_shift(side, rows):
    inner = InnerPatchAttention(DIM, side, side, heads=H, patch=3)
    window = WindowAttention(DIM, side, side, heads=H, window=3)
    assert inner.position_bias_table.shape == (rows, H)
    nn.init.normal_(inner.position_bias_table)
    window.load_state_dict(inner.state_dict())
    x = torch.randn(B, side, side, DIM)
    assert torch.equal(inner(x), window(x))


def test_gradients_are_right():
    block = CrossPatchAttention(4, 6, patch=2).double()
    x = torch.randn(B, 4, 6, 5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(block, x, fast_mode=True)


def test_dropout_acts_in_training_only():
    for options in ({"dropout": 0.9}, {"projection_dropout": 0.9}):
        block, x = CrossPatchAttention(6, 9, patch=3, **options).eval(), torch.randn(B, 6, 9, DIM)
        calm = block(x)
        assert torch.equal(calm, block(x))
        assert not torch.allclose(calm, block.train()(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda: CrossPatchAttention(7, 11, patch=3),
        lambda: InnerPatchAttention(DIM, 7, 11, heads=H, patch=3),
    ],
)
def test_builds_and_runs_on_meta(make):
    with torch.device("meta"):
        out = make()(torch.randn(17, 7, 11, DIM))
    assert out.is_meta
    assert out.shape == (17, 7, 11, DIM)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: InnerPatchAttention(DIM, 7, 11, heads=H, patch=0),
            "patch must be positive; got patch=0; fits: patch=1 or more",
        ),
        (
            lambda: CrossPatchAttention(7, 11, patch=-3),
            "patch must be positive; got patch=-3; fits: patch=1 or more",
        ),
        (
            lambda: InnerPatchAttention(DIM, 7, 11, heads=2, patch=3),
            "heads must divide dim; got heads=2, dim=15; fits: heads in 1, 3, 5, 15",
        ),
    ],
)
def test_mistakes_are_told_with_a_fix(make, text):
    with pytest.raises(BlockError) as told:
        make()
    assert str(told.value) == text
