"""Decoding token by token: greedy, by sampling, or by beam search.

A score returns the logits of the next token, (rows, vocab), for prefixes (rows, tokens); the
search knows nothing else of the network. A score with a state for each row may have a method
`reorder(rows)`: row i of the next prefixes continues row `rows[i]` of the last ones. One that finds
the most likely token without all logits may have `choose_largest(prefix, forbidden)`.
"""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tasks.errors import ArgumentError, must_be_positive, must_not_be_negative

Score = Callable[[Tensor], Tensor]
PIECE = 64  # logits whose maximum is found at once
MIN_PIECES = 32


def mask_forbidden(logits: Tensor, tokens: Collection[int]) -> Tensor:
    """Return the logits in float32, minus infinity for some tokens.

    Args:
        logits: (rows, vocab).
        tokens: that are never chosen; those outside the vocabulary are ignored.

    Raises:
        ArgumentError: no token is left.
    """
    logits, vocab = logits.float(), logits.shape[-1]
    forbidden = sorted({token for token in tokens if 0 <= token < vocab})
    if not forbidden:
        return logits
    if len(forbidden) == vocab:
        raise ArgumentError(
            "forbidden", "forbidden leaves no token", got=f"all {vocab} tokens", fits="fewer"
        )
    return logits.index_fill(-1, torch.tensor(forbidden, device=logits.device), -torch.inf)


def filter_logits(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Return the logits, minus infinity for all but the most likely tokens.

    Args:
        logits: (rows, vocab).
        top_k: number of tokens that stay; of equal ones any.
        top_p: the fewest tokens stay whose probabilities sum to this; at least one.

    Source:
        Fan et al. 2018, arXiv:1805.04833: top-k. Holtzman et al. 2020, arXiv:1904.09751, section
        3.1: top-p. With both, top-p applies to what top-k leaves.
    """
    if top_k is not None and top_k < logits.shape[-1]:
        values, tokens = logits.topk(top_k, dim=-1)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, tokens, values)
    if top_p is not None and top_p < 1:
        ordered, tokens = logits.sort(dim=-1, descending=True)
        share = ordered.softmax(-1)
        before = share.cumsum(-1) - share
        late = torch.zeros_like(before, dtype=torch.bool).scatter(-1, tokens, before >= top_p)
        logits = logits.masked_fill(late, -torch.inf)
    return logits


@dataclass(frozen=True)
class Sampler:
    """How the next token is chosen from its logits.

    Args:
        temperature: divisor of the logits; 0 takes the most likely token.
        top_k: sample from this number of the most likely tokens only.
        top_p: sample from the most likely tokens that have this probability together.
        generator: source of random numbers, on the device of the logits.
        forbidden: tokens that are never chosen.

    Raises:
        ArgumentError: a temperature below 0 or infinite, `top_k` below 1, `top_p` outside (0, 1];
            when it is called, `forbidden` that leaves no token.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    generator: torch.Generator | None = None
    forbidden: Collection[int] = ()

    def __post_init__(self) -> None:
        must_not_be_negative("temperature", self.temperature)
        if self.temperature == math.inf:
            raise ArgumentError(
                "temperature", "temperature must be finite", got="temperature=inf", fits="e.g. 1.0"
            )
        if self.top_k is not None:
            must_be_positive("top_k", self.top_k)
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ArgumentError(
                "top_p", "top_p must be in (0, 1]", got=f"top_p={self.top_p}", fits="e.g. 0.9"
            )

    def choose(self, logits: Tensor) -> Tensor:
        """Return a token for each row, (rows,), of logits (rows, vocab)."""
        if self.temperature == 0:
            return find_largest(mask_forbidden(logits, self.forbidden))
        return self.draw(self.weigh(logits))

    def weigh(self, logits: Tensor) -> Tensor:
        """Return the probability of each token, (rows, vocab)."""
        logits = mask_forbidden(logits, self.forbidden)
        if self.temperature == 0:
            return torch.zeros_like(logits).scatter(-1, find_largest(logits)[:, None], 1.0)
        # relative to the largest logit, so that no quotient overflows
        scaled = (logits - logits.amax(-1, keepdim=True)) / self.temperature
        return filter_logits(scaled, self.top_k, self.top_p).softmax(-1)

    def draw(self, probabilities: Tensor) -> Tensor:
        """Return a token for each row, (rows,), of probabilities (rows, vocab)."""
        return torch.multinomial(probabilities, 1, generator=self.generator)[:, 0]


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
    """Yield the next token of each row, (rows,), step by step until all rows have ended.

    Args:
        score: logits of the next token.
        start: (rows, tokens), the prompts.
        end: the token that ends a row; padding follows.
        limit: largest number of new tokens in each row.
        lengths: (rows,), the number of tokens of each prompt where they differ; what follows them
            in `start` does not count. Then all rows begin at the end of the shortest prompt, and
            longer ones first repeat theirs: no row is padded while it is read, and each gives
            what it gives alone, whatever the network.
        temperature: divisor of the logits; 0 takes the most likely token.
        top_k: sample from this number of the most likely tokens only.
        top_p: sample from the most likely tokens that have this probability together.
        generator: source of random numbers, on the device of the logits.
        stop: further tokens that end a row.
        forbidden: tokens that are never chosen.
        pad: what follows the end.

    Raises:
        ArgumentError: before the first step, a start that is not (rows, tokens), a temperature
            below 0 or infinite, `top_k` or `limit` below 1, `top_p` outside (0, 1], `lengths` that
            do not fit; at the first step, `forbidden` that leaves no token.
    """
    must_be_prefixes(start)
    lengths = must_be_lengths(lengths, start)
    must_be_positive("limit", limit)
    sampler = Sampler(temperature, top_k, top_p, generator, forbidden)
    choose_largest = getattr(score, "choose_largest", None)

    def choose(prefix: Tensor) -> Tensor:
        if temperature == 0 and choose_largest is not None:
            return choose_largest(prefix, forbidden)
        return sampler.choose(score(prefix))

    ends = [*stop]
    if end is not None:
        ends.append(end)
    return extend(choose, start, lengths, ends, limit, pad)


@torch.no_grad()
def extend(
    choose: Score, start: Tensor, lengths: Tensor, ends: Collection[int], limit: int, pad: int
) -> Iterator[Tensor]:
    """Yield the next token of each row, (rows,): that of its own prompt, then what `choose`
    returns, then padding. Arguments: those of `stream_tokens`.
    """
    last = torch.tensor(list(ends), dtype=torch.long, device=start.device)
    done = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    shortest, longest = int(lengths.min()), int(lengths.max())
    prefix = start[:, :shortest]
    for position in range(shortest, longest + limit):
        token = choose(prefix).masked_fill(done, pad)
        if position < longest:
            token = torch.where(position < lengths, start[:, position], token)
        yield token
        ended = torch.isin(token, last)
        if shortest < longest:
            ended = (ended & (position >= lengths)) | (position + 1 >= lengths + limit)
        done = done | ended
        if done.all():
            return
        prefix = torch.cat([prefix, token[:, None]], dim=1)


def sample_tokens(score: Score, start: Tensor, **options: Any) -> Tensor:
    """Return what `stream_tokens` yields as (rows, tokens), the start included. Arguments: those
    of `stream_tokens`.
    """
    tokens = [token[:, None] for token in stream_tokens(score, start, **options)]
    lengths = options.get("lengths")
    if lengths is not None:
        start = start[:, : int(lengths.min())]
    return torch.cat([start, *tokens], dim=1)


def greedy_search(score: Score, start: Tensor, **options: Any) -> Tensor:
    """Take the most likely token at every step: (rows, tokens), the start included. Arguments:
    those of `stream_tokens`.
    """
    return sample_tokens(score, start, temperature=0.0, **options)


def length_penalty_factor(length: int, exponent: float) -> float:
    """Return the divisor of the score of `length` new tokens. Wu et al. 2016, arXiv:1609.08144,
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
    """Extend the `beams` most likely hypotheses of each row; return the best finished sequence.

    Args:
        score: logits of the next token for rows * beams prefixes, the beams of a row side by side.
        start: (rows, tokens).
        end: the token that ends a sequence.
        limit: largest number of new tokens; what has not ended by then counts as it is.
        beams: number of hypotheses. One is greedy search.
        length_penalty: 0 compares sums of log probabilities, which favours short sequences.
        forbidden: tokens that are never chosen; the others share their probability.
        pad: what follows the end.

    Returns:
        (rows, tokens), the start included, and the penalised log probability of each row.

    Raises:
        ArgumentError: a start that is not (rows, tokens), `limit` or `beams` below 1,
            `length_penalty` below 0, `forbidden` that leaves no token.

    Source:
        Wu et al. 2016, arXiv:1609.08144, section 7, without the coverage penalty and without
        pruning. The search stops only when no hypothesis can become better than the best finished
        sequence.
    """
    must_be_prefixes(start)
    must_be_positive("limit", limit)
    must_be_positive("beams", beams)
    must_not_be_negative("length_penalty", length_penalty)
    reorder = getattr(score, "reorder", None)
    best = BestSequences(start, limit, pad)
    prefix = start.repeat_interleave(beams, 0)
    total = start.new_full((len(start), beams), -torch.inf, dtype=torch.float32)
    total[:, 0] = 0.0  # all beams are equal at first: one of them counts
    first_beam = torch.arange(len(start), device=start.device)[:, None] * beams
    for length in range(1, limit + 1):
        logits = mask_forbidden(score(prefix), forbidden)
        value, beam, token = rank_candidates(logits, total)
        origin = first_beam + beam
        grown = torch.cat([prefix[origin], token[..., None]], dim=2)  # (rows, candidates, tokens)
        ended = torch.zeros_like(token, dtype=torch.bool)
        if end is not None:
            ended = token == end
        # one that ends among the best `beams` is finished; the others are extended
        final = ended.clone()
        if length == limit:
            final.fill_(True)
        final[:, beams:] = False
        penalised = value / length_penalty_factor(length, length_penalty)
        best.update(grown, penalised.masked_fill(~final, -torch.inf))
        total, order = value.masked_fill(ended, -torch.inf).topk(min(beams, value.shape[1]), dim=1)
        # log probabilities only fall: at best the longest sequence has the largest divisor
        bound = total[:, 0] / length_penalty_factor(limit, length_penalty)
        if length == limit or bool((bound <= best.value).all()):
            break
        missing = beams - total.shape[1]  # a vocabulary smaller than the beams
        if missing:
            total = torch.cat([total, total.new_full((len(start), missing), -torch.inf)], dim=1)
            order = torch.cat([order, order[:, :1].expand(-1, missing)], dim=1)
        prefix = grown.take_along_dim(order[..., None], dim=1).flatten(0, 1)
        if reorder is not None:
            reorder(origin.gather(1, order).flatten())
    longest = max([start.shape[1], *best.sizes.tolist()])  # there may be no row
    return best.tokens[:, :longest], best.value


class BestSequences:
    """The best finished sequence of each row.

    Args:
        start: (rows, tokens).
        limit: largest number of new tokens.
        pad: what follows a sequence.

    Attributes:
        tokens: (rows, tokens), the start included.
        sizes: (rows,), number of tokens of each.
        value: (rows,), score of each.
    """

    def __init__(self, start: Tensor, limit: int, pad: int):
        rows, first = start.shape
        self.tokens = start.new_full((rows, first + limit), pad)
        self.tokens[:, :first] = start
        self.sizes = start.new_full((rows,), first)
        self.value = start.new_full((rows,), -torch.inf, dtype=torch.float32)

    def update(self, candidates: Tensor, values: Tensor) -> None:
        """Take the best candidate of each row where it is better.

        Args:
            candidates: (rows, candidates, tokens).
            values: (rows, candidates), minus infinity for those that are not finished.
        """
        length = candidates.shape[2]
        value, number = values.max(1)
        better = value > self.value
        chosen = candidates[torch.arange(len(candidates), device=number.device), number]
        self.tokens[:, :length] = torch.where(better[:, None], chosen, self.tokens[:, :length])
        self.value = torch.where(better, value, self.value)
        self.sizes = self.sizes.masked_fill(better, length)


def find_largest(logits: Tensor) -> Tensor:
    """Return `logits.argmax(-1)`: first the piece that has the largest logit, then its place.

    torch finds the place of a maximum in 1.7 ms in 64 x 50257 numbers, the maxima of pieces in
    0.15 ms (AMD Zen 5, one thread).

    Args:
        logits: (rows, vocab).

    Returns:
        (rows,); of equal ones the first.
    """
    vocab = logits.shape[-1]
    if vocab < MIN_PIECES * PIECE or logits.device.type != "cpu":
        return logits.argmax(-1)
    whole = vocab // PIECE * PIECE
    largest = logits[:, :whole].unflatten(-1, (-1, PIECE)).amax(-1)
    if whole < vocab:
        largest = torch.cat([largest, logits[:, whole:].amax(-1, keepdim=True)], dim=-1)
    first = largest.argmax(-1, keepdim=True) * PIECE
    places = (first + torch.arange(PIECE)).clamp_max(vocab - 1)
    return first[:, 0] + logits.gather(-1, places).argmax(-1)


def rank_candidates(logits: Tensor, total: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best continuations of the beams of each row, the best first.

    There are twice as many as beams: each beam ends in one way only, so half of them continue.
    With one beam it is the token that greedy search takes among equals.

    Args:
        logits: (rows * beams, vocab).
        total: (rows, beams), log probability of each beam.

    Returns:
        Log probability, beam and token of each, (rows, candidates).
    """
    rows, beams = total.shape
    shares = logits.log_softmax(-1)
    if beams == 1:
        token = find_largest(logits)[:, None]
        return total + shares.gather(1, token), torch.zeros_like(token), token
    # the best of each beam, then the best of these
    value, token = find_top(shares, min(2 * beams, logits.shape[-1]))
    count = value.shape[1]
    value = (total.flatten()[:, None] + value).view(rows, beams * count)
    value, number = value.topk(min(2 * beams, value.shape[1]), dim=1)
    return value, number // count, token.view(rows, beams * count).gather(1, number)


def find_top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return `values.topk(count)`: the pieces with the largest maxima have the largest values.

    Args:
        values: (rows, vocab).
        count: at most `vocab`.

    Returns:
        The values and their places, (rows, count); of equal ones any.
    """
    vocab = values.shape[-1]
    if vocab < max(MIN_PIECES, 4 * count) * PIECE or values.device.type != "cpu":
        top = values.topk(count, dim=-1)
        return top.values, top.indices
    whole = vocab // PIECE * PIECE
    pieces = values[:, :whole].unflatten(-1, (-1, PIECE))
    chosen = pieces.amax(-1).topk(count, dim=-1).indices
    places = (chosen[:, :, None] * PIECE + torch.arange(PIECE)).flatten(1)
    if whole < vocab:
        rest = torch.arange(whole, vocab).expand(len(values), -1)
        places = torch.cat([places, rest], dim=1)
    top = values.gather(1, places).topk(count, dim=-1)
    return top.values, places.gather(1, top.indices)


def must_be_prefixes(start: Tensor) -> None:
    """Raise an ArgumentError unless `start` has token numbers, (rows, tokens)."""
    if start.dim() != 2 or start.dtype != torch.long:
        dtype = str(start.dtype).removeprefix("torch.")
        raise ArgumentError(
            "start",
            "start must be rows of tokens",
            got=f"start of shape {tuple(start.shape)}, {dtype}",
            fits="(rows, tokens), int64",
        )


def must_be_lengths(lengths: Tensor | None, start: Tensor) -> Tensor:
    """Return the lengths of the rows of `start`; raise an ArgumentError where they do not fit."""
    rows, tokens = start.shape
    if lengths is None:
        return torch.full((rows,), tokens, device=start.device)
    if lengths.shape != (rows,) or not bool(((lengths >= 1) & (lengths <= tokens)).all()):
        raise ArgumentError(
            "lengths",
            "lengths must be the number of tokens of each row",
            got=f"{lengths.tolist()}",
            fits=f"{rows} numbers in 1..{tokens}",
        )
    return lengths.to(start.device)
