"""Operations on the meta device that are not run again give what they would give."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from blocks.graph import compose, plan
from blocks.graph.compose.facts import example_of
from blocks.graph.describe.cost import measure
from blocks.graph.record.operations import Operations


def layout(tensor: Tensor) -> tuple[object, ...]:
    storage = tensor.untyped_storage().nbytes()
    return tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype, storage


def flatten(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [tensor for each in result for tensor in flatten(each)]


X = torch.empty(2, 3, 5, 7, device="meta")
MODULES: dict[str, Callable[[Tensor], Any]] = {
    "linear": nn.Linear(7, 11, device="meta"),
    "layer norm": nn.LayerNorm(7, device="meta"),
    "batch norm": nn.BatchNorm2d(3, device="meta"),
    "convolution": nn.Conv2d(3, 11, (5, 3), device="meta"),
    "a transposed input": lambda x: torch.nn.functional.gelu(x.transpose(1, 3)),
    "attention": lambda x: scaled_dot_product_attention(x, x, x),
    "lstm": lambda x: nn.LSTM(7, 11, device="meta", batch_first=True)(x.flatten(1, 2)),
    "several outputs": lambda x: x.max(1),
    "views": lambda x: (x.view(6, 35), x[1:], x.unbind(2), x.expand(2, 2, 3, 5, 7)),
    "roll": lambda x: x.roll((1, 2), (2, 3)),
    "complex numbers": lambda x: torch.fft.rfft(x).conj().abs(),
    "nothing flows in": lambda x: (torch.arange(5, device="meta"), x.new_zeros(3)),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("grad", [False, True])
def test_layouts_are_those_of_torch(name: str, grad: bool) -> None:
    run = MODULES[name]
    ran: dict[Any, Any] = {}
    x = X.clone().requires_grad_(grad)
    with torch.set_grad_enabled(grad):
        expected = flatten(run(x))
        with Operations(ran):
            first = flatten(run(x))
            count = len(ran)
            again = flatten(run(x))
    assert list(map(layout, first)) == list(map(layout, expected))
    assert list(map(layout, again)) == list(map(layout, expected))
    assert [each.requires_grad for each in again] == [each.requires_grad for each in expected]
    assert len(ran) == count  # whatever ran once was found
    assert name == "views" or not {id(each) for each in first} & {id(each) for each in again}


def test_equal_calls_run_once_and_share_no_storage() -> None:
    ran: dict[Any, Any] = {}
    with Operations(ran):
        first, again = X + X, X + X
    assert len(ran) == 1
    assert first.untyped_storage()._cdata != again.untyped_storage()._cdata


def test_views_and_changes_in_place_stay_what_they_are() -> None:
    x = X.clone()
    ran: dict[Any, Any] = {}
    with Operations(ran):
        assert x.view(-1)._base is x
        assert x.add_(1) is x
        for _ in range(2):
            again = torch.ops.aten._unsafe_view(x, [6, 35])
            assert again.untyped_storage()._cdata == x.untyped_storage()._cdata
    assert list(ran.values()) == [None]  # `_unsafe_view` does not say that it is a view


def test_equal_numbers_of_different_types_are_told_apart() -> None:
    whole = torch.ones(3, dtype=torch.int64, device="meta")
    with Operations({}):
        kinds = [(whole + number).dtype for number in (1, 1.0, True)]
        flags = whole == 1
        assert [(flags + number).dtype for number in (1, True)] == [torch.int64, torch.bool]
    assert kinds == [torch.int64, torch.float32, torch.int64]


def test_the_default_type_is_looked_at() -> None:
    ran: dict[Any, Any] = {}
    whole = torch.ones(3, dtype=torch.int64, device="meta")
    before = torch.get_default_dtype()
    try:
        with Operations(ran):
            assert (whole / 2).dtype == torch.float32
            torch.set_default_dtype(torch.float64)
            assert (whole / 2).dtype == torch.float64
    finally:
        torch.set_default_dtype(before)


def test_numbers_on_other_devices_are_computed() -> None:
    with Operations({}):
        sums = [torch.tensor([1.0, 2.0]) + torch.tensor([each, each]) for each in (1.0, 3.0)]
    assert [each.tolist() for each in sums] == [[2.0, 3.0], [4.0, 5.0]]


def test_errors_are_raised_each_time() -> None:
    wrong = nn.Linear(5, 3, device="meta")
    messages = []
    for _ in range(2):
        with Operations({}), pytest.raises(RuntimeError) as caught:
            wrong(X)
        messages.append(str(caught.value))
    with pytest.raises(RuntimeError) as caught:
        wrong(X)
    assert messages == [str(caught.value)] * 2


@pytest.mark.parametrize("model", ["swin", "resnet18", "lstm_language", "transformer"])
def test_costs_are_those_of_a_model_whose_operations_all_run(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = compose([f"model={model}"])
    facts = example_of(composed)
    costs = measure(plan(composed, facts))

    def run(
        self: Operations, operation: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        return operation(*arguments, **keywords)

    monkeypatch.setattr(Operations, "run", run)
    assert measure(plan(composed, facts)) == costs
