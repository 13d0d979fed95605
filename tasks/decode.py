"""Saying a sequence token by token: the likeliest, by chance, or by a search along several ways.

A score gives the logits of the next token, (rows, vocab), for prefixes (rows, tokens). It is all that is known of the
network here.
"""

from collections.abc import Callable, Collection, Iterator

import torch
from torch import Tensor

from tasks.errors import ArgumentError, must_be_positive, must_not_be_negative

Score = Callable[[Tensor], Tensor]


def forbid(logits: Tensor, tokens: Collection[int]) -> Tensor:
    """The logits in float32, with no chance for some tokens."""
    logits = logits.float()
    return logits.index_fill(-1, torch.tensor(sorted(tokens), device=logits.device), -torch.inf) if tokens else logits


def keep(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Logits with no chance for what is not among the likeliest.

    Args:
        logits: (rows, vocab).
        top_k: so many stay.
        top_p: the fewest stay whose shares make up this much; one at least.

    Source:
        Holtzman et al. 2020, arXiv:1904.09751, sections 3.1 and 3.2.
    """
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, places = logits.sort(dim=-1, descending=True)
        share = ordered.softmax(-1)
        before = share.cumsum(-1) - share
        late = torch.zeros_like(before, dtype=torch.bool).scatter(-1, places, before >= top_p)
        logits = logits.masked_fill(late, -torch.inf)
    return logits


@torch.no_grad()
def stream(
    score: Score,
    start: Tensor,
    *,
    end: int | None,
    limit: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    stop: Collection[int] = (),
    forbidden: Collection[int] = (),
    pad: int = 0,
) -> Iterator[Tensor]:
    """Yield the next token of each row, (rows,), until all rows have ended.

    Args:
        score: logits of the next token.
        start: (rows, tokens), what is there already.
        end: the token that ends a row; padding follows.
        limit: at most so many new tokens.
        temperature: what logits are divided by; 0 takes the likeliest token.
        top_k: chance decides among so many of the likeliest only.
        top_p: chance decides among the likeliest that make up this share.
        generator: the source of chance.
        stop: further tokens that end a row.
        forbidden: tokens that are never said.
        pad: what stands behind the end.

    Raises:
        ArgumentError: a temperature below 0, `top_k` or `limit` below 1, `top_p` outside (0, 1].
    """
    must_be_positive("limit", limit)
    must_not_be_negative("temperature", temperature)
    must_be_positive("top_k", 1 if top_k is None else top_k)
    if top_p is not None and not 0 < top_p <= 1:
        raise ArgumentError("top_p", "top_p must be in (0, 1]", got=f"top_p={top_p}", fits="0.9, say")
    ends = torch.tensor([*stop, *([] if end is None else [end])], dtype=torch.long, device=start.device)
    done = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    prefix = start
    for _ in range(limit):
        logits = forbid(score(prefix), forbidden)
        if temperature == 0:
            token = logits.argmax(-1)
        else:
            share = keep(logits / temperature, top_k, top_p).softmax(-1)
            token = torch.multinomial(share, 1, generator=generator)[:, 0]
        token = token.masked_fill(done, pad)
        yield token
        done = done | torch.isin(token, ends)
        if done.all():
            return
        prefix = torch.cat([prefix, token[:, None]], dim=1)


def sample(score: Score, start: Tensor, **options) -> Tensor:
    """What `stream` says, as a whole: (rows, tokens), the start included."""
    return torch.cat([start, *(token[:, None] for token in stream(score, start, **options))], dim=1)


def greedy(score: Score, start: Tensor, **options) -> Tensor:
    """The likeliest token at every step: (rows, tokens), the start included. Arguments: those of `stream`."""
    return sample(score, start, temperature=0.0, **options)


def penalty(length: int, exponent: float) -> float:
    """What the score of so many new tokens is divided by. Wu et al. 2016, arXiv:1609.08144, equation 14."""
    return ((5 + length) / 6) ** exponent


@torch.no_grad()
def beam(
    score: Score,
    start: Tensor,
    *,
    end: int,
    limit: int,
    beams: int = 4,
    length_penalty: float = 0.6,
    forbidden: Collection[int] = (),
    pad: int = 0,
) -> tuple[Tensor, Tensor]:
    """Follow the `beams` likeliest beginnings of each row; the best whole sequence.

    Args:
        score: logits of the next token; asked with rows * beams prefixes, the beams of a row side by side.
        start: (rows, tokens).
        end: the token that ends a sequence.
        limit: at most so many new tokens; what has not ended by then counts as it is.
        beams: how many beginnings are kept. One is greedy.
        length_penalty: 0 compares sums of log probabilities, which favours short sequences.
        forbidden: tokens that are never said.
        pad: what stands behind the end.

    Returns:
        (rows, tokens), the start included, and the penalised log probability of each row.

    Source:
        Wu et al. 2016, arXiv:1609.08144, section 7, without the coverage penalty.
    """
    must_be_positive("limit", limit)
    must_be_positive("beams", beams)
    must_not_be_negative("length_penalty", length_penalty)
    rows, first = start.shape
    prefix = start.repeat_interleave(beams, 0)
    total = torch.full((rows, beams), -torch.inf, device=start.device)
    total[:, 0] = 0.0  # all beams are the same at first: one of them speaks
    best = torch.full((rows,), -torch.inf, device=start.device)
    kept = start.new_full((rows, first + limit), pad)
    kept[:, :first] = start
    for length in range(1, limit + 1):
        step = forbid(score(prefix), forbidden).log_softmax(-1)
        vocab = step.shape[-1]
        whole = (total[:, :, None] + step.view(rows, beams, vocab)).flatten(1)
        top, place = whole.topk(min(2 * beams, whole.shape[1]), dim=1)  # half of them may end
        origin, token = place // vocab + torch.arange(rows, device=start.device)[:, None] * beams, place % vocab
        grown = torch.cat([prefix[origin], token[..., None]], dim=2)  # (rows, candidates, tokens)
        ended = token == end
        # One that ends among the best `beams` is a whole sequence; the search goes on with those that do not.
        among = torch.arange(top.shape[1], device=start.device) < beams
        final = ended & among if length < limit else among.expand_as(ended)
        best, kept = better(best, kept, (top / penalty(length, length_penalty)).masked_fill(~final, -torch.inf), grown)
        live, order = top.masked_fill(ended, -torch.inf).topk(min(beams, top.shape[1]), dim=1)
        if beams == 1:
            live = top[:, :1].masked_fill(ended[:, :1], -torch.inf)  # greedy looks at one way only
            order = torch.zeros_like(order)
        total = live
        prefix = grown.gather(1, order[..., None].expand(-1, -1, grown.shape[2])).flatten(0, 1)
        if total.shape[1] < beams:  # fewer tokens than beams at first
            short = beams - total.shape[1]
            prefix = prefix.view(rows, -1, prefix.shape[1])
            prefix = torch.cat([prefix, prefix[:, :1].expand(-1, short, -1)], 1).flatten(0, 1)
            total = torch.cat([total, total.new_full((rows, short), -torch.inf)], 1)
        # No log probability rises any more: at best the longest sequence divides it by the largest penalty.
        if (total.max(1).values / penalty(limit, length_penalty) <= best).all():
            break
    longest = int((kept != pad).any(0).nonzero().max()) + 1
    return kept[:, : max(longest, first)], best


def better(best: Tensor, kept: Tensor, found: Tensor, grown: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row the best whole sequence so far, given the scores `found` of the sequences `grown`."""
    value, place = found.max(1)
    replace = value > best
    chosen = grown[torch.arange(len(grown), device=grown.device), place]
    fresh = kept.clone()
    fresh[:, : chosen.shape[1]] = chosen
    return torch.where(replace, value, best), torch.where(replace[:, None], fresh, kept)
