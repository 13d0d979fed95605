"""Axes reduced and repeated, compared with einops."""

import einops
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.errors import BlockError
from blocks.graph import Composed, plan
from blocks.rearrange import Reduce, Repeat

REDUCED = [  # pattern, sizes, shape of the input
    ("b t d -> b d", {}, (2, 7, 5)),
    ("b t d -> d b", {}, (2, 7, 5)),
    ("b t d -> b 1 d", {}, (2, 7, 5)),
    ("b (t r) d -> b d t", {"r": 3}, (2, 15, 5)),
    ("b (h d) (r t) -> (b t) d", {"h": 3, "r": 2}, (2, 15, 14)),
    ("b ... d -> d b", {}, (2, 3, 7, 5)),
    ("... d -> ...", {}, (2, 3, 7, 5)),
    ("b 1 d -> b", {}, (2, 1, 5)),
    ("b (2 3) d -> b d", {}, (2, 6, 5)),
    ("b d -> b d", {}, (2, 5)),
    ("b t d ->", {}, (2, 7, 5)),
]
REPEATED = [
    ("b d -> b t d", {"t": 3}, (2, 5)),
    ("b d -> b (d r)", {"r": 3}, (2, 5)),
    ("b d -> b (r d)", {"r": 3}, (2, 5)),
    ("b d -> d 2 b 3", {}, (2, 5)),
    ("b (h d) -> b d r h", {"h": 3, "r": 2}, (2, 15)),
    ("b ... -> b r ...", {"r": 3}, (2, 7, 5)),
    ("b 1 d -> (r b) d", {"r": 3}, (2, 1, 5)),
    ("b h w -> b (h r) (w s)", {"r": 2, "s": 3}, (2, 7, 5)),
]


@pytest.mark.parametrize(("pattern", "sizes", "shape"), REDUCED)
@pytest.mark.parametrize("operation", ["mean", "sum", "max", "min", "prod"])
def test_reductions_are_those_of_einops(pattern, sizes, shape, operation):
    x = torch.randn(shape, dtype=torch.float64)
    found = Reduce(pattern, operation, sizes=sizes)(x)
    expected = einops.reduce(x, pattern, operation, **sizes)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("pattern", "sizes", "shape"), REPEATED)
def test_repetitions_are_those_of_einops(pattern, sizes, shape):
    x = torch.randn(shape)
    assert torch.equal(Repeat(pattern, sizes)(x), einops.repeat(x, pattern, **sizes))


@given(rows=st.integers(1, 5), wide=st.integers(1, 5), times=st.integers(1, 4))
@settings(deadline=None, max_examples=20)
def test_the_mean_of_what_was_repeated_is_what_it_was(rows, wide, times):
    x = torch.randn(2, rows, wide, dtype=torch.float64)
    repeated = Repeat("b h w -> b (h r) w", {"r": times})(x)
    back = Reduce("b (h r) w -> b h w", sizes={"r": times})(repeated)
    torch.testing.assert_close(back, x, rtol=1e-12, atol=0)


def test_of_masks_the_largest_is_any_and_the_smallest_all():
    mask = torch.randn(2, 7, 5) > 0
    assert torch.equal(Reduce("b t d -> b d", "max")(mask), mask.any(1))
    assert torch.equal(Reduce("b t d -> b d", "min")(mask), mask.all(1))


def test_a_new_axis_is_a_view():
    x = torch.randn(2, 5)
    assert Repeat("b d -> b t d", {"t": 100})(x).data_ptr() == x.data_ptr()


def test_axes_have_the_names_of_the_pattern():
    graph = {
        "less": {"block": "Reduce", "pattern": "b (t r) d -> b t d", "sizes": {"r": 2}},
        "linear": {"block": "Linear", "features": "2 * less.tokens"},
        "more": {
            "block": "Repeat",
            "pattern": "b t d -> b t heads d",
            "sizes": {"heads": "linear.dim"},
        },
        "claim": {"block": "Identity", "expect": {"shape": ["batch", 3, 6, 6]}},
    }
    config = {"inputs": {"x": {"tokens": 6, "dim": 5}}, "graph": graph}
    plan(Composed({"model": config}), {})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: Reduce("b t d -> b d", "median"),
            "operation is not known; got operation=median; fits: mean, sum, max, min, prod",
        ),
        (
            lambda: Reduce("b t -> b d"),
            "einops cannot read the pattern; got Error while preparing Reduce('b t -> b d', 'mean')"
            " Unexpected identifiers on the right side of reduce mean: {'d'}",
        ),
        (
            lambda: Repeat("b d -> b t d"),
            "einops cannot read the pattern; got Error while processing repeat-reduction pattern",
        ),
        (
            lambda: Reduce("b (t r) -> b t", sizes={"r": 4})(torch.zeros(2, 7)),
            "the input does not match the pattern; got Error while processing mean-reduction",
        ),
        (
            lambda: Repeat("b d -> b t d", {"t": 3})(torch.zeros(2, 7, 5)),
            "the input does not match the pattern; got Error while processing repeat-reduction",
        ),
        (
            lambda: Reduce("b 1 d -> b d")(torch.zeros(2, 7, 5)),
            "the input does not match the pattern; got Error while processing mean-reduction",
        ),
    ],
)
def test_mistakes_are_told(wrong, message):
    with pytest.raises(BlockError) as error:
        wrong()
    assert str(error.value).startswith(message)
