"""Saying a sequence token by token: the likeliest, by chance, or by a search along several ways.

A score gives the logits of the next token, (rows, vocab), for prefixes (rows, tokens). It is all
that is known of the network here. A score that remembers something of each row may have a method
`reorder(rows)`: row number i of the next prefixes goes on from row number `rows[i]` of the last
ones.
"""

import math
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor

from tasks.errors import ArgumentError, must_be_positive, must_not_be_negative

Score = Callable[[Tensor], Tensor]


def mask_forbidden(logits: Tensor, tokens: Collection[int]) -> Tensor:
    """The logits in float32, with no chance for some tokens.

    Args:
        logits: (rows, vocab).
        tokens: what is never said; numbers outside the vocabulary never are.

    Raises:
        ArgumentError: no token is left.
    """
    logits, vocab = logits.float(), logits.shape[-1]
    places = sorted({token for token in tokens if 0 <= token < vocab})
    if len(places) == vocab:
        raise ArgumentError(
            "forbidden", "forbidden leaves no token", got=f"all {vocab} tokens", fits="fewer"
        )
    return (
        logits.index_fill(-1, torch.tensor(places, device=logits.device), -torch.inf)
        if places
        else logits
    )


def filter_logits(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Logits with no chance for what is not among the likeliest.

    Args:
        logits: (rows, vocab).
        top_k: so many stay, of equals any.
        top_p: the fewest stay whose shares make up this much; one at least.

    Source:
        Fan et al. 2018, arXiv:1805.04833: top-k. Holtzman et al. 2020, arXiv:1904.09751, section
        3.1: top-p. With both, top-p is of what top-k leaves.
    """
    if top_k is not None and top_k < logits.shape[-1]:
        values, places = logits.topk(top_k, dim=-1)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, places, values)
    if top_p is not None and top_p < 1:
        ordered, places = logits.sort(dim=-1, descending=True)
        share = ordered.softmax(-1)
        before = share.cumsum(-1) - share
        late = torch.zeros_like(before, dtype=torch.bool).scatter(-1, places, before >= top_p)
        logits = logits.masked_fill(late, -torch.inf)
    return logits


def stream_tokens(
    score: Score,
    start: Tensor,
    *,
    end: int | None,
    limit: int,
    lengths: Tensor | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    stop: Collection[int] = (),
    forbidden: Collection[int] = (),
    pad: int = 0,
) -> Iterator[Tensor]:
    """The next token of each row, (rows,), step by step until all rows have ended.

    Args:
        score: logits of the next token.
        start: (rows, tokens), what is there already.
        end: the token that ends a row; padding follows.
        limit: at most so many new tokens in each row.
        lengths: (rows,), how many tokens of each row of `start` are there, where they differ; what
            stands behind does not count. Then all rows begin at the end of the shortest, and longer
            ones say their own start first: so no row is padded while it is read, and each says what
            it says alone, whatever the network.
        temperature: what logits are divided by; 0 takes the likeliest token.
        top_k: chance decides among so many of the likeliest only.
        top_p: chance decides among the likeliest that make up this share.
        generator: the source of chance, on the device of the logits.
        stop: further tokens that end a row.
        forbidden: tokens that are never said.
        pad: what stands behind the end.

    Raises:
        ArgumentError: before the first step, a start that is not (rows, tokens), a temperature
            below 0 or infinite, `top_k` or `limit` below 1, `top_p` outside (0, 1], `lengths` that
            do not fit; at the first step, `forbidden` that leaves no token.
    """
    must_be_prefixes(start)
    lengths = must_be_lengths(lengths, start)
    must_be_positive("limit", limit)
    must_not_be_negative("temperature", temperature)
    if temperature == math.inf:
        raise ArgumentError(
            "temperature", "temperature must be finite", got="temperature=inf", fits="1.0, say"
        )
    must_be_positive("top_k", 1 if top_k is None else top_k)
    if top_p is not None and not 0 < top_p <= 1:
        raise ArgumentError(
            "top_p", "top_p must be in (0, 1]", got=f"top_p={top_p}", fits="0.9, say"
        )

    def choose(logits: Tensor) -> Tensor:
        if temperature == 0:
            return logits.argmax(-1)
        scaled = (
            logits - logits.amax(-1, keepdim=True)
        ) / temperature  # none overflows, however low the temperature
        return torch.multinomial(
            filter_logits(scaled, top_k, top_p).softmax(-1), 1, generator=generator
        )[:, 0]

    ends = [*stop, *([] if end is None else [end])]
    return steps(
        lambda prefix: choose(mask_forbidden(score(prefix), forbidden)),
        start,
        lengths,
        ends,
        limit,
        pad,
    )


@torch.no_grad()
def steps(
    choose: Score, start: Tensor, lengths: Tensor, ends: Collection[int], limit: int, pad: int
) -> Iterator[Tensor]:
    """Yield what is chosen next for each row: its own start as long as that goes on, padding once
    it has ended.
    """
    last = torch.tensor(list(ends), dtype=torch.long, device=start.device)
    done = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    shortest, longest = int(lengths.min()), int(lengths.max())
    prefix = start[:, :shortest]
    for place in range(shortest, longest + limit):
        token = choose(prefix).masked_fill(done, pad)
        if place < longest:
            token = torch.where(place < lengths, start[:, place], token)
        yield token
        ended = torch.isin(token, last)
        if shortest < longest:
            ended = (ended & (place >= lengths)) | (place + 1 >= lengths + limit)
        done = done | ended
        if done.all():
            return
        prefix = torch.cat([prefix, token[:, None]], dim=1)


def sample_tokens(score: Score, start: Tensor, **options: Any) -> Tensor:
    """What `stream` says, as a whole: (rows, tokens), the start included. Arguments: those of
    `stream`.
    """
    said = [token[:, None] for token in stream_tokens(score, start, **options)]
    lengths = options.get("lengths")
    return torch.cat([start if lengths is None else start[:, : int(lengths.min())], *said], dim=1)


def greedy_search(score: Score, start: Tensor, **options: Any) -> Tensor:
    """The likeliest token at every step: (rows, tokens), the start included. Arguments: those of
    `stream`.
    """
    return sample_tokens(score, start, temperature=0.0, **options)


def length_penalty_factor(length: int, exponent: float) -> float:
    """What the score of so many new tokens is divided by. Wu et al. 2016, arXiv:1609.08144,
    equation 14.
    """
    return ((5 + length) / 6) ** exponent


@torch.no_grad()
def beam_search(
    score: Score,
    start: Tensor,
    *,
    end: int | None,
    limit: int,
    beams: int = 4,
    length_penalty: float = 0.6,
    forbidden: Collection[int] = (),
    pad: int = 0,
) -> tuple[Tensor, Tensor]:
    """Follow the `beams` likeliest beginnings of each row; the best whole sequence.

    Args:
        score: logits of the next token; asked with rows * beams prefixes, the beams of a row side
            by side.
        start: (rows, tokens).
        end: the token that ends a sequence.
        limit: at most so many new tokens; what has not ended by then counts as it is.
        beams: how many beginnings are kept. One is greedy.
        length_penalty: 0 compares sums of log probabilities, which favours short sequences.
        forbidden: tokens that are never said; the others share their probability.
        pad: what stands behind the end.

    Returns:
        (rows, tokens), the start included, and the penalised log probability of each row.

    Raises:
        ArgumentError: a start that is not (rows, tokens), `limit` or `beams` below 1,
            `length_penalty` below 0, `forbidden` that leaves no token.

    Source:
        Wu et al. 2016, arXiv:1609.08144, section 7, without the coverage penalty and without
        pruning. The search stops only when no beginning can become better than the best whole
        sequence.
    """
    must_be_prefixes(start)
    must_be_positive("limit", limit)
    must_be_positive("beams", beams)
    must_not_be_negative("length_penalty", length_penalty)
    (rows, first), device = start.shape, start.device
    reorder = getattr(score, "reorder", None)
    base = torch.arange(rows, device=device)[:, None] * beams  # where the beams of a row begin
    prefix = start.repeat_interleave(beams, 0)
    total = torch.full((rows, beams), -torch.inf, device=device)
    total[:, 0] = 0.0  # all beams are the same at first: one of them speaks
    best = torch.full((rows,), -torch.inf, device=device)
    kept = start.new_full((rows, first + limit), pad)
    kept[:, :first] = start
    sizes = torch.full((rows,), first, device=device)
    for length in range(1, limit + 1):
        logits = mask_forbidden(score(prefix), forbidden)
        vocab = logits.shape[-1]
        whole = (total[:, :, None] + logits.log_softmax(-1).view(rows, beams, vocab)).flatten(1)
        # Each beam ends in one way only, so of twice as many half go on. One beam takes what greedy
        # does of equals.
        place = (
            whole.topk(min(2 * beams, beams * vocab), dim=1).indices
            if beams > 1
            else logits.argmax(-1)[:, None]
        )
        top, token = whole.gather(1, place), place % vocab
        origin = place // vocab + base
        grown = torch.cat([prefix[origin], token[..., None]], dim=2)  # (rows, candidates, tokens)
        ended = torch.zeros_like(token, dtype=torch.bool) if end is None else token == end
        # One that ends among the best `beams` is a whole sequence; the search goes on with those
        # that do not.
        among = torch.arange(top.shape[1], device=device) < beams
        final = ended & among if length < limit else among.expand_as(ended)
        value, number = (
            (top / length_penalty_factor(length, length_penalty))
            .masked_fill(~final, -torch.inf)
            .max(1)
        )
        better = value > best
        kept[:, : first + length] = torch.where(
            better[:, None],
            grown[torch.arange(rows, device=device), number],
            kept[:, : first + length],
        )
        best, sizes = torch.where(better, value, best), sizes.masked_fill(better, first + length)
        total, order = top.masked_fill(ended, -torch.inf).topk(min(beams, top.shape[1]), dim=1)
        # No log probability rises any more: at best the longest sequence divides it by the largest
        # penalty.
        if length == limit or bool(
            (total[:, 0] / length_penalty_factor(limit, length_penalty) <= best).all()
        ):
            break
        short = beams - total.shape[1]  # a vocabulary smaller than the beams: the rest stays silent
        if short:
            total = torch.cat([total, total.new_full((rows, short), -torch.inf)], dim=1)
            order = torch.cat([order, order[:, :1].expand(-1, short)], dim=1)
        prefix = grown.gather(1, order[..., None].expand(-1, -1, first + length)).flatten(0, 1)
        if reorder is not None:
            reorder(origin.gather(1, order).flatten())
    return kept[:, : max([first, *sizes.tolist()])], best


def must_be_prefixes(start: Tensor) -> None:
    """Raise an ArgumentError unless `start` holds numbers of tokens, (rows, tokens)."""
    if start.dim() != 2 or start.dtype != torch.long:
        came = f"start of shape {tuple(start.shape)}, {str(start.dtype).removeprefix('torch.')}"
        raise ArgumentError(
            "start", "start must be rows of tokens", got=came, fits="(rows, tokens), int64"
        )


def must_be_lengths(lengths: Tensor | None, start: Tensor) -> Tensor:
    """The lengths of the rows of `start`; an ArgumentError where they do not fit."""
    rows, tokens = start.shape
    if lengths is None:
        return torch.full((rows,), tokens, device=start.device)
    if lengths.shape != (rows,) or not bool(((lengths >= 1) & (lengths <= tokens)).all()):
        fits = f"{rows} numbers in 1..{tokens}"
        raise ArgumentError(
            "lengths", "lengths must say how long each row is", got=f"{lengths.tolist()}", fits=fits
        )
    return lengths.to(start.device)
