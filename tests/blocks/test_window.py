import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from blocks.attention.window import PatchMerging, WindowAttention
from blocks.errors import BlockError
from blocks.norm import QKCosine
from blocks.position import LogSpacedBias

B, H, K = 2, 3, 5  # batch, heads, width of a head
DIM = H * K


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def build(height, width, *, window=3, shift=0, **options):
    block = WindowAttention(DIM, height, width, heads=H, window=window, shift=shift, **options)
    if block.position_bias_table is not None:
        nn.init.normal_(block.position_bias_table)
    return block


def by_cell(block, x, window, shift):
    """The same, cell by cell: a cell sees those of its own window that are less than a window away
    on the grid.
    """
    batch, height, width, _ = x.shape
    rows, columns = (
        -(-size // side) * side for size, side in zip((height, width), window, strict=True)
    )
    padded = torch.zeros(batch, rows, columns, DIM, dtype=x.dtype)
    padded[:, :height, :width] = x
    q, k, v = (part.unflatten(-1, (H, K)) for part in block.qkv(padded).chunk(3, dim=-1))
    if block.q_bias is not None:
        q, v = q + block.q_bias.view(H, K), v + block.v_bias.view(H, K)
    if block.qk_norm is not None:
        q, k = (part / part.norm(dim=-1, keepdim=True).clamp(min=1e-12) for part in (q, k))
        q = q * block.qk_norm.log_scale.exp().clamp(max=100).view(H, 1)
    down = shift if rows > window[0] else 0
    right = shift if columns > window[1] else 0

    def home(row, column):
        return (row - down) % rows // window[0], (column - right) % columns // window[1]

    out = torch.empty(batch, height, width, DIM, dtype=x.dtype)
    for row in range(height):
        for column in range(width):
            seen = [
                (r, c)
                for r in range(rows)
                for c in range(columns)
                if home(r, c) == home(row, column)
                and abs(r - row) < window[0]
                and abs(c - column) < window[1]
            ]
            r, c = torch.tensor(seen).T
            scores = torch.einsum("bhk,bshk->bhs", q[:, row, column], k[:, r, c]) * block.scale
            if block.position_bias_table is not None:
                place = (row - r + window[0] - 1) * (2 * window[1] - 1) + column - c + window[1] - 1
                scores = scores + block.position_bias_table[place].T
            if block.bias_table is not None:
                apart = torch.stack((row - r, column - c), dim=-1).to(x.dtype)
                apart = apart / (torch.tensor(window) - 1).clamp(min=1)
                apart = apart.sign() * (1 + 8 * apart.abs()).log2() / 3
                hidden = block.bias_table.expand(apart).relu()
                scores = scores + 16 * block.bias_table.project(hidden).sigmoid().T
            out[:, row, column] = torch.einsum(
                "bhs,bshk->bhk", scores.softmax(-1), v[:, r, c]
            ).flatten(1)
    return block.project(out)


GRIDS = {
    "one window": (3, 3),
    "divisible": (6, 9),
    "padded": (7, 11),
    "a row of windows": (3, 7),
    "smaller than a window": (2, 1),
    "narrower than a window": (2, 7),
}


@pytest.mark.parametrize("position_bias", [True, False])
@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize(("height", "width"), GRIDS.values(), ids=GRIDS)
def test_equals_a_slow_reference(height, width, shift, position_bias):
    block = build(height, width, shift=shift, position_bias=position_bias)
    x = torch.randn(B, height, width, DIM)
    expected = by_cell(block, x, (min(3, height), min(3, width)), shift)
    torch.testing.assert_close(block(x), expected, atol=1e-6, rtol=0)


def swin_v2(height, width, shift=0):
    block = build(
        height,
        width,
        shift=shift,
        key_bias=False,
        scale=1.0,
        qk_norm=QKCosine(H),
        bias_table=LogSpacedBias(H, hidden=7),
    ).double()
    block.qk_norm.log_scale.data.copy_(torch.tensor([1.0, 2.0, 5.0]).view(H, 1, 1))
    for value in (block.q_bias, block.v_bias):
        nn.init.normal_(value)
    return block


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize(("height", "width"), GRIDS.values(), ids=GRIDS)
def test_cosines_and_a_computed_bias_equal_a_slow_reference(height, width, shift):
    """Of the three temperatures one is beyond its limit."""
    block = swin_v2(height, width, shift)
    x = torch.randn(B, height, width, DIM, dtype=torch.double)
    expected = by_cell(block, x, (min(3, height), min(3, width)), shift)
    torch.testing.assert_close(block(x), expected, atol=1e-10, rtol=0)
    block.attend = block.attend_fused
    torch.testing.assert_close(block(x), expected, atol=1e-10, rtol=0)


def test_gradients_of_cosines_and_a_computed_bias_are_right():
    block = swin_v2(4, 5, shift=1)
    block.qk_norm.log_scale.data.clamp_(max=2.0)
    x = torch.randn(B, 4, 5, DIM, dtype=torch.double, requires_grad=True)
    names = [name for name, _ in block.named_parameters()]

    def run(x, *values):
        return torch.func.functional_call(block, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *block.parameters()), fast_mode=True)


@pytest.mark.parametrize("position_bias", [True, False])
@pytest.mark.parametrize("shift", [0, 1])
def test_the_fused_kernel_and_by_hand_agree(shift, position_bias):
    block = build(7, 11, shift=shift, position_bias=position_bias)
    x = torch.randn(B, 7, 11, DIM)
    by_hand = block(x)
    block.attend = block.attend_fused
    torch.testing.assert_close(block(x), by_hand, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shift", [0, 1])
@settings(max_examples=10, deadline=None)
@given(height=st.integers(3, 11), width=st.integers(3, 11))
def test_another_grid_takes_the_same_weights(shift, height, width):
    block, other = build(7, 11, shift=shift), build(height, width, shift=shift)
    other.load_state_dict(block.state_dict())
    x = torch.randn(B, height, width, DIM)
    torch.testing.assert_close(block(x), other(x), atol=1e-6, rtol=0)


def test_a_smaller_grid_than_a_window_is_padded():
    block, x = build(7, 11, shift=1), torch.randn(B, 2, 5, DIM)
    torch.testing.assert_close(block(x), by_cell(block, x, (3, 3), 1), atol=1e-6, rtol=0)


@settings(max_examples=20, deadline=None)
@given(row=st.integers(0, 6), column=st.integers(0, 10), shift=st.integers(0, 2))
def test_a_cell_is_seen_in_its_own_window_only(row, column, shift):
    block, x = build(9, 12, shift=shift), torch.randn(B, 9, 12, DIM)
    changed = x.clone()
    changed[:, row, column] += 1
    moved = (block(x) - block(changed)).abs().amax((0, 3)) > 1e-6
    high = {r for r in range(9) if (r - shift) // 3 == (row - shift) // 3}
    wide = {c for c in range(12) if (c - shift) // 3 == (column - shift) // 3}
    assert {(r, c) for r, c in moved.nonzero().tolist()} == {(r, c) for r in high for c in wide}


@pytest.mark.parametrize(("side", "rows"), [(7, 169), (14, 169), (3, 25), (1, 1)])
def test_the_window_becomes_a_smaller_grid_and_is_not_shifted(side, rows):
    block = build(side, side, window=7, shift=3)
    assert block.position_bias_table.shape == (rows, H)
    assert (block.mask is None) == (side <= 7)


def test_only_weights_are_in_the_state():
    assert list(build(7, 11, shift=1).state_dict()) == [
        "position_bias_table",
        "qkv.weight",
        "qkv.bias",
        "project.weight",
        "project.bias",
    ]
    assert list(build(7, 11, position_bias=False, bias=False).state_dict()) == [
        "qkv.weight",
        "project.weight",
        "project.bias",
    ]


@pytest.mark.parametrize("shift", [0, 1])
def test_gradients_are_right(shift):
    block = build(4, 5, shift=shift).double()
    x = torch.randn(B, 4, 5, DIM, dtype=torch.double, requires_grad=True)
    table = block.position_bias_table.detach().clone().requires_grad_()

    def total(x, table):
        return torch.func.functional_call(block, {"position_bias_table": table}, (x,)).sin().sum()

    assert torch.autograd.gradcheck(total, (x, table), fast_mode=True)


def test_dropout_acts_in_training_only():
    for options in ({"dropout": 0.9}, {"projection_dropout": 0.9}):
        block, x = build(7, 11, **options).eval(), torch.randn(B, 7, 11, DIM)
        calm = block(x)
        assert torch.equal(calm, block(x))
        assert not torch.allclose(calm, block.train()(x))


@pytest.mark.parametrize("shift", [0, 1])
def test_builds_and_runs_on_meta(shift):
    with torch.device("meta"):
        block = WindowAttention(DIM, 7, 11, heads=H, window=3, shift=shift)
        out = block(torch.randn(17, 7, 11, DIM))
    assert out.is_meta
    assert out.shape == (17, 7, 11, DIM)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"heads": 7}, "heads must divide dim; got heads=7, dim=15; fits: heads in 1, 3, 5, 15"),
        ({"window": 0}, "window must be positive; got window=0; fits: window=1 or more"),
        ({"shift": 3}, "shift must be in [0, window); got shift=3, window=3; fits: e.g. shift=1"),
        (
            {"position_bias": False, "bias_table": LogSpacedBias(H)},
            "a bias_table needs position_bias; got position_bias=false; "
            "fits: position_bias=true, or no bias_table",
        ),
        ({"dropout": 1.0}, "dropout must be in [0, 1); got dropout=1.0; fits: e.g. dropout=0.1"),
    ],
)
def test_mistakes_are_told_with_a_fix(options, text):
    with pytest.raises(BlockError) as told:
        WindowAttention(DIM, 7, 11, **({"heads": H, "window": 3} | options))
    assert str(told.value) == text


# --------------------------------------------------------------------------------------------------
# merging


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (4, 7)])
def test_merging_reads_down_before_right(height, width):
    block = PatchMerging(DIM)
    nn.init.normal_(block.norm.weight)
    nn.init.normal_(block.norm.bias)
    x = torch.randn(B, height, width, DIM)
    padded = torch.zeros(B, height + 1, width + 1, DIM)
    padded[:, :height, :width] = x
    expected = torch.empty(B, -(-height // 2), -(-width // 2), 2 * DIM)
    for row in range(expected.shape[1]):
        for column in range(expected.shape[2]):
            places = [
                (0, 0),
                (1, 0),
                (0, 1),
                (1, 1),
            ]  # top left, bottom left, top right, bottom right
            four = torch.cat(
                [padded[:, 2 * row + down, 2 * column + right] for down, right in places], dim=-1
            )
            expected[:, row, column] = block.norm(four) @ block.reduce.weight.T
    torch.testing.assert_close(block(x), expected, atol=1e-6, rtol=0)


def test_merging_has_right_gradients():
    x = torch.randn(B, 3, 5, 7, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(PatchMerging(7).double(), x, fast_mode=True)


def test_merging_runs_on_meta():
    with torch.device("meta"):
        assert PatchMerging(DIM)(torch.randn(17, 7, 11, DIM)).shape == (17, 4, 6, 2 * DIM)
