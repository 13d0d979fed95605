import math

import pytest
import torch
from torch import nn

from blocks.embedding import ClassToken, LearnedTokens, PatchEmbedding, TokenEmbedding
from blocks.errors import BlockError

B, C, D, N = 2, 3, 5, 7


def test_a_patch_is_projected_as_a_vector():
    patches = PatchEmbedding(C, D, size=(4, 3))
    image = torch.randn(B, C, 8, 15)
    pieces = image.reshape(B, C, 2, 4, 5, 3).permute(0, 2, 4, 1, 3, 5).reshape(B, 10, C * 4 * 3)
    expected = pieces @ patches.project.weight.flatten(1).T + patches.project.bias
    assert torch.allclose(patches(image), expected, atol=1e-6)


def test_a_grid_is_the_row_of_tokens_folded():
    row, grid = PatchEmbedding(C, D, size=3), PatchEmbedding(C, D, size=3, layout="grid")
    grid.load_state_dict(row.state_dict())
    image = torch.randn(B, C, 6, 15)
    assert grid(image).shape == (B, 2, 5, D)
    assert torch.equal(grid(image).flatten(1, 2), row(image))


def test_patches_without_bias_have_none():
    assert PatchEmbedding(C, D, size=2, bias=False).project.bias is None


@pytest.mark.parametrize(
    ("height", "width", "message"),
    [
        (
            8,
            13,
            "patches must tile the width of the image; got size=4, width=13; fits: width=12 or 16",
        ),
        (3, 8, "patches must tile the height of the image; got size=4, height=3; fits: height=4"),
    ],
)
def test_an_image_that_patches_do_not_tile_is_told_with_sizes_that_fit(height, width, message):
    with pytest.raises(BlockError) as error:
        PatchEmbedding(C, D, size=4)(torch.randn(B, C, height, width))
    assert str(error.value) == message


def test_an_unknown_layout_is_told():
    with pytest.raises(BlockError) as error:
        PatchEmbedding(C, D, size=4, layout="rows")
    assert str(error.value) == "layout is not known; got layout=rows; fits: layout in tokens, grid"


def test_a_patch_of_no_size_is_told():
    with pytest.raises(BlockError) as error:
        PatchEmbedding(C, D, size=0)
    assert str(error.value) == "size must be positive; got size=0; fits: size=1 or more"


@pytest.mark.parametrize("count", [1, 2])
def test_class_tokens_stand_first_and_change_nothing_else(count):
    block, x = ClassToken(D, count), torch.randn(B, N, D)
    y = block(x)
    assert torch.equal(y[:, count:], x)
    assert torch.equal(y[:, :count], block.token.expand(B, count, D))


def test_no_class_token_is_told():
    with pytest.raises(BlockError) as error:
        ClassToken(D, 0)
    assert str(error.value) == "count must be positive; got count=0; fits: count=1 or more"


@pytest.mark.parametrize("scale", [False, True])
def test_an_id_is_its_row(scale):
    block, ids = TokenEmbedding(11, D, scale=scale), torch.randint(11, (B, N))
    expected = (
        nn.functional.one_hot(ids, 11).float() @ block.weight * (math.sqrt(D) if scale else 1)
    )
    assert torch.allclose(block(ids), expected, atol=1e-6)


def test_what_leaves_a_scaled_embedding_has_deviation_one():
    assert abs(TokenEmbedding(997, 64, scale=True)(torch.arange(997)[None]).std() - 1) < 0.02


def test_padding_is_zero_and_stays_so():
    block = TokenEmbedding(11, D, padding=3)
    y = block(torch.tensor([[3, 4, 3]]))
    y.sum().backward()
    assert not y[0, 0].any()
    assert not block.weight.grad[3].any()
    assert block.weight.grad[4].all()


def test_the_weight_can_be_tied_to_a_projection():
    block, head = TokenEmbedding(11, D), nn.Linear(D, 11, bias=False)
    head.weight = block.weight
    head(block(torch.tensor([[1, 2]]))).sum().backward()
    assert head.weight is block.weight
    assert block.weight.grad.all()


def test_padding_outside_the_vocabulary_is_told():
    with pytest.raises(BlockError) as error:
        TokenEmbedding(11, D, padding=11)
    message = (
        "padding must be an id of the vocabulary; got padding=11, vocab=11; fits: padding in 0..10"
    )
    assert str(error.value) == message


@pytest.mark.parametrize("like", [torch.randn(B, N), torch.ones(B, 1, 2, 3, dtype=torch.long)])
def test_learned_tokens_take_nothing_but_the_batch_size(like):
    block = LearnedTokens(N, D)
    assert torch.equal(block(like), block.token[None].expand(B, N, D))
    block(like).sum().backward()
    assert torch.equal(block.token.grad, torch.full((N, D), float(B)))


@pytest.mark.parametrize("block", [ClassToken(64, 101), LearnedTokens(101, 64)])
def test_learned_tokens_start_with_deviation_002(block):
    assert abs(block.token.std() - 0.02) < 0.001


@pytest.mark.parametrize("layout", ["tokens", "grid"])
def test_gradients_of_patches(layout):
    block = PatchEmbedding(2, 3, size=2, layout=layout).double()
    assert torch.autograd.gradcheck(
        block, torch.randn(1, 2, 4, 6, dtype=torch.double, requires_grad=True)
    )


def test_everything_is_made_and_runs_on_meta():
    with torch.device("meta"):
        assert PatchEmbedding(C, D, size=2)(torch.empty(B, C, 4, 6)).shape == (B, 6, D)
        assert ClassToken(D)(torch.empty(B, N, D)).shape == (B, N + 1, D)
        assert TokenEmbedding(11, D, padding=0)(torch.empty(B, N, dtype=torch.long)).shape == (
            B,
            N,
            D,
        )
        assert LearnedTokens(N, D)(torch.empty(B)).shape == (B, N, D)


def test_exported_patches_take_another_batch_size():
    block = PatchEmbedding(C, D, size=3).eval()
    program = torch.export.export(
        block, (torch.randn(B, C, 6, 9),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    image = torch.randn(5, C, 6, 9)
    assert torch.equal(program.module()(image), block(image))
