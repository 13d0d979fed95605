import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.combine import (
    Add,
    ChannelScale,
    Concat,
    DropPath,
    Gain,
    LayerScale,
    Multiply,
    Part,
    ReZero,
)
from blocks.errors import BlockError
from blocks.rearrange import Rearrange

B, N, D = 2, 7, 15


def draw(*shape):
    return torch.randn(shape)


@pytest.mark.parametrize(("block", "combine"), [(Add(), torch.add), (Multiply(), torch.mul)])
def test_inputs_are_combined_one_after_the_other(block, combine):
    a, b, c = draw(B, N, D), draw(B, N, D), draw(B, N, D)
    assert torch.equal(block(a, b, c), combine(combine(a, b), c))
    assert torch.equal(block(a), a)


def test_an_axis_of_size_one_is_stretched():
    a, b = draw(B, N, D), draw(B, 1, D)
    assert torch.equal(Multiply()(b, a), a * b)


@pytest.mark.parametrize(
    ("block", "a", "b", "message"),
    [
        (
            Add(),
            (2, 7, 15),
            (2, 5, 15),
            "shapes to add must agree; got input 1 (2, 7, 15), input 2 (2, 5, 15); "
            "fits: as many axes, on each the same size or 1",
        ),
        (
            Multiply(),
            (7, 7, 15),
            (7, 15),
            "shapes to multiply must agree; got input 1 (7, 7, 15), input 2 (7, 15); "
            "fits: as many axes, on each the same size or 1",
        ),
    ],
)
def test_shapes_that_do_not_agree_are_told_even_where_torch_would_line_them_up(
    block, a, b, message
):
    with pytest.raises(BlockError) as error:
        block(draw(*a), draw(*b))
    assert str(error.value) == message


def test_a_third_input_that_does_not_fit_is_named_as_the_third():
    with pytest.raises(BlockError, match=r"input 3 \(2, 5\)"):
        Add()(draw(2, 3), draw(2, 3), draw(2, 5))


def test_a_third_input_that_fits_the_first_but_not_the_second_is_told():
    with pytest.raises(BlockError, match=r"inputs 1 to 2 \(2, 3\), input 3 \(2, 5\)"):
        Add()(draw(2, 1), draw(2, 3), draw(2, 5))


def test_nothing_to_add_is_told():
    with pytest.raises(BlockError) as error:
        Add()()
    assert (
        str(error.value) == "there must be something to add; got no input; fits: one input or more"
    )


@pytest.mark.parametrize("axis", [-1, 1, 0])
def test_concat_is_undone_by_split(axis):
    a, b, c = draw(B, N, D), draw(B, N, D), draw(B, N, D)
    parts = Concat(axis)(a, b, c).chunk(3, dim=axis)
    assert all(torch.equal(part, each) for part, each in zip(parts, (a, b, c), strict=True))


def test_concat_takes_ids_and_other_sizes_on_its_axis():
    y = Concat(1)(torch.ones(B, 3, dtype=torch.long), torch.zeros(B, 5, dtype=torch.long))
    assert y.tolist() == [[1] * 3 + [0] * 5] * B


def test_concat_of_other_shapes_is_told():
    with pytest.raises(BlockError) as error:
        Concat()(draw(2, 7, 15), draw(2, 5, 15))
    message = (
        "shapes to concatenate must agree on every axis but -1; got input 1 (2, 7, 15), "
        "input 2 (2, 5, 15)"
    )
    assert str(error.value) == message


@pytest.mark.parametrize("block", [Concat(2), Part(0, 2, axis=2)])
def test_an_axis_that_is_not_there_is_told(block):
    with pytest.raises(BlockError) as error:
        block(draw(2, 6))
    assert str(error.value) == "there is no such axis; got axis=2, 2 axes; fits: axis in -2..1"


@pytest.mark.parametrize("axis", [-1, 0])
def test_parts_put_together_are_the_whole(axis):
    x = draw(6, 15)
    assert torch.equal(Concat(axis)(*(Part(index, 3, axis=axis)(x) for index in range(3))), x)


def test_a_part_that_is_not_there_is_told():
    with pytest.raises(BlockError) as error:
        Part(2, 2)
    assert str(error.value) == "there is no such part; got index=2, of=2; fits: index in 0..1"


def test_an_axis_that_does_not_divide_is_told():
    with pytest.raises(BlockError) as error:
        Part(0, 2)(draw(B, 15))
    assert (
        str(error.value) == "of must divide axis -1; got of=2, axis -1=15; fits: of in 1, 3, 5, 15"
    )


def test_a_gain_multiplies():
    x = draw(B, N)
    assert torch.equal(Gain(2.5)(x), 2.5 * x)


@pytest.mark.parametrize(
    ("block", "view"),
    [(LayerScale(D, 0.5), (1, 1, D)), (ChannelScale(N, 0.5), (1, N, 1)), (ReZero(0.5), (1, 1, 1))],
)
def test_a_learned_gain_starts_where_it_is_told_and_weighs_its_axis(block, view):
    x = draw(B, N, D)
    assert torch.equal(block(x), x * 0.5)
    torch.nn.init.normal_(block.gain)
    assert torch.equal(block(x), x * block.gain.view(view))


def test_rezero_starts_closed_but_learns():
    block, x = ReZero(), draw(B, N)
    block(x).sum().backward()
    assert not block(x).any()
    assert torch.allclose(block.gain.grad, x.sum())


def test_drop_path_zeroes_whole_examples_and_scales_the_others():
    torch.manual_seed(0)
    x = torch.ones(4001, 3, 2)
    y = DropPath(0.3)(x)
    kept = y[:, 0, 0] != 0
    assert torch.equal(y, x * kept[:, None, None] / 0.7)
    assert abs(kept.float().mean() - 0.7) < 0.02


def test_drop_path_does_nothing_in_evaluation_or_at_rate_zero():
    x = draw(B, N)
    assert DropPath(0.5).eval()(x) is x
    assert DropPath(0.0)(x) is x


@pytest.mark.parametrize("block", [DropPath(0.0), Gain(1.0), Part(0, 1)])
def test_a_block_that_does_nothing_says_so(block):
    x = draw(B, N)
    assert block.idle
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("block", [DropPath(0.1), Gain(2.0), Part(0, 2)])
def test_a_block_that_does_something_is_not_idle(block):
    assert not block.idle


@pytest.mark.parametrize("rate", [1.0, -0.1])
def test_a_rate_outside_zero_to_one_is_told(rate):
    with pytest.raises(BlockError) as error:
        DropPath(rate)
    assert str(error.value) == f"rate must be in [0, 1); got rate={rate}; fits: e.g. rate=0.1"


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 5), width=st.integers(1, 5))
def test_a_rearrangement_is_undone_by_its_inverse(height, width):
    x = draw(B, height * width, D)
    unfold = Rearrange("batch (height width) dim -> batch dim height width", {"height": height})
    fold = Rearrange("batch dim height width -> batch (height width) dim")
    assert torch.equal(fold(unfold(x)), x)
    assert torch.equal(unfold(x), x.view(B, height, width, D).permute(0, 3, 1, 2))


def test_a_bad_pattern_is_told_in_the_words_of_einops():
    with pytest.raises(BlockError) as error:
        Rearrange("batch tokens -> batch")
    assert str(error.value) == (
        "einops cannot read the pattern; got Error while preparing Rearrange('batch tokens -> "
        "batch') "
        "Identifiers only on one side of expression (should be on both): {'tokens'}"
    )


def test_an_input_that_does_not_match_is_told_in_the_words_of_einops():
    with pytest.raises(BlockError) as error:
        Rearrange("batch (a b) -> batch a b", {"a": 4})(draw(B, 7))
    assert str(error.value) == (
        "the input does not match the pattern; got Error while processing rearrange-reduction "
        "pattern "
        '"batch (a b) -> batch a b". Input tensor shape: torch.Size([2, 7]). Additional info: '
        "{'a': 4}. "
        "Shape mismatch, can't divide axis of length 7 in chunks of 4"
    )


@pytest.mark.parametrize(
    ("block", "count"),
    [
        (Add(), 2),
        (Multiply(), 2),
        (Concat(1), 2),
        (Part(1, 2), 1),
        (LayerScale(6, 0.5), 1),
        (ReZero(0.5), 1),
    ],
)
def test_gradients(block, count):
    inputs = [torch.randn(2, 3, 6, dtype=torch.double, requires_grad=True) for _ in range(count)]
    assert torch.autograd.gradcheck(copy.deepcopy(block).double(), inputs)


def test_everything_is_made_and_runs_on_meta():
    with torch.device("meta"):
        x = torch.empty(B, N, D)
        for block in (Add(), Multiply()):
            assert block(x, x[:, :1]).shape == (B, N, D)
        assert Concat(1)(x, x).shape == (B, 2 * N, D)
        assert Part(2, 5)(x).shape == (B, N, 3)
        assert Rearrange("b n (h d) -> b h n d", {"h": 5})(x).shape == (B, 5, N, 3)
        for block in (Gain(2.0), LayerScale(D), ChannelScale(N), ReZero(), DropPath(0.5)):
            assert block(x).shape == (B, N, D)


@pytest.mark.parametrize("block", [Add(), Concat(1), Rearrange("b n d -> b d n")])
def test_exported_blocks_take_another_batch_size(block):
    variadic = not isinstance(block, Rearrange)
    batch = {0: torch.export.Dim("batch")}
    shapes = ((batch, batch),) if variadic else (batch,)
    example = (draw(B, N, D), draw(B, N, D))
    program = torch.export.export(block, example[: 1 + variadic], dynamic_shapes=shapes)
    inputs = (draw(5, N, D), draw(5, N, D))[: 1 + variadic]
    assert torch.equal(program.module()(*inputs), block(*inputs))


@pytest.mark.parametrize("block", [Add(), DropPath(0.5), Rearrange("b n d -> b d n")])
def test_blocks_compile_whole(block):
    torch._dynamo.reset()
    torch.compile(block, fullgraph=True, backend="eager")(draw(B, N, D))
