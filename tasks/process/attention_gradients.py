"""Gradients of attention in bfloat16 on a CPU, by products of matrices.

The kernel of torch multiplies the small pieces of each head one by one in its backward pass, which
in bfloat16 is slow. Forward and backward on two threads of an Intel Xeon: 8 x 6 heads of 197 tokens
14.0 ms, 9.2 by products; 512 x 3 heads of 49 tokens 147 and 30 ms; 4 x 12 heads of 256 causal
tokens 15.2 and 13.4 ms, 2 x 12 of 512 23.5 and 26.9 ms.
"""

import functools
import warnings
from typing import Any

import torch
from torch import Tensor

OPERATOR = "_scaled_dot_product_flash_attention_for_cpu_backward"
ARGUMENTS = (
    *("grad_out", "query", "key", "value", "out", "logsumexp", "dropout_p", "is_causal"),
    *("attn_mask", "scale"),
)
MAX_KEYS = 256  # with more, the kernel of torch is faster
# Whether oneDNN multiplies in bfloat16 on this processor, which takes AVX-512.
MULTIPLIED = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@functools.cache
def use_products() -> torch.library.Library | None:
    """Let this process compute the gradients by products where that is faster, in whatever block.

    They are as close to those in float64 as the gradients of the kernel, and not equal to the bit.

    Returns:
        What holds the change; None where this release of torch has another operator.
    """
    operator = getattr(torch.ops.aten, OPERATOR, None)
    if operator is None or not hasattr(torch.library, "get_kernel"):
        return None
    if tuple(argument.name for argument in operator.default._schema.arguments) != ARGUMENTS:
        return None
    kernel = torch.library.get_kernel(operator.default, "CPU")

    def backward(
        keys: Any, upstream: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any, **named: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        _, _, dropout, causal = rest
        if dropout or not is_faster(q, k):
            gradients: tuple[Tensor, Tensor, Tensor] = kernel.call_boxed(
                keys, upstream, q, k, v, *rest, **named
            )
            return gradients
        return multiply_back(upstream, q, k, v, causal=causal, **named)

    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*Overriding a previously registered kernel")
        library.impl(OPERATOR, backward, "CPU", with_keyset=True)
    return library


def is_faster(q: Tensor, k: Tensor) -> bool:
    """Return whether products take less time than the kernel."""
    if not MULTIPLIED or q.dtype is not torch.bfloat16:
        return False
    return k.shape[2] <= MAX_KEYS and q.shape[1] == k.shape[1]


def multiply_back(
    upstream: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of attention to its queries, keys and values.

    Args:
        upstream: gradient of the output, (batch, heads, queries, value_dim).
        q: (batch, heads, queries, head_dim).
        k: (batch, heads, keys, head_dim).
        v: (batch, heads, keys, value_dim).
        causal: query i attends to keys 0..i only.
        attn_mask: added to the scores, broadcastable to (batch, heads, queries, keys).
        scale: factor of the products. None is 1 / √head_dim.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = q.float() * scale @ k.float().transpose(-2, -1)  # in bfloat16 weights would be off
    if causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        attn_mask = torch.zeros(scores.shape[-2:]).masked_fill(future, -torch.inf)
    if attn_mask is not None:
        nothing = (attn_mask == -torch.inf).all(-1, keepdim=True)  # a query that attends to nothing
        scores += attn_mask.masked_fill(nothing, 0.0)
        upstream = upstream.masked_fill(nothing, 0.0)
    weights = scores.softmax(-1).to(q.dtype)
    by_v = weights.transpose(-2, -1) @ upstream
    by_weights = upstream @ v.transpose(-2, -1)
    by_scores = torch._softmax_backward_data(by_weights, weights, -1, weights.dtype)
    by_scores *= scale
    by_q, by_k = by_scores @ k, by_scores.transpose(-2, -1) @ q
    return put_tokens_first(by_q), put_tokens_first(by_k), put_tokens_first(by_v)


def put_tokens_first(gradient: Tensor) -> Tensor:
    """Return (batch, heads, tokens, dim) with the tokens before the heads in memory, as the kernel
    does: compiled code relies on it.
    """
    return gradient.transpose(1, 2).contiguous().transpose(1, 2)
