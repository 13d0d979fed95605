import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from blocks.attention import CrossAttention, LinearAttention, SelfAttention
from blocks.attention.additive import AdditiveAttention
from blocks.attention.dot_product import attend
from blocks.errors import BlockError
from blocks.position.rotary import Rotary

B, N, H, K = 2, 7, 3, 5  # batch, tokens, heads, width of a head: every axis its own prime
M, C = 11, 13  # tokens and width of the context
DIM = H * K


class Toward(nn.Module):
    """A learned position bias."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(H, N, N))

    def forward(self, queries, keys):
        return self.table[:, :queries, :keys]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def twin(attention):
    """torch.nn.MultiheadAttention with the same weights."""
    other = nn.MultiheadAttention(DIM, H, batch_first=True)
    other.load_state_dict(
        {
            "in_proj_weight": attention.qkv.weight,
            "in_proj_bias": attention.qkv.bias,
            "out_proj.weight": attention.project.weight,
            "out_proj.bias": attention.project.bias,
        }
    )
    return other


def scrambled(block):
    """All weights random, so that nothing that starts at zero hides."""
    for weight in block.parameters():
        nn.init.normal_(weight, std=0.5)
    return block


SELF = {
    "full": lambda: SelfAttention(DIM, heads=H),
    "causal": lambda: SelfAttention(DIM, heads=H, causal=True),
    "multi-query": lambda: SelfAttention(DIM, heads=H, kv_heads=1),
    "biased": lambda: SelfAttention(DIM, heads=H, position_bias=Toward()),
    "visible": lambda: SelfAttention(DIM, heads=H, causal=True, return_weights=True),
    "linear": lambda: LinearAttention(DIM, heads=H),
    "linear causal": lambda: LinearAttention(DIM, heads=H, causal=True, chunk=3),
}
CROSS = {
    "cross": lambda: CrossAttention(DIM, C, heads=H),
    "cross visible": lambda: CrossAttention(DIM, C, heads=H, return_weights=True),
    "additive": lambda: scrambled(AdditiveAttention(DIM, C, hidden=17)),
}
each_self = pytest.mark.parametrize("make", SELF.values(), ids=SELF)
each_cross = pytest.mark.parametrize("make", CROSS.values(), ids=CROSS)


def tokens(out):
    return out[0] if isinstance(out, tuple) else out


# --------------------------------------------------------------------------------------------------
# parity


@pytest.mark.parametrize("return_weights", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", ["none", "causal", "boolean", "added"])
def test_equals_torch(kind, padded, return_weights):
    ours = SelfAttention(DIM, heads=H, causal=kind == "causal", return_weights=return_weights)
    x = torch.randn(B, N, DIM)
    padding_mask = torch.arange(N) < torch.tensor([[5], [7]]) if padded else None
    mask = {"boolean": torch.rand(N, N) < 0.5, "added": torch.randn(N, N)}.get(kind)
    if kind == "boolean":
        mask[:, 0] = True  # torch gives NaN to a row without keys
    unseen = {
        "boolean": lambda: ~mask,
        "added": lambda: mask,
        "causal": lambda: torch.ones(N, N).triu(1).bool(),
    }
    ignored = None if not padded else ~padding_mask
    if kind == "added" and padded:
        ignored = torch.zeros(B, N).masked_fill(~padding_mask, -torch.inf)
    expected, weights = twin(ours)(
        x,
        x,
        x,
        key_padding_mask=ignored,
        attn_mask=unseen[kind]() if kind in unseen else None,
        average_attn_weights=False,
    )
    out = ours(x, padding_mask=padding_mask, mask=mask)
    if return_weights:
        out, seen = out
        torch.testing.assert_close(seen, weights, atol=1e-6, rtol=0)
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("return_weights", [False, True])
def test_cross_attention_equals_torch(return_weights):
    ours = CrossAttention(DIM, C, heads=H, return_weights=return_weights)
    other = nn.MultiheadAttention(DIM, H, kdim=C, vdim=C, batch_first=True)
    k, v = ours.kv.weight.chunk(2)
    other.load_state_dict(
        {
            "q_proj_weight": ours.q.weight,
            "k_proj_weight": k,
            "v_proj_weight": v,
            "in_proj_bias": torch.cat((ours.q.bias, ours.kv.bias)),
            "out_proj.weight": ours.project.weight,
            "out_proj.bias": ours.project.bias,
        }
    )
    x, context = torch.randn(B, N, DIM), torch.randn(B, M, C)
    padding_mask = torch.arange(M) < torch.tensor([[4], [11]])
    mask = torch.rand(N, M) < 0.7
    mask[:, 0] = True
    expected, weights = other(
        x,
        context,
        context,
        key_padding_mask=~padding_mask,
        attn_mask=~mask,
        average_attn_weights=False,
    )
    out = ours(x, context, padding_mask, mask)
    if return_weights:
        torch.testing.assert_close(out[1], weights, atol=1e-6, rtol=0)
    torch.testing.assert_close(tokens(out), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kv_heads", [1, 2, 3, 6])
@pytest.mark.parametrize("return_weights", [False, True])
def test_grouped_heads_are_full_heads_with_shared_weights(kv_heads, return_weights):
    heads, dim = 6, 6 * K
    grouped = SelfAttention(dim, heads=heads, kv_heads=kv_heads, return_weights=return_weights)
    full = SelfAttention(dim, heads=heads)
    full.project.load_state_dict(grouped.project.state_dict())
    for name in ("weight", "bias"):
        rows = getattr(grouped.qkv, name).detach().unflatten(0, (-1, K))
        q, k, v = rows.split([heads, kv_heads, kv_heads])
        k, v = (part.repeat_interleave(heads // kv_heads, dim=0) for part in (k, v))
        getattr(full.qkv, name).data = torch.cat((q, k, v)).flatten(0, 1)
    x = torch.randn(B, N, dim)
    torch.testing.assert_close(tokens(grouped(x)), full(x), atol=1e-6, rtol=0)


def test_position_bias_is_an_added_mask():
    biased = SelfAttention(DIM, heads=H, causal=True, position_bias=Toward())
    plain = SelfAttention(DIM, heads=H, causal=True)
    plain.load_state_dict(
        {k: v for k, v in biased.state_dict().items() if k != "position_bias.table"}
    )
    x, mask = torch.randn(B, N, DIM), torch.randn(B, 1, N, N)
    expected = plain(x, mask=mask + biased.position_bias(N, N))
    torch.testing.assert_close(biased(x, mask=mask), expected, atol=1e-6, rtol=0)


def test_rotary_is_handed_queries_and_keys():
    class Swap(nn.Module):
        def forward(self, q, k):
            assert q.shape == k.shape == (B, H, N, K)
            return k, q

    swapped, plain = SelfAttention(DIM, heads=H, rotary=Swap()), SelfAttention(DIM, heads=H)
    q, k, v = swapped.qkv.weight.chunk(3)
    bq, bk, bv = swapped.qkv.bias.chunk(3)
    plain.load_state_dict(
        swapped.state_dict()
        | {"qkv.weight": torch.cat((k, q, v)), "qkv.bias": torch.cat((bk, bq, bv))}
    )
    x = torch.randn(B, N, DIM)
    torch.testing.assert_close(swapped(x), plain(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("chunk", [1, 3, 7, 64])
@pytest.mark.parametrize("causal", [False, True])
def test_linear_attention_equals_its_formula(causal, chunk):
    ours = LinearAttention(DIM, heads=H, causal=causal, chunk=chunk)
    x = torch.randn(B, N, DIM)
    padding_mask = torch.arange(N) < torch.tensor([[5], [7]])
    q, k, v = (part.unflatten(-1, (H, K)).transpose(1, 2) for part in ours.qkv(x).chunk(3, dim=-1))
    weights = (
        (nn.functional.elu(q) + 1) @ (nn.functional.elu(k) + 1).mT * padding_mask[:, None, None]
    )
    weights = weights.tril() if causal else weights
    weights = weights / weights.sum(-1, keepdim=True)
    expected = ours.project((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(ours(x, padding_mask), expected, atol=1e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 3, 64])
@pytest.mark.parametrize("causal", [False, True])
def test_linear_attention_turns_its_numerator_alone(causal, chunk):
    """Equation 19 of Su et al. 2021, a pair at a time."""
    options = {"causal": causal, "chunk": chunk, "project_bias": False}
    rotary = Rotary(6)
    block = LinearAttention(18, heads=3, rotary=rotary, **options).double()
    x = torch.randn(B, N, 18, dtype=torch.float64)
    q, k, v = block.qkv(x).view(B, N, 3, 3, 6).permute(2, 0, 3, 1, 4)
    q, k = nn.functional.elu(q) + 1, nn.functional.elu(k) + 1
    q_turned, k_turned = rotary(q, k)
    read = torch.zeros_like(v)
    for i in range(N):
        keys = range(i + 1) if causal else range(N)
        above = sum(
            (q_turned[:, :, i] * k_turned[:, :, j]).sum(-1, True) * v[:, :, j] for j in keys
        )
        read[:, :, i] = above / sum((q[:, :, i] * k[:, :, j]).sum(-1, True) for j in keys)
    wanted = block.project(read.transpose(1, 2).flatten(2))
    torch.testing.assert_close(block(x), wanted, rtol=0, atol=1e-12)


def test_additive_attention_equals_its_formula():
    ours = scrambled(AdditiveAttention(DIM, C, hidden=17, return_weights=True))
    x, context = torch.randn(B, N, DIM), torch.randn(B, M, C)
    expected = torch.empty(B, N, C)
    for b in range(B):
        for i in range(N):
            energy = torch.stack(
                [
                    ours.score.weight[0]
                    @ torch.tanh(ours.query.weight @ x[b, i] + ours.key.weight @ context[b, j])
                    for j in range(M)
                ]
            )
            expected[b, i] = energy.softmax(0) @ context[b]
    out, weights = ours(x, context)
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(weights[:, 0] @ context, expected, atol=1e-6, rtol=0)


def test_additive_attention_starts_uniform():
    x, context = torch.randn(B, N, DIM), torch.randn(B, M, C)
    out = AdditiveAttention(DIM, C, hidden=17)(x, context)
    torch.testing.assert_close(
        out, context.mean(1, keepdim=True).expand(B, N, C), atol=1e-6, rtol=0
    )


def test_the_last_queries_stand_at_the_last_keys():
    q, k, v = torch.randn(3, B, H, N, K)
    whole, _ = attend(q, k, v, causal=True)
    part, _ = attend(q[:, :, -3:], k, v, causal=True)
    torch.testing.assert_close(part, whole[:, :, -3:], atol=1e-6, rtol=0)


# --------------------------------------------------------------------------------------------------
# invariants


@each_self
def test_a_grid_is_its_tokens_in_row_major_order(make):
    block = make()
    x, padding_mask = torch.randn(B, N, 1, DIM), torch.arange(N).expand(B, N) < 5
    on_grid, on_tokens = block(x, padding_mask[:, :, None]), block(x.flatten(1, 2), padding_mask)
    torch.testing.assert_close(tokens(on_grid).flatten(1, 2), tokens(on_tokens), atol=0, rtol=0)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", ["causal", "visible", "linear causal", "additive"])
@settings(max_examples=10, deadline=None)
@given(at=st.integers(1, N - 1))
def test_a_causal_token_ignores_the_future(name, padded, at):
    block = (
        scrambled(AdditiveAttention(DIM, DIM, hidden=17, causal=True))
        if name == "additive"
        else SELF[name]()
    )
    x = torch.randn(B, N, DIM)
    changed = x.clone()
    changed[:, at:] = torch.randn(B, N - at, DIM)
    padding_mask = torch.ones(B, N, dtype=torch.bool) if padded else None
    inputs = (lambda y: (y, y)) if name == "additive" else (lambda y: (y,))
    before, after = (tokens(block(*inputs(y), padding_mask)) for y in (x, changed))
    torch.testing.assert_close(before[:, :at], after[:, :at], atol=1e-6, rtol=0)
    assert (before[:, at:] - after[:, at:]).abs().amax() > 1e-3


@each_self
@settings(max_examples=10, deadline=None)
@given(real=st.integers(1, N - 1))
def test_padding_changes_nothing(make, real):
    block = make()
    x = torch.randn(B, N, DIM)
    padding_mask = (torch.arange(N) < real).expand(B, N)
    out = tokens(block(x, padding_mask))
    torch.testing.assert_close(out[:, :real], tokens(block(x[:, :real])), atol=1e-6, rtol=0)


@each_cross
@settings(max_examples=10, deadline=None)
@given(real=st.integers(1, M - 1))
def test_padding_of_the_context_changes_nothing(make, real):
    block = make()
    x, context = torch.randn(B, N, DIM), torch.randn(B, M, C)
    out = tokens(block(x, context, (torch.arange(M) < real).expand(B, M)))
    torch.testing.assert_close(out, tokens(block(x, context[:, :real])), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["full", "multi-query", "linear"])
@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(N)))
def test_without_positions_a_permutation_passes_through(name, order):
    block, x = SELF[name](), torch.randn(B, N, DIM)
    torch.testing.assert_close(block(x[:, order]), block(x)[:, order], atol=1e-6, rtol=0)


@pytest.mark.parametrize("make", [*SELF.values(), *CROSS.values()], ids=[*SELF, *CROSS])
def test_nothing_to_look_at_is_finite_forward_and_backward(make):
    block = make()
    x = torch.randn(B, N, DIM, requires_grad=True)
    cross = isinstance(block, CrossAttention | AdditiveAttention)
    inputs = (x, torch.randn(B, M, C)) if cross else (x,)
    padding_mask = torch.ones(B, M if cross else N, dtype=torch.bool)
    padding_mask[0] = False
    out = block(*inputs, padding_mask=padding_mask)
    tokens(out).square().sum().backward()
    assert tokens(out).isfinite().all()
    assert x.grad.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in block.parameters())
    nothing = block.project.bias.expand(N, DIM) if hasattr(block, "project") else torch.zeros(N, C)
    torch.testing.assert_close(tokens(out)[0], nothing, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "name", ["full", "biased", "visible", "cross", "cross visible", "additive"]
)
def test_a_row_of_minus_infinity_is_finite_forward_and_backward(name):
    block = (SELF | CROSS)[name]()
    x = torch.randn(B, N, DIM, requires_grad=True)
    inputs = (x, torch.randn(B, M, C)) if name in CROSS else (x,)
    mask = torch.zeros(N, M if name in CROSS else N)
    mask[0] = -torch.inf
    out = tokens(block(*inputs, mask=mask))
    out.square().sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in block.parameters())


@pytest.mark.parametrize("make", [*SELF.values(), *CROSS.values()], ids=[*SELF, *CROSS])
def test_gradients_are_right(make):
    block = make().double()
    inputs = [torch.randn(B, N, DIM, dtype=torch.double, requires_grad=True)]
    if isinstance(block, CrossAttention | AdditiveAttention):
        inputs.append(torch.randn(B, M, C, dtype=torch.double, requires_grad=True))
    assert torch.autograd.gradcheck(lambda *given: tokens(block(*given)).sin().sum(), inputs)


def test_dropout_acts_in_training_only():
    for block in (
        SelfAttention(DIM, heads=H, dropout=0.9),
        SelfAttention(DIM, heads=H, projection_dropout=0.9),
    ):
        x = torch.randn(B, N, DIM)
        block.eval()
        calm = block(x)
        assert torch.equal(calm, block(x))
        block.train()
        assert not torch.allclose(calm, block(x))


def test_weights_are_those_before_dropout():
    block = SelfAttention(DIM, heads=H, dropout=0.9, return_weights=True)
    assert block.outputs == ("tokens", "weights")
    _, weights = block(torch.randn(B, N, DIM))
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, N), atol=1e-6, rtol=0)


@pytest.mark.parametrize("make", [*SELF.values(), *CROSS.values()], ids=[*SELF, *CROSS])
def test_builds_and_runs_on_meta(make):
    with torch.device("meta"):
        block = make()
        x, context = torch.randn(17, N, DIM), torch.randn(17, M, C)
        inputs = (x, context) if isinstance(block, CrossAttention | AdditiveAttention) else (x,)
        out = tokens(
            block(*inputs, padding_mask=torch.ones(inputs[-1].shape[:2], dtype=torch.bool))
        )
    assert out.is_meta
    assert out.shape == (17, N, C if isinstance(block, AdditiveAttention) else DIM)


# --------------------------------------------------------------------------------------------------
# errors


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: SelfAttention(192, heads=7),
            "heads must divide dim; got heads=7, dim=192; fits: heads in 1, 2, 3, 4, 6, 8, 12, "
            "16, ...",
        ),
        (
            lambda: CrossAttention(12, C, heads=6, kv_heads=4),
            "kv_heads must divide heads; got kv_heads=4, heads=6; fits: kv_heads in 1, 2, 3, 6",
        ),
        (
            lambda: LinearAttention(12, heads=3, chunk=0),
            "chunk must be positive; got chunk=0; fits: chunk=1 or more",
        ),
        (
            lambda: AdditiveAttention(12, C, hidden=17, dropout=1.0),
            "dropout must be in [0, 1); got dropout=1.0; fits: e.g. dropout=0.1",
        ),
        (
            lambda: SelfAttention(DIM, heads=H)(torch.randn(B, N, DIM), torch.ones(B, N)),
            "padding_mask must be boolean, True for a real token; got torch.float32; "
            "fix: padding_mask.bool(), if 1 is a real token",
        ),
        (
            lambda: SelfAttention(DIM, heads=H)(
                torch.randn(B, N, DIM), mask=torch.ones(B, N, N).bool()
            ),
            "a mask of three axes is (heads, queries, keys); got (2, 7, 7) for 3 heads; "
            "fix: mask[:, None] for one mask per sample",
        ),
        (
            lambda: LinearAttention(DIM, heads=H)(
                torch.randn(B, N, DIM), mask=torch.ones(N, N).bool()
            ),
            "LinearAttention never forms the weight of a pair and cannot mask it; got mask of "
            "shape (7, 7); "
            "fix: padding_mask for padding, causal=true for the future, SelfAttention for any "
            "other mask",
        ),
    ],
)
def test_mistakes_are_told_with_a_fix(make, text):
    with pytest.raises(BlockError) as told:
        make()
    assert str(told.value) == text
