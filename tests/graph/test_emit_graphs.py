"""Emitted files of small graphs: names, sharing, several outputs, and each block as it computes."""

import ast
import itertools

import pytest
import torch

from blocks.graph import Composed, plan
from blocks.graph.describe.emit import emit
from blocks.graph.describe.emit.syntax import Fold
from tests.graph.emitted import check_config, must_be_written_as_it_computes, run_alone

LIBRARY = """
import torch
from jaxtyping import Float
from torch import Tensor, nn


def weighed(x, mask=None):
    return scaled(x, mask=default(x, mask=mask))


def default(x, mask=None):
    if x.shape[1] > 3:
        mask = torch.arange(x.shape[1], device=x.device) + 1.0
    return mask


def scaled(x, mask=None):
    if mask is not None:
        x = x * mask[:, None]
    return x.softmax(1), None


class Weigh(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.dim, self.width = dim, dim
        self.project = nn.Linear(self.dim, self.width)

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], mask: Tensor | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        x = self.project(x)
        scores, nothing = weighed(x, mask=mask)
        return scores * x if nothing is None else scores
"""


def test_a_name_that_is_set_on_some_paths_only_keeps_its_first_value(tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "weigh.py").write_text(LIBRARY, encoding="utf-8")
    body = {"weigh": {"block": "Weigh"}, "again": {"block": "Weigh"}}
    config = {"inputs": {"x": {"tokens": 5, "dim": 7}}, "graph": body}
    made = plan(Composed({"model": config}), {}, library=[str(tmp_path / "library")])
    text = emit(made, "odd", "emit")
    torch.manual_seed(1)
    run_alone(made, text, tmp_path, {"x": torch.randn(2, 5, 7)})


def test_inputs_and_nodes_may_bear_the_names_of_python_and_torch(tmp_path):
    tokens = {"tokens": 5, "dim": 7}
    body = {
        "nn": {"block": "Concat", "in": ["x", "torch"]},
        "F": {"block": "Linear", "features": 7},
    }
    scan = {
        "scan": {"axis": "tokens", "state": {"reversed": 7}, "reverse": True},
        "in": {"x": "nn", "torch": "step"},
    }
    scan |= {"body": {"zip": {"block": "Add", "in": ["x", "reversed", "torch"]}}}
    graph = {
        "nn": {"repeat": 2, "body": body, "in": {"x": "self_", "torch": "torch"}},
        "step": {"block": "Flatten", "in": "torch", "start": 2, "end": 2},
        "last": {"block": "SelectToken", "index": 1},
        "scan": {**scan, "in": {"x": "nn", "torch": "last"}},
    }
    config = {"inputs": {"torch": tokens, "self_": tokens}, "graph": graph}
    check_config(config, tmp_path)


def test_shared_modules_stay_one(tmp_path):
    linear = {"block": "Linear", "features": 7}
    graph = {
        "a": {"body": {"inner": linear, "act": {"block": "GELU"}}},
        "b": {"share": "a"},
        "c": {
            "body": {"again": {"share": "a.inner"}, "sum": {"block": "Add", "in": ["again", "x"]}}
        },
        "d": {"repeat": 3, "share": True, **linear},
        "e": {"repeat": 2, "share": "d.0"},
        "f": {"body": {"norm": {"block": "LayerNorm"}}, "repeat": 2, "share": True},
        "g": {"block": "Dropout", "rate": 0.0, "repeat": 2, "share": True},
    }
    text = check_config({"inputs": {"x": {"tokens": 5, "dim": 7}}, "graph": graph}, tmp_path)
    assert "self.c.again = self.a.inner" in text


def test_several_outputs_and_carried_values(tmp_path):
    body = {
        "mix": {"block": "Add", "in": ["x", "memory"]},
        "next": {"block": "Linear", "features": 7},
        "kept": {"block": "Tanh", "in": "mix"},
    }
    graph = {
        "start": {"block": "GELU"},
        "layers": {
            "repeat": 3,
            "body": body,
            "outputs": {"out": "next", "memory": "kept"},
            "in": {"x": "start", "memory": "x"},
        },
        "attention": {"block": "SelfAttention", "heads": 1, "return_weights": True},
        "twice": {"block": "Dropout", "rate": 0.5, "in": "layers.0"},
        "sum": {"block": "Add", "in": ["twice", "twice"]},
        "first": {"block": "Linear", "features": 3},
    }
    outputs = {
        "tokens": "attention",
        "again": "first",
        "weights": "attention.weights",
        "memory": "layers.memory",
        "first": "first",
    }
    check_config(
        {"inputs": {"x": {"tokens": 5, "dim": 7}}, "graph": graph, "outputs": outputs}, tmp_path
    )


HELPERS = """
from jaxtyping import Float
from torch import Tensor, nn

SCALE = 3.0


def attend(x: Tensor) -> Tensor:
    return x * SCALE


class Tripled(nn.Module):
    \"\"\"Three times as much.\"\"\"

    def __init__(self, dim: int, *, extra: nn.Module | None = None):
        super().__init__()
        self.extra = extra

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        x = attend(x)
        return x if self.extra is None else self.extra(x)
"""


def test_a_helper_of_the_users_may_bear_the_name_of_one_of_ours(tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "tripled.py").write_text(HELPERS, encoding="utf-8")
    graph = {
        "attention": {"block": "SelfAttention", "heads": 1},
        "plain": {"block": "Tripled"},
        "more": {"block": "Tripled", "extra": {"block": "LayerScale"}},
    }
    config = {"inputs": {"x": {"tokens": 5, "dim": 7}}, "graph": graph}
    text = check_config(config, tmp_path, library=[str(tmp_path / "library")])
    assert "def attend(" in text
    assert "def attend_2(" in text


CHAINED = """
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import BlockError


class Chained(nn.Module):
    def __init__(self, dim: int, *, low: Literal["off", "on"] = "off", high: bool | None = None):
        super().__init__()
        self.low, self.high = low, high
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], mask: Tensor | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        if mask is None is self.high:
            x = x + 5
        with torch.no_grad():
            if self.low != "off" != self.high:
                x = x - 1
        while x.shape[0] < 0:
            if mask is not None:
                x = x * mask
        try:
            x = x * self.gain
        except RuntimeError as error:
            raise BlockError("no product", got=str(error)) from error
        if x.ndim != 3:
            raise BlockError("not three axes")
        else:
            x = x - 2
        try:
            x = x + self.gain
        finally:
            if self.high:
                x = x * 2
        for _ in range(3):
            x = x + 1
            if self.low == "off":
                continue
            x = x * 7
        return x
"""


@pytest.mark.parametrize(("low", "high"), [("off", None), ("on", True)])
def test_switches_in_chains_and_in_bodies_of_every_statement_are_decided(low, high, tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "chained.py").write_text(CHAINED, encoding="utf-8")
    graph = {"a": {"block": "Chained", "low": low, "high": high}, "b": {"block": "Identity"}}
    config = {"inputs": {"x": {"tokens": 5, "dim": 7}}, "graph": graph}
    text = check_config(config, tmp_path, library=[str(tmp_path / "library")])
    assert "BlockError" not in text
    assert text.split().count("if") == 1
    assert ("x * 7" in text) == (low == "on")


def test_a_chained_comparison_is_decided_as_python_decides_it():
    values = ("None", "True", "'off'", "x")
    pairs = itertools.product(("==", "!="), repeat=2)
    for first, second in pairs:
        for chain in itertools.product(values, repeat=3):
            text = f"{chain[0]} {first} {chain[1]} {second} {chain[2]}"
            folded = Fold().visit(ast.parse(text, mode="eval"))
            if "x" in chain:
                assert ast.unparse(folded) == text
            else:
                assert isinstance(folded.body, ast.Constant)
                assert folded.body.value is eval(text)


TOKENS = {"tokens": 12, "dim": 8}
GRID = {"height": 8, "width": 8, "dim": 8}
IMAGE = {"channels": 8, "height": 8, "width": 8}


def one(block, given=TOKENS, **arguments):
    return {"x": given}, {"a": {"block": block, **arguments}, "b": {"block": "Identity"}}


BLOCKS = {
    "moe": one("MixtureOfExperts", experts=4, hidden=16),
    "moe2": one("MixtureOfExperts", experts=4, hidden=16, activation="swiglu", bias=True, top=1),
    "choice": one("MixtureOfExperts", experts=4, hidden=16, routing="expert"),
    "room": one("MixtureOfExperts", experts=4, hidden=16, capacity=0.5),
    "gate": one("SelfAttention", heads=2, gate="element"),
    "diff": one("DifferentialAttention", heads=2, causal=True, qk_norm={"block": "QKNorm"}),
    "turned": one("LinearAttention", heads=2, causal=True, rotary={"block": "Rotary"}),
    "norms": one("WeightNormLinear", features=5),
    "values": (
        {"x": TOKENS},
        {
            "a": {"block": "FirstValues", "features": 8},
            "b": {
                "block": "SelfAttention",
                "heads": 2,
                "value_residual": True,
                "in": {"first_values": "a.values"},
            },
        },
    ),
    "streams": (
        {"x": TOKENS},
        {
            "wide": {"block": "Repeat", "pattern": "b t d -> b t 3 d"},
            "read": {"block": "ReadStreams", "start": 1},
            "still": {"block": "ReadStreams", "dynamic": False, "in": "wide"},
            "a": {"block": "WriteStreams", "in": ["read", "read.streams", "read.weights"]},
            "b": {"block": "WriteStreams", "in": ["still", "a", "still.weights"]},
        },
    ),
    "alibi": one("SelfAttention", heads=2, position_bias={"block": "ALiBi"}),
    "rel": one(
        "SelfAttention",
        heads=2,
        causal=True,
        position_bias={"block": "RelativeBias", "bidirectional": False},
    ),
    "rot": one("SelfAttention", heads=2, kv_heads=1, rotary={"block": "Rotary"}),
    "w": ({"x": TOKENS}, {"a": {"block": "SelfAttention", "heads": 2, "return_weights": True}}),
    "pool": one("AttentionPool", heads=2),
    "lin": one("LinearAttention", heads=2, causal=True),
    "lin2": one("LinearAttention", heads=2),
    "retention": one(
        "LinearRecurrence",
        heads=2,
        value_dim=6,
        decay={"block": "ConstantDecay"},
        rotary={"block": "Rotary"},
        gate={"block": "GatedNorm", "weight": "none"},
    ),
    "gla": one("LinearRecurrence", heads=2, decay={"block": "ChannelDecay"}, chunk=16),
    "mamba2": one(
        "LinearRecurrence",
        heads=2,
        groups=1,
        decay={"block": "StepDecay"},
        conv=4,
        skip=True,
        gate={"block": "GatedNorm", "first": "gate", "norm_groups": 1, "weight": "all"},
    ),
    "mamba": one("SelectiveStateSpace", state=3),
    "mlstm": one("MatrixLSTM", heads=2, chunk=5),
    "slstm": one("ScalarLSTM", hidden=6, heads=2),
    "mingru": one("MinGRU", hidden=6, layers=2),
    "minlstm": one("MinLSTM", hidden=6),
    "delta": one(
        "LinearRecurrence", heads=2, rule="delta", qk_norm={"block": "QKUnitNorm"}, chunk=5
    ),
    "cc": one("CausalConv1d", features=6, kernel=3),
    "se": one("SqueezeExcite", IMAGE, reduction=4),
    "wn2": one("WeightNormConv2d", IMAGE, features=6, kernel=3, padding=1),
    "rn": one("ResponseNorm", GRID),
    "sp2": one("SinusoidalPosition2d", GRID),
    "sp2b": one("SinusoidalPosition2d", {"tokens": 16, "dim": 8}, first="row"),
    "max": one("MaxTokens"),
    "lt": one("LearnedTokens", tokens=3, dim=5),
    "last": one("LastToken"),
    "chs": one("ChannelScale", IMAGE),
    "rz": one("ReZero"),
    "ls": one("LayerScale"),
    "un": one("UnitNorm"),
    "lsc": one("LogitScale", initial=3.0, most=5.0),
    "gain": one("Gain", factor=0.3),
    "sl": one("Slice", start=2, axis=1),
    "fl": one("Flip"),
    "part": one("Part", index=1, of=2),
    "rms": one("RMSNorm"),
    "win": one("WindowAttention", GRID, heads=2, window=4, shift=2, return_weights=False),
    "win5": one("WindowAttention", GRID, heads=2, window=5, shift=2, position_bias=False),
    "winw": (
        {"x": GRID},
        {
            "a": {
                "block": "WindowAttention",
                "heads": 2,
                "window": 4,
                "shift": 2,
                "return_weights": True,
            }
        },
    ),
    "win2": (
        {"x": GRID},
        {
            "a": {"block": "WindowAttention", "heads": 2, "window": 4, "return_weights": True},
            "b": {"block": "WindowAttention", "heads": 2, "window": 4, "shift": 1},
        },
    ),
    "cp": (
        {"x": GRID},
        {"a": {"block": "CrossPatchAttention", "patch": 4, "return_weights": True}},
    ),
    "ipa": one("InnerPatchAttention", GRID, heads=2, patch=4),
    "both": (
        {"x": GRID},
        {
            "a": {"block": "InnerPatchAttention", "heads": 2, "patch": 4},
            "b": {"block": "WindowAttention", "heads": 2, "window": 4, "shift": 1},
        },
    ),
    "add": (
        {"x": TOKENS, "y": {"tokens": 5, "dim": 8}},
        {"a": {"block": "AdditiveAttention", "hidden": 4, "in": {"x": "x", "context": "y"}}},
    ),
    "cross": (
        {"x": TOKENS, "y": {"tokens": 5, "dim": 6}},
        {
            "a": {
                "block": "CrossAttention",
                "heads": 2,
                "in": {"x": "x", "context": "y"},
                "return_weights": True,
            }
        },
    ),
    "arith": (
        {"x": TOKENS, "y": TOKENS},
        {
            "a": {"block": "Subtract", "in": ["x", "y"]},
            "b": {"block": "Multiply", "in": ["a", "x", "y"]},
            "c": {"block": "MatMul", "in": ["a", "b"], "transpose": True},
            "d": {"block": "Concat", "in": ["a", "b"], "axis": 1},
            "e": {"block": "MatMul", "in": ["c", "a"]},
            "f": {"block": "Concat", "in": ["d", "e"], "axis": 1},
        },
    ),
    "bi": one("LSTM", hidden=5, layers=2, bidirectional=True, dropout=0.1, forget_bias=1.0),
    "gru": one("GRU", hidden=5),
    "rnn": one("RNN", hidden=5, nonlinearity="relu"),
    "st": (
        {"x": TOKENS},
        {
            "a": {"block": "LSTM", "hidden": 8},
            "b": {"block": "GRU", "hidden": 8, "in": {"x": "x", "state": "a.state"}},
            "c": {
                "block": "LSTM",
                "hidden": 8,
                "in": {"x": "b", "state": "a.state", "cell": "a.cell"},
            },
        },
    ),
    "rear": (
        {"x": TOKENS},
        {
            "a": {"block": "Rearrange", "pattern": "b ... d -> b (d ...)"},
            "b": {"block": "Rearrange", "pattern": "b (h d) -> b h d", "sizes": {"h": 4}},
        },
    ),
    "two": (
        {"x": TOKENS},
        {
            "a": {"block": "SelfAttention", "heads": 2},
            "b": {"block": "SelfAttention", "heads": 4, "causal": True},
            "c": {"block": "CrossAttention", "heads": 2, "in": ["b", "a"]},
        },
    ),
    "pe": one("PatchEmbedding", IMAGE, dim=6, size=[2, 4]),
    "ct": one("ClassToken", count=2),
    "lp": one("LearnedPosition", length=20),
    "lp2": one("LearnedPosition2d", GRID),
    "sin": one("SinusoidalPosition"),
    "mt": one("MeanTokens", skip=2),
    "cn": one("ChannelNorm", IMAGE),
    "ht": one("Hardtanh", max_val=float("inf")),
    "rep": (
        {"x": TOKENS},
        {
            "a": {
                "repeat": {"rate": [0.0, 0.1, 0.2, 0.3, 0.4], "wide": [8, 16, 8, 24, 8]},
                "body": {
                    "l": {"block": "Linear", "features": "wide"},
                    "d": {"block": "Dropout", "rate": "rate"},
                    "p": {"block": "Linear", "features": 8},
                },
            }
        },
    ),
    "nest": (
        {"x": TOKENS},
        {
            "a": {
                "repeat": 2,
                "as": "outer",
                "body": {
                    "b": {
                        "repeat": "1 + outer.index",
                        "body": {
                            "l": {"block": "Linear", "features": 8},
                            "n": {"block": "LayerNorm"},
                        },
                    },
                    "g": {"block": "GELU"},
                },
            }
        },
    ),
    "same": (
        {"x": TOKENS},
        {
            "a": {"body": {"l": {"block": "Linear", "features": 8}, "n": {"block": "GELU"}}},
            "b": {"body": {"l": {"block": "Linear", "features": 8}, "n": {"block": "ReLU"}}},
        },
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_each_block_is_written_as_it_computes(name, monkeypatch):
    must_be_written_as_it_computes(*BLOCKS[name], monkeypatch)
