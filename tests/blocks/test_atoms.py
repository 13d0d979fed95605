"""Atoms: functions of each number, choices by number, and values that do not come from an input."""

import math

import pytest
import torch

from blocks.combine import (
    Abs,
    Arange,
    ArgMax,
    Compare,
    Constant,
    Cos,
    Divide,
    Exp,
    Gather,
    Log,
    Maximum,
    Minimum,
    Parameter,
    Power,
    Random,
    Sin,
    StopGradient,
    TopK,
    Where,
)
from blocks.errors import BlockError
from blocks.graph import Composed, plan
from blocks.graph.run.incremental import IncrementalModel
from blocks.graph.run.verify_incremental import verify_incremental
from blocks.support.decode_cache import DecodeCache
from tests.graph.test_emit_atoms import ATOMS

BATCH, TOKENS, DIM = 2, 7, 5
SHAPE = {"tokens": TOKENS, "dim": DIM}


def draw(*shape):
    return torch.randn(shape or (BATCH, TOKENS, DIM), dtype=torch.float64)


def make(graph, **inputs):
    return plan(Composed({"model": {"inputs": inputs or {"x": SHAPE}, "graph": graph}}), {})


@pytest.mark.parametrize(
    ("block", "formula"),
    [
        (Abs(), abs),
        (Exp(), math.exp),
        (Log(), math.log),
        (Sin(), math.sin),
        (Cos(), math.cos),
        (Power(3), lambda x: x**3),
        (Power(0.5), math.sqrt),
        (Power(-1), lambda x: 1 / x),
    ],
)
def test_functions_are_those_of_python(block, formula):
    x = draw().abs() + 0.1
    expected = torch.tensor([formula(number) for number in x.flatten().tolist()]).view_as(x)
    torch.testing.assert_close(block(x), expected.double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("block", "formula"),
    [(Divide(), torch.div), (Maximum(), torch.maximum), (Minimum(), torch.minimum)],
)
def test_two_inputs_are_combined_and_sizes_of_one_are_stretched(block, formula):
    a, b = draw(), draw(BATCH, 1, DIM)
    assert torch.equal(block(a, b), formula(a, b))


def test_the_largest_and_smallest_of_masks_are_or_and_and():
    a, b, c = (draw() > 0 for _ in range(3))
    assert torch.equal(Maximum()(a, b, c), a | b | c)
    assert torch.equal(Minimum()(a, b, c), a & b & c)


@pytest.mark.parametrize(
    ("relation", "holds"),
    [
        ("less", [True, False, False]),
        ("at_most", [True, True, False]),
        ("equal", [False, True, False]),
        ("unequal", [True, False, True]),
        ("at_least", [False, True, True]),
        ("greater", [False, False, True]),
    ],
)
def test_relations_hold_between_inputs_and_with_a_number(relation, holds):
    a, b = torch.tensor([[1.0, 2.0, 3.0]]), torch.full((1, 3), 2.0)
    assert Compare(relation)(a, b).tolist() == [holds]
    assert Compare(relation, to=2)(a).tolist() == [holds]


def test_where_chooses_and_its_gradient_reaches_what_was_chosen_only():
    a, b = draw().requires_grad_(), draw().requires_grad_()
    condition = draw(BATCH, TOKENS, 1) > 0
    chosen = Where()(condition, a, b)
    assert torch.equal(chosen, torch.where(condition, a, b))
    chosen.sum().backward()
    assert torch.equal(a.grad, condition.expand_as(a).double())
    assert torch.equal(b.grad, (~condition).expand_as(b).double())


def test_no_gradient_passes_a_stop():
    x = draw().requires_grad_()
    out = StopGradient()(x)
    assert torch.equal(out, x)
    (x * out).sum().backward()
    assert torch.equal(x.grad, x.detach())


def test_the_largest_are_found_and_gathered():
    x = draw()
    values, indices = TopK(3, axis=1)(x)
    expected = x.sort(dim=1, descending=True)
    assert torch.equal(values, expected.values[:, :3])
    assert torch.equal(Gather()(x, indices), values)
    least, _ = TopK(2, largest=False)(x)
    assert torch.equal(least, x.sort(dim=-1).values[..., :2])
    assert torch.equal(ArgMax(1)(x), indices[:, 0])


def test_whole_tokens_are_gathered_for_each_example():
    x, index = draw(), torch.tensor([[6, 0, 3], [1, 1, 5]])
    found = Gather()(x, index)
    for row in range(BATCH):
        assert torch.equal(found[row], x[row, index[row]])
    index = torch.randint(DIM, (BATCH, TOKENS, 3))
    assert torch.equal(Gather(-1)(x, index), torch.take_along_dim(x, index, dim=-1))


def test_values_have_a_batch_of_one_or_that_of_an_input():
    like = draw()
    for block in (Constant([3, 2]), Parameter([3, 2]), Random([3, 2]), Random([3, 2], seed=5)):
        alone, beside = block(), block(like)
        assert alone.shape == (1, 3, 2)
        assert beside.shape == (BATCH, 3, 2)
    assert Arange(4)().tolist() == [[0, 1, 2, 3]]
    assert Arange()(like).tolist() == [list(range(TOKENS))] * BATCH
    assert (
        Arange(axis=2, start=1, step=0.5, kind="float")(like).tolist()
        == [[1, 1.5, 2, 2.5, 3]] * BATCH
    )


def test_a_constant_is_one_number_or_all_of_them_row_by_row():
    assert Constant([2, 3], 0.5)().tolist() == [[[0.5] * 3] * 2]
    assert Constant([2, 3], [1, 2, 3, 4, 5, 6], kind="int")().tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert Constant([2], 1, kind="bool")().tolist() == [[True, True]]


def test_parameters_start_as_stated():
    assert Parameter([3], "zeros").value.tolist() == [0, 0, 0]
    assert Parameter([3], "ones").value.tolist() == [1, 1, 1]
    assert Parameter([3], 2).value.tolist() == [2, 2, 2]
    eye = Parameter([2, 3, 3], "eye").value
    assert torch.equal(eye, torch.eye(3).expand(2, 3, 3))
    torch.manual_seed(0)
    normal = Parameter([101, 103], deviation=0.3).value
    assert abs(float(normal.detach().std()) - 0.3) < 0.01
    assert abs(float(normal.detach().mean())) < 0.01


def test_noise_is_drawn_in_training_and_is_its_mean_otherwise():
    for name, mean, deviation in (("normal", 0, 1), ("uniform", 0.5, 12**-0.5)):
        block, like = Random([101, 11], name), draw()
        torch.manual_seed(3)
        noise = block(like)
        assert not torch.equal(noise[0], noise[1])
        assert abs(float(noise.mean()) - mean) < 0.1
        assert abs(float(noise.std()) - deviation) < 0.1
        after = torch.get_rng_state()
        assert not torch.equal(block(like), noise)
        torch.set_rng_state(after)
        again = block(like)
        torch.set_rng_state(after)
        assert torch.equal(block(like), again)
        assert torch.equal(block.eval()(like), torch.full_like(noise, mean))
        assert not list(block.state_dict())


def test_fixed_numbers_depend_on_the_seed_alone_and_are_saved():
    torch.manual_seed(1)
    first = Random([3, 4], seed=7)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second, other = Random([3, 4], seed=7), Random([3, 4], seed=8)
    assert torch.equal(torch.get_rng_state(), state)  # the run's numbers stay what they are
    assert torch.equal(first(), second())
    assert torch.equal(first.eval()(), second())
    assert not torch.equal(first(), other())
    assert list(first.state_dict()) == ["value"]
    assert not list(first.parameters())


def test_a_value_is_on_the_device_and_of_the_type_of_the_model():
    graph = {
        "place": {"block": "Arange", "kind": "float"},
        "one": {"block": "Constant", "shape": [1], "value": 1.0, "in": []},
        "sum": {"block": "Add", "in": ["place", "one"]},
    }
    model = make(graph).materialise().double()
    found = model(x=draw())
    assert found.dtype == torch.float64
    assert found.tolist() == [[1.0, 2, 3, 4, 5, 6, 7]] * BATCH
    assert model.to("meta")(x=draw().to("meta")).is_meta


def test_axes_of_a_value_have_the_names_of_its_shape():
    graph = {
        "registers": {"block": "Parameter", "shape": {"tokens": 4, "dim": "x.dim"}, "in": "x"},
        "join": {"block": "Concat", "in": ["registers", "x"], "axis": 1},
        "claim": {"block": "Identity", "expect": {"shape": ["batch", 11, DIM]}},
        "position": {"block": "Arange", "in": "join"},
        "table": {"block": "Embedding", "vocab": "position.tokens", "dim": "registers.dim"},
        "sum": {"block": "Add", "in": ["claim", "table"]},
    }
    built = make(graph)
    assert built.materialise()(x=torch.randn(BATCH, TOKENS, DIM)).shape == (BATCH, 11, DIM)


def test_a_causal_mask_of_positions_is_that_of_attention():
    """Queries are rows, keys are columns: each query takes part with keys not after it."""
    x = draw()
    row, column = Arange()(x)[:, :, None], Arange()(x)[:, None, :]
    mask = Compare("at_least")(row, column)
    assert torch.equal(mask, torch.ones(TOKENS, TOKENS).tril().bool().expand_as(mask))


def test_positions_continue_in_decoding():
    cache, found = DecodeCache(TOKENS), []
    block = Arange(start=2, step=3)
    for tokens in (3, 1, 3):
        found.append(block.step(cache, torch.zeros(BATCH, tokens)))
        cache.seen += tokens
    assert torch.equal(torch.cat(found, dim=1), block(torch.zeros(BATCH, TOKENS)))
    fixed = Arange(4).step(cache, torch.zeros(BATCH, 1))
    assert fixed.tolist() == [[0, 1, 2, 3]] * BATCH


def test_a_decoder_whose_positions_are_composed_decodes_with_a_cache():
    graph = {
        "token": {"block": "Embedding", "dim": DIM},
        "place": {"block": "Arange", "in": "x"},
        "table": {"block": "Embedding", "vocab": TOKENS, "dim": DIM},
        "scale": {"block": "Parameter", "shape": [1, 1], "start": 0.5, "in": []},
        "scaled": {"block": "Multiply", "in": ["table", "scale"]},
        "sum": {"block": "Add", "in": ["token", "scaled"]},
        "mix": {"block": "SelfAttention", "heads": 1, "causal": True},
    }
    built = make(graph, x={"tokens": TOKENS, "dtype": "int", "vocab": 11})
    model = built.materialise().double().eval()
    ids = torch.randint(11, (4, TOKENS))
    verify_incremental(IncrementalModel(model, ["x"]), {}, {"x": ids})


@pytest.mark.slow  # torch.export takes seconds
@pytest.mark.parametrize("name", ["functions", "values", "einops", "attend", "spectrum"])
def test_atoms_are_exported_for_any_batch(name):
    """Sizes are symbols there, which a check must not settle."""
    inputs, graph = ATOMS[name]
    model = make(graph, **inputs).materialise().eval()
    small, large = {}, {}
    for key, fact in inputs.items():
        small[key], large[key] = torch.randn(3, *fact.values()), torch.randn(5, *fact.values())
    axis = torch.export.Dim("batch")
    axes = {key: {0: axis} for key in inputs}
    program = torch.export.export(model, (), small, dynamic_shapes=axes).module()
    torch.testing.assert_close(program(**large), model(**large), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: Divide()(draw()),
            "division takes two inputs; got 1 inputs; fits: in: [a, b] for a / b",
        ),
        (
            lambda: Compare("below"),
            "relation is not known; got relation=below; "
            "fits: relation in less, at_most, equal, unequal, at_least, greater",
        ),
        (
            lambda: Compare("less")(draw()),
            "a value is compared with a second input or with a number; got 1 inputs, to=None; "
            "fits: in: [a, b], or in: a with to: 0.5",
        ),
        (
            lambda: Compare("less", to=1)(draw(), draw()),
            "a value is compared with a second input or with a number; got 2 inputs, to=1; "
            "fits: in: [a, b], or in: a with to: 0.5",
        ),
        (
            lambda: Where()(draw(2, 3) > 0, draw(2, 3), draw(2, 4)),
            "shapes to choose from must agree; got inputs 1 to 2 (2, 3), input 3 (2, 4); "
            "fits: as many axes, on each the same size or 1",
        ),
        (
            lambda: TopK(6)(draw()),
            "count must not exceed the axis; got count=6, axis -1 of size 5; fits: count in 1..5",
        ),
        (
            lambda: ArgMax(3)(draw()),
            "there is no such axis; got axis=3, 3 axes; fits: axis in -3..2",
        ),
        (
            lambda: Gather()(draw(), torch.zeros(3, 1, dtype=torch.long)),
            "the index has the axes of x up to the one where it chooses; "
            "got x (2, 7, 5), index (3, 1), axis=1; "
            "fits: 1 to 3 axes; all but axis 1 of the same size",
        ),
        (
            lambda: Parameter([]),
            "shape must have axes of size 1 or more, without the batch; got shape=[]; fits: [4, 64]"
            " or {tokens: 4, dim: 64}; [1, 1] for one number beside (batch, tokens, dim)",
        ),
        (
            lambda: Parameter([3], "eye"),
            "an identity has two axes or more; got shape=[3]; fits: shape: [8, 8]",
        ),
        (
            lambda: Parameter([3], "uniform"),
            "start is not known; got start=uniform; fits: zeros, ones, normal, eye, a number",
        ),
        (
            lambda: Constant([2, 2], [1, 2, 3]),
            "value must be one number, or one for each element of the shape; "
            "got 3 numbers, shape=[2, 2]; fits: 1 or 4 numbers",
        ),
        (
            lambda: Arange()(),
            "the number of places must be given, or those of an axis of the input; got no input; "
            "fits: length: 16, or in: NODE with that axis",
        ),
        (
            lambda: Arange(3, step=0.5),
            "start and step must be whole where the numbers are; got start=0, step=0.5, kind=int; "
            "fix: kind: float",
        ),
        (
            lambda: Random([3], seed=-1),
            "seed must not be negative; got seed=-1; fits: seed=0 or more",
        ),
        (
            lambda: Random([3], "gamma"),
            "distribution is not known; got distribution=gamma; fits: normal, uniform",
        ),
    ],
)
def test_mistakes_are_told(wrong, message):
    with pytest.raises(BlockError) as error:
        wrong()
    assert str(error.value) == message


def test_one_place_of_each_example_is_gathered_without_its_axis():
    x, scores = torch.randn(2, 3, 5), torch.randn(2, 3)
    found = Gather()(x, ArgMax()(scores))
    for example in range(2):
        assert torch.equal(found[example], x[example, int(scores[example].argmax())])
