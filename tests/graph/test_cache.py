"""What decoding keeps for each token, beside the published sizes."""

import json

import pytest
import torch

from blocks.__main__ import main
from blocks.attention import SelfAttention
from blocks.graph import compose, plan
from blocks.graph.describe.answers.cache import describe_cache, measure_cache
from blocks.support.decode_cache import DecodeCache

# model -> numbers of one layer for each token, layers
PUBLISHED = {
    # compressed keys and values, and a turned key: DeepSeek-AI 2024, arXiv:2412.19437, 2.1.1
    "deepseek_v3": (512 + 64, 61),
    # keys and values of 8 of 32 heads, 64 wide: config.json of Llama-3.2-1B
    "llama32_1b": (2 * 8 * 64, 16),
    # 8 of 16 heads, 128 wide: Yang et al. 2025, arXiv:2505.09388, table 1
    "qwen3_600m": (2 * 8 * 128, 28),
    "gpt2": (2 * 768, 12),
}
SLOW = {"deepseek_v3", "qwen3_600m", "gpt2"}


def parameters(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


def caches_of(model, *words):
    return measure_cache(plan(compose([f"model={model}", *words])))


@pytest.mark.parametrize("model", parameters(PUBLISHED))
def test_caches_have_their_published_sizes(model):
    numbers, layers = PUBLISHED[model]
    found = describe_cache(caches_of(model))
    assert (found["token"], found["window"], found["state"]) == (numbers * layers, 0, 0)
    sizes = {block["token"] for block in found["blocks"] if block["token"]}
    assert sizes == {numbers}


def test_sliding_windows_bound_the_cache():
    """Half the layers of Gemma 2 see 4,096 tokens, the one at hand among them: Gemma Team 2024,
    arXiv:2408.00118, section 2.
    """
    found = [kept for kept in caches_of("gemma2_2b") if kept.token]
    assert {kept.token for kept in found} == {2 * 4 * 256}
    windows = [kept.window for kept in found]
    assert windows[:2] == [4095, 8191]
    assert windows == 13 * windows[:2]


def test_a_recurrence_keeps_as_much_for_any_text():
    """The state of Mamba, 16 numbers a channel, and the last 3 inputs of its convolution: Gu and
    Dao 2024, arXiv:2312.00752, section 3.4.
    """
    found = describe_cache(caches_of("mamba_130m"))
    assert (found["token"], found["window"]) == (0, 0)
    assert found["state"] == 24 * 1536 * (16 + 3)


def test_storage_of_a_window_does_not_grow():
    torch.manual_seed(0)
    attention = SelfAttention(24, heads=4, causal=True, window=4).eval()
    x, cache = torch.randn(3, 40, 24), DecodeCache(1000)
    pieces = []
    with torch.no_grad():
        for start, end in [(0, 9), (9, 11), *((place, place + 1) for place in range(11, 40))]:
            pieces.append(attention.step(cache, x[:, start:end]))
            cache.seen = end
            for storage, axis in cache.grown.values():
                assert storage.shape[axis] == 6
        torch.testing.assert_close(torch.cat(pieces, 1), attention(x), atol=1e-6, rtol=0)


def test_the_command_prints_them(capsys):
    words = ["model=llama32_1b", "model.params.depth=2", "--cache", "--no-server"]
    assert main(["explain", *words]) == 0
    assert (
        capsys.readouterr().out
        == """\
node                         numbers a token  of the last  whatever the length
------------------------------------------------------------------------------
layers.*.attention.inner x2            1,024
------------------------------------------------------------------------------
2,048 numbers for each token of a text
"""
    )
    assert main(["explain", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["token"] == 2048
    assert main(["explain", "model=vit", "--cache", "--no-server"]) == 2
    assert capsys.readouterr().err.endswith(
        """\
the command line: --cache
  this model is not decoded token by token, so that it keeps nothing
  got       inputs image
  fits      an input tokens or target
"""
    )
