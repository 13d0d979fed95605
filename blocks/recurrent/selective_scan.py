"""The recurrence of a state space whose channels do not mix, with steps of time of any length.

    h_t = exp(step_t · rate) ⊙ h_{t-1} + written_t · keys_t        y_t = h_t · queries_t

A state of `channels x width` numbers passes through the tokens. The tokens are cut into pieces
which are scanned side by side: first each from zero, which gives what it adds to the state; then,
from piece to piece, the states between them; then all again from there. Gradients are computed by
the same scan from the last token to the first, from states that are computed again, so that no
state of a token is kept. Gu and Dao 2023 (Mamba), arXiv:2312.00752, section 3.3.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

FULL = 2**17  # numbers of a state with which one scan occupies a CPU


def scan_channels(
    step: Float[Tensor, "batch tokens channels"],
    rate: Float[Tensor, "channels width"],
    written: Float[Tensor, "batch tokens channels"],
    keys: Float[Tensor, "batch tokens width"],
    queries: Float[Tensor, "batch tokens width"],
    state: Float[Tensor, "batch channels width"],
    chunk: int | None = None,
) -> tuple[Float[Tensor, "batch tokens channels"], Float[Tensor, "batch channels width"]]:
    """What is read at each token, and the state after the last one.

    Args:
        step: how much time a token takes, at least 0; 0 leaves the state as it is.
        rate: how fast each number of the state decays, below 0.
        written: what each channel writes.
        keys: where it is written.
        queries: where it is read.
        state: the state before the first token.
        chunk: tokens of a piece; the result does not depend on it. None chooses by the size of the
            state.
    """
    tokens = step.shape[1]
    if step.is_meta:  # thousands of steps whose shapes are known
        return torch.empty_like(written), torch.empty_like(state)
    if chunk is None:
        pieces = math.isqrt(tokens)
        if not step.is_cuda:
            pieces = min(pieces, max(1, FULL // state[0].numel()))
        chunk = math.ceil(tokens / max(1, pieces))
    short = -tokens % min(chunk, tokens)
    pieces = (tokens + short) // min(chunk, tokens)
    laid = [lay_pieces(part, pieces, short) for part in (step, written, keys, queries)]
    read, state = SelectiveScan.apply(*laid, rate, state)
    read = read.unflatten(1, (-1, pieces)).permute(1, 2, 0, 3).flatten(1, 2)
    return read[:, :tokens], state


def lay_pieces(x: Tensor, pieces: int, short: int) -> Tensor:
    """(batch, tokens, width) -> (tokens of a piece, batch * pieces, width), zero at the end."""
    if short:
        x = torch.nn.functional.pad(x, (0, 0, 0, short))
    return x.unflatten(1, (pieces, -1)).permute(2, 0, 1, 3).flatten(1, 2)


def carry(start: Tensor, added: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """The states before each piece, (batch * pieces, ...), and the one after the last.

    Args:
        start: (batch, ...), before the first piece.
        added: (batch * pieces, ...), the state after each piece that began at zero.
        kept: likewise, what each piece keeps of the state before it.
    """
    batch = len(start)
    added, kept = (part.unflatten(0, (batch, -1)) for part in (added, kept))
    states = [start]
    for i in range(added.shape[1]):
        states.append(kept[:, i] * states[-1] + added[:, i])
    return torch.stack(states[:-1], dim=1).flatten(0, 1), states[-1]


class SelectiveScan(torch.autograd.Function):
    """The scan of pieces side by side, each (tokens of a piece, batch * pieces, width)."""

    @staticmethod
    def forward(
        ctx: Any,
        step: Tensor,
        written: Tensor,
        keys: Tensor,
        queries: Tensor,
        rate: Tensor,
        state: Tensor,
    ) -> tuple[Tensor, Tensor]:
        kept = (step.sum(0).unsqueeze(-1) * rate).exp()
        passing = torch.zeros_like(kept)
        starts = state
        if len(kept) > len(state):
            for i in range(len(step)):
                advance(passing, step[i], written[i], keys[i], rate)
            starts, _ = carry(state, passing, kept)
        passing = starts.clone()
        read = torch.empty_like(written)
        for i in range(len(step)):
            advance(passing, step[i], written[i], keys[i], rate)
            read[i] = torch.bmm(passing, queries[i].unsqueeze(-1)).squeeze(-1)
        ctx.save_for_backward(step, written, keys, queries, rate, starts, kept)
        return read, passing.unflatten(0, (len(state), -1))[:, -1].clone()

    @staticmethod
    def backward(ctx: Any, *of: Tensor) -> tuple[Tensor, ...]:
        of_read, of_last = of
        step, written, keys, queries, rate, starts, kept = ctx.saved_tensors
        tokens, batch = len(step), len(of_last)
        decays = []
        states = [starts]
        for i in range(tokens):
            decays.append((step[i].unsqueeze(-1) * rate).exp())
            added = written[i].unsqueeze(-1) * keys[i].unsqueeze(-2)
            states.append(added.addcmul_(states[-1], decays[i]))
        ends = of_last
        if len(starts) > batch:
            back = torch.zeros_like(starts)
            for i in reversed(range(tokens)):
                back.addcmul_(of_read[i].unsqueeze(-1), queries[i].unsqueeze(-2)).mul_(decays[i])
            turned = [part.unflatten(0, (batch, -1)).flip(1) for part in (back, kept)]
            ends, _ = carry(of_last, *(part.flatten(0, 1) for part in turned))
            ends = ends.unflatten(0, (batch, -1)).flip(1).flatten(0, 1)
        back = ends.clone()
        of_step, of_written, of_keys, of_queries = (
            torch.empty_like(part) for part in (step, written, keys, queries)
        )
        of_rate = torch.zeros_like(rate)
        for i in reversed(range(tokens)):
            back.addcmul_(of_read[i].unsqueeze(-1), queries[i].unsqueeze(-2))
            of_queries[i] = torch.bmm(of_read[i].unsqueeze(1), states[i + 1]).squeeze(1)
            of_written[i] = torch.bmm(back, keys[i].unsqueeze(-1)).squeeze(-1)
            of_keys[i] = torch.bmm(written[i].unsqueeze(1), back).squeeze(1)
            back.mul_(decays[i])
            of_power = back * states[i]
            of_step[i] = (of_power * rate).sum(-1)
            of_rate += (of_power * step[i].unsqueeze(-1)).sum(0)
        of_state = back.unflatten(0, (batch, -1))[:, 0]
        return of_step, of_written, of_keys, of_queries, of_rate, of_state


def advance(state: Tensor, step: Tensor, written: Tensor, keys: Tensor, rate: Tensor) -> None:
    """Change `state`, (pieces, channels, width), by one token."""
    state.mul_((step.unsqueeze(-1) * rate).exp_())
    state.addcmul_(written.unsqueeze(-1), keys.unsqueeze(-2))
