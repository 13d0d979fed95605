"""The linear recurrence: three equal forms, the papers' formulas, padding, and other libraries."""

import math
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blocks.errors import BlockError
from blocks.graph import build
from blocks.recurrent import ConstantDecay, LinearRecurrence, StepDecay, recur
from blocks.support.decode_cache import DecodeCache
from tests.blocks.recurrences import KINDS, delta, gla, mamba2, retention, turned_retention

B, H, N, D, V = 2, 4, 37, 8, 5  # rows, heads, tokens, widths of keys and of values
DIM = 24


@pytest.fixture(autouse=True)
def _one_thread():
    """Blocks this small only wait for each other's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def draw(*, tokens=N, groups=H, channels=1, rule="add", strength=1.0):
    """Inputs of `recur` in float64; keys of length 1, as the delta rule wants them."""
    torch.manual_seed(0)
    kind = {"dtype": torch.float64}
    q = torch.randn(B, groups, tokens, D, **kind).requires_grad_()
    k = F.normalize(torch.randn(B, groups, tokens, D, **kind), dim=-1).requires_grad_()
    v = torch.randn(B, H, tokens, V, **kind).requires_grad_()
    decay = strength * F.logsigmoid(torch.randn(B, H, tokens, channels, **kind))
    named = {"state": torch.randn(B, H, D, V, **kind).requires_grad_()}
    if rule == "delta":
        named["strength"] = torch.rand(B, H, tokens, 1, **kind).requires_grad_()
    return (q, k, v, decay.requires_grad_()), named


def all_of(given, named, **form):
    """Outputs and gradients."""
    read, state = recur(*given, **named, **form)
    loss = read.sin().sum() + state.cos().sum()
    return read, state, *torch.autograd.grad(loss, (*given, *named.values()))


FORMS = [("chunked", 64), ("chunked", 16), ("chunked", 7), ("parallel", 64)]


@pytest.mark.parametrize("rule", ["add", "delta"])
@pytest.mark.parametrize("channels", [1, D])
@pytest.mark.parametrize("groups", [H, 2])
@pytest.mark.parametrize("strength", [1.0, 300.0])
def test_the_forms_are_equal_with_their_gradients(rule, channels, groups, strength):
    given, named = draw(groups=groups, channels=channels, rule=rule, strength=strength)
    wanted = all_of(given, named, form="steps")
    for form, chunk in FORMS:
        found = all_of(given, named, form=form, chunk=chunk)
        for mine, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rule", ["add", "delta"])
def test_without_gradients_the_values_are_the_same_and_inputs_stay(rule):
    given, named = draw(tokens=71, channels=D, rule=rule)
    wanted = recur(*given, **named)
    with torch.no_grad():
        values = [value.detach() for value in given]
        before = [value.clone() for value in values]
        found = recur(*values, **named)
    for mine, theirs in zip((*found, *values), (*wanted, *before), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", ["steps", "chunked", "parallel"])
@pytest.mark.parametrize(("channels", "rule"), [(1, "add"), (D, "add"), (1, "delta")])
def test_gradients_are_right(form, channels, rule):
    given, named = draw(tokens=5, channels=channels, rule=rule)
    tensors = (*given, *named.values())

    def run(*values):
        return recur(*values[:4], **dict(zip(named, values[4:], strict=True)), form=form, chunk=2)

    assert torch.autograd.gradcheck(run, tensors, fast_mode=True)


@pytest.mark.parametrize("rule", ["add", "delta"])
def test_heads_share_queries_and_keys_without_a_decay(rule):
    (q, k, v, _), named = draw(groups=2, rule=rule)
    wanted = recur(q, k, v, **named, form="steps")
    for mine, theirs in zip(recur(q, k, v, **named, chunk=7), wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_decays_that_leave_nothing_overflow_nowhere():
    """In float32, with e^-4000 from one end of a chunk to the other, and past the end of it."""
    given, named = draw(channels=D, strength=120.0)
    small = [value.detach().float().requires_grad_() for value in given]
    found = all_of(small, {"state": named["state"].detach().float().requires_grad_()})
    wanted = all_of(given, {"state": named["state"]}, form="steps")
    for mine, theirs in zip(found, wanted, strict=True):
        assert torch.isfinite(mine).all()
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-4)


def test_retention_is_the_formula_of_the_paper():
    """(Q Kᵀ ⊙ D) V with D_nm = γ^(n - m), equation 6, then GroupNorm, gate and projection."""
    block = retention(DIM, H).double()
    x = torch.randn(B, N, DIM, dtype=torch.float64)
    q, k, v = block.qkv(x).split(block.sizes(), dim=-1)
    heads = []
    places = torch.arange(N, dtype=torch.float64)
    for head in range(H):
        share = 1 - 2.0 ** (-5 - head)
        kept = torch.tril(share ** (places[:, None] - places))
        mine = [part.chunk(H, dim=-1)[head] for part in (q, k, v)]
        read = (mine[0] @ mine[1].transpose(1, 2) * kept / math.sqrt(DIM / H)) @ mine[2]
        heads.append(F.rms_norm(read, read.shape[-1:], eps=1e-5))
    gate = F.silu(block.gate.project(x))
    wanted = block.project(torch.cat(heads, dim=-1) * gate)
    torch.testing.assert_close(block(x), wanted, rtol=0, atol=1e-10)


def test_gla_is_the_formula_of_the_paper():
    """S_t = diag(α_t) S_{t-1} + k_tᵀ v_t, equation 3, with α of section 4.4."""
    block = gla(DIM, H).double()
    x = torch.randn(B, N, DIM, dtype=torch.float64)
    q, k, v = (part.unflatten(-1, (H, -1)) for part in block.qkv(x).split(block.sizes(), dim=-1))
    kept = torch.sigmoid(block.decay.up(block.decay.down(x))) ** (1 / 16)
    kept = kept.unflatten(-1, (H, -1))
    state, read = torch.zeros(B, H, k.shape[-1], v.shape[-1], dtype=torch.float64), []
    for i in range(N):
        state = kept[:, i, :, :, None] * state + k[:, i, :, :, None] * v[:, i, :, None, :]
        read.append(torch.einsum("bhd,bhdv->bhv", q[:, i] * k.shape[-1] ** -0.5, state))
    heads = torch.stack(read, dim=1)
    heads = F.rms_norm(heads, heads.shape[-1:], block.gate.weight, 1e-5).flatten(2)
    wanted = block.project(heads * F.silu(block.gate.project(x)))
    torch.testing.assert_close(block(x), wanted, rtol=0, atol=1e-10)


def test_the_delta_rule_returns_what_was_written():
    """With keys of length 1, strength 1 and no decay, the state answers a key with its value."""
    given, _ = draw()
    k, v = given[1].detach(), given[2].detach()
    read, _ = recur(k, k, v, strength=torch.ones(B, H, N, 1, dtype=torch.float64), chunk=8)
    torch.testing.assert_close(read, v, rtol=0, atol=1e-10)


def test_steps_of_time_start_as_they_are_asked():
    part = StepDecay(DIM, 997, shortest=0.01, longest=0.05, rates=(2.0, 3.0))
    step, rate = F.softplus(part.step_bias), part.log_rate.exp()
    assert 0.0099 < step.min() < 0.011
    assert 0.047 < step.max() < 0.051
    assert 2 <= rate.min() < 2.02
    assert 2.98 < rate.max() <= 3


@torch.no_grad()
@pytest.mark.parametrize("name", KINDS)
def test_padding_on_either_side_changes_nothing(name):
    torch.manual_seed(0)
    block = KINDS[name](DIM, H).double().eval()
    x = torch.randn(1, 11, DIM, dtype=torch.float64)
    alone = block(x)
    noise = torch.randn(1, 5, DIM, dtype=torch.float64)
    padded = torch.cat((noise, x, noise), dim=1)
    real = (torch.arange(21) >= 5) & (torch.arange(21) < 16)
    found = block(padded, padding_mask=real[None])[:, 5:16]
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", KINDS)
def test_the_state_has_one_size_however_many_tokens_came(name):
    block, memory = KINDS[name](DIM, H), DecodeCache(N)
    sizes = set()
    for tokens in (5, 1, 9):
        block.step(memory, torch.randn(B, tokens, DIM))
        sizes.add(sum(state.numel() for state in memory.states.values()))
        assert not memory.grown
    assert len(sizes) == 1


def test_turned_queries_and_keys_know_the_distance_only():
    torch.manual_seed(0)
    block = turned_retention(DIM, H).double()
    block.decay = None  # a state that forgets knows the distance anyway
    x = torch.randn(1, N, DIM, dtype=torch.float64)
    moved = torch.cat((torch.zeros(1, 6, DIM, dtype=torch.float64), x), dim=1)
    torch.testing.assert_close(block(moved)[:, 6:], block(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["retention", "gla", "mamba2", "delta"])
def test_a_grid_is_read_row_by_row(name):
    block = KINDS[name](DIM, H)
    x = torch.randn(B, 3, 5, DIM)
    torch.testing.assert_close(block(x), block(x.flatten(1, 2)).view(x.shape))


@pytest.mark.slow
def test_chunks_are_twenty_times_as_fast_as_steps():
    """At 1,024 tokens, forward and backward, on one thread: than the steps of the block, and than a
    `scan` of the graph that says the same.
    """
    width = 64
    part = {"block": "Part", "in": "x", "of": 3}
    body = {
        "q": {**part, "index": 0},
        "k": {**part, "index": 1},
        "v": {**part, "index": 2},
        "asked": {"block": "Rearrange", "in": "q", "pattern": "b d -> b 1 d"},
        "column": {"block": "Rearrange", "in": "k", "pattern": "b d -> b d 1"},
        "row": {"block": "Rearrange", "in": "v", "pattern": "b d -> b 1 d"},
        "written": {"block": "MatMul", "in": ["column", "row"]},
        "kept": {"block": "Gain", "in": "memory", "factor": 1 - 2**-5},
        "following": {"block": "Add", "in": ["kept", "written"]},
        "read": {"block": "MatMul", "in": ["asked", "following"]},
        "out": {"block": "Rearrange", "pattern": "b 1 d -> b d"},
    }
    graph = {
        "qkv": {"block": "Linear", "features": 3 * width, "bias": False},
        "recurrence": {
            "scan": {"axis": "tokens", "state": {"memory": [width, width]}},
            "body": body,
            "outputs": {"sequence": "out", "memory": "following"},
        },
        "project": {"block": "Linear", "features": width, "bias": False},
    }
    scan = build({"inputs": {"x": {"tokens": 1024, "dim": width}}, "graph": graph})
    x = torch.randn(1, 1024, width)
    made = {"scan": scan}
    for form in ("steps", "chunked"):
        block = LinearRecurrence(width, heads=1, scale=1.0, decay=ConstantDecay(1), form=form)
        block.load_state_dict(scan.state_dict())
        made[form] = block
        torch.testing.assert_close(block(x), scan(x), rtol=1e-4, atol=1e-4)
    seconds = {}
    for form, block in made.items():
        taken = []
        for _ in range(3):
            started = time.process_time()
            block(x).sum().backward()
            taken.append(time.process_time() - started)
        seconds[form] = min(taken)
    assert min(seconds["scan"], seconds["steps"]) > 20 * seconds["chunked"], seconds


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: LinearRecurrence(DIM, heads=H, causal=False),
            "a recurrence reads from the first token to the last; got causal=false; fits: "
            "causal=true; fix: model/attention=linear or full, to see all tokens",
        ),
        (
            lambda: LinearRecurrence(DIM, heads=7),
            "heads must divide dim; got heads=7, dim=24; fits: heads in 1, 2, 3, 4, 6, 8, 12, 24",
        ),
        (
            lambda: LinearRecurrence(DIM, heads=4, groups=3),
            "groups must divide heads; got groups=3, heads=4; fits: groups in 1, 2, 4",
        ),
        (
            lambda: LinearRecurrence(DIM, heads=4)(
                torch.zeros(1, 2, DIM), mask=torch.ones(2, 2).bool()
            ),
            "LinearRecurrence never forms the weight of a pair and cannot mask it; got mask of "
            "shape (2, 2); fix: padding_mask for padding, SelfAttention for any other mask",
        ),
        (
            lambda: StepDecay(DIM, 4, shortest=0.2),
            "the shortest step is above the longest; got shortest=0.2, longest=0.1; fits: "
            "shortest=0.1 or less",
        ),
        (
            lambda: StepDecay(DIM, 4, rates=(3.0, 1.0)),
            "rates are two positive numbers in order; got rates=(3.0, 1.0); fits: e.g. [1, 16]",
        ),
    ],
)
def test_what_does_not_fit_says_so(make, message):
    with pytest.raises(BlockError) as error:
        make()
    assert str(error.value) == message


# Other libraries ----------------------------------------------------------------------------------


@pytest.mark.slow
@torch.no_grad()
def test_mamba2_equals_transformers():
    hf = pytest.importorskip("transformers")
    mixer = pytest.importorskip("transformers.models.mamba2.modeling_mamba2").Mamba2Mixer
    config = hf.Mamba2Config(
        hidden_size=DIM,
        num_heads=H,
        head_dim=2 * DIM // H,
        state_size=7,
        n_groups=2,
        chunk_size=16,
        num_hidden_layers=1,
        vocab_size=53,
    )
    peer = mixer(config, 0).eval()
    for parameter in peer.parameters():
        nn.init.normal_(parameter, std=0.5)
    block = mamba2(DIM, H).eval()
    inner, keys = 2 * DIM, 2 * 7
    gate, values, k, q, steps = peer.in_proj.weight.split([inner, inner, keys, keys, H])
    block.gate.project.weight.copy_(gate)
    block.qkv.weight.copy_(torch.cat((q, k, values)))
    block.decay.project.weight.copy_(steps)
    for name in ("weight", "bias"):
        values, k, q = getattr(peer.conv1d, name).split([inner, keys, keys])
        getattr(block.conv, name).copy_(torch.cat((q, k, values)))
    block.decay.step_bias.copy_(peer.dt_bias)
    block.decay.log_rate.copy_(peer.A_log)
    block.skip.copy_(peer.D)
    block.gate.weight.copy_(peer.norm.weight)
    block.project.weight.copy_(peer.out_proj.weight)
    x = torch.randn(B, N, DIM)
    torch.testing.assert_close(block(x), peer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_gated_deltanet_equals_transformers():
    pytest.importorskip("transformers")
    name = "transformers.models.qwen3_next.modeling_qwen3_next"
    rule = pytest.importorskip(name).torch_recurrent_gated_delta_rule
    given, named = draw(rule="delta")
    q, k, v, decay = (value.detach().float() for value in given)
    strength = named["strength"].detach().float()
    turned = [part.transpose(1, 2) for part in (q, k, v)]
    wanted, _ = rule(
        *turned,
        g=decay[..., 0].transpose(1, 2),
        beta=strength[..., 0].transpose(1, 2),
        initial_state=None,
        output_final_state=False,
    )
    found, _ = recur(q * D**-0.5, k, v, decay, strength=strength, chunk=8)
    torch.testing.assert_close(found, wanted.transpose(1, 2), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_an_exported_recurrence_takes_any_batch():
    block = KINDS["gla"](DIM, H)
    batch = torch.export.Dim("batch")
    made = torch.export.export(block, (torch.randn(B, 17, DIM),), dynamic_shapes=({0: batch},))
    x = torch.randn(5, 17, DIM)
    torch.testing.assert_close(made.module()(x), block(x))


def test_a_constant_decay_has_no_parameters():
    assert not list(ConstantDecay(4).parameters())
    kept = ConstantDecay(3)(torch.zeros(1, 2, 5, dtype=torch.float64))[0].exp()
    wanted = torch.tensor([1 - 2.0**-5, 1 - 2.0**-6, 1 - 2.0**-7], dtype=torch.float64)
    torch.testing.assert_close(kept[0, :, 0, 0], wanted, rtol=0, atol=1e-12)
    assert delta(DIM, H).decay.write is False


@torch.no_grad()
@pytest.mark.parametrize("name", ["retention", "gla", "mamba2", "delta"])
def test_weights_in_bfloat16_keep_the_state_in_float32(name):
    torch.manual_seed(0)
    block, memory = KINDS[name](DIM, H).eval(), DecodeCache(N)
    x = torch.randn(B, N, DIM)
    whole = block(x)
    half, out = block.bfloat16(), []
    for begin, end in ((0, 30), *((place, place + 1) for place in range(30, N))):
        out.append(half.step(memory, x[:, begin:end].bfloat16()))
        memory.seen = end
    assert memory.states["state"].dtype == torch.float32
    assert (torch.cat(out, dim=1).float() - whole).abs().max() < 0.05 * whole.abs().max()
