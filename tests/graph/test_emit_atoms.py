"""Emitted files of atoms: each is written as it computes."""

import pytest
import torch

from blocks.graph import Composed, plan
from blocks.graph.describe.emit import emit
from tests.graph.emitted import must_be_written_as_it_computes

TOKENS = {"tokens": 12, "dim": 8}
ATOMS = {
    "functions": (
        {"x": TOKENS, "y": TOKENS},
        {
            "exp": {"block": "Exp", "in": "x"},
            "log": {"block": "Log"},
            "sine": {"block": "Sin"},
            "cosine": {"block": "Cos"},
            "square": {"block": "Power", "exponent": 2},
            "ratio": {"block": "Divide", "in": ["square", "exp"]},
            "high": {"block": "Maximum", "in": ["ratio", "x", "y"]},
            "low": {"block": "Minimum", "in": ["high", "exp"]},
            "seen": {"block": "Compare", "relation": "at_most", "in": "low", "to": 0.3},
            "less": {"block": "Compare", "relation": "less", "in": ["x", "y"]},
            "both": {"block": "Minimum", "in": ["seen", "less"]},
            "chosen": {"block": "Where", "in": ["both", "x", "low"]},
            "held": {"block": "StopGradient"},
            "top": {"block": "TopK", "count": 3, "axis": 1},
            "first": {"block": "ArgMax", "in": "y", "axis": 2},
            "gathered": {"block": "Gather", "in": ["held", "top.indices"]},
            "looked": {"block": "Gather", "in": ["y", "first"]},
            "joined": {"block": "Concat", "in": ["top.values", "gathered", "looked"], "axis": 1},
        },
    ),
    "einops": (
        {"x": TOKENS},
        {
            "mean": {"block": "Reduce", "in": "x", "pattern": "b (t 3) d -> b t d"},
            "high": {
                "block": "Reduce",
                "pattern": "b t (h d) -> b h",
                "operation": "max",
                "sizes": {"h": 4},
            },
            "most": {"block": "Repeat", "pattern": "b ... -> b ... 2 n", "sizes": {"n": 3}},
            "product": {"block": "Reduce", "pattern": "b ... -> b", "operation": "prod"},
        },
    ),
    "attend": (
        {"x": {"heads": 4, "tokens": 12, "dim": 8}, "y": {"heads": 2, "tokens": 5, "dim": 8}},
        {
            "near": {"block": "Attend", "in": ["x", "x", "x"], "causal": True, "window": 4},
            "cross": {"block": "Attend", "in": ["near", "y", "y"], "scale": 0.5, "sinks": True},
            "noisy": {"block": "Attend", "in": ["cross", "y", "y"], "dropout": 0.1},
            "slopes": {
                "block": "Attend",
                "in": ["noisy", "x", "x"],
                "position_bias": {"block": "ALiBi"},
                "soft_cap": 2.0,
                "return_weights": True,
            },
            "sum": {"block": "MatMul", "in": ["slopes.weights", "slopes.heads"]},
        },
    ),
    "spectrum": (
        {"x": TOKENS},
        {
            "waves": {"block": "FFT", "in": "x", "half": True},
            "filter": {"block": "Parameter", "shape": [7, 8], "start": "ones", "in": []},
            "kept": {"block": "Multiply", "in": ["waves.real", "filter"]},
            "back": {"block": "InverseFFT", "in": ["kept", "waves.imaginary"], "half": True},
            "mixed": {"block": "FFT", "axes": [1, 2], "norm": "ortho"},
        },
    ),
    "volumes": (
        {"x": {"channels": 4, "depth": 6, "height": 8, "width": 10}},
        {
            "conv": {"block": "Conv3d", "features": 6, "kernel": 3, "padding": 1},
            "batch": {"block": "BatchNorm3d"},
            "instance": {"block": "InstanceNorm3d"},
            "pool": {"block": "MaxPool3d", "kernel": 2},
            "wider": {"block": "ConvTranspose3d", "features": 3, "kernel": 2, "stride": 2},
            "mean": {"block": "AvgPool3d", "kernel": 2},
            "high": {"block": "AdaptiveMaxPool3d", "size": 2},
            "all": {"block": "AdaptiveAvgPool3d", "size": 1},
        },
    ),
    "lines": (
        {"x": {"channels": 4, "length": 9}},
        {
            "instance": {"block": "InstanceNorm1d"},
            "pool": {"block": "AdaptiveMaxPool1d", "size": 5},
            "a": {"block": "LogSigmoid"},
            "b": {"block": "CELU", "alpha": 0.5},
            "c": {"block": "Tanhshrink"},
            "d": {"block": "Softshrink", "lambd": 0.1},
            "e": {"block": "Hardshrink", "lambd": 0.1},
        },
    ),
    "patches": (
        {"x": {"channels": 4, "height": 8, "width": 8}},
        {
            "reflect": {"block": "ReflectionPad2d", "padding": 1},
            "circular": {"block": "CircularPad2d", "padding": 2},
            "unfold": {"block": "Unfold", "kernel": 2, "stride": 2},
        },
    ),
    "values": (
        {"x": TOKENS},
        {
            "place": {"block": "Arange", "in": "x"},
            "table": {"block": "Embedding", "vocab": 12, "dim": 8},
            "step": {"block": "Arange", "in": [], "length": 8, "start": 0.5, "kind": "float"},
            "row": {"block": "Rearrange", "pattern": "b d -> b 1 d"},
            "noise": {"block": "Random", "in": "x", "shape": {"tokens": 12, "dim": 8}},
            "fixed": {"block": "Random", "in": [], "shape": [1, 8], "seed": 3},
            "mean": {"block": "Constant", "in": [], "shape": [1, 2], "value": [0.1, 0.2]},
            "wide": {"block": "Constant", "in": "x", "shape": [12, 8], "value": 2},
            "scale": {"block": "Parameter", "in": [], "shape": [1, 1], "start": 0.5},
            "matrix": {"block": "Parameter", "in": [], "shape": [8, 8], "start": "eye"},
            "sum": {"block": "Add", "in": ["x", "table", "row", "noise", "fixed", "wide"]},
            "scaled": {"block": "Multiply", "in": ["sum", "scale"]},
            "turned": {"block": "MatMul", "in": ["scaled", "matrix"]},
            "registers": {"block": "Parameter", "in": "x", "shape": {"tokens": 4, "dim": 2}},
            "added": {"block": "Add", "in": ["registers", "mean"]},
            "flat": {"block": "Flatten"},
            "flat2": {"block": "Flatten", "in": "turned"},
            "all": {"block": "Concat", "in": ["flat", "flat2"]},
        },
    ),
}


@pytest.mark.parametrize("name", ATOMS)
def test_each_atom_is_written_as_it_computes(name, monkeypatch):
    must_be_written_as_it_computes(*ATOMS[name], monkeypatch)


STARRED = """
from torch import Tensor, nn


def list_names(shape):
    if isinstance(shape, dict):
        return ("batch", *shape)
    return ("batch", *(f"axis{index}" for index in shape))


class Named(nn.Module):
    def __init__(self, shape: list[int]):
        super().__init__()
        self.names = list_names(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x * len(self.names)
"""


def test_a_tuple_with_a_star_is_returned_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("blocks.graph.describe.emit.file.tidy", lambda text: text)
    (tmp_path / "named.py").write_text(STARRED, encoding="utf-8")
    config = {"inputs": {"x": [7]}, "graph": {"a": {"block": "Named", "shape": [3, 5]}}}
    made = plan(Composed({"model": config}), {}, library=[str(tmp_path / "named.py")])
    space = {}
    exec(compile(emit(made, "odd", "emit"), "odd", "exec"), space)
    x = torch.randn(2, 7)
    assert torch.equal(space["Odd"]()(x), made.materialise()(x))
