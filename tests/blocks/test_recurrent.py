import copy

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from blocks.errors import BlockError
from blocks.recurrent import fused
from blocks.recurrent.fused import GRU, LSTM, RNN, _one_piece

B, N, D, H = 3, 7, 5, 11
PEERS = {RNN: nn.RNN, GRU: nn.GRU, LSTM: nn.LSTM}
FAMILIES = list(PEERS)


def mask_of(lengths, tokens=N):
    return torch.arange(tokens) < torch.tensor(lengths)[:, None]


def states_of(family, batch, levels, hidden=H):
    return tuple(torch.randn(batch, levels, hidden) for _ in family.outputs[1:])


def pair(family, layers, bidirectional, **others):
    block = family(D, hidden=H, layers=layers, bidirectional=bidirectional, **others)
    peer = PEERS[family](D, H, layers, bidirectional=bidirectional, batch_first=True, **others)
    block.load_state_dict(peer.state_dict())
    return block, peer


def run(peer, x, states=()):
    """torch.nn's answer in the order and layout of the blocks: the sequence, then each state batch
    first.
    """
    given = tuple(each.transpose(0, 1).contiguous() for each in states)
    sequence, last = peer(x, (given if len(given) > 1 else given[0]) if given else None)
    return sequence, *(
        each.transpose(0, 1) for each in (last if isinstance(last, tuple) else (last,))
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("started", [False, True])
def test_equals_torch(family, layers, bidirectional, started):
    block, peer = pair(family, layers, bidirectional)
    x, states = (
        torch.randn(B, N, D),
        states_of(family, B, layers * (1 + bidirectional)) if started else (),
    )
    expected = run(peer, x, states)
    for masked in (None, mask_of([N] * B)):
        for mine, theirs in zip(block(x, masked, *states), expected, strict=True):
            assert torch.allclose(mine, theirs, atol=1e-6)


def test_relu_equals_torch():
    block, peer = pair(RNN, 2, True, nonlinearity="relu")
    x = torch.randn(B, N, D)
    for mine, theirs in zip(block(x), run(peer, x), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_draws_the_weights_of_torch(family):
    torch.manual_seed(0)
    block = family(D, hidden=H, layers=2, bidirectional=True)
    torch.manual_seed(0)
    peer = PEERS[family](D, H, 2, bidirectional=True)
    assert list(block.state_dict()) == list(peer.state_dict())
    assert all(
        torch.equal(mine, theirs)
        for mine, theirs in zip(block.parameters(), peer.parameters(), strict=True)
    )


def test_two_stacked_lstm_of_512_have_the_parameters_of_the_reference():
    with torch.device("meta"):
        assert (
            sum(each.numel() for each in LSTM(512, hidden=512, layers=2).parameters()) == 4_202_496
        )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("started", [False, True])
@settings(max_examples=2, deadline=None)
@given(lengths=st.lists(st.integers(1, N), min_size=B, max_size=B))
@example(lengths=[N, 4, 1])
def test_padded_sequences_are_as_if_each_ran_alone(family, bidirectional, started, lengths):
    block, peer = pair(family, 2, bidirectional)
    x, states = (
        torch.randn(B, N, D),
        states_of(family, B, 2 * (1 + bidirectional)) if started else (),
    )
    sequence, *last = block(x, mask_of(lengths), *states)
    for i, length in enumerate(lengths):
        alone, *ends = run(peer, x[i : i + 1, :length], [each[i : i + 1] for each in states])
        assert torch.allclose(sequence[i, :length], alone[0], atol=1e-6)
        assert not sequence[i, length:].any()
        for mine, theirs in zip(last, ends, strict=True):
            assert torch.allclose(mine[i], theirs[0], atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_each_sequence_alone_and_none_reaches_padding(family):
    block, peer = pair(family, 2, True)
    lengths, x = [7, 4, 1], torch.randn(B, N, D, requires_grad=True)
    loss = sum(each.square().sum() for each in block(x, mask_of(lengths)))
    mine = torch.autograd.grad(loss, [x, *block.parameters()])
    loss = 0.0
    for i, length in enumerate(lengths):
        loss = loss + sum(each.square().sum() for each in run(peer, x[i : i + 1, :length]))
    theirs = torch.autograd.grad(loss, [x, *peer.parameters()])
    assert not mine[0][~mask_of(lengths)].any()
    assert all(
        torch.allclose(a, b, atol=1e-5, rtol=1e-5) for a, b in zip(mine, theirs, strict=True)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_not_even_nan_leaks_from_padding(family):
    block, x, mask = (
        family(D, hidden=H, layers=2, bidirectional=True),
        torch.randn(B, N, D),
        mask_of([7, 4, 1]),
    )
    expected = block(x, mask)
    x[~mask] = float("nan")
    for mine, theirs in zip(block(x, mask), expected, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_empty_sequence_keeps_its_initial_state(family, bidirectional):
    block = family(D, hidden=H, layers=2, bidirectional=bidirectional)
    states = states_of(family, B, 2 * (1 + bidirectional))
    x = torch.randn(B, N, D, requires_grad=True)
    sequence, *last = block(x, mask_of([0, 4, 7]), *states)
    sum(each.sum() for each in (sequence, *last)).backward()
    assert not sequence[0].any()
    assert all(
        torch.allclose(mine[0], given[0], atol=1e-7)
        for mine, given in zip(last, states, strict=True)
    )
    assert not x.grad[0].any()
    assert all(each.grad.isfinite().all() for each in block.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_token_ignores_the_future_unless_both_directions_are_read(family):
    x = torch.randn(B, N, D)
    other = torch.cat((x[:, :4], torch.randn(B, N - 4, D)), dim=1)
    forward, both = family(D, hidden=H, layers=2), family(D, hidden=H, bidirectional=True)
    assert torch.equal(forward(x)[0][:, :4], forward(other)[0][:, :4])
    assert not torch.allclose(both(x)[0][:, :4], both(other)[0][:, :4])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sequence_can_be_run_in_two_pieces(family):
    block, x = family(D, hidden=H, layers=2), torch.randn(B, N, D)
    whole = block(x)
    first, *states = block(x[:, :3])
    second, *last = block(x[:, 3:], None, *states)
    assert torch.allclose(torch.cat((first, second), dim=1), whole[0], atol=1e-6)
    assert all(
        torch.allclose(mine, theirs, atol=1e-6)
        for mine, theirs in zip(last, whole[1:], strict=True)
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("masked", [False, True])
def test_dropout_acts_between_layers_in_training_only(family, masked):
    block, x, mask = (
        family(D, hidden=H, layers=2, dropout=0.5),
        torch.randn(B, N, D),
        mask_of([N] * B),
    )
    mask = mask if masked else None
    one = family(D, hidden=H, dropout=0.5)
    assert not torch.allclose(block(x, mask)[0], block(x, mask)[0])
    assert torch.equal(one(x, mask)[0], one(x, mask)[0])
    block.eval()
    assert torch.equal(block(x, mask)[0], block(x, mask)[0])


def test_an_lstm_is_float32_where_a_processor_has_no_bfloat16(monkeypatch):
    block, x = LSTM(D, hidden=H), torch.randn(B, N, D)
    wanted = block(x)
    monkeypatch.setattr(fused, "HAS_BFLOAT16_KERNELS", False)
    with torch.autocast("cpu", torch.bfloat16):
        found = block(x)
    assert [each.dtype for each in found] == [torch.float32] * 3
    assert all(map(torch.equal, found, wanted))


def test_weights_in_one_piece_are_the_same_weights():
    weights = GRU(D, hidden=H)._weights(0, 0)
    assert _one_piece(weights) is weights


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_weights_on_a_gpu_lie_in_one_piece():
    block = LSTM(D, hidden=H, layers=2).cuda()
    assert len({each.untyped_storage().data_ptr() for each in block.parameters()}) == 1


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        (GRU, {"hidden": 0}, "hidden must be positive; got hidden=0; fits: hidden=1 or more"),
        (
            LSTM,
            {"hidden": 3, "layers": 0},
            "layers must be positive; got layers=0; fits: layers=1 or more",
        ),
        (
            RNN,
            {"hidden": 3, "dropout": 1.0},
            "dropout must be in [0, 1); got dropout=1.0; fits: e.g. dropout=0.1",
        ),
        (
            RNN,
            {"hidden": 3, "nonlinearity": "gelu"},
            "nonlinearity is not known; got nonlinearity=gelu; fits: nonlinearity in tanh, relu",
        ),
    ],
)
def test_bad_arguments_are_told(family, arguments, message):
    with pytest.raises(BlockError) as error:
        family(D, **arguments)
    assert str(error.value) == message


@pytest.mark.parametrize("family", FAMILIES)
def test_a_state_that_does_not_fit_is_told(family):
    with pytest.raises(BlockError) as error:
        family(D, hidden=H, bidirectional=True)(torch.randn(B, N, D), state=torch.randn(B, 1, H))
    message = (
        "an initial state must be (batch, layers * directions, hidden); got (3, 1, 11); "
        "fits: (3, 2, 11)"
    )
    assert str(error.value) == message


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients(family, masked):
    block = family(2, hidden=3, bidirectional=True).double()
    x = torch.randn(2, 3, 2, dtype=torch.double, requires_grad=True)
    states = tuple(each.double().requires_grad_() for each in states_of(family, 2, 2, 3))
    assert torch.autograd.gradcheck(block, (x, mask_of([3, 2], 3) if masked else None, *states))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("masked", [False, True])
def test_recurrences_are_made_and_run_on_meta(family, masked):
    with torch.device("meta"):
        block = family(D, hidden=H, layers=2, bidirectional=True)
        mask = torch.empty(B, N, dtype=torch.bool) if masked else None
        shapes = [tuple(each.shape) for each in block(torch.empty(B, N, D), mask)]
    assert shapes == [(B, N, 2 * H)] + [(B, 4, H)] * (len(family.outputs) - 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_exported_recurrences_take_another_batch_size(family):
    block, batch = family(D, hidden=H, bidirectional=True).eval(), {0: torch.export.Dim("batch")}
    arguments = (torch.randn(B, 3, D), mask_of([3, 2, 1], 3))
    program = torch.export.export(block, arguments, dynamic_shapes=(batch, batch))
    arguments = (torch.randn(2, 3, D), mask_of([1, 3], 3))
    for mine, theirs in zip(program.module()(*arguments), block(*arguments), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_under_autocast_is_close_to_float32(family):
    block, x, mask = (
        family(D, hidden=H, layers=2, bidirectional=True),
        torch.randn(B, N, D),
        mask_of([7, 4, 0]),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = block(x, mask)
    for mine, theirs in zip(rough, block(x, mask), strict=True):
        assert torch.allclose(mine.float(), theirs, atol=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_recurrences_compile_whole_and_learn_the_same(family):
    torch._dynamo.reset()
    block, x, mask = family(D, hidden=H), torch.randn(B, 3, D), mask_of([3, 2, 1], 3)
    other = copy.deepcopy(block)
    torch.compile(other, fullgraph=True, backend="aot_eager")(x, mask)[0].square().sum().backward()
    block(x, mask)[0].square().sum().backward()
    for mine, theirs in zip(other.parameters(), block.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-5)


def test_chrono_gates_keep_for_times_spread_up_to_the_longest():
    torch.manual_seed(0)
    block = LSTM(D, hidden=2000, layers=2, chrono=50)
    for level in range(2):
        both = getattr(block, f"bias_ih_l{level}") + getattr(block, f"bias_hh_l{level}")
        enter, forget = both[:2000], both[2000:4000]
        assert torch.allclose(enter, -forget)
        times = forget.detach().exp()  # a gate of sigmoid(log(t)) forgets in about 1 + t steps
        assert 1 <= times.min() < 1.2
        assert 48.8 < times.max() <= 49
        assert times.mean().item() == pytest.approx(25, abs=1)
    for words in ({"chrono": 1}, {"chrono": 9, "forget_bias": 1.0}):
        with pytest.raises(BlockError, match="chrono is the start of the forget gates"):
            LSTM(D, hidden=H, **words)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_forget_gates_start_at_their_bias_and_the_rest_as_torch_has_it(bidirectional):
    torch.manual_seed(0)
    block = LSTM(D, hidden=H, layers=2, bidirectional=bidirectional, forget_bias=1.5)
    biases = [value for name, value in block.named_parameters() if name.startswith("bias")]
    assert len(biases) == (8 if bidirectional else 4)
    for level in range(0, len(biases), 2):
        both = biases[level] + biases[level + 1]
        assert (both[H : 2 * H] == 1.5).all()
        others = torch.cat((both[:H], both[2 * H :]))
        assert 0 < others.abs().max() <= 2 * H**-0.5
    cell = LSTM(1, hidden=1, forget_bias=2.0)
    for name, value in cell.named_parameters():
        if not name.startswith("bias"):
            nn.init.zeros_(value)
        else:
            value.data[[0, 2, 3]] = 0.0
    kept = cell(torch.zeros(1, 1, 1), None, torch.zeros(1, 1, 1), torch.ones(1, 1, 1))[2]
    assert kept.item() == pytest.approx(
        torch.sigmoid(torch.tensor(2.0)).item()
    )  # the gate that it is for
