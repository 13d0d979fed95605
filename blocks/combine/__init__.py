"""Combine, scale and drop values: the connections between blocks."""

from blocks.combine.arithmetic import Add, Concat, MatMul, Multiply, Subtract
from blocks.combine.parts import Flip, Part, Slice
from blocks.combine.scale import ChannelScale, Gain, LayerScale, ReZero, UnitNorm
from blocks.combine.stochastic import DropPath, GaussianSample

__all__ = [
    "Add",
    "ChannelScale",
    "Concat",
    "DropPath",
    "Flip",
    "Gain",
    "GaussianSample",
    "LayerScale",
    "MatMul",
    "Multiply",
    "Part",
    "ReZero",
    "Slice",
    "Subtract",
    "UnitNorm",
]
