"""What a model costs: multiply-adds against formulas written by hand, memory against what autograd
keeps.
"""

import gc
from collections.abc import Sequence
from math import prod

import pytest
import torch
from torch import Tensor, nn

from blocks.graph import build, compose, plan
from blocks.graph.compose.facts import example_of
from blocks.graph.describe import cost
from blocks.graph.describe.cost import Cost, measure, multiply_adds
from tests.graph.families import FAMILIES

TOKENS, VOCAB = 12, 101
TEXT = {
    name: {"tokens": TOKENS, "dtype": "int", "vocab": VOCAB}
    for name in ("tokens", "source", "target")
}
FACTS = {**TEXT, "vocab": VOCAB, "classes": 5}


def costs(*overrides: str, facts: dict | None = None) -> dict[str, Cost]:
    return measure(plan(compose(overrides), facts))


def of_dictionary(graph: dict, **inputs: object) -> dict[str, Cost]:
    from blocks.graph import Composed

    return measure(plan(Composed({"model": {"inputs": inputs, "graph": graph}})))


# Equal bodies -------------------------------------------------------------------------------------


class OneByOne(cost.EqualBodies):
    """Knows no body that is equal to another."""

    def ask(self, *_: object) -> None:
        return None


@pytest.mark.parametrize("model", FAMILIES)
def test_equal_bodies_cost_what_they_cost_one_by_one(model, monkeypatch):
    composed = compose([f"model={model}"])
    planned = plan(composed, example_of(composed))
    found = measure(planned)
    monkeypatch.setattr(cost, "EqualBodies", OneByOne)
    assert found == measure(planned)
    assert list(found) == list(measure(planned))


# Formulas -----------------------------------------------------------------------------------------


def attention(tokens: int, seen: int, dim: int) -> int:
    """Queries, keys, values, both products, the output."""
    return 4 * tokens * dim**2 + 2 * tokens * seen * dim


def vit(dim: int, depth: int) -> int:
    tokens = 14 * 14 + 1
    layer = attention(tokens, tokens, dim) + 2 * tokens * dim * 4 * dim
    return 14 * 14 * dim * 3 * 16 * 16 + depth * layer + dim * 1000


def swin(dim: int, depths: Sequence[int]) -> int:
    total = 56 * 56 * dim * 3 * 4 * 4
    for stage, depth in enumerate(depths):
        tokens, width = (56 // 2**stage) ** 2, dim * 2**stage
        total += (
            tokens * 2 * width * width if stage else 0
        )  # four tokens of half the width become one
        total += depth * (attention(tokens, 7 * 7, width) + 2 * tokens * width * 4 * width)
    return total + 8 * dim * 1000


def resnet(depths: Sequence[int]) -> int:
    total, before = 112 * 112 * 64 * 3 * 7 * 7, 64
    for stage, depth in enumerate(depths):
        side, width = 56 // 2**stage, 64 * 2**stage
        for unit in range(depth):
            first = (
                side * 2 if stage and not unit else side
            )  # the stride is in the convolution of 3x3
            total += (
                first**2 * before * width
                + side**2 * width * width * 9
                + side**2 * width * 4 * width
            )
            total += side**2 * before * 4 * width if not unit else 0
            before = 4 * width
    return total + 2048 * 1000


def recurrence(gates: int, dim: int, hidden: int, layers: int, directions: int = 1) -> int:
    widths = [dim] + [hidden * directions] * (layers - 1)
    return TOKENS * sum(directions * gates * hidden * (width + hidden) for width in widths)


@pytest.mark.parametrize(
    ("model", "formula", "published"),
    [
        ("vit_b16", vit(768, 12), 17.6),
        ("swin_t", swin(96, (2, 2, 6, 2)), 4.5),
        ("resnet50", resnet((3, 4, 6, 3)), 4.1),
    ],
)
def test_multiply_adds_equal_the_formula_and_the_paper(model, formula, published):
    counted = costs(f"model={model}", "data=imagenet")[""].macs
    assert counted == formula
    assert round(counted / 1e9, 1) == published


@pytest.mark.parametrize(("model", "gates"), [("lstm", 4), ("gru", 3), ("rnn", 1)])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_recurrence_costs_its_weights_once_a_token(model, gates, layers):
    counted = costs(f"model={model}", f"model.params.depth={layers}", facts=FACTS)
    assert counted["recurrence"].macs == recurrence(gates, 64, 128, layers)
    assert counted[""].macs == recurrence(gates, 64, 128, layers) + 128 * 5


def test_both_directions_cost():
    x = {"tokens": TOKENS, "dim": 7}
    found = of_dictionary(
        {"both": {"block": "LSTM", "hidden": 3, "layers": 2, "bidirectional": True}}, x=x
    )
    assert found[""].macs == recurrence(4, 7, 3, 2, directions=2)


LINEAR = {"block": "Linear", "features": 5}
STEP = {
    "from_input": {**LINEAR, "in": "x"},
    "from_state": {**LINEAR, "in": "hidden"},
    "sum": {"block": "Add", "in": ["from_input", "from_state"]},
    "next": {"block": "Tanh"},
}
SCAN = {
    "scan": {"axis": "tokens", "state": {"hidden": 5}},
    "body": STEP,
    "outputs": {"hidden": "next"},
}


def test_a_scan_costs_as_much_as_its_steps():
    found = of_dictionary({"recurrence": SCAN}, x={"tokens": TOKENS, "dim": 7})
    assert found["recurrence"].macs == recurrence(1, 7, 5, 1)
    assert found["recurrence.from_state"].macs == TOKENS * 25


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_fused_and_written_out_attention_cost_the_same(weights, kv_heads):
    node = {"block": "SelfAttention", "heads": 6, "kv_heads": kv_heads, "return_weights": weights}
    dim, tokens = 18, 11
    found = of_dictionary({"attention": node}, x={"tokens": tokens, "dim": dim})
    narrow = 2 * tokens * dim * dim * kv_heads // 6  # keys and values
    assert found[""].macs == 2 * tokens * dim * dim + narrow + 2 * tokens * tokens * dim


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 3])
def test_a_convolution_costs_its_kernel_at_every_place(stride, groups):
    node = {
        "block": "Conv2d",
        "features": 6,
        "kernel": 3,
        "stride": stride,
        "padding": 1,
        "groups": groups,
    }
    found = of_dictionary({"conv": node}, x={"channels": 9, "height": 14, "width": 10})
    assert found[""].macs == (14 // stride) * (10 // stride) * 6 * 9 // groups * 9


def test_a_shared_node_costs_at_each_place():
    graph = {"first": {"block": "Linear", "features": 7}, "again": {"share": "first"}}
    found = of_dictionary(graph, x={"dim": 7})
    assert (found["first"].macs, found["again"].macs, found[""].macs) == (49, 49, 98)


@pytest.mark.parametrize("model", ["vit", "swin", "cat", "cnn", "unet"])
def test_counting_with_a_memory_counts_the_same(model):
    planned, known = plan(compose([f"model={model}"])), {}
    assert (
        multiply_adds(planned, known) == multiply_adds(planned, known) == measure(planned)[""].macs
    )


# Memory -------------------------------------------------------------------------------------------


def kept(model: nn.Module, *inputs: Tensor) -> int:
    """Bytes that autograd keeps of one real step, weights apart."""
    weights = {
        each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())
    }
    seen: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model(*inputs)
    assert out is not None
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


@pytest.mark.parametrize(
    "overrides", [["mlp"], ["cnn"], ["unet"], ["vit"], ["vit", "mlp=swiglu"]], ids=" ".join
)
def test_memory_is_what_autograd_keeps(overrides):
    name, *more = overrides
    facts = {"image": {"channels": 1, "height": 16, "width": 16}, "classes": 10}
    model = build(name, overrides=more, facts=facts)
    found = costs(f"model={name}", *(f"model/{each}" for each in more), facts=facts)
    assert found[""].memory == kept(model, torch.randn(1, 1, 16, 16))


def test_nothing_is_held_of_a_model_that_was_measured():
    """An operation that saves its own output would hold itself by what autograd is given."""
    costs("model=vit", "model.params.depth=1", "data=digits")
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is cost.Accounts]


def test_memory_of_a_scan_is_that_of_its_steps():
    model = {
        "inputs": {"x": {"tokens": TOKENS, "dim": 7}},
        "graph": {"recurrence": SCAN, "head": LINEAR},
    }
    found = of_dictionary(model["graph"], **model["inputs"])
    assert found[""].memory == kept(build(model), torch.randn(1, TOKENS, 7))


def test_a_node_costs_what_is_inside_it():
    planned = plan(compose(["model=swin"]))
    found, waiting = measure(planned), list(planned.nodes)
    while waiting:
        row = waiting.pop()
        waiting += row.children
        if row.children:
            inside = [found[child.path] for child in row.children if child.path in found]
            assert found[row.path].macs == sum(cost.macs for cost in inside)
            assert found[row.path].memory == sum(cost.memory for cost in inside)


# Receptive field ----------------------------------------------------------------------------------


def test_the_receptive_field_of_resnet_50():
    found = costs("model=resnet50", "data=imagenet")
    paths = ["stem", "pool", *(f"stages.{stage}" for stage in range(4))]
    assert [str(found[path].field) for path in paths] == ["7", "11", "35", "91", "267", "427"]


@pytest.mark.parametrize("kernels", [(3, 5), (5, 3, 1, 3)])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_receptive_field_is_where_a_gradient_arrives(kernels, stride):
    graph = {
        f"c{i}": {
            "block": "Conv2d",
            "features": 2,
            "kernel": k,
            "stride": stride,
            "padding": k // 2,
        }
        for i, k in enumerate(kernels)
    }
    facts = {"channels": 1, "height": 96, "width": 96}
    field = of_dictionary(graph, x=facts)[f"c{len(kernels) - 1}"].field
    x = torch.randn(1, 1, 96, 96, requires_grad=True)
    out = build({"inputs": {"x": facts}, "graph": graph})(x)
    out[0, :, out.shape[2] // 2, out.shape[3] // 2].sum().backward()
    assert x.grad is not None
    reached = (x.grad != 0).nonzero()[:, 2:]
    assert field is not None
    assert field.size == tuple((reached.max(0).values - reached.min(0).values + 1).tolist())


def test_what_looks_everywhere_ends_the_field():
    found = costs("model=vit")
    assert [path for path, cost in found.items() if cost.field] == ["patch"]
    assert prod(found["patch"].field.size) == 4
