"""Fused kernels, which the meta device takes apart: what they keep for the backward pass on a real
device.

Attention keeps queries, keys, values, mask, output and one number a query, never the weights. A
recurrence keeps its input, its states and, a token and layer, its gates and what it hands on: as
cuDNN does, to a few percent.
"""

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


class _Fused(torch.autograd.Function):
    """Gives tensors of given shapes and keeps the inputs, the outputs and so many more numbers.

    Four axes are heads of attention, which every kernel lays out token by token.
    """

    @staticmethod
    def forward(
        context: Any, shapes: Any, extra: tuple[int, ...], *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        outputs = tuple(_empty(inputs[0], tuple(shape)) for shape in shapes)
        context.save_for_backward(*inputs, *outputs, inputs[0].new_empty(extra))
        return outputs

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        raise AssertionError("nothing flows back on the meta device")


def _empty(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    if len(shape) != 4:
        return like.new_empty(shape)
    batch, heads, tokens, dim = shape
    return like.new_empty(batch, tokens, heads, dim).transpose(1, 2)


class Kernels(TorchFunctionMode):
    """Runs fused kernels of torch as one operation."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        name, keywords = getattr(function, "__name__", ""), keywords or {}
        if name == "scaled_dot_product_attention":
            return _attention(function, *arguments, **keywords)
        if name in GATES and isinstance(arguments[3], bool):  # packed sequences stay as they are
            return _recurrence(function, name, arguments)
        return function(*arguments, **keywords)


def _attention(
    function: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    *rest: Any,
    **more: Any,
) -> Tensor:
    with torch.no_grad():
        out = function(
            q, k, v, attn_mask, *rest, **more
        )  # its products are counted where they are made
    inputs = [q, k, v] if attn_mask is None else [q, k, v, attn_mask]
    return _Fused.apply([out.shape], (q.shape[:-1]), *inputs)[0]


def _recurrence(function: Any, name: str, arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
    x, states, weights, _, layers, _, _, bidirectional = arguments[:8]
    states = list(states) if name == "lstm" else [states]
    tokens, directions, hidden = (
        x.shape[0] * x.shape[1],
        2 if bidirectional else 1,
        states[0].shape[-1],
    )
    with torch.no_grad():
        for weight in weights:  # each weight meets each token once
            if weight.dim() == 2:
                torch.mm(x.new_empty(tokens, weight.shape[1]), weight.t())
    a_token = (GATES[name] + len(states)) * hidden * directions * layers
    shapes = [(*x.shape[:2], hidden * directions), *(state.shape for state in states)]
    return _Fused.apply(shapes, (tokens, a_token), x, *states, *weights)
