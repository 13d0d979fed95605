"""Where a token stands: added to tokens, turned into queries and keys, or added to attention
scores.
"""

from blocks.position.bias import ALiBi, LogSpacedBias, RelativeBias
from blocks.position.rotary import Rotary, Rotary2d
from blocks.position.scaling import LlamaScaling, NTKScaling, PositionInterpolation, YaRN
from blocks.position.tokens import (
    LearnedPosition,
    LearnedPosition2d,
    SinusoidalPosition,
    SinusoidalPosition2d,
)

__all__ = [
    "ALiBi",
    "LearnedPosition",
    "LearnedPosition2d",
    "LlamaScaling",
    "LogSpacedBias",
    "NTKScaling",
    "PositionInterpolation",
    "RelativeBias",
    "Rotary",
    "Rotary2d",
    "SinusoidalPosition",
    "SinusoidalPosition2d",
    "YaRN",
]
