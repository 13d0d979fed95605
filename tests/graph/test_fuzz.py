"""Valid models with one or two mistakes: each is refused with its place, or builds what `explain`
says of it.
"""

import copy
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.graph import Composed, ConfigError, IncrementalModel, plan
from blocks.graph.describe.cost import multiply_adds
from blocks.graph.describe.draw import draw
from blocks.graph.describe.emit import emit
from blocks.graph.describe.sweep_check import find_idle
from blocks.graph.describe.table import describe

BATCH, META = 2, 7919  # the samples of a run, and the prime that stands for them on the meta device
MOST = 10**6  # numbers of a tensor, and of all parameters, that are made here
FACTS = {
    "image": [3, 6, 6],
    "text": {"tokens": 7, "dtype": "int", "vocab": 11},
    "padding_mask": {"tokens": 7},
}
LINEAR = {"block": "Linear", "features": 6}
TOKENS = {"tokens": 7, "dim": 6}
MODELS = {
    "chain": {
        "params": {"width": 6, "act": "gelu", "twice": "2 * width"},
        "inputs": {"x": TOKENS},
        "graph": {
            "a": {"block": "Linear", "features": "twice", "when": "dim > 3"},
            "b": {
                "block": "Linear",
                "features": "width",
                "in": "a",
                "expect": {"shape": ["batch", 7, 6]},
            },
            "c": {"share": "b", "in": "a"},
            "d": {"block": "Add", "in": ["b", "c"]},
            "e": {"block": "ReLU", "after": "a"},
        },
        "outputs": {"logits": "d", "first": "e"},
        "tie": {"b.weight": "b.weight"},
        "expect": {"parameters": 162, "when": "data.classes == 4"},
        "initialise": {
            "Linear.weight": {"normal": "0.1 / width"},
            "a.bias": "zeros",
            "*.bias": None,
        },
        "example": {"classes": 3},
    },
    "repeats": {
        "params": {"depth": 2},
        "inputs": {
            "x": TOKENS,
            "m": {"shape": "data.padding_mask", "dtype": "bool", "optional": True},
        },
        "graph": {
            "layers": {
                "repeat": "depth",
                "as": "stage",
                "in": {"x": "x", "m": "m"},
                "body": {
                    "attend": {
                        "block": "SelfAttention",
                        "heads": 2,
                        "rotary": {"block": "Rotary", "base": 100.0},
                        "in": {"x": "x", "padding_mask": "m"},
                    },
                    "drop": {"block": "Dropout", "rate": "0.1 * stage.fraction"},
                    "sum": {"block": "Add", "in": ["x", "drop"]},
                },
            },
            "wide": {
                "repeat": {"size": [6, 8], "more": [1, 2]},
                "block": "Linear",
                "features": "size",
            },
            "same": {
                "repeat": 2,
                "share": True,
                "body": {"l": {"block": "Linear", "features": "dim"}},
            },
            "deep": {"repeat": 2, "block": "Gain", "factor": "depth.fraction + depth.count"},
        },
        "outputs": ["deep", "wide"],
    },
    "templates": {
        "residual": {
            "params": {"rate": 0.5, "width": "???"},
            "holes": ["inner"],
            "body": {
                "norm": {"use": "norm"},
                "inner": {"use": "inner"},
                "scale": {"block": "Gain", "factor": "rate"},
                "l": {"block": "Linear", "features": "width"},
                "add": {"block": "Add", "in": ["x", "l"]},
            },
            "outputs": "add",
            "initialise": {"l.weight": {"xavier_uniform": "rate"}},
        },
        "norm": {"block": "LayerNorm", "epsilon": 1e-5},
        "mlp": {
            "holes": {"act": {"block": "ReLU"}},
            "params": {"hidden": "4 * dim"},
            "body": {
                "up": {"block": "Linear", "features": "hidden"},
                "act": {"use": "act"},
                "down": {"block": "Linear", "features": "x.dim"},
            },
        },
        "cross": {"block": "CrossAttention", "heads": "max(1, dim // 3)"},
        "inputs": {"x": TOKENS, "memory": [5, 6]},
        "graph": {
            "a": {
                "use": "residual",
                "inner": {"use": "mlp", "act": {"block": "Tanh"}},
                "width": 6,
                "rate": 0.1,
            },
            "b": {
                "repeat": 2,
                "use": "residual",
                "inner": {"use": "mlp", "hidden": 5},
                "width": "dim",
            },
            "c": {
                "use": "residual",
                "inner": {"use": "cross"},
                "width": 6,
                "in": {"x": "b", "context": "memory"},
            },
        },
    },
    "scans": {
        "inputs": {"x": TOKENS, "start": [4]},
        "graph": {
            "one": {
                "scan": {"axis": "tokens", "state": {"h": 6}, "reverse": True},
                "body": {"sum": {"block": "Add", "in": ["x", "h"]}, "next": LINEAR},
            },
            "two": {
                "scan": {"state": {"now": 4, "sequence": [4]}},
                "in": {"x": "one", "now": "start"},
                "body": {
                    "u": {"block": "Linear", "features": 4},
                    "n": {"block": "Add", "in": ["u", "now"]},
                    "s": {"block": "Add", "in": ["n", "sequence"]},
                },
                "outputs": {"now": "n", "sequence": "s", "given": "s"},
            },
            "three": {
                "repeat": 2,
                "scan": {"state": {"h": "x.dim"}},
                "body": {
                    "sum": {"block": "Add", "in": ["x", "h"]},
                    "next": {"block": "Linear", "features": 4},
                },
            },
            "rnn": {"block": "GRU", "hidden": 5},
            "all": {"block": "Concat", "in": ["rnn", "two"]},
        },
        "outputs": {"all": "all", "last": "two.now", "state": "rnn.state"},
    },
    "images": {
        "inputs": {"image": "data.image", "text": "data.text"},
        "graph": {
            "conv": {"block": "Conv2d", "features": 4, "kernel": 3, "in": "image"},
            "norm": {"block": "BatchNorm2d"},
            "flat": {"block": "Rearrange", "pattern": "b c h w -> b (h w) c"},
            "words": {"block": "Embedding", "dim": 4, "in": "text"},
            "both": {
                "block": "CrossAttention",
                "heads": 2,
                "in": {"x": "words", "context": "flat"},
            },
            "mean": {"block": "MeanTokens"},
            "head": {"block": "Linear", "features": "data.classes"},
        },
    },
}
JUNK = [
    *(
        None,
        True,
        False,
        0,
        -1,
        3,
        2.5,
        1e300,
        float("nan"),
        float("inf"),
        2**40,
        2**70,
        [],
        {},
        "",
    ),
    *(
        "x",
        "banana",
        "x.y",
        "a b",
        "???",
        "1 +",
        "data.nothing",
        "layer.index",
        "norm",
        "(1,) * 3",
        "self",
        "[0]",
    ),
    *(
        ["x"],
        [1, 2],
        [[]],
        [None],
        {"x": 1},
        {"block": "Linear"},
        {"use": "norm"},
        {1: 2},
        {None: "x"},
        {"x": None},
    ),
    *(
        {"block": "Linear", "features": 6},
        {"h": -1},
        {"repeat": 3},
        {"body": {}},
        {"share": "a"},
        {"normal": "x"},
    ),
]
KEYS = [
    "x",
    "banana",
    "self",
    "in",
    "out",
    "repeat",
    "scan",
    "body",
    "block",
    "params",
    "when",
    "share",
    "__class__",
    3,
]


def places(value, path=()):
    """Every path below a configuration."""
    below = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in below:
        yield (*path, key)
        yield from places(inner, (*path, key))


def mistakes(config):
    """Every single mistake: (path, what happens there, with what)."""
    for path in places(config):
        yield from ((path, "value", index) for index in range(len(JUNK)))
        yield path, "delete", 0
        yield from ((path, "rename", index) for index in range(len(KEYS)))
        yield from ((path, "copy", index) for index in range(len(KEYS)))
        yield path, "swap", 0


def change(config, path, how, index):
    """Make one mistake; none where the path is gone by a mistake before."""
    holder = config
    for key in path[:-1]:
        try:
            holder = holder[key]
        except (KeyError, IndexError, TypeError):
            return
    key = path[-1]
    if not isinstance(holder, dict | list) or (
        key not in holder if isinstance(holder, dict) else key >= len(holder)
    ):
        return
    if how == "value":
        holder[key] = copy.deepcopy(JUNK[index])
    elif how == "delete":
        del holder[key]
    elif how == "swap":
        others = list(holder) if isinstance(holder, dict) else range(len(holder))
        other = random.Random(str(path)).choice(others)
        holder[key], holder[other] = holder[other], holder[key]
    elif isinstance(holder, dict):
        value = holder[key] if how == "copy" else holder.pop(key)
        holder[KEYS[index]] = copy.deepcopy(value)


def real(shape):
    return tuple(size // META * BATCH if size and size % META == 0 else size for size in shape)


def made(wire):
    shape = real(wire.shape)
    if wire.tensor.is_floating_point():
        return torch.randn(shape)
    return torch.zeros(shape, dtype=wire.tensor.dtype)


def is_small(planned):
    wires = [*planned.inputs.values(), *planned.outputs.values()]
    numbers = sum(parameter.numel() for parameter in planned.model.parameters())
    modules = sum(1 for _ in planned.model.modules())
    return (
        numbers < MOST
        and modules < 300
        and all(wire.tensor is None or wire.tensor[0].numel() < MOST for wire in wires)
    )


def planned_or_told(config):
    """The plan of a configuration, or the mistakes in it."""
    try:
        return plan(
            Composed({"model": config, "data": {"facts": {}}}), {**FACTS, "classes": 4}
        ), None
    except ConfigError as error:
        return None, error


def must_hold(config):
    """A configuration is refused with a place for each problem, or one forward gives what `explain`
    says.
    """
    planned, error = planned_or_told(config)
    if error is not None:
        assert error.problems
        assert all(problem.path or problem.where for problem in error.problems), str(error)
        assert len(str(error).splitlines()) <= 30
        return
    multiply_adds(planned)
    find_idle(planned)
    describe(planned)
    if not is_small(planned):
        return
    inputs = {name: made(wire) for name, wire in planned.inputs.items() if wire.tensor is not None}
    with torch.no_grad():
        out = planned.materialise().eval()(**inputs)
    several = out if isinstance(out, tuple) else (out,)
    named = out if isinstance(out, dict) else dict(zip(planned.outputs, several, strict=True))
    assert {key: tuple(value.shape) for key, value in named.items()} == {
        key: real(wire.shape) for key, wire in planned.outputs.items()
    }


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", MODELS)
def test_the_models_themselves_hold(name):
    must_hold(copy.deepcopy(MODELS[name]))


@st.composite
def mistaken(draw):
    """A model with one mistake or two."""
    name = draw(st.sampled_from(sorted(MODELS)))
    config = copy.deepcopy(MODELS[name])
    for mistake in draw(st.lists(st.sampled_from(MISTAKES[name]), min_size=1, max_size=2)):
        change(config, *mistake)
    return config


MISTAKES = {name: list(mistakes(config)) for name, config in MODELS.items()}


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(mistaken())
def test_a_mistake_is_refused_with_its_place_or_builds(config):
    must_hold(config)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_single_mistake_is_refused_with_its_place_or_builds(name):
    for mistake in MISTAKES[name]:
        config = copy.deepcopy(MODELS[name])
        change(config, *mistake)
        must_hold(config)


# ---------------------------------------------------------------- what the mistakes above led to


def told(config):
    """What is wrong with a configuration, problem by problem."""
    _, error = planned_or_told(config)
    return [problem.problem for problem in error.problems] if error else []


def chain(**sections):
    return {**copy.deepcopy(MODELS["chain"]), **sections}


@pytest.mark.parametrize(
    ("expect", "wrong"),
    [
        ({"parameters": 162, "when": "data.clases == 4"}, "no data state 'clases'"),
        ({"parameters": 162, "when": "data.image.hieght == 6"}, "no data state 'image.hieght'"),
        ({"parameters": 162, "when": "classes == 4"}, "when: no name 'classes' in scope here"),
        ({"parameters": 162, "when": 3}, "`when` is true or false"),
        ({"parameters": "many"}, "the number of parameters is none"),
        ({"parameters": [162]}, "the number of parameters is none"),
    ],
)
def test_a_claim_that_no_data_could_meet_is_refused(expect, wrong):
    assert told(chain(expect=expect)) == [wrong]


@pytest.mark.parametrize(
    "expect", [{"parameters": 1, "when": "data.signal.tokens == 3"}, {"parameters": None}, {}]
)
def test_a_claim_about_other_data_is_none(expect):
    assert told(chain(expect=expect)) == []


@pytest.mark.parametrize("source", [{"use": "norm"}, 3, None, ["b.weight"], "b.wieght"])
def test_a_tie_is_between_two_names(source):
    assert told(chain(tie={"b.weight": source}))[0].startswith("no parameter")


def test_a_hole_is_filled_with_no_shared_node():
    config = copy.deepcopy(MODELS["templates"])
    config["graph"]["a"]["inner"]["act"] = {"share": "a"}
    assert told(config) == ["what fills a hole is no shared node"]


def test_one_step_of_a_scan_stands_for_all_on_the_meta_device():
    """2**36 tokens: their steps would not fit into any memory."""
    step = {"sum": {"block": "Add", "in": ["x", "h"]}, "next": LINEAR}
    scan = {"scan": {"state": {"h": 6}}, "body": step}
    graph = {"a": {"repeat": 3, "share": True, **scan}, "b": scan, "c": {"share": "b"}}
    planned, _ = planned_or_told({"inputs": {"x": {"tokens": 2**36, "dim": 6}}, "graph": graph})
    assert planned.outputs["out"].shape == (META, 2**36, 6)
    assert multiply_adds(planned) == 5 * 2**36 * 36


def test_a_repeated_scan_is_written_as_pytorch_and_decoded_step_by_step():
    """Its states bear the names that the written file and the steps would choose themselves."""
    body = {"u": {"block": "Linear", "features": 6}, "n": {"block": "Add", "in": ["u", "now"]}}
    body["s"] = {"block": "Add", "in": ["n", "sequence"]}
    scan = {"scan": {"state": {"now": 6, "sequence": 6}}, "body": body}
    scan["outputs"] = {"now": "n", "sequence": "s", "given": "u"}
    planned, _ = planned_or_told({"inputs": {"x": TOKENS}, "graph": {"a": {"repeat": 3, **scan}}})
    text = emit(planned, "net", "", "")
    model, x, space = planned.materialise().eval(), torch.randn(BATCH, 7, 6), {}
    exec(compile(text, "net.py", "exec"), space)
    written = [
        kind
        for kind in space.values()
        if isinstance(kind, type) and issubclass(kind, torch.nn.Module)
    ][-1]()
    written.load_state_dict(model.state_dict())
    whole = model(x)
    torch.testing.assert_close(written.eval()(x), whole, rtol=0, atol=1e-6)
    steps = IncrementalModel(model, ["x"]).start(limit=7)
    parts = [steps.step(x=part) for part in x.split([3, 1, 2, 1], dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-6)
    assert "scan x7" in draw(planned, ".dot")
