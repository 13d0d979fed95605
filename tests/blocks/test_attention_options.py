"""Windows, caps, norms and sinks of self-attention, against the formula pair by pair in float64."""

import math

import pytest
import torch
from torch import nn

from blocks.attention import CrossAttention, FirstValues, SelfAttention, dot_product
from blocks.attention.dot_product import attend
from blocks.errors import BlockError
from blocks.norm import QKNorm
from blocks.position.rotary import Rotary
from blocks.support.decode_cache import DecodeCache
from tests.graph.test_divide import sliced

B, N, H, K = 2, 7, 4, 6  # batch, tokens, heads, width of a head
DIM = H * K
REAL = torch.arange(N) < torch.tensor([[N], [4]])
PARTS = {
    "window": {"window": 3},
    "window of one": {"window": 1},
    "window beyond all": {"window": N},
    "cap": {"soft_cap": 1.5},
    "sinks": {"sinks": torch.tensor([-1.0, 0.0, 0.5, 2.0], dtype=torch.float64)},
}
PARTS["all"] = PARTS["window"] | PARTS["cap"] | PARTS["sinks"]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def heads(queries: int = N) -> tuple[torch.Tensor, ...]:
    q = torch.randn(B, H, queries, K, dtype=torch.float64)
    k, v = torch.randn(2, B, H // 2, N, K, dtype=torch.float64)
    return q, k, v


def one_by_one(q, k, v, *, causal=False, real=None, window=None, soft_cap=None, sinks=None):
    """The formula, a pair at a time."""
    out = torch.zeros_like(q)
    shift = k.shape[2] - q.shape[2]
    for b, h, i in ((b, h, i) for b in range(B) for h in range(H) for i in range(q.shape[2])):
        weights = {}
        for j in range(k.shape[2]):
            away = i + shift - j
            if (causal and away < 0) or (window is not None and abs(away) >= window):
                continue
            if real is not None and not real[b, j]:
                continue
            score = float(q[b, h, i] @ k[b, h // 2, j]) / math.sqrt(K)
            if soft_cap is not None:
                score = soft_cap * math.tanh(score / soft_cap)
            weights[j] = math.exp(score)
        whole = sum(weights.values())
        if sinks is not None:
            whole += math.exp(float(sinks[h]))
        for j, weight in weights.items():
            out[b, h, i] += weight / whole * v[b, h // 2, j]
    return out


@pytest.mark.parametrize("parts", [{}, {"soft_cap": 1.5}, {"sinks": PARTS["sinks"]["sinks"]}])
@pytest.mark.parametrize("real", [None, torch.arange(263) >= torch.tensor([[0], [140]])])
def test_bands_of_a_window_equal_all_pairs_with_a_mask(parts, real, monkeypatch):
    """A mask of nothing keeps the pairs together. 140 tokens of padding are more than two bands."""
    monkeypatch.setattr(dot_product, "BANDED_AND_FUSED", dot_product.BANDED)
    given = [torch.randn(B, h, 263, K, dtype=torch.float64).requires_grad_() for h in (H, 2, 2)]
    named = {"causal": True, "window": 29, "grouped": True, "padding_mask": real, **parts}
    found, wanted = (
        attend(*given, **named, mask=mask)[0] for mask in (None, torch.ones(1, 1).bool())
    )
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    gradients = (torch.autograd.grad(out.sin().sum(), given) for out in (found, wanted))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("cap", "tokens", "window", "cut"),
    [
        (None, 511, 8, False),
        (None, 512, 65, False),
        (None, 512, 64, True),
        (2.0, 255, 8, False),  # not by the fused kernel
        (2.0, 256, 65, False),
        (2.0, 256, 64, True),
    ],
)
def test_a_window_is_cut_into_bands_where_that_is_faster(cap, tokens, window, cut, monkeypatch):
    calls = []

    def cut_bands(*given):
        calls.append(given)
        return real_cut(*given)

    real_cut = dot_product.cut_bands
    monkeypatch.setattr(dot_product, "cut_bands", cut_bands)
    q = torch.randn(1, 1, tokens, 4)
    attend(q, q, q, causal=True, window=window, soft_cap=cap)
    assert bool(calls) == cut


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", PARTS)
def test_attention_is_the_formula(name, causal, weights):
    for queries, real in ((N, None), (N, REAL), (2, REAL)):
        q, k, v = heads(queries)
        wanted = one_by_one(q, k, v, causal=causal, real=real, **PARTS[name])
        found, seen = attend(
            q, k, v, causal=causal, padding_mask=real, grouped=True, weights=weights, **PARTS[name]
        )
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
        if weights:
            assert seen.shape == (B, H, queries, N)
            torch.testing.assert_close(seen @ v.repeat_interleave(2, 1), wanted, rtol=0, atol=1e-12)


def test_a_bias_is_added_after_the_cap():
    q, k, v = heads()
    bias = torch.randn(H, N, N, dtype=torch.float64)
    scores = q @ k.repeat_interleave(2, 1).transpose(2, 3) / math.sqrt(K)
    wanted = (2 * torch.tanh(scores / 2) + bias).softmax(-1) @ v.repeat_interleave(2, 1)
    found, _ = attend(q, k, v, bias=bias, soft_cap=2.0, grouped=True)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_queries_and_keys_are_normalised_before_they_are_turned():
    norm = QKNorm(K)
    nn.init.uniform_(norm.q.weight, 0.5, 2)
    nn.init.uniform_(norm.k.weight, 0.5, 2)
    block = SelfAttention(DIM, heads=H, qk_norm=norm, rotary=Rotary(K))
    x = torch.randn(B, N, DIM)
    q, k, _ = block.project_heads(x)
    plain = block.qkv(x).view(B, N, 3, H, K).permute(2, 0, 3, 1, 4)
    sizes = plain.square().mean(-1, keepdim=True) + 1e-6
    q_wanted, k_wanted = block.rotary(
        plain[0] / sizes[0].sqrt() * norm.q.weight, plain[1] / sizes[1].sqrt() * norm.k.weight
    )
    torch.testing.assert_close(q, q_wanted)
    torch.testing.assert_close(k, k_wanted)


def test_gradients_of_all_options_are_those_of_differences():
    block = SelfAttention(
        4, heads=2, causal=True, window=2, soft_cap=1.0, sinks=True, qk_norm=QKNorm(2), gate="head"
    ).double()
    x = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in block.named_parameters()]
    assert "sinks" in names

    def run(x, *values):
        return torch.func.functional_call(block, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (x, *block.parameters()))


def test_a_fused_sink_learns_as_one_step_by_step():
    fused = SelfAttention(DIM, heads=H, causal=True, sinks=True).double()
    seen = SelfAttention(DIM, heads=H, causal=True, sinks=True, return_weights=True).double()
    seen.load_state_dict(fused.state_dict())
    x = torch.randn(B, N, DIM, dtype=torch.float64)
    fused(x).square().sum().backward()
    seen(x)[0].square().sum().backward()
    assert fused.sinks.grad.abs().min() > 0
    for ours, theirs in zip(fused.parameters(), seen.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window must be positive; got window=0"),
        ({"soft_cap": 0.0}, "soft_cap must be positive; got soft_cap=0.0"),
    ],
)
def test_what_is_not_positive_is_told(options, message):
    with pytest.raises(BlockError) as error:
        SelfAttention(DIM, heads=H, **options)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"sinks": True}, "sinks=true"),
        ({"qk_norm": QKNorm(K)}, "qk_norm=QKNorm"),
        ({"value_residual": True}, "value_residual=true"),
    ],
)
def test_what_needs_all_heads_is_not_divided(options, got):
    with pytest.raises(BlockError, match=got):
        SelfAttention(DIM, heads=H, **options).division(2)


@pytest.mark.parametrize("kind", [SelfAttention, CrossAttention])
def test_a_scale_stands_in_for_the_root_of_the_width(kind):
    """A factor of the scores is the same factor of the rows of q."""
    sizes = (DIM, DIM) if kind is CrossAttention else (DIM,)
    plain, scaled = (kind(*sizes, heads=H, **more).double() for more in ({}, {"scale": 1.0}))
    scaled.load_state_dict(plain.state_dict())
    rows = scaled.qkv if kind is SelfAttention else scaled.q
    with torch.no_grad():
        rows.weight[:DIM] *= K**-0.5
        rows.bias[:DIM] *= K**-0.5
    inputs = torch.randn(len(sizes), B, N, DIM, dtype=torch.float64)
    torch.testing.assert_close(scaled(*inputs), plain(*inputs), atol=1e-12, rtol=0)


def test_queries_and_keys_may_be_narrower_than_values():
    block = CrossAttention(DIM, 11, heads=H, kv_heads=2, head_dim=3).double()
    x, context = (torch.randn(B, N, dim, dtype=torch.float64) for dim in (DIM, 11))
    q = block.q(x).unflatten(-1, (H, 3)).transpose(1, 2)
    kv = block.kv(context)
    k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in kv.split([6, 2 * K], dim=-1))
    k, v = (part.repeat_interleave(H // 2, 1) for part in (k, v))
    seen = (q @ k.transpose(2, 3) / 3**0.5).softmax(-1)
    wanted = block.project((seen @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(block(x, context), wanted, atol=1e-12, rtol=0)
    memory = DecodeCache(limit=N)
    torch.testing.assert_close(block.step(memory, x[:, :2], context), wanted[:, :2])


@pytest.mark.parametrize("kind", [SelfAttention, CrossAttention])
def test_keys_without_a_bias_are_keys_with_a_bias_of_zero(kind):
    sizes = (DIM, DIM) if kind is CrossAttention else (DIM,)
    block = kind(*sizes, heads=H, kv_heads=2, key_bias=False).double()
    whole = kind(*sizes, heads=H, kv_heads=2).double()
    for name, value in block.named_parameters():
        nn.init.normal_(value)
        if not name.endswith(("q_bias", "v_bias")):
            whole.get_parameter(name).data.copy_(value)
    keys = torch.zeros_like(block.v_bias)
    parts = (keys, block.v_bias) if kind is CrossAttention else (block.q_bias, keys, block.v_bias)
    fused = whole.kv if kind is CrossAttention else whole.qkv
    fused.bias.data.copy_(torch.cat(parts))
    inputs = torch.randn(len(sizes), B, N, DIM, dtype=torch.float64)
    torch.testing.assert_close(block(*inputs), whole(*inputs), atol=1e-12, rtol=0)
    assert kind(*sizes, heads=H, bias=False, key_bias=False).state_dict().keys() == (
        kind(*sizes, heads=H, bias=False).state_dict().keys()
    )


@pytest.mark.parametrize("kind", ["head", "element"])
def test_a_gate_multiplies_what_each_head_read(kind):
    """Sigmoids of x, a number for each head or for each component, before the projection."""
    block = SelfAttention(DIM, heads=H, causal=True, gate=kind, rotary=Rotary(K)).double()
    plain = SelfAttention(DIM, heads=H, causal=True, rotary=Rotary(K)).double()
    plain.load_state_dict({n: v for n, v in block.state_dict().items() if "gate" not in n})
    plain.project = nn.Identity()
    x = torch.randn(B, N, DIM, dtype=torch.float64)
    read, wide = plain(x), block.gate(x)
    for i, h in ((i, h) for i in range(N) for h in range(H)):
        numbers = wide[:, i, h, None] if kind == "head" else wide[:, i, h * K : (h + 1) * K]
        read[:, i, h * K : (h + 1) * K] /= 1 + torch.exp(-numbers)
    torch.testing.assert_close(block(x), block.project(read), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["head", "element"])
def test_shares_of_gated_heads_add_up_to_the_whole(kind):
    block = SelfAttention(DIM, heads=H, kv_heads=2, gate=kind).double()
    x = torch.randn(B, N, DIM, dtype=torch.float64)
    total = sum(sliced(block, device, 2)(x) for device in range(2))
    torch.testing.assert_close(total, block(x), rtol=0, atol=1e-12)


def test_values_are_mixed_with_those_of_the_first_layer():
    """Equal to attention whose values are the mixture, whatever they were."""
    block = SelfAttention(DIM, heads=H, kv_heads=2, bias=False, value_residual=True).double()
    assert block.value_mix.tolist() == [0.5, 0.5]
    first = FirstValues(DIM, 2 * K).double()
    nn.init.normal_(block.value_mix)
    nn.init.normal_(first.norm.weight)
    x, stem = torch.randn(2, B, N, DIM, dtype=torch.float64)
    same, values = first(stem)
    assert same is stem
    size = (stem.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    wanted = (stem / size * first.norm.weight) @ first.value.weight.T
    torch.testing.assert_close(values, wanted, rtol=0, atol=1e-12)
    q, k, v = block.qkv(x).split([DIM, 2 * K, 2 * K], dim=-1)
    v = block.value_mix[0] * values + block.value_mix[1] * v
    q, k, v = (part.unflatten(-1, (-1, K)).transpose(1, 2) for part in (q, k, v))
    read = one_by_one(q.detach(), k.detach(), v.detach(), causal=False, real=REAL)
    wanted = block.project(read.transpose(1, 2).flatten(2))
    torch.testing.assert_close(block(x, REAL, first_values=values), wanted, rtol=0, atol=1e-12)
    with pytest.raises(BlockError, match="belong together; got value_residual alone"):
        block(x)
