"""Gradients of attention by products, beside those of torch's kernel and those in float64."""

import pytest
import torch
import torch.nn.functional as F

from tasks.process import attention_gradients, runtime

B, H, N, D = 2, 3, 53, 16
MOST = 1.5  # a scale that is no power of two is one rounding more


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """On any processor, also where the kernel would be left alone."""
    monkeypatch.setattr(attention_gradients, "MULTIPLIED", True)
    assert attention_gradients.use_products() is not None, "torch has another operator"


@pytest.fixture
def counted(monkeypatch):
    """The number of calls of `multiply_back`."""
    calls, multiply_back = [], attention_gradients.multiply_back

    def count(*given, **named):
        calls.append(named)
        return multiply_back(*given, **named)

    monkeypatch.setattr(attention_gradients, "multiply_back", count)
    return calls


def masks():
    real = torch.arange(N) < torch.tensor([[N], [N - 7]])
    some = torch.ones(B, 1, N, N, dtype=torch.bool).tril()
    some[0, :, 5] = False  # a query that attends to nothing
    torch.manual_seed(2)
    return {
        "none": None,
        "padding": real[:, None, None],
        "nothing for a query": some,
        "added": torch.randn(1, H, N, N).bfloat16(),
    }


def drawn():
    torch.manual_seed(1)
    return [torch.randn(B, H, N, D).mul(size).bfloat16() for size in (2, 2, 1, 1)]


def attend(dtype, mask=None, **options):
    """Output and gradients."""
    *inputs, upstream = (part.to(dtype) for part in drawn())
    inputs = [part.requires_grad_() for part in inputs]
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(dtype)
    out = F.scaled_dot_product_attention(*inputs, attn_mask=mask, **options)
    return [out, *torch.autograd.grad(out, inputs, upstream)]


def distances(found, wanted):
    pairs = zip(found, wanted, strict=True)
    return torch.stack([(one.double() - other).norm() / other.norm() for one, other in pairs])


@pytest.mark.parametrize("name", masks())
@pytest.mark.parametrize("options", [{}, {"scale": 0.11}], ids=["", "scale"])
def test_they_are_as_close_to_float64_as_those_of_the_kernel(name, options, counted, monkeypatch):
    options = options | {"mask": masks()[name]}
    wanted, ours = attend(torch.float64, **options), attend(torch.bfloat16, **options)
    assert len(counted) == 1
    monkeypatch.setattr(attention_gradients, "is_faster", lambda q, k: False)
    theirs = attend(torch.bfloat16, **options)
    assert len(counted) == 1
    assert torch.equal(ours[0], theirs[0])
    assert [part.stride() for part in ours] == [part.stride() for part in theirs]
    assert (distances(ours, wanted) <= MOST * distances(theirs, wanted)).all()


def test_a_causal_query_sees_nothing_of_what_follows(counted, monkeypatch):
    wanted = attend(torch.float64, is_causal=True)
    ours = attend(torch.bfloat16, is_causal=True)
    assert [named["causal"] for named in counted] == [True]
    monkeypatch.setattr(attention_gradients, "is_faster", lambda q, k: False)
    theirs = attend(torch.bfloat16, is_causal=True)
    assert (distances(ours, wanted) <= MOST * distances(theirs, wanted)).all()


def test_a_query_that_attends_to_nothing_gives_no_gradient():
    some = masks()["nothing for a query"]
    _, by_q, *others = attend(torch.bfloat16, some)
    assert torch.equal(by_q[0, :, 5], torch.zeros(H, D, dtype=torch.bfloat16))
    assert all(part.isfinite().all() for part in others)


@pytest.mark.parametrize(
    ("dtype", "rule", "value"),
    [
        (torch.float32, "MAX_KEYS", N),
        (torch.bfloat16, "MAX_KEYS", N - 1),
        (torch.bfloat16, "MULTIPLIED", False),
    ],
)
def test_what_products_do_not_speed_up_is_left_to_the_kernel(
    dtype, rule, value, counted, monkeypatch
):
    monkeypatch.setattr(attention_gradients, rule, value)
    attend(dtype)
    assert not counted


def test_a_training_on_a_cpu_uses_them(monkeypatch):
    asked = []
    monkeypatch.setattr(attention_gradients, "use_products", lambda: asked.append(True))
    runtime.configure_process({"accelerator": "gpu"})
    assert not asked
    runtime.configure_process({"accelerator": "cpu"})
    assert asked


def test_another_operator_is_left_alone(monkeypatch):
    monkeypatch.setattr(attention_gradients, "ARGUMENTS", ("grad_out", "query"))
    assert attention_gradients.use_products.__wrapped__() is None
