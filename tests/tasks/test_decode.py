"""Decoding against what can be worked out by hand: all sequences of a small vocabulary, exact shares."""

import itertools

import pytest
import torch

from tasks.decode import beam, greedy, keep, penalty, sample, stream
from tasks.errors import ArgumentError

VOCAB, END, PAD = 5, 1, 0


def table(seed: int, last_only: bool = False):
    """Logits that depend on the whole prefix, the same for a prefix in any row."""

    def score(prefix: torch.Tensor) -> torch.Tensor:
        seen = prefix[:, -1:] if last_only else prefix
        seeds = [hash((seed, *row)) % 2**31 for row in seen.tolist()]
        return torch.stack([torch.randn(VOCAB, generator=torch.Generator().manual_seed(each)) * 2 for each in seeds])

    return score


def starts(*tokens: int) -> torch.Tensor:
    return torch.tensor([[token] for token in tokens])


def whole(row: torch.Tensor) -> list[int]:
    """A row without what stands behind its end."""
    row = row.tolist()
    return row[: row.index(END, 1) + 1] if END in row[1:] else row


@pytest.mark.parametrize("seed", range(20))
def test_a_beam_of_one_is_greedy(seed):
    score, start = table(seed), starts(2, 3, 4)
    taken, _ = beam(score, start, end=END, limit=7, beams=1, forbidden=(PAD,))
    wanted = greedy(score, start, end=END, limit=7, forbidden=(PAD,))
    assert [whole(row) for row in taken] == [whole(row) for row in wanted]


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_the_best_of_all_sequences(seed, exponent):
    score, limit = table(seed), 3
    options = {"end": END, "limit": limit, "beams": VOCAB**limit, "length_penalty": exponent, "forbidden": (PAD,)}
    taken, value = beam(score, starts(2, 3), **options)
    for row, start in enumerate((2, 3)):
        found = {}
        for length in range(1, limit + 1):
            for said in itertools.product(range(1, VOCAB), repeat=length):
                if END in said[:-1] or (length < limit and said[-1] != END):
                    continue
                total = 0.0
                for place, token in enumerate(said):
                    logits = score(torch.tensor([[start, *said[:place]]]))[0]
                    logits[PAD] = -torch.inf
                    total += float(logits.log_softmax(-1)[token])
                found[said] = total / penalty(length, exponent)
        best = max(found, key=found.get)
        assert whole(taken[row])[1:] == list(best)
        assert float(value[row]) == pytest.approx(found[best], abs=1e-5)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_says_what_each_row_says_alone(beams):
    score, start = table(7), starts(2, 3, 4)
    together, _ = beam(score, start, end=END, limit=6, beams=beams, forbidden=(PAD,))
    for row in range(3):
        alone, _ = beam(score, start[row : row + 1], end=END, limit=6, beams=beams, forbidden=(PAD,))
        assert whole(together[row]) == whole(alone[0])


def test_padding_stands_behind_the_end_and_all_ended_is_the_end():
    def score(prefix):  # row one ends at once, row two a step later
        logits = torch.zeros(len(prefix), VOCAB)
        token = torch.where((prefix[:, 0] == 2) | (prefix.shape[1] == 2), END, 4)
        return logits.scatter(1, token[:, None], 9.0)

    assert greedy(score, starts(2, 3), end=END, limit=9).tolist() == [[2, END, PAD], [3, 4, END]]


def test_chance_follows_the_shares():
    logits = torch.tensor([[1.0, 2.0, 0.5, -1.0, 0.0]])
    start = torch.zeros(20000, 1, dtype=torch.long)
    options = {"end": None, "limit": 1, "temperature": 0.7, "top_k": 3, "generator": torch.Generator().manual_seed(0)}
    drawn = sample(lambda prefix: logits.expand(len(prefix), -1), start, **options)[:, 1]
    wanted = (logits[0] / 0.7).masked_fill(torch.tensor([False, False, False, True, True]), -torch.inf).softmax(-1)
    assert torch.allclose(drawn.bincount(minlength=VOCAB) / 20000, wanted, atol=0.01)
    assert drawn.bincount(minlength=VOCAB)[3:].sum() == 0


def test_top_p_keeps_the_fewest_that_make_up_the_share():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    for share, kept in ((0.4, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.9, 3), (1.0, 4), (1e-9, 1)):
        assert int(keep(logits, top_p=share).isfinite().sum()) == kept, share


def test_a_seed_says_the_same_again():
    options = {"end": END, "limit": 8, "temperature": 1.0}
    said = [
        sample(table(1), starts(2, 3), generator=torch.Generator().manual_seed(seed), **options).tolist()
        for seed in (5, 5)
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must not be negative; got temperature=-1.0; fits: 0 or more"),
        ({"top_k": 0}, "top_k must be positive; got top_k=0; fits: 1 or more"),
        ({"top_p": 0.0}, "top_p must be in (0, 1]; got top_p=0.0; fits: 0.9, say"),
        ({"limit": 0}, "limit must be positive; got limit=0; fits: 1 or more"),
    ],
)
def test_wrong_values_are_told(options, message):
    with pytest.raises(ArgumentError) as error:
        next(stream(table(0), starts(2), **{"end": END, "limit": 3, **options}))
    assert str(error.value) == message
