"""minGRU, minLSTM, mLSTM and sLSTM against the formulas of their papers, in float64."""

import pytest
import torch
import torch.nn.functional as F

from blocks.errors import BlockError
from blocks.recurrent import MatrixLSTM, MinGRU, MinLSTM, ScalarLSTM

B, N, D, H, C = 2, 23, 24, 4, 6  # rows, tokens, width, heads, width of a state
KINDS = {
    "mingru": lambda: MinGRU(D, hidden=C, layers=2, chunk=5),
    "minlstm": lambda: MinLSTM(D, hidden=C, layers=2),
    "slstm": lambda: ScalarLSTM(D, hidden=C, heads=2, layers=2),
    "mlstm": lambda: MatrixLSTM(D, heads=H, chunk=4),
}


@pytest.fixture(autouse=True)
def _one_thread():
    """Blocks this small only wait for each other's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(block, std=0.7):
    torch.manual_seed(0)
    for parameter in block.double().eval().parameters():
        torch.nn.init.normal_(parameter, std=std)
    return block


def equal(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [MinGRU, MinLSTM])
def test_minimal_networks_are_their_formulas(kind):
    block = made(kind(D, hidden=C))
    x, state = torch.randn(B, N, D).double(), torch.randn(B, C).double()
    *gates, new = block.layers[0](x).chunk(block.gates + 1, dim=-1)
    kept, written = 1 - gates[0].sigmoid(), gates[0].sigmoid()
    if kind is MinLSTM:
        forget, write = gates[0].sigmoid(), gates[1].sigmoid()
        kept, written = forget / (forget + write), write / (forget + write)
    wanted, first = [], state
    for i in range(N):
        state = kept[:, i] * state + written[:, i] * new[:, i]
        wanted.append(state)
    sequence, last = block(x, state=first[:, None])
    equal(sequence, torch.stack(wanted, dim=1))
    equal(last[:, 0], state)


def test_slstm_is_its_formula():
    """Equations 8-14 without the scale, which cancels; small gates, so that nothing overflows."""
    block, heads = made(ScalarLSTM(D, hidden=C, heads=2), std=0.2), 2
    x = torch.randn(B, N, D, dtype=torch.float64)
    hidden, cell, norm = torch.zeros(3, B, C, dtype=torch.float64)
    wanted = []
    for i in range(N):
        given = block.layers[0](x[:, i]).chunk(4, dim=-1)
        fed = torch.einsum("bhd,hdo->bho", hidden.unflatten(-1, (heads, -1)), block.recurrent[0])
        fed = fed.unflatten(-1, (4, -1))
        write, keep, new, out = (part + fed[:, :, k].flatten(1) for k, part in enumerate(given))
        cell = keep.sigmoid() * cell + write.exp() * new.tanh()
        norm = keep.sigmoid() * norm + write.exp()
        hidden = out.sigmoid() * cell / norm
        wanted.append(hidden)
    equal(block(x)[0], torch.stack(wanted, dim=1))


def define_mlstm(block, x):
    """Section 2.3 without the scale, which cancels."""
    q, k, v = (part.unflatten(-1, (H, -1)) for part in block.qkv(x).split(block.sizes(), dim=-1))
    gates = 15 * torch.tanh(block.gates(x) / 15)
    write, keep = gates[..., :H].exp(), gates[..., H:].sigmoid()
    cell = torch.zeros(B, H, D // H, D // H, dtype=torch.float64)
    norm, read = torch.zeros(B, H, D // H, dtype=torch.float64), []
    for i in range(x.shape[1]):
        written = k[:, i, :, :, None] * v[:, i, :, None]
        cell = keep[:, i, :, None, None] * cell + write[:, i, :, None, None] * written
        norm = keep[:, i, :, None] * norm + write[:, i, :, None] * k[:, i]
        asked = q[:, i] * (D // H) ** -0.5
        total = (asked * norm).sum(-1, keepdim=True).abs().clamp(min=1)
        read.append((asked[..., None] * cell).sum(2) / total)
    heads = F.layer_norm(torch.stack(read, dim=1), (D // H,), eps=1e-6).flatten(2)
    return block.project(heads * block.weight * block.open(x).sigmoid())


@pytest.mark.parametrize("form", ["chunked", "parallel", "steps"])
def test_mlstm_is_its_formula_with_its_gradients(form):
    block = made(MatrixLSTM(D, heads=H, chunk=5, form=form))
    x = torch.randn(B, N, D, dtype=torch.float64)
    found, wanted = block(x), define_mlstm(block, x)
    equal(found, wanted)
    parameters = list(block.parameters())
    for mine, theirs in zip(
        torch.autograd.grad(found.sin().sum(), parameters),
        torch.autograd.grad(wanted.sin().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_gates_of_any_size_overflow_nowhere():
    block = made(MatrixLSTM(D, heads=H, gate_cap=None), std=1.0).float()
    x = 300 * torch.randn(B, N, D)
    out = block(x)
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in block.parameters())


@torch.no_grad()
@pytest.mark.parametrize("name", KINDS)
def test_padding_on_either_side_changes_nothing(name):
    block = made(KINDS[name]())
    x = torch.randn(1, 11, D, dtype=torch.float64)
    noise = torch.randn(1, 5, D, dtype=torch.float64)
    padded = torch.cat((noise, x, noise), dim=1)
    real = (torch.arange(21) >= 5) & (torch.arange(21) < 16)
    found, alone = block(padded, padding_mask=real[None]), block(x)
    if name != "mlstm":
        equal(found[1], alone[1])  # the last state
        assert not found[0][:, ~real].any()
        found, alone = found[0], alone[0]
    equal(found[:, 5:16], alone)


@pytest.mark.slow
@torch.no_grad()
def test_mlstm_equals_transformers():
    pytest.importorskip("transformers")
    name = "transformers.models.xlstm.modeling_xlstm"
    peer = getattr(pytest.importorskip(name), "mlstm_recurrent_sequence_native", None)
    if peer is None:
        pytest.skip("transformers uses the package xlstm")
    block = made(MatrixLSTM(D, heads=H, gate_cap=None)).float()
    x = torch.randn(B, N, D)
    q, k, v = (
        part.unflatten(-1, (H, -1)).transpose(1, 2)
        for part in block.qkv(x).split(block.sizes(), dim=-1)
    )
    write, keep = block.gates(x).transpose(1, 2).chunk(2, dim=1)
    read = peer(q, k, v, write, keep, return_last_states=False)
    read = read[0] if isinstance(read, tuple) else read
    heads = F.layer_norm(read.transpose(1, 2), (D // H,), eps=1e-6).flatten(2)
    wanted = block.project(heads * block.weight * block.open(x).sigmoid())
    torch.testing.assert_close(block(x), wanted, rtol=1e-4, atol=1e-4)


def test_a_state_that_does_not_fit_is_told():
    with pytest.raises(BlockError) as error:
        MinGRU(D, hidden=C, layers=2)(torch.zeros(B, N, D), state=torch.zeros(B, 1, C))
    assert str(error.value) == (
        "an initial state must be (batch, layers, hidden); got (2, 1, 6); fits: (2, 2, 6)"
    )
