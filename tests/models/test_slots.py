"""Every option of every slot in six models: it builds and runs both ways, or one screen says why
not and what would do.

The cells are found by globbing; `SAYS` holds the first line of each reason. A new option is a new
row of cells, which must run, or be given a line here.
"""

from functools import cache
from pathlib import Path

import pytest
import torch

from blocks.graph import ConfigError, compose, plan

CONF = Path(__file__).resolve().parents[2] / "conf" / "model"
FACTS = {
    "image": {"channels": 3, "height": 8, "width": 8},
    "tokens": {"tokens": 16, "dtype": "int", "vocab": 53},
    "source": {"tokens": 16, "dtype": "int", "vocab": 53},
    "target": {"tokens": 16, "dtype": "int", "vocab": 53},
    "vocab": 53,
    "classes": 4,
}
SMALL = {
    "vit": ["dim=16", "depth=2"],
    "gpt": ["dim=16", "depth=2"],
    "swin": ["dim=16", "depths=[2,1]"],
    "cat": ["dim=16"],
    "bert": ["dim=16", "depth=2"],
    "transformer": ["dim=16", "hidden=32", "depth=1"],
}
QUICK = {
    "vit": None,
    "gpt": ("attention", "position"),
}  # the slots of each run; None is all of them

# Tokens lie in a row (batch, tokens, dim) or a grid (batch, height, width, dim). What needs the
# other says so.
ROWS = ("vit", "gpt", "bert", "transformer")
GRID = "x has 4 axes (batch, height, width, dim)"
ROW = "x has 3 axes (batch, tokens, dim)"
IMAGE = "x is (batch, channels, height, width), and (batch, height, width, dim) came"
MASKED = {
    "gpt": "prenorm",
    "bert": "postnorm",
    "transformer": "prenorm",
}  # their residual hands on a padding mask
SAYS = {
    **{
        (model, "attention", option): f"WindowAttention: {GRID}"
        for model in ROWS
        for option in ("window", "window_cosine", "window_unshifted")
    },
    **{(model, "attention", "inner_patch"): f"InnerPatchAttention: {GRID}" for model in ROWS},
    **{
        (model, "attention", option): f"residual: {residual} has no input 'padding_mask'"
        for model, residual in MASKED.items()
        for option in ("window", "window_cosine", "window_unshifted", "inner_patch", "reduced")
    },
    **{
        (model, "attention", "mamba"): "SelectiveStateSpace has no argument 'heads'"
        for model in ("swin", "cat")
    },
    **{(model, "position", "learned_2d"): f"LearnedPosition2d: {GRID}" for model in ROWS},
    **{
        (model, "norm", "batchnorm"): "BatchNorm2d: x has 4 axes (batch, channels, height, width)"
        for model in ROWS
    },
    **{(model, "mlp", "conv"): "Rearrange: the input does not match the pattern" for model in ROWS},
    (
        "vit",
        "position",
        "sinusoidal_grid",
    ): "SinusoidalPosition2d: tokens without class tokens must be a square",
    **{
        (model, "position", "rotary_2d"): "SelfAttention: tokens without class tokens must be a "
        "square"
        for model in ("gpt", "bert", "transformer")
    },
    **{
        (model, "residual", "adaln_zero"): "no node or input 'condition' here, before this one"
        for model in SMALL
    },
    **{
        (model, "residual", "hyper_connections"): "'after' names no node 'layers'"
        for model in ("swin", "cat", "transformer")
    },
    **{
        (model, "patch", "tubelet"): "Conv3d: x has 5 axes (batch, channels, depth, height, width)"
        for model in ("vit", "swin", "cat")
    },
    ("cat", "position", "rotary_2d"): "InnerPatchAttention has no argument 'rotary'",
    ("cat", "position", "learned"): f"LearnedPosition: {ROW}",
    ("cat", "position", "sinusoidal"): f"SinusoidalPosition: {ROW}",
    ("cat", "position", "sinusoidal_2d"): "SinusoidalPosition2d: no name 'tokens' in scope here",
    ("cat", "position", "alibi"): "InnerPatchAttention: position_bias takes true or false",
    ("cat", "position", "relative"): "InnerPatchAttention: position_bias takes true or false",
    ("cat", "position", "rotary"): "InnerPatchAttention has no argument 'rotary'",
    **{(model, "norm", "batchnorm"): f"BatchNorm2d: {IMAGE}" for model in ("swin", "cat")},
}


@pytest.fixture(autouse=True)
def _one_thread():
    """Models this small only wait for each other's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def slots(model):
    """The slots that the lists of a model and of those it starts from fill: {"attention": "full",
    ...}.
    """
    chosen = compose([f"model={model}"]).choices
    return {
        group.removeprefix("model/"): option
        for group, option in chosen.items()
        if group.startswith("model/")
    }


def cells():
    for model in SMALL:
        for slot in slots(model):
            for file in sorted((CONF / slot).glob("*.yaml")):
                quick = model in QUICK and (QUICK[model] is None or slot in QUICK[model])
                marks = [] if quick else [pytest.mark.slow]
                yield pytest.param(
                    model, slot, file.stem, marks=marks, id=f"{model}-{slot}-{file.stem}"
                )


def build(model, *overrides):
    torch.manual_seed(0)
    numbers = [f"model.params.{number}" for number in SMALL[model]]
    return plan(compose([f"model={model}", *numbers, *overrides]), FACTS).materialise()


def draw(model):
    """Inputs by name, the masks left out."""
    generator = torch.Generator().manual_seed(0)
    given = {}
    for name in model.input_names:
        if name == "image":
            given[name] = torch.randn(2, *FACTS[name].values(), generator=generator)
        elif not name.endswith("mask"):
            given[name] = torch.randint(53, (2, FACTS[name]["tokens"]), generator=generator)
    return given


@pytest.mark.parametrize(("model", "slot", "option"), list(cells()))
def test_an_option_runs_or_says_why_not(model, slot, option):
    reason = SAYS.get((model, slot, option))
    if reason is None:
        built = build(model, f"model/{slot}={option}")
        logits = built(**draw(built))["logits"]
        logits.square().mean().backward()
        assert torch.isfinite(logits).all()
        for name, parameter in built.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
        return
    with pytest.raises(ConfigError) as error:
        build(model, f"model/{slot}={option}")
    first, text = error.value.problems[0], str(error.value)
    assert first.problem == reason
    assert first.got
    assert first.fix or first.fits or option == "conv", "nothing says what would do"
    assert len(text.splitlines()) <= ConfigError.SCREEN, "more than one screen"


def test_the_table_names_cells_that_are_there():
    assert {(*cell.values,) for cell in cells()} >= set(SAYS)


# What a language model must not see ---------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        "capped",
        "causal",
        "delta",
        "differential",
        "full",
        "gated",
        "gla",
        "grouped",
        "latent",
        "linear",
        "mamba",
        "mamba2",
        "mlstm",
        "multiquery",
        "normalised",
        "retention",
        "sinks",
        "sliding",
    ],
)
def test_no_option_lets_a_language_model_see_the_future(option):
    model = build("gpt", f"model/attention={option}").eval()
    tokens = draw(model)["tokens"]
    changed = tokens.clone()
    changed[:, -1] = (tokens[:, -1] + 1) % 53
    torch.testing.assert_close(model(tokens)["logits"][:, :-1], model(changed)["logits"][:, :-1])


# Recurrences in a decoder with rotary positions ---------------------------------------------------

LLAMA = ["model=llama", "model.params.dim=16", "model.params.depth=1"]


@pytest.mark.parametrize("option", ["delta", "gla", "linear", "mamba2", "mlstm", "retention"])
def test_a_recurrence_takes_the_place_of_attention_in_llama_by_one_word(option):
    model = plan(
        compose([*LLAMA, "model.params.heads=2", f"model/attention={option}"]), FACTS
    ).materialise()
    assert model(draw(model)["tokens"])["logits"].shape == (2, 16, 53)


def test_what_has_no_rotary_positions_says_what_to_write():
    with pytest.raises(ConfigError) as error:
        plan(compose([*LLAMA, "model/attention=mamba"]), FACTS)
    (problem,) = error.value.problems
    assert problem.problem == "SelectiveStateSpace has no argument 'rotary'"
    word, _, why = problem.fix.partition(": ")
    assert why == "model/position=rotary does not fit this block"
    model = plan(compose([*LLAMA, "model/attention=mamba", word]), FACTS).materialise()
    assert model(draw(model)["tokens"])["logits"].shape == (2, 16, 53)
