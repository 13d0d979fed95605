"""Combine, scale, choose and drop values: the connections between blocks."""

from blocks.combine.arithmetic import (
    Add,
    Concat,
    Divide,
    MatMul,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)
from blocks.combine.elementwise import Abs, Compare, Cos, Exp, Log, Power, Sin, StopGradient, Where
from blocks.combine.parts import Flip, Part, Slice
from blocks.combine.residual_streams import ReadStreams, WriteStreams
from blocks.combine.scale import ChannelScale, Gain, LayerScale, LogitScale, ReZero, UnitNorm
from blocks.combine.select import ArgMax, Gather, TopK
from blocks.combine.spectrum import FFT, InverseFFT
from blocks.combine.stochastic import DropPath, GaussianSample
from blocks.combine.values import Arange, Constant, Parameter, Random

__all__ = [
    "FFT",
    "Abs",
    "Add",
    "Arange",
    "ArgMax",
    "ChannelScale",
    "Compare",
    "Concat",
    "Constant",
    "Cos",
    "Divide",
    "DropPath",
    "Exp",
    "Flip",
    "Gain",
    "Gather",
    "GaussianSample",
    "InverseFFT",
    "LayerScale",
    "Log",
    "LogitScale",
    "MatMul",
    "Maximum",
    "Minimum",
    "Multiply",
    "Parameter",
    "Part",
    "Power",
    "Random",
    "ReZero",
    "ReadStreams",
    "Sin",
    "Slice",
    "StopGradient",
    "Subtract",
    "TopK",
    "UnitNorm",
    "Where",
    "WriteStreams",
]
