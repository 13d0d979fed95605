"""Numbers as features, and what scales, shifts and gates others, against their formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blocks.conditioning import ChannelGate, FeatureModulation, FourierFeatures, SinusoidalFeatures
from blocks.errors import BlockError
from blocks.graph import build

B, N, D = 2, 5, 12


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_a_number_becomes_cosines_and_sines():
    times = torch.tensor([[0.0], [0.25], [999.0]], dtype=torch.float64)
    found = SinusoidalFeatures(dim=6)(times)
    for row, time in enumerate(times.flatten().tolist()):
        angles = [time / 10000 ** (2 * i / 6) for i in range(3)]
        wanted = [*map(math.cos, angles), *map(math.sin, angles)]
        assert found[row, 0].tolist() == pytest.approx(wanted, abs=1e-9)


def test_random_projections_are_kept_and_are_as_wide_as_asked():
    block = FourierFeatures(2, features=2000, deviation=3.0)
    assert block.projection.std() == pytest.approx(3.0, rel=0.1)
    copy = FourierFeatures(2, features=2000)
    copy.load_state_dict(block.state_dict())
    x = torch.rand(B, N, 2)
    assert torch.equal(copy(x), block(x))
    turn = 2 * math.pi * torch.einsum("bnd,df->bnf", x, block.projection)
    wanted = torch.cat((turn.cos(), turn.sin()), dim=-1)
    assert torch.allclose(block(x), wanted, atol=1e-4)


@pytest.mark.parametrize("axes", [(), (N,), (2, 3)])
def test_channels_are_scaled_shifted_and_gated_alike_at_all_places(axes):
    x, scale, shift = torch.randn(B, *axes, D), torch.randn(B, D), torch.randn(B, D)
    modulated, gated = FeatureModulation()(x, scale, shift), ChannelGate()(x, scale)
    for b in range(B):
        for d in range(D):
            column = x[b, ..., d]
            assert torch.allclose(modulated[b, ..., d], column * (1 + scale[b, d]) + shift[b, d])
            assert torch.allclose(gated[b, ..., d], column * scale[b, d])


def small_dit():
    sizes = ["dim=12", "depth=1", "heads=2", "side=4", "labels=4", "waves=8"]
    return build("dit_xl2", [f"params.{size}" for size in sizes], {}).eval()


def dit_inputs():
    label = torch.tensor([[1], [3]])
    return {"image": torch.randn(B, 4, 4, 4), "time": torch.rand(B, 1) * 1000, "label": label}


def test_a_branch_of_dit_is_the_formula():
    net, inputs = small_dit(), dit_inputs()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    seen = {}
    names = ["position", "condition", "layers.0.attention", "layers.0.attention.inner"]
    for name in names:
        module = net.get_submodule(name)
        module.register_forward_hook(lambda m, given, out, name=name: seen.update({name: out}))
    net(**inputs)
    branch, x = net.get_submodule("layers.0.attention"), seen["position"]
    parts = branch.modulation(F.silu(seen["condition"])).chunk(3, dim=-1)
    shift, scale, gate = (part.unsqueeze(1) for part in parts)
    given = F.layer_norm(x, (D,), eps=1e-6) * (1 + scale) + shift
    assert torch.allclose(branch.inner(given), seen["layers.0.attention.inner"], atol=1e-5)
    wanted = x + gate * branch.inner(given)
    assert torch.allclose(seen["layers.0.attention"], wanted, atol=1e-5)


def test_dit_starts_with_closed_branches_and_an_answer_of_zero():
    net, inputs = small_dit(), dit_inputs()
    assert not net(**inputs)["noise"].any()
    for layer in ("attention", "mlp"):
        assert not net.get_submodule(f"layers.0.{layer}").modulation.weight.any()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: SinusoidalFeatures(dim=5), "dim must be a multiple of 2"),
        (lambda: SinusoidalFeatures(dim=4, base=0.0), "base must be positive"),
        (lambda: FourierFeatures(2, features=3), "features must be a multiple of 2"),
        (lambda: FourierFeatures(2, features=4, deviation=0.0), "deviation must be positive"),
    ],
)
def test_wrong_arguments_are_told(make, problem):
    with pytest.raises(BlockError, match=problem):
        make()
