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
    decay: Float[Tensor, "_ heads _ _"] | None = None,
    *,
    strength: Float[Tensor, "batch heads tokens 1"] | None = None,
    state: Float[Tensor, "batch heads head_dim value_dim"] | None = None,
    form: Form = "chunked",
    chunk: int = 32,
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
            for each of its channels (head_dim), for each token or for all of them (1). None keeps
            all.
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
        decay = v.new_zeros(1, 1, 1, 1)
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
    kept = kept.expand(-1, -1, -1, v.shape[2])
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
    channels = decay.shape[-1] > 1
    if channels:
        chunk, decay = round_up(chunk), limit_decay(decay)
    if decay.shape[2] == 1:  # one row for all chunks, but not for one that ends early
        decay = decay.expand(-1, -1, chunk if tokens % chunk == 0 else tokens, -1)
    q, k, v = (cut_chunks(part, chunk) for part in (q, k, v))
    since = cut_chunks(decay, chunk).cumsum(-2)  # the first state of a chunk, at each token
    if channels or strength is not None:
        q, k = share_heads(q, heads), share_heads(k, heads)
    left = LeftOfChannels(since) if channels else LeftOfHeads(since)
    pairs = left.compare(q, k)
    kept = since[..., -1:, :].exp().transpose(-2, -1).expand(-1, -1, v.shape[2], -1, -1)
    before, shares = [], kept.unbind(2)
    if strength is None:
        for share, added in zip(shares, left.sum_chunks(k, v).unbind(2), strict=True):
            before.append(state)
            state = torch.addcmul(added, state, share)
    else:
        values, old = correct(k, v, cut_chunks(strength, chunk), left)
        last = left.until_end(k).transpose(-2, -1)
        written = []
        for parts in zip(shares, values.unbind(2), old.unbind(2), last.unbind(2), strict=True):
            share, value, read, key = parts
            before.append(state)
            written.append(value - read @ state)
            state = torch.addcmul(key @ written[-1], state, share)
        v = torch.stack(written, dim=2)
    read = left.read_state(q, torch.stack(before, dim=2))
    read = add_product(read, pairs, v)
    return read.flatten(2, 3)[:, :, :tokens], state


def cut_chunks(x: Tensor, chunk: int) -> Tensor:
    """(batch, heads, tokens, width) -> (batch, heads, chunks, chunk, width), zero at the end."""
    short = -x.shape[2] % chunk
    if short:
        x = F.pad(x, (0, 0, 0, short))
    return x.unflatten(2, (-1, chunk))


def add_product(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """x + left @ right in one pass, for tensors of equal leading axes."""
    flat = [part.expand(*x.shape[:-2], *part.shape[-2:]).flatten(0, -3) for part in (left, right)]
    return torch.baddbmm(x.flatten(0, -3), *flat).view(x.shape)


class LeftOfHeads:
    """What is left of a token after later ones, where a head has one decay.

    It is applied to values and results, so that heads can share queries and keys.

    Args:
        since: sum of the logarithms of the decay since the chunk began, at each token: (batch or 1,
            heads, chunks or 1, chunk, 1).
    """

    def __init__(self, since: Tensor):
        self.since = since
        tokens = since.shape[-2]
        future = torch.ones(tokens, tokens, dtype=torch.bool, device=since.device).triu(1)
        apart = since - since.transpose(-2, -1)
        self.pairs = apart.masked_fill(future, -torch.inf).exp()  # of token j at token i

    def compare(self, q: Tensor, k: Tensor) -> Tensor:
        """q_i · k_j times what is left of token j at token i, zero for j > i."""
        products = q @ k.transpose(-2, -1)
        return share_heads(products, max(self.pairs.shape[1], products.shape[1])) * self.pairs

    def since_start(self, x: Tensor) -> Tensor:
        """x times what is left of the state before the chunk."""
        return x * self.since.exp()

    def until_end(self, x: Tensor) -> Tensor:
        """x times what is left of it at the end of the chunk."""
        return x * (self.since[..., -1:, :] - self.since).exp()

    def sum_chunks(self, k: Tensor, v: Tensor) -> Tensor:
        """The sum of k' v over each chunk, as it is left at the end of the chunk."""
        v = self.until_end(v)
        if k.shape[1] == v.shape[1]:
            return k.transpose(-2, -1) @ v
        shared = v.unflatten(1, (k.shape[1], -1)).movedim(2, -2).flatten(-2)
        sums = k.transpose(-2, -1) @ shared
        return sums.unflatten(-1, (-1, v.shape[-1])).movedim(-2, 2).flatten(1, 2)

    def read_state(self, q: Tensor, state: Tensor) -> Tensor:
        """What the queries of each chunk read of the state before it."""
        if q.shape[1] == state.shape[1]:
            return self.since_start(q @ state)
        shared = state.unflatten(1, (q.shape[1], -1)).movedim(2, -2).flatten(-2)
        read = (q @ shared).unflatten(-1, (-1, state.shape[-1])).movedim(-2, 2)
        return self.since_start(read.flatten(1, 2))


class LeftOfChannels:
    """What is left of a token after later ones, where each channel of a head has a decay.

    Sums are measured from the middle of each leaf of LEAF tokens, which `limit_decay` keeps in
    range: of tokens, one exponential and its inverse are computed, `turn`; everything else is one
    of those times an exponential that is at most 1, of which there is one for each leaf.

    Args:
        since: as of `LeftOfHeads`, with channels as the last axis.
    """

    def __init__(self, since: Tensor):
        leaves = since.unflatten(-2, (-1, LEAF))
        self.middle = leaves[..., LEAF // 2 - 1, :]
        self.end = leaves[..., -1, :]
        self.turn = (leaves - self.middle.unsqueeze(-2)).exp()
        self.back = (self.middle.unsqueeze(-2) - leaves).exp()

    def compare(self, q: Tensor, k: Tensor) -> Tensor:
        """q_i · k_j times what is left of token j at token i, zero for j > i."""
        q, k = q.unflatten(-2, (-1, LEAF)) * self.turn, k.unflatten(-2, (-1, LEAF)) * self.back
        return compare_leaves(q, k, self.middle, self.end)

    def since_start(self, x: Tensor) -> Tensor:
        """x times what is left of the state before the chunk."""
        leaves = x.unflatten(-2, (-1, LEAF))
        return (leaves * self.turn * self.middle.exp().unsqueeze(-2)).flatten(-3, -2)

    def until_end(self, x: Tensor) -> Tensor:
        """x times what is left of it at the end of the chunk."""
        leaves = x.unflatten(-2, (-1, LEAF))
        left = (self.end[..., -1:, :] - self.middle).exp()
        return (leaves * self.back * left.unsqueeze(-2)).flatten(-3, -2)

    def sum_chunks(self, k: Tensor, v: Tensor) -> Tensor:
        """The sum of k' v over each chunk, as it is left at the end of the chunk."""
        return self.until_end(k).transpose(-2, -1) @ v

    def read_state(self, q: Tensor, state: Tensor) -> Tensor:
        """What the queries of each chunk read of the state before it."""
        return self.since_start(q) @ state


def compare_leaves(q: Tensor, k: Tensor, middle: Tensor, end: Tensor) -> Tensor:
    """Products of all pairs of tokens of one leaf, or of a power of 2 of them: (..., tokens,
    tokens).

    Queries of the later half of the leaves meet keys of the earlier half where that ends, so that
    both factors of a product have a decay of their own that is at most 1; then each half likewise.

    Args:
        q: queries times `turn`, (..., leaves, LEAF, width).
        k: keys times its inverse.
        middle: the sum of decays at the middle of each leaf, (..., leaves, width).
        end: likewise at its end.
    """
    leaves = q.shape[-3]
    half = leaves // 2
    if leaves == 1:
        future = torch.ones(LEAF, LEAF, dtype=torch.bool, device=q.device).triu(1)
        products = q.squeeze(-3) @ k.squeeze(-3).transpose(-2, -1)
        return products.masked_fill(future, 0.0)
    q, k = (part.unflatten(-3, (2, half)) for part in (q, k))
    middle, end = (part.unflatten(-2, (2, half)) for part in (middle, end))
    inside = compare_leaves(q, k, middle, end)
    border = end[..., 0, -1:, :]
    later = q[..., 1, :, :, :] * (middle[..., 1, :, :] - border).exp().unsqueeze(-2)
    earlier = k[..., 0, :, :, :] * (border - middle[..., 0, :, :]).exp().unsqueeze(-2)
    across = later.flatten(-3, -2) @ earlier.flatten(-3, -2).transpose(-2, -1)
    first = F.pad(inside[..., 0, :, :], (0, half * LEAF))
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
    k: Tensor, v: Tensor, strength: Tensor, left: LeftOfHeads | LeftOfChannels
) -> tuple[Tensor, Tensor]:
    """The delta rule inside each chunk: what is written is the first result minus the second times
    the state before the chunk.

    What a token writes depends on what those before it wrote: a triangular system of equations.
    """
    strong = k * strength
    lower = left.compare(strong, k)
    wanted = torch.cat((v * strength, left.since_start(strong)), dim=-1)
    dtype = torch.promote_types(wanted.dtype, torch.float32)
    solved = torch.linalg.solve_triangular(
        lower.to(dtype), wanted.to(dtype), upper=False, unitriangular=True
    )
    written, old = solved.split([v.shape[-1], k.shape[-1]], dim=-1)
    return written, old
