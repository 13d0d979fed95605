"""Each rule for the shapes that an operation gives agrees with torch, or leaves it to torch."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from blocks.graph.record.shape_rules import RULES, infer_layouts

aten = torch.ops.aten
SHAPES = [(), (1,), (7,), (1, 1), (3, 1), (1, 5), (3, 5), (2, 1, 5), (2, 3, 5, 7), (2, 1, 1, 1)]
Call = tuple[tuple[Any, ...], dict[str, Any]]


def make_inputs(shapes: list[tuple[int, ...]] = SHAPES) -> Iterator[Tensor]:
    """Tensors in row-major order, and such as no rule may cover."""
    for shape in shapes:
        yield torch.empty(shape, device="meta")
    yield torch.empty(5, 3, device="meta").t()
    yield torch.empty(6, 5, device="meta")[::2]
    yield torch.empty(1, 5, device="meta").expand(3, 5)
    yield torch.empty(3, 5, device="meta", dtype=torch.float16)
    yield torch.empty(3, 5, device="meta", dtype=torch.int64)
    yield torch.empty(3, 0, device="meta")
    yield torch.empty(2, 3, 5, 7, device="meta").to(memory_format=torch.channels_last)


def call_unary(**keywords: Any) -> Iterator[Call]:
    for x in make_inputs():
        yield (x,), keywords


def call_gelu() -> Iterator[Call]:
    yield from call_unary()
    for approximate in ("none", "tanh", "cubic"):
        yield from call_unary(approximate=approximate)


def call_pairs() -> Iterator[Call]:
    for left, right in product(make_inputs(), [*make_inputs(), 2, 0.5]):
        yield (left, right), {}


def call_add() -> Iterator[Call]:
    yield from call_pairs()
    yield (torch.empty(3, 5, device="meta"), torch.empty(3, 5, device="meta")), {"alpha": 2}


def call_scale() -> Iterator[Call]:
    for x, number in product(make_inputs(), (2, 0.5, True)):
        yield (x, number), {}


def call_addmm() -> Iterator[Call]:
    biases = [(), (1,), (7,), (3, 7), (5,)]
    matrices = [(3, 5), (1, 5), (5, 7), (5, 1), (1, 1), (7,), (2, 3, 5)]
    for bias, rows, columns in product(
        make_inputs(biases), make_inputs(matrices), make_inputs(matrices)
    ):
        yield (bias, rows, columns), {}
    weight = torch.empty(7, 5, device="meta").t()
    x, bias = torch.empty(3, 5, device="meta"), torch.empty(7, device="meta")
    yield (bias, x, weight), {}
    yield (bias, x.t(), weight), {"beta": 2}


def call_layer_norm() -> Iterator[Call]:
    weights = [None, *make_inputs([(7,), (5, 7), (5,), (1,)])]
    for x, normalized, weight in product(make_inputs(), ([], [7], [5, 7], [5], [1]), weights):
        for bias in (None, weight):
            yield (x, normalized, weight, bias, 1e-5), {}


def call_roll() -> Iterator[Call]:
    for x, shifts, axes in product(
        make_inputs(), ([1], [-2, 3], [0], []), ([], [0], [-1], [0, 1], [1, 1], [2, -5])
    ):
        yield (x, shifts, axes), {}


CALLS: dict[Any, Callable[[], Iterator[Call]]] = {
    aten.add.Tensor: call_add,
    aten.addmm.default: call_addmm,
    aten.gelu.default: call_gelu,
    aten.mul.Scalar: call_scale,
    aten.mul.Tensor: call_pairs,
    aten.native_layer_norm.default: call_layer_norm,
    aten.roll.default: call_roll,
}


def find_layouts(result: Any) -> Any:
    if isinstance(result, tuple):
        return list(map(find_layouts, result))
    assert not result.storage_offset()
    assert result.untyped_storage().nbytes() == result.numel() * result.element_size()
    return tuple(result.shape), result.stride(), result.dtype


def test_every_rule_is_tested() -> None:
    assert CALLS.keys() == RULES.keys()


@pytest.mark.parametrize("operation", CALLS, ids=str)
def test_layouts_are_those_of_torch(operation: Any) -> None:
    covered = left = 0
    for arguments, keywords in CALLS[operation]():
        layouts = infer_layouts(operation, arguments, keywords)
        if layouts is None:
            left += 1
            continue
        covered += 1
        result = operation(*arguments, **keywords)
        assert find_layouts(result) == layouts, (arguments, keywords)
        storages = {each.untyped_storage()._cdata for each in arguments if isinstance(each, Tensor)}
        for each in (result,) if isinstance(result, Tensor) else result:
            assert each.untyped_storage()._cdata not in storages
    assert covered > 3
    assert left > 3


def test_other_operations_are_left_to_torch() -> None:
    assert infer_layouts(aten.relu.default, (torch.empty(3, device="meta"),), {}) is None
