import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.attention.dot_product import SelfAttention
from blocks.errors import BlockError
from blocks.position import (
    ALiBi,
    LearnedPosition,
    LearnedPosition2d,
    LlamaScaling,
    NTKScaling,
    PositionInterpolation,
    RelativeBias,
    Rotary,
    Rotary2d,
    SinusoidalPosition,
    SinusoidalPosition2d,
    YaRN,
)

B, N, H = 2, 7, 3


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# --------------------------------------------------------------------------------------------------
# learned


def test_learned_positions_are_added_row_by_row():
    block, x = LearnedPosition(N, 5), torch.randn(B, N, 5)
    assert [name for name, _ in block.named_parameters()] == ["table"]
    torch.testing.assert_close(block(x) - x, block.table.expand(B, N, 5), atol=1e-6, rtol=0)
    torch.testing.assert_close(block(x[:, :3]), block(x)[:, :3], atol=0, rtol=0)


def test_learned_positions_may_be_longer_than_the_input():
    assert LearnedPosition(N, 5, length=11).table.shape == (11, 5)


def test_learned_positions_start_as_a_truncated_normal():
    table = LearnedPosition(199, 211).table
    assert abs(table.std().item() - 0.02) < 1e-3
    assert table.abs().max() < 0.11


def test_learned_positions_of_a_grid_are_those_of_its_tokens():
    grid, line = LearnedPosition2d(3, 7, 5), LearnedPosition(21, 5)
    line.load_state_dict({"table": grid.table.flatten(0, 1)})
    x = torch.randn(B, 3, 7, 5)
    assert torch.equal(grid(x).flatten(1, 2), line(x.flatten(1, 2)))


# --------------------------------------------------------------------------------------------------
# sinusoidal


def test_sinusoidal_positions_equal_the_paper():
    dim = 10
    table = SinusoidalPosition(dim)(torch.zeros(1, N, dim, dtype=torch.double))[0]
    for position in range(N):
        for i in range(dim // 2):
            angle = position / 10000 ** (2 * i / dim)
            assert table[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-12)
            assert table[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-12)


def test_sinusoidal_positions_keep_their_precision_in_bfloat16():
    rough = SinusoidalPosition(6).bfloat16()(torch.zeros(1, 999, 6, dtype=torch.bfloat16))
    fine = SinusoidalPosition(6)(torch.zeros(1, 999, 6))
    torch.testing.assert_close(rough, fine.bfloat16(), atol=0, rtol=0)


@pytest.mark.parametrize("first", ["column", "row"])
def test_sinusoidal_positions_of_a_grid_equal_their_formula(first):
    dim, height, width = 12, 3, 7
    table = SinusoidalPosition2d(dim, first=first)(
        torch.zeros(1, height, width, dim, dtype=torch.double)
    )[0]
    for row in range(height):
        for column in range(width):
            expected = []
            for place in (column, row) if first == "column" else (row, column):
                turns = [place / 10000 ** (i / (dim // 4)) for i in range(dim // 4)]
                expected += [math.sin(turn) for turn in turns] + [math.cos(turn) for turn in turns]
            assert table[row, column].tolist() == pytest.approx(expected, abs=1e-12)


def test_positions_with_an_extent_do_not_depend_on_the_size_of_the_grid():
    """Sines and cosines in turn, of a share of the height and of the width."""
    dim, height, width = 12, 3, 7
    block = SinusoidalPosition2d(dim, first="row", interleaved=True, extent=2 * math.pi)
    table = block(torch.zeros(1, height, width, dim, dtype=torch.double))[0]
    for row in range(height):
        for column in range(width):
            expected = []
            for share in ((row + 1) / height, (column + 1) / width):
                turns = [2 * math.pi * share / 10000 ** (i / 3) for i in range(3)]
                expected += [wave(turn) for turn in turns for wave in (math.sin, math.cos)]
            assert table[row, column].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("class_tokens", [0, 1, 2])
def test_class_tokens_get_no_position(class_tokens):
    block, x = (
        SinusoidalPosition2d(12, class_tokens=class_tokens),
        torch.randn(B, class_tokens + 9, 12),
    )
    expected = SinusoidalPosition2d(12)(x[:, class_tokens:].unflatten(1, (3, 3))).flatten(1, 2)
    assert torch.equal(block(x)[:, :class_tokens], x[:, :class_tokens])
    assert torch.equal(block(x)[:, class_tokens:], expected)


def test_sinusoidal_positions_of_a_grid_equal_transformers():
    mae = pytest.importorskip("transformers.models.vit_mae.modeling_vit_mae")
    build = getattr(mae, "build_2d_sinusoidal_position_embedding", None)
    if build is None:
        pytest.skip("this transformers has no such function")
    ours = SinusoidalPosition2d(24, class_tokens=1, first="row")(torch.zeros(1, 50, 24))[0]
    torch.testing.assert_close(ours, build(7, 7, 24, cls_token=True), atol=1e-6, rtol=0)


# --------------------------------------------------------------------------------------------------
# rotary


def test_rotary_equals_a_product_of_complex_numbers():
    half = 5
    q, k = torch.randn(2, B, H, N, 2 * half, dtype=torch.double)
    place = torch.arange(N)[:, None] * 10000 ** (-torch.arange(half, dtype=torch.double) / half)
    turn = torch.polar(torch.ones_like(place), place)
    for turned, plain in zip(Rotary(2 * half)(q, k), (q, k), strict=True):
        expected = torch.complex(plain[..., :half], plain[..., half:]) * turn
        torch.testing.assert_close(
            turned, torch.cat((expected.real, expected.imag), -1), atol=1e-12, rtol=0
        )


@settings(max_examples=20, deadline=None)
@given(i=st.integers(0, 40), j=st.integers(0, 40), shift=st.integers(0, 40))
def test_rotary_products_know_the_distance_only(i, j, shift):
    q, k = (torch.randn(1, 1, 1, 10, dtype=torch.double).expand(-1, -1, 81, -1) for _ in range(2))
    q, k = Rotary(10)(q, k)
    here, there = q[0, 0, i] @ k[0, 0, j], q[0, 0, i + shift] @ k[0, 0, j + shift]
    torch.testing.assert_close(here, there, atol=1e-12, rtol=0)


def test_rotary_equals_transformers():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = llama.LlamaConfig(
        hidden_size=30, num_attention_heads=3, num_key_value_heads=1, head_dim=10
    )
    q, k = torch.randn(B, H, N, 10), torch.randn(B, 1, N, 10)
    cosine, sine = llama.LlamaRotaryEmbedding(config)(q, torch.arange(N)[None])
    for ours, theirs in zip(
        Rotary(10)(q, k), llama.apply_rotary_pos_emb(q, k, cosine, sine), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_rotary_gives_an_attention_its_order():
    x, order = torch.randn(B, N, 30), torch.arange(N).flip(0)
    plain, rotary = (
        SelfAttention(30, heads=H),
        SelfAttention(30, heads=H, kv_heads=1, rotary=Rotary(10)),
    )
    torch.testing.assert_close(plain(x[:, order]), plain(x)[:, order], atol=1e-6, rtol=0)
    assert not torch.allclose(rotary(x[:, order]), rotary(x)[:, order], atol=1e-3)


# --------------------------------------------------------------------------------------------------
# score biases


@pytest.mark.parametrize(
    ("heads", "powers"),
    [
        (8, [1, 2, 3, 4, 5, 6, 7, 8]),  # the paper: 1/2, 1/4, ..., 1/256
        (16, [i / 2 for i in range(1, 17)]),  # the paper: 1/sqrt(2), 1/2, ...
        (1, [8]),
        (12, [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5]),
    ],
)
def test_alibi_slopes_equal_the_paper(heads, powers):
    bias = ALiBi(heads)(5, 5)
    assert bias.shape == (heads, 5, 5)
    slopes = torch.tensor([2.0**-power for power in powers])
    torch.testing.assert_close(bias[:, 4, 3], -slopes, atol=1e-6, rtol=0)
    torch.testing.assert_close(bias[:, 4, 0], -4 * slopes, atol=1e-6, rtol=0)
    torch.testing.assert_close(bias, bias.mT, atol=0, rtol=0)


def plain_bucket(distance, buckets, max_distance, bidirectional):
    """T5's bucket of key minus query, one distance at a time."""
    start = 0
    if bidirectional:
        buckets //= 2
        start = buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    exact = buckets // 2
    if distance < exact:
        return start + distance
    ratio = math.log(distance / exact) / math.log(max_distance / exact)
    return start + min(exact + int(ratio * (buckets - exact) + 1e-6), buckets - 1)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (4, 5), (8, 20)])
def test_relative_bias_equals_t5s_buckets(buckets, max_distance, bidirectional):
    block = RelativeBias(H, buckets=buckets, max_distance=max_distance, bidirectional=bidirectional)
    rows = [
        [plain_bucket(k - q, buckets, max_distance, bidirectional) for k in range(151)]
        for q in range(151)
    ]
    expected = block.table[torch.tensor(rows)].permute(2, 0, 1)
    assert torch.equal(block(151, 151), expected)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_bias_equals_transformers(bidirectional):
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5")
    block = RelativeBias(H, bidirectional=bidirectional)
    distance = torch.arange(-999, 1000)
    theirs = t5.T5Attention._relative_position_bucket(distance, bidirectional, 32, 128)
    assert torch.equal(block.bucket(distance), theirs)


@pytest.mark.parametrize("make", [ALiBi, RelativeBias])
def test_the_last_queries_stand_at_the_last_keys(make):
    block = make(H)
    assert torch.equal(block(3, 11), block(11, 11)[:, -3:])


@pytest.mark.parametrize("make", [ALiBi, RelativeBias])
def test_a_score_bias_fits_an_attention(make):
    block = SelfAttention(30, heads=H, causal=True, position_bias=make(H))
    x = torch.randn(B, N, 30)
    changed = torch.cat((x[:, :-1], torch.randn(B, 1, 30)), dim=1)
    torch.testing.assert_close(block(x)[:, :-1], block(changed)[:, :-1], atol=1e-6, rtol=0)


def test_the_table_of_a_relative_bias_learns():
    block = RelativeBias(H, buckets=8, max_distance=20).double()
    weight = torch.randn(H, 11, 11, dtype=torch.double)

    def total(table):
        return (torch.func.functional_call(block, {"table": table}, (11, 11)) * weight).sum()

    assert torch.autograd.gradcheck(total, block.table.detach().clone().requires_grad_())


# --------------------------------------------------------------------------------------------------
# all, and errors


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: LearnedPosition(N, 12), (17, N, 12)),
        (lambda: LearnedPosition2d(3, N, 12), (17, 3, N, 12)),
        (lambda: SinusoidalPosition(12), (17, N, 12)),
        (lambda: SinusoidalPosition2d(12, class_tokens=3), (17, N, 12)),
        (lambda: SinusoidalPosition2d(12), (17, 3, N, 12)),
    ],
)
def test_builds_and_runs_on_meta(make, shape):
    with torch.device("meta"):
        out = make()(torch.randn(shape))
    assert out.is_meta
    assert out.shape == shape


def test_parts_build_and_run_on_meta():
    with torch.device("meta"):
        for bias in (ALiBi(H), RelativeBias(H)):
            assert bias(3, 11).is_meta
            out = SelfAttention(30, heads=H, rotary=Rotary(10), position_bias=bias)(
                torch.randn(17, N, 30)
            )
            assert out.shape == (17, N, 30)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: LearnedPosition(N, 5, length=3),
            "length must be at least tokens; got length=3, tokens=7; fits: length=7 or more",
        ),
        (
            lambda: LearnedPosition(N, 5)(torch.zeros(B, 11, 5)),
            "more tokens than learned positions; got 11 tokens, 7 positions; fix: length=11 or "
            "more when it is built",
        ),
        (
            lambda: LearnedPosition2d(3, 7, 5)(torch.zeros(B, 7, 3, 5)),
            "learned positions know one grid only; got 7 x 3, built for 3 x 7; fix: "
            "SinusoidalPosition2d fits any grid",
        ),
        (lambda: SinusoidalPosition(7), "dim must be a multiple of 2; got dim=7; fits: e.g. dim=8"),
        (
            lambda: SinusoidalPosition2d(10),
            "dim must be a multiple of 4; got dim=10; fits: e.g. dim=8",
        ),
        (
            lambda: SinusoidalPosition2d(12, class_tokens=1)(torch.zeros(B, 9, 12)),
            "tokens without class tokens must be a square; got tokens=9, class_tokens=1; fits: "
            "5 or 10 tokens; "
            "fix: keep the grid (batch, height, width, dim), if it is no square",
        ),
        (
            lambda: SinusoidalPosition2d(12, class_tokens=1)(torch.zeros(B, 3, 3, 12)),
            "a grid has no class tokens; got class_tokens=1; fits: class_tokens=0",
        ),
        (
            lambda: Rotary(5),
            "head_dim must be a multiple of 2; got head_dim=5; fits: e.g. head_dim=4",
        ),
        (lambda: ALiBi(0), "heads must be positive; got heads=0; fits: heads=1 or more"),
        (
            lambda: RelativeBias(H, buckets=6),
            "buckets must be a multiple of 4; got buckets=6; fits: e.g. buckets=8",
        ),
        (
            lambda: RelativeBias(H, max_distance=8),
            "max_distance must exceed the exact buckets; got max_distance=8, 8 exact buckets; "
            "fits: max_distance=9 or more",
        ),
    ],
)
def test_mistakes_are_told_with_a_fix(make, text):
    with pytest.raises(BlockError) as told:
        make()
    assert str(told.value) == text


# --------------------------------------------------------------------------------------------------
# rotary: parts of a head, pairs, slower frequencies, grids


def by_pairs(x, angles, pairs):
    """Each pair turned by a 2x2 matrix, one after another."""
    turned = x.clone()
    for token in range(x.shape[-2]):
        for number, (a, b) in enumerate(pairs):
            angle = angles[token][number]
            first, second = x[..., token, a], x[..., token, b]
            turned[..., token, a] = first * math.cos(angle) - second * math.sin(angle)
            turned[..., token, b] = second * math.cos(angle) + first * math.sin(angle)
    return turned


@pytest.mark.parametrize("dims", [8, 4])
@pytest.mark.parametrize("interleaved", [False, True])
def test_some_components_are_turned_in_pairs(dims, interleaved):
    block = Rotary(8, dims=dims, interleaved=interleaved)
    q, k = torch.randn(2, B, H, N, 8, dtype=torch.float64)
    half = dims // 2
    pairs = [(2 * i, 2 * i + 1) if interleaved else (i, i + half) for i in range(half)]
    angles = [[t / 10000 ** (2 * i / dims) for i in range(half)] for t in range(N)]
    for found, x in zip(block(q, k), (q, k), strict=True):
        torch.testing.assert_close(found, by_pairs(x, angles, pairs), atol=1e-12, rtol=0)


FREQUENCIES = [500.0 ** (-i / 8) for i in range(8)]


def ramp(value, low, high):
    return min(max((value - low) / (high - low), 0.0), 1.0)


def interpolated(i, frequency):
    return frequency / 4


def ntk(i, frequency):
    return (500.0 * 4 ** (16 / 14)) ** (-i / 8)


def by_turns(i, frequency):
    kept = ramp(frequency * 100 / (2 * math.pi), 1.0, 4.0)
    return frequency * (kept + (1 - kept) / 4)


def place(turns):
    """The component whose frequency turns so often in 100 tokens."""
    return 16 * math.log(100 / (turns * 2 * math.pi)) / (2 * math.log(500.0))


def yarn(i, frequency):
    divided = ramp(i, place(4.0), place(1.0))
    return frequency * (1 - divided + divided / 4)


def yarn_whole(i, frequency):
    divided = ramp(i, math.floor(place(4.0)), math.ceil(place(1.0)))
    return frequency * (1 - divided + divided / 4)


@pytest.mark.parametrize(
    ("block", "formula", "amplitude"),
    [
        (PositionInterpolation(factor=4.0), interpolated, 1.0),
        (NTKScaling(factor=4.0), ntk, 1.0),
        (LlamaScaling(factor=4.0, trained=100), by_turns, 1.0),
        (YaRN(factor=4.0, trained=100, high=4.0, whole=False), yarn, 0.1 * math.log(4) + 1),
        (YaRN(factor=4.0, trained=100, high=4.0, amplitude=2.0), yarn_whole, 2.0),
    ],
)
def test_frequencies_are_divided_as_the_formula_says(block, formula, amplitude):
    found, factor = block(torch.tensor(FREQUENCIES, dtype=torch.float64))
    wanted = [formula(i, frequency) for i, frequency in enumerate(FREQUENCIES)]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), atol=0, rtol=1e-9)
    assert factor == amplitude
    q = torch.randn(1, 1, N, 16, dtype=torch.float64)
    lengths = Rotary(16, base=500.0, scaling=block)(q, q)[0].norm(dim=-1) / q.norm(dim=-1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, amplitude))


def test_rows_and_columns_turn_and_class_tokens_do_not():
    block = Rotary2d(8, class_tokens=2)
    q, k = torch.randn(2, B, H, 2 + 9, 8, dtype=torch.float64)
    steps = [2 * math.pi / 100 ** (i / 2) for i in range(2)]
    angles = [[0.0] * 4] * 2
    for row in range(3):
        for column in range(3):
            places = [(place + 0.5) / 3 * 2 - 1 for place in (row, column)]
            angles = [*angles, [place * step for place in places for step in steps]]
    pairs = [(i, i + 4) for i in range(4)]
    for found, x in zip(block(q, k), (q, k), strict=True):
        torch.testing.assert_close(found, by_pairs(x, angles, pairs), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Rotary(8, dims=10), "dims must not exceed head_dim"),
        (lambda: Rotary(8, dims=3), "dims must be a multiple of 2"),
        (lambda: Rotary2d(6), "head_dim must be a multiple of 4"),
        (lambda: Rotary2d(8, class_tokens=-1), "class_tokens must not be negative"),
        (lambda: Rotary2d(8)(*torch.randn(2, 1, 1, 5, 8)), "must be a square"),
        (lambda: NTKScaling(factor=0.5), "factor must be 1 or more"),
        (lambda: YaRN(factor=2.0, trained=8, low=4.0, high=2.0), "low must be positive"),
        (lambda: YaRN(factor=2.0, trained=8)(torch.ones(1)), "needs two frequencies"),
        (lambda: LlamaScaling(factor=2.0, trained=0), "trained must be positive"),
    ],
)
def test_wrong_rotary_arguments_are_told(make, problem):
    with pytest.raises(BlockError, match=problem):
        make()
