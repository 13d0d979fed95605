"""Masked language modelling: some tokens of a text are hidden, and are to be named from both
sides.
"""

import math

import torch
from torch import Tensor

from tasks.data.sequences.base import IGNORED, Part
from tasks.data.text.tokenizer import MASK, SPECIAL

HIDDEN, OTHER = 0.8, 0.1  # shares of the chosen tokens; the rest stays as it is


def masked(part: Part, share: float, vocab: int, source: torch.Generator) -> Part:
    """Choose tokens of each row and hide them; only they keep their label.

    Of the chosen, 80 % become the mask, 10 % another token, 10 % stay: what is not hidden must be
    understood as well, as a network that is used later sees no masks.

    Args:
        part: "tokens" and "label", (rows, tokens); a place without a label is never chosen.
        share: how many of the labelled tokens of each row are chosen; at least one.
        vocab: number of tokens, the special ones included.
        source: the random source; the same one gives the same masks.

    Source:
        Devlin et al. 2019, arXiv:1810.04805, section 3.1.
    """
    tokens, label = part["tokens"], part["label"]
    allowed = label != IGNORED
    count = (share * allowed.sum(1, keepdim=True)).round().clamp_min(1)
    order = (
        torch.rand(tokens.shape, generator=source).masked_fill(~allowed, 2).argsort(1).argsort(1)
    )
    chosen = (order < count) & allowed
    kind = torch.rand(tokens.shape, generator=source)
    other = torch.randint(min(len(SPECIAL), vocab - 1), vocab, tokens.shape, generator=source)
    changed = torch.where(kind < HIDDEN, MASK, torch.where(kind < HIDDEN + OTHER, other, tokens))
    return {
        "tokens": torch.where(chosen, changed, tokens),
        "label": label.masked_fill(~chosen, IGNORED),
    }


def by_frequency(known: Tensor, asked: Tensor, vocab: int) -> tuple[float, float]:
    """How far frequency alone goes: the accuracy of always the commonest token, and the perplexity
    of the unigrams.

    Args:
        known: the tokens of the training part.
        asked: the tokens that are asked for.
        vocab: number of tokens; each is counted once more than it occurs, so that none is
            impossible.
    """
    counts = torch.bincount(known.flatten(), minlength=vocab).double()
    chance = (counts + 1) / (counts + 1).sum()
    return float((asked == counts.argmax()).double().mean()), math.exp(
        -float(chance[asked].log().mean())
    )


def by_neighbours(known: Tensor, part: Part, vocab: int) -> tuple[float, float]:
    """How far counting goes: the accuracy of the commonest token behind the one before, and between
    both neighbours.

    What was never seen between two neighbours is guessed by the one before, then by frequency.

    Args:
        known: the tokens of the training part, (rows, tokens).
        part: "tokens" and "label" of what is asked, as `masked` gives them.
        vocab: number of tokens.
    """
    asked = part["label"] != IGNORED
    before, both = neighbours(part["tokens"], vocab)
    known_before, known_both = neighbours(known, vocab)
    guess = known.flatten().mode().values.expand(part["label"].shape)
    right = []
    for context, where in ((known_before, before), (known_both, both)):
        keys, tokens = commonest(context.flatten(), known.flatten(), vocab)
        place = torch.searchsorted(keys, where).clamp_max(len(keys) - 1)
        guess = torch.where(keys[place] == where, tokens[place], guess)
        right.append(float((guess == part["label"])[asked].double().mean()))
    return right[0], right[1]


def neighbours(tokens: Tensor, vocab: int) -> tuple[Tensor, Tensor]:
    """A number for the token before each one, and one for the pair of both; beyond the edge is a
    token of its own.
    """
    edge = torch.full_like(tokens[:, :1], vocab)
    before, after = torch.cat([edge, tokens[:, :-1]], 1), torch.cat([tokens[:, 1:], edge], 1)
    return before, before * (vocab + 1) + after


def commonest(key: Tensor, token: Tensor, vocab: int) -> tuple[Tensor, Tensor]:
    """The different keys, sorted, and the token that goes most often with each."""
    pairs, counts = (key * vocab + token).unique(return_counts=True)
    pairs = pairs[counts.argsort(stable=True)]
    pairs = pairs[(pairs // vocab).argsort(stable=True)]
    keys = pairs // vocab
    last = torch.cat([keys[1:] != keys[:-1], torch.tensor([True])])
    return keys[last], pairs[last] % vocab
