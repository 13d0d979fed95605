import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from blocks.errors import BlockError
from blocks.mixture import MixtureOfExperts

B, N, D, H, E = 2, 7, 5, 3, 11
ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "swiglu": F.silu, "geglu": F.gelu}


def loop(block, x):
    """Token after token, expert after expert."""
    y = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for n in range(x.shape[1]):
            chances = (block.router.weight @ x[b, n]).softmax(dim=0)
            chosen = chances.argsort(descending=True)[: block.top].tolist()
            total = sum(chances[e] for e in chosen) if block.top > 1 else 1.0
            for e in chosen:
                inner = x[b, n] @ block.up_weight[e] + (
                    0 if block.up_bias is None else block.up_bias[e]
                )
                act = ACTIVATIONS[block.activation]
                inner = (
                    act(inner[:H]) * inner[H:] if block.activation.endswith("glu") else act(inner)
                )
                outer = inner @ block.down_weight[e] + (
                    0 if block.down_bias is None else block.down_bias[e]
                )
                y[b, n] = y[b, n] + chances[e] / total * outer
    return y


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_equals_a_loop_over_tokens_and_experts(activation, bias):
    block, x = (
        MixtureOfExperts(D, experts=E, hidden=H, activation=activation, bias=bias),
        torch.randn(B, N, D),
    )
    assert torch.allclose(block(x), loop(block, x), atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(
    experts=st.integers(1, 5),
    top=st.integers(1, 5),
    tokens=st.integers(1, 13),
    seed=st.integers(0, 99),
)
def test_equals_the_loop_however_the_tokens_fall(experts, top, tokens, seed):
    torch.manual_seed(seed)
    block, x = (
        MixtureOfExperts(D, experts=experts, top=min(top, experts), hidden=H),
        torch.randn(1, tokens, D),
    )
    nn.init.normal_(
        block.router.weight, std=(1 + seed) / 10
    )  # the larger, the more unequal the experts' shares
    assert torch.allclose(block(x), loop(block, x), atol=1e-6)


@pytest.mark.parametrize("top", [1, 2])
def test_all_tokens_at_one_expert_are_all_answered(top):
    block, x = MixtureOfExperts(D, experts=E, top=top, hidden=H), torch.rand(B, N, D)
    with torch.no_grad():
        block.router.weight *= 0.01  # not zero: equal chances leave the second open
        block.router.weight[3] = 9.0
    assert torch.allclose(block(x), loop(block, x), atol=1e-6)


def test_gradients_are_those_of_the_loop():
    block, x = (
        MixtureOfExperts(D, experts=E, hidden=H, bias=True, activation="swiglu"),
        torch.randn(B, N, D),
    )
    x.requires_grad_()
    inputs = [x, *block.parameters()]
    mine = torch.autograd.grad(block(x).square().sum(), inputs)
    theirs = torch.autograd.grad(loop(block, x).square().sum(), inputs)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(mine, theirs, strict=True))


def test_one_expert_is_an_mlp():
    block, x = MixtureOfExperts(D, experts=1, top=1, hidden=H), torch.randn(B, N, D)
    assert torch.allclose(
        block(x), F.gelu(x @ block.up_weight[0]) @ block.down_weight[0], atol=1e-6
    )


def test_a_token_does_not_depend_on_the_others():
    block, x = MixtureOfExperts(D, experts=E, hidden=H), torch.randn(B, N, D)
    order = torch.randperm(N)
    assert torch.allclose(block(x[:, order]), block(x)[:, order], atol=1e-6)
    assert torch.allclose(block(x[:1, :1]), block(x)[:1, :1], atol=1e-6)


def test_grids_are_rows_of_tokens():
    block, x = MixtureOfExperts(D, experts=E, hidden=H), torch.randn(B, 3, 2, D)
    assert torch.allclose(block(x).flatten(1, 2), block(x.flatten(1, 2)), atol=1e-6)


def test_the_loss_is_balance_when_even_and_balance_times_experts_when_all_go_to_one():
    block, x = MixtureOfExperts(D, experts=E, top=1, hidden=H, balance=0.25), torch.rand(B, N, D)
    nn.init.zeros_(block.router.weight)
    block(x)
    assert torch.allclose(block.auxiliary_loss, torch.tensor(0.25))
    with torch.no_grad():
        block.router.weight[3] = 1e4
    block(x)
    assert torch.allclose(block.auxiliary_loss, torch.tensor(0.25 * E))


@pytest.mark.parametrize("top", [1, 2])
def test_the_loss_is_its_formula_and_ignores_padding(top):
    block, x = MixtureOfExperts(D, experts=E, top=top, hidden=H, balance=1.0), torch.randn(B, N, D)
    mask = torch.arange(N) < torch.tensor([7, 4])[:, None]
    for padding_mask, tokens in ((None, x.flatten(0, 1)), (mask, x[mask])):
        y = block(x, padding_mask)
        chances = (tokens @ block.router.weight.T).softmax(dim=-1)
        chosen = chances.topk(top).indices.flatten().tolist()
        expected = sum(chosen.count(e) / len(chosen) * chances[:, e].mean() for e in range(E)) * E
        assert torch.allclose(block.auxiliary_loss, expected, atol=1e-6)
        assert torch.equal(y, block(x))


def test_the_loss_teaches_the_router_and_is_gone_in_evaluation():
    block, x = MixtureOfExperts(D, experts=E, hidden=H), torch.randn(B, N, D)
    block(x)
    block.auxiliary_loss.backward()
    assert block.router.weight.grad.any()
    block.eval()(x)
    assert block.auxiliary_loss is None


def test_balancing_evens_out_the_shares():
    torch.manual_seed(0)
    block, x = (
        MixtureOfExperts(D, experts=3, top=1, hidden=H, balance=1.0),
        torch.randn(1, 53, D) + 1,
    )
    with torch.no_grad():
        block.router.weight[0] += (
            1  # the mean token is 1 in every channel, so that most go to expert 0
        )
    losses = []
    for _ in range(40):
        block(x)
        losses.append(block.auxiliary_loss.item())
        (slope,) = torch.autograd.grad(block.auxiliary_loss, block.router.weight)
        with torch.no_grad():
            block.router.weight -= 0.5 * slope
    assert losses[0] > 2
    assert losses[-1] < 1.1


def test_a_module_that_has_a_loss_can_be_copied_and_pickled():
    block, x = MixtureOfExperts(D, experts=E, hidden=H), torch.randn(B, N, D)
    y = block(x)
    for other in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        assert other.auxiliary_loss is None
        assert torch.equal(other(x), y)
    assert block.auxiliary_loss is not None


def test_the_router_works_in_float32_under_autocast():
    block, x = MixtureOfExperts(D, experts=E, hidden=H), torch.randn(B, N, D)
    block(x)
    expected = block.auxiliary_loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = block(x)
    assert y.dtype is torch.bfloat16
    assert torch.equal(block.auxiliary_loss, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"top": 4, "hidden": H},
            "top must be in 1..experts; got top=4, experts=3; fits: top in 1, 2, 3",
        ),
        (
            {"top": 0, "hidden": H},
            "top must be in 1..experts; got top=0, experts=3; fits: top in 1, 2, 3",
        ),
        ({"hidden": 0}, "hidden must be positive; got hidden=0; fits: hidden=1 or more"),
        (
            {"hidden": H, "activation": "tanh"},
            "activation is not known; got activation=tanh; fits: activation in relu, gelu, "
            "silu, swiglu, geglu, clamped_swiglu",
        ),
    ],
)
def test_bad_arguments_are_told(arguments, message):
    with pytest.raises(BlockError) as error:
        MixtureOfExperts(D, experts=3, **arguments)
    assert str(error.value) == message


def test_no_experts_are_told():
    with pytest.raises(BlockError) as error:
        MixtureOfExperts(D, experts=0, hidden=H)
    assert str(error.value) == "experts must be positive; got experts=0; fits: experts=1 or more"


@pytest.mark.parametrize("top", [1, 2])
def test_gradients(top):
    torch.manual_seed(0)
    block = MixtureOfExperts(3, experts=3, top=top, hidden=2, bias=True).double()
    x = torch.randn(1, 5, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(block, x)


def test_it_is_made_and_runs_on_meta():
    with torch.device("meta"):
        block = MixtureOfExperts(D, experts=E, hidden=H, bias=True)
        assert block(torch.empty(B, N, D)).shape == (B, N, D)


@pytest.mark.parametrize("top", [1, 2])
def test_an_exported_mixture_takes_another_batch_size(top):
    block, dynamic = (
        MixtureOfExperts(D, experts=3, top=top, hidden=H).eval(),
        ({0: torch.export.Dim("batch")},),
    )
    program = torch.export.export(block, (torch.randn(B, N, D),), dynamic_shapes=dynamic)
    for batch in (2, 3, 13):
        x = torch.randn(batch, N, D)
        assert torch.allclose(program.module()(x), block(x), atol=1e-6)


def test_it_compiles_whole_and_its_loss_comes_out():
    torch._dynamo.reset()
    block, x = MixtureOfExperts(D, experts=E, hidden=H), torch.randn(B, N, D)
    other = copy.deepcopy(block)
    for each, call in (
        (block, block),
        (other, torch.compile(other, fullgraph=True, backend="aot_eager")),
    ):
        (call(x).square().sum() + each.auxiliary_loss).backward()
    for mine, theirs in zip(other.parameters(), block.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-6)


# --------------------------------------------------------------------------------------------------
# sigmoids, groups, corrections


def test_experts_are_chosen_in_the_best_groups():
    """Token after token: the two best of each group, the best groups, the best of their experts."""
    block = MixtureOfExperts(
        D, experts=8, top=3, hidden=H, scores="sigmoid", groups=4, top_groups=2, scale=2.5
    )
    x = torch.randn(B, N, D)
    wanted = torch.zeros_like(x)
    for b in range(B):
        for n in range(N):
            scores = (block.router.weight @ x[b, n]).sigmoid().tolist()
            groups = [sum(sorted(scores[2 * g : 2 * g + 2])) for g in range(4)]
            allowed = sorted(range(4), key=lambda g: -groups[g])[:2]
            experts = [e for e in range(8) if e // 2 in allowed]
            chosen = sorted(experts, key=lambda e: -scores[e])[:3]
            for e in chosen:
                outer = F.gelu(x[b, n] @ block.up_weight[e]) @ block.down_weight[e]
                wanted[b, n] += 2.5 * scores[e] / sum(scores[i] for i in chosen) * outer
    assert torch.allclose(block(x), wanted, atol=1e-5)


def test_a_clamped_gate_is_the_formula():
    block = MixtureOfExperts(D, experts=1, top=1, hidden=H, activation="clamped_swiglu")
    with torch.no_grad():
        block.up_weight *= 30
    x = torch.randn(B, N, D)
    gate, value = (x @ block.up_weight[0]).chunk(2, dim=-1)
    assert (gate.abs() > 7).any()
    assert (value.abs() > 7).any()
    gate, value = torch.minimum(gate, torch.tensor(7.0)), value.clamp(-7, 7)
    wanted = ((value + 1) * gate / (1 + torch.exp(-1.702 * gate))) @ block.down_weight[0]
    assert torch.allclose(block(x), wanted, atol=1e-4)


def test_corrections_move_the_choice_and_not_the_weights():
    block = MixtureOfExperts(D, experts=4, top=2, hidden=H, balance_rate=0.5, balance=0.0)
    x = torch.rand(B, N, D)
    with torch.no_grad():
        block.router.weight.copy_(torch.tensor([3.0, 2.0, 1.0, 0.0])[:, None].expand(4, D))
    block(x)
    assert block.received.tolist() == [B * N, B * N, 0, 0]
    block.after_step()
    assert block.correction.tolist() == [-0.5, -0.5, 0.5, 0.5]
    assert block.received.tolist() == [0, 0, 0, 0]
    before = block.eval()(x)
    chances = (x @ block.router.weight.T).softmax(-1)
    chosen = (chances + block.correction).topk(2, dim=-1).indices
    weights = chances.gather(-1, chosen)
    weights = weights / weights.sum(-1, keepdim=True)
    answers = F.gelu(torch.einsum("bnd,edh->bneh", x, block.up_weight))
    answers = torch.einsum("bneh,ehd->bned", answers, block.down_weight)
    picked = answers.gather(2, chosen.unsqueeze(-1).expand(-1, -1, -1, D))
    assert torch.allclose(before, (weights.unsqueeze(-1) * picked).sum(2), atol=1e-6)


def test_padding_is_not_counted_and_evaluation_counts_nothing():
    block = MixtureOfExperts(D, experts=3, top=1, hidden=H, balance_rate=0.1)
    real = torch.arange(N) < torch.tensor([[2], [N]])
    block(torch.randn(2, N, D), padding_mask=real)
    assert block.received.sum() == 2 + N
    block.eval()(torch.randn(2, N, D))
    assert block.received.sum() == 2 + N
    assert sorted(name for name, _ in block.named_buffers()) == ["correction", "received"]
    assert "received" not in block.state_dict()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"groups": 3}, "groups must divide experts"),
        ({"groups": 8}, "groups must divide experts"),
        ({"groups": 2, "top_groups": 3}, "top_groups must be in 1..groups"),
        ({"groups": 4, "top_groups": 1, "top": 3}, "top_groups hold fewer experts than top"),
        ({"scores": "tanh"}, "scores is not known"),
        ({"balance_rate": -1.0}, "balance_rate must not be negative"),
    ],
)
def test_wrong_routing_is_told(arguments, problem):
    with pytest.raises(BlockError, match=problem):
        MixtureOfExperts(D, experts=8, hidden=H, **arguments)
