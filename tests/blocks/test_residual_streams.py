"""Hyper-connections: the formula of the paper, token by token in float64, and in whole models."""

import math

import pytest
import torch
from torch import nn

from blocks.combine import ReadStreams, WriteStreams
from blocks.errors import BlockError
from blocks.graph import build

B, N, S, D = 2, 5, 3, 7  # batch, tokens, streams, width
FACTS = {"tokens": {"tokens": 11, "dtype": "int", "vocab": 23}, "vocab": 23}
IMAGE = {"image": [3, 8, 8], "classes": 5}


def made(**options) -> ReadStreams:
    torch.manual_seed(0)
    block = ReadStreams(S, D, **options).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.7)
    return block


def one_by_one(block, x, branch):
    """Algorithm 2 of the paper for one token: x is (streams, dim)."""
    mix, add = block.mix.clone(), block.add.clone()
    if block.norm is not None:
        for i in range(S):
            mean, spread = x[i].mean(), x[i].var(unbiased=False)
            normed = (x[i] - mean) / math.sqrt(spread + 1e-5) * block.norm.weight + block.norm.bias
            mix[i] += block.scales[0] * torch.tanh(normed @ block.mix_by_token)
            add[i] += block.scales[1] * math.tanh(normed @ block.add_by_token)
    read = sum(mix[i, 0] * x[i] for i in range(S))
    rows = []
    for j in range(S):
        rows.append(sum(mix[i, 1 + j] * x[i] for i in range(S)) + add[j] * branch(read))
    return read, torch.stack(rows)


@torch.no_grad()
@pytest.mark.parametrize("dynamic", [True, False])
def test_streams_are_mixed_as_the_paper_says(dynamic):
    block, write = made(dynamic=dynamic), WriteStreams()
    branch = nn.Linear(D, D).double()
    x = torch.randn(B, N, S, D, dtype=torch.float64)
    read, streams, weights = block(x)
    out = write(branch(read), streams, weights)
    for b, n in ((b, n) for b in range(B) for n in range(N)):
        wanted_read, wanted = one_by_one(block, x[b, n], branch)
        torch.testing.assert_close(read[b, n], wanted_read, rtol=0, atol=1e-12)
        torch.testing.assert_close(out[b, n], wanted, rtol=0, atol=1e-12)


def test_a_stream_that_is_none_is_told():
    with pytest.raises(BlockError) as error:
        ReadStreams(S, D, start=3)
    assert str(error.value) == (
        "start must be one of the streams; got start=3, streams=3; fits: start in 0..2"
    )


@torch.no_grad()
@pytest.mark.parametrize("dynamic", ["true", "false"])
def test_a_model_begins_as_that_with_prenorm(dynamic):
    """Each stream is the one of prenorm; the last norm takes the factor of their sum away."""
    small = ["params.dim=16", "params.depth=3", "norm.epsilon=1e-14"]
    plain = build("gpt", small, FACTS).double().eval()
    changed = ["residual=hyper_connections", f"residual.params.dynamic={dynamic}"]
    wide = build("gpt", [*small, *changed], FACTS).double().eval()
    more = wide.load_state_dict(plain.state_dict(), strict=False)
    assert all(".read." in name for name in more.missing_keys)
    assert not more.unexpected_keys
    tokens = torch.randint(23, (B, 11))
    torch.testing.assert_close(wide(tokens), plain(tokens), rtol=0, atol=1e-10)


# Registers and patch dropout: parts of models -----------------------------------------------------

ORDERS = [
    ["+registers=learned", "+patch_dropout=uniform"],
    ["+patch_dropout=uniform", "+registers=learned"],
]


@torch.no_grad()
@pytest.mark.parametrize("parts", ORDERS)
def test_registers_are_read_by_attention_and_by_no_head(parts):
    model = build("vit", ["params.dim=16", "params.depth=1", "params.registers=3", *parts], IMAGE)
    seen = {}
    for name in ("drop_patches", "layers", "no_register"):
        module = model.get_submodule(name)
        module.register_forward_hook(
            lambda _, inputs, output, name=name: seen.update({name: (inputs[0], output)})
        )
    image = torch.randn(B, 3, 8, 8)
    before = model.eval()(image)["logits"]
    assert seen["layers"][0].shape == (B, 3 + 1 + 16, 16)
    torch.testing.assert_close(seen["layers"][0][:, :3], model.register.token.expand(B, 3, 16))
    torch.testing.assert_close(seen["no_register"][1], seen["layers"][1][:, 3:])
    nn.init.normal_(model.register.token)
    assert not torch.allclose(model(image)["logits"], before, atol=1e-3)
    model.train()(image)
    came, (stays, kept, _) = seen["drop_patches"]
    leading = came.shape[1] - 16
    assert kept.shape == (B, 8)
    torch.testing.assert_close(stays[:, :leading], came[:, :leading])
    for row in range(B):
        torch.testing.assert_close(stays[row, leading:], came[row, leading + kept[row]])
