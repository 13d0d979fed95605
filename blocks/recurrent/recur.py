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
LEAVES = 4  # of a chunk with a decay for each channel


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
        chunk: tokens of a chunk; the result does not depend on it. With a decay for each channel it
            is 32, for `parallel` as well.
    """
    heads, tokens = v.shape[1], v.shape[2]
    dtype = torch.promote_types(v.dtype, torch.float32)
    q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    if state is None:
        state = v.new_zeros(v.shape[0], heads, q.shape[3], v.shape[3])
    if decay is None:
        decay = v.new_zeros(1, heads, 1, 1)
    if form == "steps":
        q, k = share_heads(q, heads), share_heads(k, heads)
        return recur_by_steps(q, k, v, decay, strength, state)
    if form == "parallel":
        chunk = tokens
    return recur_by_chunks(q, k, v, decay, strength, state, chunk)


def share_heads(x: Float[Tensor, "batch groups ..."], heads: int) -> Float[Tensor, "batch ..."]:
    """Repeat each head for the neighbouring ones that share it."""
    if x.shape[1] == heads:
        return x
    return x.repeat_interleave(heads // x.shape[1], dim=1)


def weigh_heads(
    x: Float[Tensor, "batch groups ..."], weights: Tensor
) -> Float[Tensor, "batch ..."]:
    """x of the heads that share it, times the weights of each of them."""
    return (x.unsqueeze(2) * weights.unflatten(1, (x.shape[1], -1))).flatten(1, 2)


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
    tokens = v.shape[2]
    channels = decay.shape[-1] > 1
    chunk = LEAF * LEAVES if channels else min(chunk, tokens)
    if decay.shape[2] == 1:  # one row for all chunks, but not for one that ends early
        decay = decay.expand(-1, -1, chunk if tokens % chunk == 0 else tokens, -1)
    q, k, v, decay = (cut_chunks(part, chunk) for part in (q, k, v, decay))
    left = LeftOfChannels(decay) if channels else LeftOfHeads(decay)
    pairs, reader, writer = left.compare(q, k)
    parts = [left.kept.expand(*v.shape[:3], -1, -1), reader, writer.transpose(-2, -1), pairs, v]
    if strength is not None:
        strength = cut_chunks(strength, chunk)
        parts[-1], old = correct(share_heads(k, v.shape[1]), v, strength, left)
        parts.append(old)
    shape, state, read = state.shape, state.flatten(0, 1), []
    for one in zip(*(part.flatten(0, 1).unbind(1) for part in parts), strict=True):
        share, reads, writes, pair, value, *corrected = one
        for old in corrected:
            value = value - old @ state
        read.append(torch.baddbmm(reads @ state, pair, value))
        state = torch.baddbmm(state * share, writes, value)
    out = torch.cat(read, dim=1).unflatten(0, shape[:2])
    return out[:, :, :tokens], state.view(shape)


def cut_chunks(x: Tensor, chunk: int) -> Tensor:
    """(batch, heads, tokens, width) -> (batch, heads, chunks, chunk, width), zero at the end."""
    short = -x.shape[2] % chunk
    if short:
        x = F.pad(x, (0, 0, 0, short))
    return x.unflatten(2, (-1, chunk))


class LeftOfHeads:
    """What is left of a token after later ones, where a head has one decay.

    Args:
        decay: its logarithm at each token, (batch or 1, heads, chunks or 1, chunk, 1).
    """

    def __init__(self, decay: Tensor):
        since = decay.cumsum(-2)
        tokens = since.shape[-2]
        future = torch.ones(tokens, tokens, dtype=torch.bool, device=since.device).triu(1)
        apart = since - since.transpose(-2, -1)
        self.pairs = apart.masked_fill(future, -torch.inf).exp()  # of token j at token i
        self.since_start = since.exp()
        self.until_end = (since[..., -1:, :] - since).exp()
        self.kept = self.since_start[..., -1:, :]

    def compare(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three products.

        Returns:
            q_i · k_j times what is left of token j at token i, zero for j > i; q times what is left
            of the state before the chunk; k times what is left of it at the end of the chunk.
        """
        pairs = weigh_heads(q @ k.transpose(-2, -1), self.pairs)
        return pairs, weigh_heads(q, self.since_start), weigh_heads(k, self.until_end)


class LeftOfChannels:
    """What is left of a token after later ones, where each channel of a head has a decay.

    Sums are measured from the middle of each leaf, which `limit_decay` keeps in range: more tokens
    have no common factor in the range of float32. Everything else is a product of factors that are
    at most 1.

    Args:
        decay: its logarithm at each token, (batch or 1, heads, chunks or 1, LEAVES LEAF, width).
    """

    def __init__(self, decay: Tensor):
        apart, before, after = sum_leaves(limit_decay(decay).unflatten(-2, (-1, LEAF)))
        self.turn, self.back = apart.exp(), None
        if apart.requires_grad:  # the gradient of a division by `turn` would overflow
            self.back = (-apart).exp()
        self.from_start, self.to_end = (part.exp().unsqueeze(-2) for part in (before, after))
        self.of_leaves = (before + after).exp().unsqueeze(-2)
        self.kept = (before + after).sum(-2).exp().unsqueeze(-1)

    def compare(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As that of `LeftOfHeads`."""
        heads = self.turn.shape[1]
        q, k = (share_heads(part, heads).unflatten(-2, (-1, LEAF)) for part in (q, k))
        q, k = q * self.turn, k / self.turn if self.back is None else k * self.back
        pairs = (q @ k.transpose(-2, -1)).tril()
        q, k, kept = q * self.from_start, k * self.to_end, self.of_leaves
        while kept.shape[-3] > 1:
            pairs, q, k, kept = join_neighbours(pairs, q, k, kept)
        return pairs.squeeze(-3), q.squeeze(-3), k.squeeze(-3)


def join_neighbours(
    pairs: Float[Tensor, "... pieces piece piece"],
    q: Float[Tensor, "... pieces piece width"],
    k: Float[Tensor, "... pieces piece width"],
    kept: Float[Tensor, "... pieces 1 width"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of pieces of a chunk, each with the results of `compare` and what it leaves of a state, make
    half as many of twice the length. Without gradients `q` and `k` are overwritten.
    """
    earlier, later = split_neighbours(pairs)
    first, last = split_neighbours(kept)
    across = split_neighbours(q)[1] @ split_neighbours(k)[0].transpose(-2, -1)
    upper = F.pad(earlier, (0, later.shape[-1]))
    pairs = torch.cat((upper, torch.cat((across, later), dim=-1)), dim=-2)
    return pairs, weigh_neighbour(q, first, 1), weigh_neighbour(k, last, 0), first * last


def split_neighbours(pieces: Float[Tensor, "... pieces _ _"]) -> tuple[Tensor, ...]:
    """The first and the second of each two pieces."""
    return pieces.unflatten(-3, (-1, 2)).unbind(-3)


def weigh_neighbour(
    pieces: Float[Tensor, "... pieces piece width"], weight: Tensor, which: int
) -> Float[Tensor, "... halves twice width"]:
    """Each two pieces as one, the first (0) or the second (1) times a weight."""
    if pieces.requires_grad:
        both = list(split_neighbours(pieces))
        both[which] = both[which] * weight
        return torch.cat(both, dim=-2)
    split_neighbours(pieces)[which].mul_(weight)
    return pieces.unflatten(-3, (-1, 2)).flatten(-3, -2)


def sum_leaves(decay: Float[Tensor, "... leaf width"]) -> tuple[Tensor, Tensor, Tensor]:
    """Sums from the middle of each leaf to each of its tokens, up to the middle, and from there on.

    A sum of rows takes less time than `cumsum`, whose rows are not neighbours in memory.
    """
    middle = LEAF // 2 - 1
    rows = decay.unbind(-2)
    earlier, later = [-rows[middle]], [torch.zeros_like(rows[middle])]
    for row in rows[middle - 1 : 0 : -1]:
        earlier.append(earlier[-1] - row)
    for row in rows[middle + 1 :]:
        later.append(later[-1] + row)
    apart = torch.stack((*reversed(earlier), *later), dim=-2)
    return apart, rows[0] - earlier[-1], later[-1]


def limit_decay(decay: Tensor) -> Tensor:
    """A decay for each channel whose sum over half a leaf stays in range.

    What is kept at least, 3e-8 in float32 and 8e-61 in float64, is less than the rounding of what
    it is added to.
    """
    lowest = -0.78 * math.log(torch.finfo(decay.dtype).max) / (LEAF // 2)
    return decay.clamp_min(lowest)


def correct(
    k: Tensor, v: Tensor, strength: Tensor, left: LeftOfHeads | LeftOfChannels
) -> tuple[Tensor, Tensor]:
    """The delta rule inside each chunk: what is written is the first result minus the second times
    the state before the chunk.

    What a token writes depends on what those before it wrote: a triangular system of equations.
    """
    lower, strong, _ = left.compare(k * strength, k)
    wanted = torch.cat((v * strength, strong), dim=-1)
    dtype = torch.promote_types(wanted.dtype, torch.float32)
    solved = torch.linalg.solve_triangular(
        lower.to(dtype), wanted.to(dtype), upper=False, unitriangular=True
    )
    written, old = solved.split([v.shape[-1], k.shape[-1]], dim=-1)
    return written, old
