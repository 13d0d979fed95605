"""Masks of attention: padding, causality and the user's own, merged into one mask of the scores.

True in a boolean mask means that the position takes part.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from blocks.errors import BlockError

Mask = Bool[Tensor, "..."] | Float[Tensor, "..."]
"""Boolean or added to the scores; broadcastable to (batch, heads, queries, keys)."""


def causal_mask(queries: int, keys: int, device: torch.device) -> Bool[Tensor, "queries keys"]:
    """True where a query may attend: to its own position and before."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def window_mask(
    queries: int, keys: int, window: int, device: torch.device
) -> Bool[Tensor, "queries keys"]:
    """True where query and key are less than `window` apart; the last of both stand together."""
    places = torch.arange(keys - queries, keys, device=device)[:, None]
    return (places - torch.arange(keys, device=device)).abs() < window


def key_mask(padding_mask: Bool[Tensor, " batch *tokens"]) -> Bool[Tensor, "batch 1 1 keys"]:
    """The padding mask as a mask of scores."""
    if padding_mask.dtype != torch.bool:
        raise BlockError(
            "padding_mask must be boolean, True for a real token",
            got=str(padding_mask.dtype),
            fix="padding_mask.bool(), if 1 is a real token",
            code="dtype-mismatch",
        )
    return padding_mask.flatten(1)[:, None, None, :]


def merge_masks(
    scores: tuple[int, int, int],
    *,
    like: Tensor,
    padding_mask: Tensor | None = None,
    mask: Tensor | None = None,
    causal: bool = False,
    window: int | None = None,
    bias: Tensor | None = None,
) -> Tensor | None:
    """All masks and biases as one tensor: boolean, unless something is added to the scores.

    Args:
        scores: (heads, queries, keys).
        like: gives device and dtype.
        padding_mask: (batch, *keys), True for a real token.
        mask: broadcastable to (batch, heads, queries, keys), boolean or added.
        causal: query i attends to keys 0..i only.
        window: a query attends to keys that are less than this many tokens away only.
        bias: (heads, queries, keys), added.
    """
    allowed = None
    if padding_mask is not None:
        allowed = key_mask(padding_mask)
    if mask is not None:
        if mask.dim() == 3:
            if mask.shape[0] not in (1, scores[0]):
                raise BlockError(
                    "a mask of three axes is (heads, queries, keys)",
                    got=f"{tuple(mask.shape)} for {scores[0]} heads",
                    fix="mask[:, None] for one mask per sample",
                    code="shape-mismatch",
                )
            mask = mask[None]
        if mask.dtype == torch.bool:
            allowed = mask if allowed is None else allowed & mask
        else:
            bias = mask if bias is None else bias + mask
    if causal:
        past = causal_mask(scores[1], scores[2], like.device)
        allowed = past if allowed is None else allowed & past
    if window is not None:
        near = window_mask(scores[1], scores[2], window, like.device)
        allowed = near if allowed is None else allowed & near
    if bias is None:
        return allowed
    bias = bias.to(like.dtype)
    if bias.dim() == 3:
        bias = bias[None]  # with three axes no fused kernel is chosen
    return bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)


def append_sinks(
    mask: Tensor | None,
    sinks: Float[Tensor, " heads"],
    scores: tuple[int, int, int],
    *,
    like: Tensor,
) -> Float[Tensor, "batch heads queries keys_and_sink"]:
    """The mask of one more key, the last, whose score is `sinks` for every query.

    Args:
        mask: as `merge_masks` returns it.
        sinks: one score for each head.
        scores: (heads, queries, keys), without the sink.
        like: gives device and dtype.
    """
    added = torch.zeros((1, *scores), dtype=like.dtype, device=like.device)
    if mask is not None and mask.dtype == torch.bool:
        added = added.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        added = added + mask
    column = sinks.to(like.dtype)[None, :, None, None].expand(*added.shape[:3], 1)
    return torch.cat((added, column), dim=-1)


def masked_softmax(scores: Float[Tensor, "..."], mask: Tensor | None) -> Float[Tensor, "..."]:
    """Softmax over the last axis; zeros, not NaN, where the mask leaves nothing."""
    if mask is None:
        return scores.softmax(-1)
    scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    nothing = (scores == -torch.inf).all(-1, keepdim=True)
    return scores.masked_fill(nothing, 0.0).softmax(-1).masked_fill(nothing, 0.0)
