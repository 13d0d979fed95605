"""Recurrent networks: on torch's fused kernels, and linear ones whose state is a matrix."""

from blocks.recurrent.decay import ChannelDecay, ConstantDecay, StepDecay
from blocks.recurrent.fused import GRU, LSTM, RNN
from blocks.recurrent.gated_norm import GatedNorm
from blocks.recurrent.linear_recurrence import LinearRecurrence
from blocks.recurrent.minimal import MinGRU, MinLSTM
from blocks.recurrent.recur import recur
from blocks.recurrent.selective_state_space import SelectiveStateSpace
from blocks.recurrent.xlstm import MatrixLSTM, ScalarLSTM

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "ChannelDecay",
    "ConstantDecay",
    "GatedNorm",
    "LinearRecurrence",
    "MatrixLSTM",
    "MinGRU",
    "MinLSTM",
    "ScalarLSTM",
    "SelectiveStateSpace",
    "StepDecay",
    "recur",
]
