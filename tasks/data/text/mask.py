"""Masked language modelling: hidden tokens are predicted from both sides."""

import math

import torch
from torch import Tensor

from tasks.data.sequences.base import IGNORED, Part
from tasks.data.text.tokenizer import MASK, SPECIAL

HIDDEN, OTHER = 0.8, 0.1  # shares of the chosen tokens; the rest stays as it is
DRAWS = 3  # random numbers for each token


def masked(part: Part, share: float, vocab: int, draws: Tensor) -> Part:
    """Choose tokens of each row and hide them; only they keep their label.

    Of the chosen, 80 % become the mask, 10 % another token, 10 % stay: a network must represent
    visible tokens as well, as there are no masks when it is used.

    Args:
        part: "tokens" and "label", (rows, tokens); a token without a label is never chosen.
        share: of the labelled tokens of each row that are chosen; at least one.
        vocab: number of tokens, the special ones included.
        draws: (rows, 3, tokens), random numbers in [0, 1): which tokens are chosen, what becomes of
            each, and the other token.

    Source:
        Devlin et al. 2019, arXiv:1810.04805, section 3.1.
    """
    tokens, label = part["tokens"], part["label"]
    allowed = label != IGNORED
    count = (share * allowed.sum(1, keepdim=True)).round().clamp_min(1)
    chance, kind, other = draws.unbind(1)
    rank = chance.masked_fill(~allowed, 2)
    chosen = (rank.argsort(1).argsort(1) < count) & allowed
    first = min(len(SPECIAL), vocab - 1)
    drawn = first + (other * (vocab - first)).long()
    changed = torch.where(kind < HIDDEN, MASK, torch.where(kind < HIDDEN + OTHER, drawn, tokens))
    return {
        "tokens": torch.where(chosen, changed, tokens),
        "label": label.masked_fill(~chosen, IGNORED),
    }


def by_frequency(known: Tensor, asked: Tensor, vocab: int) -> tuple[float, float]:
    """Return what frequencies alone reach.

    Args:
        known: the tokens of the training part.
        asked: the tokens to predict.
        vocab: number of tokens; each is counted once more than it occurs, so that none is
            impossible.

    Returns:
        The accuracy of always the commonest token, and the perplexity of the unigrams.
    """
    counts = torch.bincount(known.flatten(), minlength=vocab).double()
    chance = (counts + 1) / (counts + 1).sum()
    accuracy = (asked == counts.argmax()).double().mean()
    return float(accuracy), math.exp(-float(chance[asked].log().mean()))


def by_neighbours(known: Tensor, part: Part, vocab: int) -> tuple[float, float]:
    """Return what counts of neighbours reach.

    A pair of neighbours that never occurs is predicted by the token before, then by frequency.

    Args:
        known: the tokens of the training part, (rows, tokens).
        part: "tokens" and "label" of the test, as `masked` returns them.
        vocab: number of tokens.

    Returns:
        The accuracy of the commonest token after the one before, and between both neighbours.
    """
    asked = part["label"] != IGNORED
    before, both = neighbours(part["tokens"], vocab)
    known_before, known_both = neighbours(known, vocab)
    guess = known.flatten().mode().values.expand(part["label"].shape)
    right = []
    for context, where in ((known_before, before), (known_both, both)):
        keys, tokens = commonest_tokens(context.flatten(), known.flatten(), vocab)
        index = torch.searchsorted(keys, where).clamp_max(len(keys) - 1)
        guess = torch.where(keys[index] == where, tokens[index], guess)
        right.append(float((guess == part["label"])[asked].double().mean()))
    return right[0], right[1]


def neighbours(tokens: Tensor, vocab: int) -> tuple[Tensor, Tensor]:
    """Return a number for the token before each one, and one for the pair of both neighbours.

    The edges of a row are a token of their own.
    """
    edge = torch.full_like(tokens[:, :1], vocab)
    before, after = torch.cat([edge, tokens[:, :-1]], 1), torch.cat([tokens[:, 1:], edge], 1)
    return before, before * (vocab + 1) + after


def commonest_tokens(key: Tensor, token: Tensor, vocab: int) -> tuple[Tensor, Tensor]:
    """Return the different keys, sorted, and the token that occurs most often with each."""
    pairs, counts = (key * vocab + token).unique(return_counts=True)
    pairs = pairs[counts.argsort(stable=True)]
    pairs = pairs[(pairs // vocab).argsort(stable=True)]
    keys = pairs // vocab
    last = torch.cat([keys[1:] != keys[:-1], torch.tensor([True])])
    return keys[last], pairs[last] % vocab
