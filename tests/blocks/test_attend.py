"""The core of composed attention, against products and a softmax written out as nodes."""

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from blocks.attention import Attend, SelfAttention
from blocks.combine import MatMul
from blocks.errors import BlockError
from blocks.graph import Composed, ConfigError, inspect_attention, plan
from blocks.graph.describe.cost import measure
from blocks.graph.run.incremental import IncrementalModel
from blocks.graph.run.verify_incremental import verify_incremental
from blocks.position import ALiBi
from blocks.support.decode_cache import DecodeCache, StepError

BATCH, HEADS, QUERIES, KEYS, WIDTH, VALUE = 2, 4, 5, 7, 6, 3
FAR = -torch.inf
ROOT = Path(__file__).parents[2]
PIECES = ((0, 3), (3, 5), (5, 6), (6, 7))
SELF = {
    "plain": {},
    "scaled": {"scale": 0.7},
    "window": {"window": 3},
    "capped": {"soft_cap": 1.5},
    "sinks": {"sinks": True},
    "slopes": {"position_bias": ALiBi(HEADS)},
    "weights": {"return_weights": True, "window": 2},
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def heads(queries=QUERIES, keys=KEYS, kv_heads=HEADS):
    def draw(*shape):
        return torch.randn(BATCH, *shape, dtype=torch.float64, requires_grad=True)

    q, k = draw(HEADS, queries, WIDTH), draw(kv_heads, keys, WIDTH)
    return q, k, draw(kv_heads, keys, VALUE)


def write_out(q, k, v, mask=None, scale=WIDTH**-0.5, soft_cap=None):
    """The nodes that composed attention had before."""
    scores = MatMul(transpose=True)(q, k) * scale
    if soft_cap is not None:
        scores = soft_cap * torch.tanh(scores / soft_cap)
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros_like(scores).masked_fill(~mask, FAR)
    if mask is not None:
        scores = scores + mask
    return MatMul()(nn.Softmax(-1)(scores), v)


def near(found, wanted, bound=1e-12):
    torch.testing.assert_close(found, wanted, rtol=0, atol=bound)


def masks():
    seen = torch.rand(BATCH, 1, QUERIES, KEYS) > 0.3
    seen[..., 0] = True
    places = torch.arange(KEYS)
    late = places >= KEYS - QUERIES + torch.arange(QUERIES)[:, None] + 1
    return {
        "none": ({}, None, None),
        "boolean": ({}, seen, seen),
        "added": ({}, *[torch.randn(BATCH, HEADS, QUERIES, KEYS, dtype=torch.float64)] * 2),
        "for each head": ({}, *[torch.randn(HEADS, QUERIES, KEYS, dtype=torch.float64)] * 2),
        "causal": ({"causal": True}, None, ~late),
        "scaled": ({"scale": 0.9}, seen, seen),
        "capped": ({"soft_cap": 1.1}, seen, seen),
    }


@pytest.mark.parametrize("kv_heads", [HEADS, 2, 1])
@pytest.mark.parametrize("name", masks())
def test_attention_and_its_gradients_are_those_of_products_and_a_softmax(name, kv_heads):
    options, mask, written = masks()[name]
    q, k, v = heads(kv_heads=kv_heads)
    repeated = [part.repeat_interleave(HEADS // kv_heads, dim=1) for part in (k, v)]
    wanted = write_out(q, *repeated, mask=written, **{"scale": WIDTH**-0.5} | without(options))
    found = Attend(HEADS, **options).double()(q, k, v, mask)
    near(found, wanted)
    direction = torch.randn_like(found)
    ours = torch.autograd.grad((found * direction).sum(), (q, k, v))
    theirs = torch.autograd.grad((wanted * direction).sum(), (q, k, v))
    for one, other in zip(ours, theirs, strict=True):
        near(one, other)
    seen = Attend(HEADS, return_weights=True, **options).double()
    again, weights = seen(q, k, v, mask)
    near(again, wanted)
    near(weights @ repeated[1], wanted)


def without(options):
    return {name: value for name, value in options.items() if name != "causal"}


def test_a_query_without_keys_gives_zeros_where_the_softmax_gives_no_number():
    q, k, v = heads()
    mask = torch.ones(BATCH, 1, QUERIES, KEYS, dtype=torch.bool)
    mask[0, :, 2] = False
    found = Attend(HEADS)(q, k, v, mask)
    assert torch.equal(found[0, :, 2], torch.zeros(HEADS, VALUE).double())
    assert all(part.isfinite().all() for part in torch.autograd.grad(found.sum(), (q, k, v)))
    assert write_out(q, k, v, mask)[0, :, 2].isnan().all()


def test_padding_is_a_mask_of_keys():
    q, k, v = heads()
    real = torch.arange(KEYS) < torch.tensor([[KEYS], [4]])
    near(Attend(HEADS)(q, k, v, padding_mask=real), write_out(q, k, v, real[:, None, None]))


def test_self_attention_is_its_projections_around_it():
    whole = SelfAttention(HEADS * WIDTH, heads=HEADS, kv_heads=2, causal=True, window=3).double()
    x = torch.randn(BATCH, KEYS, HEADS * WIDTH, dtype=torch.float64)
    core = Attend(HEADS, causal=True, window=3)(*whole.project_heads(x))
    near(whole.project(core.transpose(1, 2).flatten(2)), whole(x))


def test_dropout_works_in_training_only():
    q, k, v = heads()
    block = Attend(HEADS, dropout=0.5)
    assert not torch.equal(block(q, k, v), block(q, k, v))
    assert torch.equal(block.eval()(q, k, v), Attend(HEADS)(q, k, v))


@torch.no_grad()
@pytest.mark.parametrize("name", SELF)
@pytest.mark.parametrize("padded", [False, True])
def test_in_pieces_as_at_once(name, padded):
    block = Attend(HEADS, causal=True, **SELF[name]).double().eval()
    if block.sinks is not None:
        nn.init.normal_(block.sinks)
    q, k, v = heads(KEYS, KEYS, kv_heads=2)
    real = None
    if padded:
        real = torch.arange(KEYS) >= torch.tensor([[0], [2]])
    memory, found = DecodeCache(KEYS), []
    for begin, end in PIECES:
        parts = [part[:, :, begin:end] for part in (q, k, v)]
        padding = None if real is None else real[:, begin:end]
        found.append(first(block.step(memory, *parts, padding_mask=padding)))
        memory.seen = end
    wanted = first(block(q, k, v, padding_mask=real))
    near(torch.cat(found, dim=2), wanted, bound=1e-10)


def first(result):
    return result[0] if isinstance(result, tuple) else result


def head_of(name, count):
    return {
        f"{name}_wide": {"block": "Linear", "in": "norm", "features": f"{count} * 4"},
        name: {"block": "Rearrange", "pattern": "b t (h d) -> b h t d", "sizes": {"h": count}},
    }


def compose(core, kv_heads=2, **inputs):
    """A composed attention with grouped heads."""
    graph = {
        "norm": {"block": "LayerNorm", "in": "x"},
        **head_of("q", 4),
        **head_of("k", kv_heads),
        **head_of("v", kv_heads),
        **core,
        "joined": {"block": "Rearrange", "pattern": "b h t d -> b t (h d)"},
        "out": {"block": "Linear", "features": 16},
    }
    inputs = {"x": {"tokens": KEYS, "dim": 16}} | inputs
    return plan(Composed({"model": {"inputs": inputs, "graph": graph}}), {})


def attend(**options):
    return {"attend": {"block": "Attend", "in": ["q", "k", "v"], **options}}


def test_a_composed_decoder_decodes_with_a_cache():
    model = compose(attend(causal=True, sinks=True, window=4)).materialise().double().eval()
    x = torch.randn(4, KEYS, 16, dtype=torch.float64)
    verify_incremental(IncrementalModel(model, ["x"]), {}, {"x": x})


def test_attention_to_later_tokens_is_not_decoded_with_a_cache():
    model = compose(attend()).materialise().double().eval()
    x = torch.randn(4, KEYS, 16, dtype=torch.float64)
    with pytest.raises(StepError):
        verify_incremental(IncrementalModel(model, ["x"]), {}, {"x": x})


def test_keys_of_a_context_are_looked_at_as_at_once():
    graph = {
        "q": {"block": "Rearrange", "pattern": "b t (h d) -> b h t d", "sizes": {"h": 4}},
        "k": {
            "block": "Rearrange",
            "in": "y",
            "pattern": "b t (h d) -> b h t d",
            "sizes": {"h": 4},
        },
        "attend": {"block": "Attend", "in": ["q", "k", "k"]},
        "out": {"block": "Rearrange", "pattern": "b h t d -> b t (h d)"},
    }
    shape = {"dim": 16}
    inputs = {"x": {"tokens": KEYS, **shape}, "y": {"tokens": QUERIES, **shape}}
    model = plan(Composed({"model": {"inputs": inputs, "graph": graph}}), {}).materialise().double()
    x, y = torch.randn(4, KEYS, 16).double(), torch.randn(2, QUERIES, 16).double()
    verify_incremental(IncrementalModel(model.eval(), ["x"]), {"y": y}, {"x": x})


def test_explain_counts_the_products_that_are_written_out():
    written = {
        "scores": {"block": "MatMul", "in": ["q", "k"], "transpose": True},
        "scaled": {"block": "Gain", "factor": 0.5},
        "weights": {"block": "Softmax", "axis": -1},
        "attend": {"block": "MatMul", "in": ["weights", "v"]},
    }
    ours, theirs = (measure(compose(core, kv_heads=4)) for core in (attend(), written))
    assert ours["attend"].macs == 2 * 4 * KEYS * KEYS * 4
    assert ours[""].macs == theirs[""].macs
    weights = 4 * 4 * KEYS * KEYS  # bytes of one matrix of scores
    assert theirs[""].memory - ours[""].memory > weights / 2


def test_reports_see_the_weights():
    model = compose(attend(causal=True)).materialise().eval()
    found = inspect_attention(model, {"x": torch.randn(BATCH, KEYS, 16)})
    assert list(found) == ["attend"]
    assert found["attend"].shape == (BATCH, 4, KEYS, KEYS)
    torch.testing.assert_close(found["attend"].sum(-1), torch.ones(BATCH, 4, KEYS))


def test_the_prefix_of_the_grammar_sees_itself_and_the_rest_what_is_before():
    text = (ROOT / "docs" / "grammar.md").read_text(encoding="utf-8")
    example = yaml.safe_load(
        text.partition("## Attention composed")[2].split("```")[1][len("yaml") :]
    )
    model = plan(Composed({"model": example}), {}).materialise().eval()
    weights = inspect_attention(model, {"x": torch.randn(BATCH, 12, 32)})["attend"]
    places = torch.arange(12)
    seen = (places <= places[:, None]) | (places < 4)
    assert torch.equal(weights > 0, seen.expand_as(weights))


def test_a_mask_of_whole_numbers_is_told():
    mask = {"mask": {"block": "Constant", "shape": [1, 7, 7], "value": 1, "kind": "int", "in": "x"}}
    core = {"attend": {"block": "Attend", "in": {"q": "q", "k": "k", "v": "v", "mask": "mask"}}}
    with pytest.raises(ConfigError, match="Attend: mask takes true or false values or numbers"):
        compose(mask | core)


def test_weights_are_a_second_output():
    core = attend(return_weights=True)
    core["seen"] = {"block": "MatMul", "in": ["attend.weights", "attend.heads"]}
    made = compose(core)
    assert made.materialise()(x=torch.randn(BATCH, KEYS, 16)).shape == (BATCH, KEYS, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window must be positive; got window=0; fits: window=1 or more"),
        ({"scale": -1.0}, "scale must be positive; got scale=-1.0; fits: scale=1 or more"),
        ({"dropout": 1.0}, "dropout must be in [0, 1); got dropout=1.0; fits: e.g. dropout=0.1"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(BlockError) as error:
        Attend(HEADS, **options)
    assert str(error.value) == message


def test_heads_that_cannot_be_shared_are_told():
    with pytest.raises(BlockError) as error:
        Attend(HEADS)(*heads(kv_heads=3))
    message = "kv_heads must divide heads; got kv_heads=3, heads=4; fits: kv_heads in 1, 2, 4"
    assert str(error.value) == message
    with pytest.raises(BlockError, match="a mask of three axes"):
        Attend(HEADS)(*heads(), torch.ones(3, QUERIES, KEYS, dtype=torch.bool))
