"""Tokens that are hidden at random, and restored."""

import pytest
import torch

from blocks.errors import BlockError
from blocks.graph import build
from blocks.masking.tokens import RandomMask, RestoreTokens

BATCH, FRONT, PATCHES, DIM = 3, 2, 11, 5
FACTS = {"image": [2, 12, 12], "classes": 7}


def draw(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(BATCH, FRONT + PATCHES, DIM, generator=generator)
    return x, torch.rand(BATCH, PATCHES, generator=generator)


def test_the_tokens_with_the_least_noise_stay_in_their_order():
    x, noise = draw()
    visible, kept, mask = RandomMask(ratio=0.6, class_tokens=FRONT)(x, noise)
    count = int(PATCHES * 0.4)  # rounded down, as in the authors' code
    assert kept.shape == (BATCH, count)
    for row in range(BATCH):
        expected = sorted(noise[row].topk(count, largest=False).indices.tolist())
        assert kept[row].tolist() == expected
        assert mask[row].nonzero()[:, 0].tolist() == sorted(set(range(PATCHES)) - set(expected))
        torch.testing.assert_close(visible[row, :FRONT], x[row, :FRONT])
        places = FRONT + torch.tensor(expected)
        torch.testing.assert_close(visible[row, FRONT:], x[row, places])


@pytest.mark.parametrize("patches", [10, 20, 100])
def test_a_ratio_leaves_out_its_share_whatever_its_binary_form(patches):
    x, noise = torch.zeros(1, patches, DIM), torch.rand(1, patches)
    for tenth in range(10):
        mask = RandomMask(ratio=tenth / 10)(x, noise)[2]
        assert int(mask.sum()) == patches * tenth // 10


def test_without_noise_tokens_are_hidden_in_training_only():
    x, _ = draw()
    block = RandomMask(ratio=0.6, class_tokens=FRONT)
    torch.manual_seed(5)
    drawn = block(x)
    torch.manual_seed(5)
    noise = torch.rand(BATCH, PATCHES)
    for one, other in zip(drawn, block(x, noise), strict=True):
        assert torch.equal(one, other)
    visible, kept, mask = block.eval()(x)
    assert torch.equal(visible, x)
    assert kept.tolist() == [list(range(PATCHES))] * BATCH
    assert not mask.any()
    assert block(x, noise)[2].any()


def test_every_token_is_hidden_equally_often():
    torch.manual_seed(0)
    mask = RandomMask(ratio=0.75)(torch.zeros(4000, 16, 1))[2]
    share = mask.float().mean(0)
    assert (share - 0.75).abs().max() < 4 * (0.75 * 0.25 / 4000) ** 0.5


def test_restored_tokens_are_those_before_with_the_learned_one_between():
    x, noise = draw()
    visible, kept, mask = RandomMask(ratio=0.6, class_tokens=FRONT)(x, noise)
    restore = RestoreTokens(DIM, class_tokens=FRONT)
    hidden = torch.cat((torch.zeros(BATCH, FRONT, dtype=torch.bool), mask), 1)
    expected = torch.where(hidden[..., None], restore.token, x)
    found = restore(visible, kept, mask)
    assert torch.equal(found, expected)
    found.sum().backward()
    assert restore.token.grad.tolist() == [float(mask.sum())] * DIM


def test_restored_tokens_have_the_type_of_the_visible_ones():
    x, _ = draw()
    visible, kept, mask = RandomMask(ratio=0.6)(x.bfloat16(), torch.rand(BATCH, FRONT + PATCHES))
    assert RestoreTokens(DIM)(visible, kept, mask).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x, n: RandomMask(ratio=1.0), "ratio must be at least 0 and less than 1"),
        (lambda x, n: RandomMask(class_tokens=-1), "class_tokens must not be negative"),
        (lambda x, n: RandomMask(ratio=0.95, class_tokens=FRONT)(x, n), "no token stays"),
        (lambda x, n: RandomMask()(x, n), "the noise has a number for each token"),
        (
            lambda x, n: RestoreTokens(DIM)(x, torch.zeros(BATCH, 3, dtype=torch.long), n > 0.5),
            "the tokens are not those that were kept",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(BlockError, match=message):
        make(*draw())


# The masked autoencoder ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    overrides = ["params.dim=16", "params.depth=2", "params.patch=3", "params.decoder_dim=12"]
    overrides.append("params.decoder_heads=2")
    return build("mae", overrides=overrides, facts=FACTS).eval()


def test_the_pixels_of_hidden_patches_change_neither_embedding_nor_reconstruction(model):
    image, noise = torch.randn(3, 2, 12, 12), torch.rand(3, 16)
    before = model(image=image, noise=noise)
    grid = before["mask"].reshape(3, 4, 4)
    hidden = grid.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, None]
    other = torch.where(hidden, torch.randn(image.shape), image)
    after = model(image=other, noise=noise)
    for name in ("embedding", "reconstruction"):
        assert torch.equal(before[name], after[name])
    seen = model(image=torch.where(hidden, image, 0), noise=noise)
    assert not torch.allclose(before["reconstruction"], seen["reconstruction"])


def test_the_target_has_the_pixels_of_each_patch(model):
    image = torch.randn(2, 2, 12, 12)
    target = model(image=image)["target"].reshape(2, 4, 4, 3, 3, 2)
    for row in range(4):
        for column in range(4):
            patch = image[:, :, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
            torch.testing.assert_close(target[:, row, column], patch.permute(0, 2, 3, 1))


def test_the_encoder_is_the_vit_of_the_same_weights(model):
    overrides = ["params.dim=16", "params.depth=2", "params.patch=3"]
    overrides += ["~graph.head", "outputs.logits=pool"]
    vit = build("vit", overrides=overrides, facts=FACTS).eval()
    names = vit.state_dict().keys()
    vit.load_state_dict({name: model.state_dict()[name] for name in names})
    image = torch.randn(3, 2, 12, 12)
    assert torch.equal(vit(image=image)["logits"], model(image=image)["embedding"])


def test_any_vit_with_a_class_token_becomes_a_masked_autoencoder():
    facts = {"image": [3, 48, 32], "classes": 7}
    overrides = ["+pretext=mae", "params.dim=64", "params.depth=1"]
    model = build("vit_ti16", overrides=overrides, facts=facts, device="meta")
    found = model(image=torch.empty(2, 3, 48, 32, device="meta"))
    assert found["reconstruction"].shape == found["target"].shape == (2, 6, 768)
