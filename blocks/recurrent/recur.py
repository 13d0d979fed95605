"""A recurrence that is linear in its state, a matrix for each head, in three equal forms.

    S_t = decay_t · S_{t-1} + k_tᵀ v_t        o_t = q_t S_t

With the delta rule, k_tᵀ v_t becomes strength_t · k_tᵀ (v_t - k_t · decay_t · S_{t-1}): what the
state already returns for the key is subtracted from the value.

The state after a chunk of tokens depends on the state before it and on sums over the chunk, so that
a chunk is a few products of matrices. Decays are kept as logarithms: what is left of token j at
token i is the exponential of a difference of sums, which is never positive, so that nothing
overflows however strong the decay is. Sources: Sun et al. 2023 (RetNet), arXiv:2307.08621, equation
7; Yang et al. 2023 (GLA), arXiv:2312.06635, section 4; Dao and Gu 2024 (Mamba-2), arXiv:2405.21060,
section 6; Yang et al. 2024 (gated DeltaNet), arXiv:2412.06464, section 3.3.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Form = Literal["chunked", "parallel", "steps"]
LEAF = 8  # tokens whose pairs have their decays for each channel measured from one token


def recur(
    q: Float[Tensor, "batch groups tokens head_dim"],
    k: Float[Tensor, "batch groups tokens head_dim"],
    v: Float[Tensor, "batch heads tokens value_dim"],
    decay: Float[Tensor, "_ heads tokens _"] | None = None,
    *,
    strength: Float[Tensor, "batch heads tokens 1"] | None = None,
    state: Float[Tensor, "batch heads head_dim value_dim"] | None = None,
    form: Form = "chunked",
    chunk: int = 64,
) -> tuple[
    Float[Tensor, "batch heads tokens value_dim"], Float[Tensor, "batch heads head_dim value_dim"]
]:
    """What is read at each token, and the state after the last one.

    Args:
        q: queries. They and the keys may have fewer heads than the values, each shared by
            neighbouring heads of values.
        k: keys.
        v: values.
        decay: logarithm of the share of the state that is kept, at most 0: one for each head (1) or
            for each of its channels (head_dim). None keeps all.
        strength: share of the correction that is written, in [0, 1]: the delta rule. None adds.
        state: the state before the first token. None is zero. States are float32 at least.
        form: `chunked` compares the tokens of a chunk as matrices and carries the state from chunk
            to chunk; `parallel` compares all tokens, which is quadratic; `steps` is the definition.
        chunk: tokens of a chunk; the result does not depend on it.
    """
    heads, tokens = v.shape[1], v.shape[2]
    dtype = torch.promote_types(v.dtype, torch.float32)
    q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    if state is None:
        state = v.new_zeros(len(v), heads, q.shape[3], v.shape[3])
    if decay is None:
        decay = v.new_zeros(1, 1, tokens, 1)
    if form == "steps":
        q, k = share_heads(q, heads), share_heads(k, heads)
        return recur_by_steps(q, k, v, decay, strength, state)
    if form == "parallel":
        chunk = round_up(tokens)
    return recur_by_chunks(q, k, v, decay, strength, state, chunk)


def share_heads(x: Float[Tensor, "batch groups ..."], heads: int) -> Float[Tensor, "batch ..."]:
    """Repeat each head for the neighbouring ones that share it."""
    if x.shape[1] == heads:
        return x
    return x.repeat_interleave(heads // x.shape[1], dim=1)


def recur_by_steps(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, strength: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The definition, token by token."""
    kept = decay.exp().transpose(-2, -1)  # (batch, heads, channels, tokens)
    read = []
    for i in range(v.shape[2]):
        here = slice(i, i + 1)
        state = state * kept[..., here]
        value = v[:, :, here]
        if strength is not None:
            value = strength[:, :, here] * (value - k[:, :, here] @ state)
        state = state + k[:, :, here].transpose(-2, -1) * value
        read.append(q[:, :, here] @ state)
    return torch.cat(read, dim=2), state


def recur_by_chunks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    strength: Tensor | None,
    state: Tensor,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """Pairs of tokens inside each chunk; the state from chunk to chunk."""
    heads, tokens = v.shape[1], v.shape[2]
    chunk = min(chunk, tokens)
    if decay.shape[-1] > 1:
        chunk, decay = round_up(chunk), limit_decay(decay)
    q, k, v = (cut_chunks(part, chunk) for part in (q, k, v))
    since = cut_chunks(decay, chunk).cumsum(-2)  # the first state of a chunk, at each token
    left = None if since.shape[-1] > 1 else left_of_pairs(since)
    if since.shape[-1] > 1 or strength is not None:
        q, k = share_heads(q, heads), share_heads(k, heads)
    pairs = compare(q, k, since, left)
    end = since[..., -1:, :]
    kept = end.exp().transpose(-2, -1)
    if strength is None:
        added = add_chunks(k, v, end - since)
        before = []
        for i in range(v.shape[2]):
            before.append(state)
            state = state * kept[:, :, i] + added[:, :, i]
        read = pairs @ v + read_state(q, torch.stack(before, dim=2), since)
        return read.flatten(2, 3)[:, :, :tokens], state
    strength = cut_chunks(strength, chunk)
    v, old = correct(k, v, since, strength, left)
    last = (k * (end - since).exp()).transpose(-2, -1)
    before, written = [], []
    for i in range(v.shape[2]):
        value = v[:, :, i] - old[:, :, i] @ state
        before.append(state)
        written.append(value)
        state = state * kept[:, :, i] + last[:, :, i] @ value
    read = pairs @ torch.stack(written, dim=2)
    read = read + read_state(q, torch.stack(before, dim=2), since)
    return read.flatten(2, 3)[:, :, :tokens], state


def cut_chunks(x: Tensor, chunk: int) -> Tensor:
    """(batch, heads, tokens, width) -> (batch, heads, chunks, chunk, width), zero at the end."""
    short = -x.shape[2] % chunk
    if short:
        x = F.pad(x, (0, 0, 0, short))
    return x.unflatten(2, (-1, chunk))


def add_chunks(k: Tensor, v: Tensor, left: Tensor) -> Tensor:
    """The sum of k' v over each chunk, as it is left at the end of the chunk.

    Where a head has one decay, it is applied to the values, so that keys can be shared.
    """
    heads = v.shape[1]
    if left.shape[-1] == 1:
        v = v * left.exp()
    else:
        k = k * left.exp()
    if k.shape[1] == heads:
        return k.transpose(-2, -1) @ v
    shared = v.unflatten(1, (k.shape[1], -1)).movedim(2, -2).flatten(-2)
    sums = k.transpose(-2, -1) @ shared
    return sums.unflatten(-1, (-1, v.shape[-1])).movedim(-2, 2).flatten(1, 2)


def read_state(q: Tensor, state: Tensor, since: Tensor) -> Tensor:
    """What the queries of each chunk read of the state before it."""
    heads = state.shape[1]
    if since.shape[-1] > 1:
        return (q * since.exp()) @ state
    if q.shape[1] == heads:
        return (q @ state) * since.exp()
    shared = state.unflatten(1, (q.shape[1], -1)).movedim(2, -2).flatten(-2)
    read = (q @ shared).unflatten(-1, (-1, state.shape[-1])).movedim(-2, 2)
    return read.flatten(1, 2) * since.exp()


def left_of_pairs(since: Tensor) -> Tensor:
    """What is left of token j at token i, zero for j > i: (..., tokens, tokens)."""
    tokens = since.shape[-2]
    future = torch.ones(tokens, tokens, dtype=torch.bool, device=since.device).triu(1)
    return (since - since.transpose(-2, -1)).masked_fill(future, -torch.inf).exp()


def compare(q: Tensor, k: Tensor, since: Tensor, left: Tensor | None) -> Tensor:
    """q_i · k_j times what is left of token j at token i, zero for j > i: (..., tokens, tokens).

    Args:
        q: queries of each chunk.
        k: keys.
        since: sum of the logarithms of the decay since the chunk began.
        left: `left_of_pairs(since)`; None where each channel has a decay.
    """
    if left is None:
        return compare_channels(q, k, since.expand_as(q))
    products = q @ k.transpose(-2, -1)
    return share_heads(products, max(left.shape[1], products.shape[1])) * left


def compare_channels(q: Tensor, k: Tensor, since: Tensor) -> Tensor:
    """As `compare`, with a decay for each channel, for LEAF tokens or a power of 2 times as many.

    The sums of the later half of the tokens are measured from the end of the earlier half, so that
    both factors of a product have a decay of their own that is at most 1; then each half likewise.
    Those of a leaf are measured from its middle, which `limit_decay` keeps in range.
    """
    tokens = q.shape[-2]
    half = tokens // 2
    if tokens <= LEAF:
        since = since - since[..., half - 1 : half, :]
        future = torch.ones(tokens, tokens, dtype=torch.bool, device=q.device).triu(1)
        products = (q * since.exp()) @ (k * (-since).exp()).transpose(-2, -1)
        return products.masked_fill(future, 0.0)
    q, k, since = (part.unflatten(-2, (2, half)) for part in (q, k, since))
    inside = compare_channels(q, k, since)
    middle = since[..., 0, -1:, :]
    later = q[..., 1, :, :] * (since[..., 1, :, :] - middle).exp()
    earlier = k[..., 0, :, :] * (middle - since[..., 0, :, :]).exp()
    across = later @ earlier.transpose(-2, -1)
    first = F.pad(inside[..., 0, :, :], (0, half))
    second = torch.cat((across, inside[..., 1, :, :]), dim=-1)
    return torch.cat((first, second), dim=-2)


def limit_decay(decay: Tensor) -> Tensor:
    """A decay for each channel that no sum over half a leaf lets overflow.

    What is kept at least, 2e-9 in float32 and 1e-75 in float64, is less than the rounding of what
    it is added to.
    """
    lowest = -0.9 * math.log(torch.finfo(decay.dtype).max) / (LEAF // 2)
    return decay.clamp_min(lowest)


def round_up(chunk: int) -> int:
    """The first of LEAF, 2 LEAF, 4 LEAF, ... that is not below `chunk`."""
    rounded = LEAF
    while rounded < chunk:
        rounded *= 2
    return rounded


def correct(
    k: Tensor, v: Tensor, since: Tensor, strength: Tensor, left: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The delta rule inside each chunk: what is written is the first result minus the second times
    the state before the chunk.

    What a token writes depends on what those before it wrote: a triangular system of equations.
    """
    strong = k * strength
    lower = compare(strong, k, since, left)
    wanted = torch.cat((v * strength, strong * since.exp()), dim=-1)
    dtype = torch.promote_types(wanted.dtype, torch.float32)
    solved = torch.linalg.solve_triangular(
        lower.to(dtype), wanted.to(dtype), upper=False, unitriangular=True
    )
    written, old = solved.split([v.shape[-1], k.shape[-1]], dim=-1)
    return written, old
