import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blocks.graph import build
from blocks.graph.run import onednn
from blocks.graph.run.onednn import (
    AVAILABLE,
    MIN_PRODUCT,
    Linear,
    linear,
    prepare_linear,
    use_onednn,
)

B, T, I, O = 7, 227, 257, 211  # noqa: E741
needs_onednn = pytest.mark.skipif(not AVAILABLE, reason="no oneDNN in this torch")


MANY = 2**62


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True, params=["AMD", "Intel"])
def vendor(request, monkeypatch):
    """The rules of both, whatever the processor: which products each library computes."""
    is_intel = request.param == "Intel"
    monkeypatch.setattr(onednn, "INTEL", is_intel)
    monkeypatch.setattr(onednn, "MAX_SHORT_SIDE", I if is_intel else MANY)
    monkeypatch.setattr(onednn, "MIN_ROWS", MANY if is_intel else 1536)
    return request.param


def tensors(bias=True, dtype=torch.float32):
    sizes = [(B, T, I), (O, I), *([(O,)] if bias else [])]
    return [torch.randn(size, dtype=dtype, requires_grad=True) for size in sizes]


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_torch(bias, threads):
    given = tensors(bias)
    assert given[0].numel() * O >= MIN_PRODUCT
    assert B * T >= 1536
    ours, theirs = linear(*given), F.linear(*given)
    assert "Linear" in type(ours.grad_fn).__name__
    direction = torch.randn_like(ours)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-4)  # sums of 257 terms of size 1
    found, wanted = (torch.autograd.grad((out * direction).sum(), given) for out in (ours, theirs))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=3e-4)


@needs_onednn
def test_the_result_may_be_overwritten():
    given = tensors()
    wanted = torch.autograd.grad(F.linear(*given).relu().sum(), given)
    found = torch.autograd.grad(linear(*given).relu_().sum(), given)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=3e-4)


@needs_onednn
def test_gradients_have_gradients():
    x, weight, bias = tensors()
    found = []
    for product in (linear, F.linear):
        (by_x,) = torch.autograd.grad(
            product(x, weight, bias).square().mean(), x, create_graph=True
        )
        found.append(torch.autograd.grad(by_x.square().sum(), weight)[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-7)


@needs_onednn
@pytest.mark.parametrize("rows", [1, 2, 17])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("large", [True, False])
def test_a_layer_at_hand_says_the_same_for_any_number_of_rows(
    rows, bias, copied, short, large, threads, vendor, monkeypatch
):
    monkeypatch.setattr(onednn, "SHORT_VECTORS", short)
    monkeypatch.setattr(onednn, "MIN_PACKED_SHORT", 2**16)
    monkeypatch.setattr(onednn, "MIN_PACKED_INTEL", 2**16 if large else MANY)
    dim, out_dim = 257, 263  # as large as is worth a call of oneDNN
    layer = nn.Linear(dim, out_dim, bias)
    prepared = prepare_linear(layer, rows, copied)
    if vendor == "Intel" and not copied:  # torch's own product of the weight as it is
        assert prepared is None
        return
    assert prepared is not None
    forward = prepared
    with torch.no_grad():
        for shape in [(1, 1), (rows, 1), (rows, T), (T,)]:
            x = torch.randn(*shape, dim)
            torch.testing.assert_close(
                forward(x), F.linear(x, layer.weight, layer.bias), rtol=1e-5, atol=1e-5
            )
            part = torch.randn(*shape, 2 * dim)[..., ::2]
            torch.testing.assert_close(
                forward(part), F.linear(part, layer.weight, layer.bias), rtol=1e-5, atol=1e-5
            )
        with torch.autocast("cpu", torch.bfloat16):
            assert forward(x).dtype == torch.bfloat16


def test_a_wide_weight_is_left_to_mkl(monkeypatch):
    monkeypatch.setattr(onednn, "MAX_SHORT_SIDE", min(I, O) - 1)
    x, weight, bias = tensors()
    assert torch.equal(linear(x, weight, bias), F.linear(x, weight, bias))


def test_the_processor_has_a_vendor(tmp_path, monkeypatch):
    """The layout of weights depends on it; the model of a virtual machine may hide it."""
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(onednn, "CPUINFO", cpuinfo)
    monkeypatch.setattr(onednn.platform, "processor", lambda: "Intel64 Family 6, GenuineIntel")
    assert onednn.is_intel()
    cpuinfo.write_text("processor : 0\nvendor_id : AuthenticAMD\nflags : fpu\n", encoding="utf-8")
    assert not onednn.is_intel()
    cpuinfo.write_text("vendor_id\t: GenuineIntel\nmodel name\t: Intel(R)\n", encoding="utf-8")
    assert onednn.is_intel()


def test_a_layer_of_another_kind_is_not_at_hand():
    class Mine(nn.Linear):
        pass

    assert prepare_linear(Mine(I, O), 2, True) is None
    assert prepare_linear(nn.Linear(I, O, dtype=torch.double), 2, True) is None
    assert prepare_linear(nn.Linear(I, O, device="meta"), 2, True) is None
    assert prepare_linear(nn.Linear(11, 13), 2, True) is None  # too small


def test_what_is_small_or_of_another_kind_goes_to_torch():
    small = [torch.randn(3, 5, requires_grad=True), torch.randn(7, 5)]
    assert torch.equal(linear(*small), F.linear(*small))
    double = tensors(dtype=torch.double)
    assert torch.equal(linear(*double), F.linear(*double))
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(*tensors()).dtype == torch.bfloat16
    assert linear(torch.randn(B, T, I, device="meta"), torch.randn(O, I, device="meta")).shape == (
        B,
        T,
        O,
    )


@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script"
)  # torch's own, in the first forward derivative
def test_it_can_be_transformed():
    x, weight, _ = tensors()
    product = lambda x: linear(x, weight).sum()  # noqa: E731
    torch.testing.assert_close(
        torch.func.grad(product)(x)[0, 0], weight.sum(0), rtol=1e-5, atol=1e-4
    )
    _, tangent = torch.func.jvp(lambda x: linear(x, weight), (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent[0, 0], weight.sum(1), rtol=1e-5, atol=1e-4)


def test_only_plain_linear_layers_are_changed():
    class Mine(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(3, 5), Mine(5, 7), nn.GELU())
    use_onednn(model)
    assert [type(module) for module in model] == [Linear, Mine, nn.GELU]
    assert isinstance(model[0], nn.Linear)
    assert str(model[0]) == "Linear(in_features=3, out_features=5, bias=True)"


def test_a_model_can_still_be_copied_and_kept():
    model = build("vit", ["params.depth=1"])
    use_onednn(model)
    image = torch.randn(2, 1, 8, 8)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(image)["logits"], model(image)["logits"])
