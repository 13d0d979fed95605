"""Decoding against what can be worked out by hand: all sequences of a small vocabulary, exact
shares.
"""

import itertools

import pytest
import torch

from tasks.decode.search import (
    beam_search,
    filter_logits,
    find_largest,
    greedy_search,
    length_penalty_factor,
    mask_forbidden,
    sample_tokens,
    stream_tokens,
)
from tasks.errors import ArgumentError

VOCAB, END, PAD = 5, 1, 0


class Table:
    """Random logits that depend on the whole prefix, the same for a prefix in any row and any
    batch.
    """

    def __init__(self, seed: int, vocab: int = VOCAB):
        self.logits = torch.randn(997, vocab, generator=torch.Generator().manual_seed(seed)) * 2

    def __call__(self, prefix: torch.Tensor) -> torch.Tensor:
        place = torch.zeros(len(prefix), dtype=torch.long)
        for token in prefix.unbind(1):
            place = (place * 31 + token + 1) % 997
        return self.logits[place]


class Remembering(Table):
    """A score that must be told where its rows went: it compares what it remembers with what it is
    asked.
    """

    def __init__(self, seed: int):
        super().__init__(seed)
        self.seen: torch.Tensor | None = None
        self.moved = 0

    def __call__(self, prefix: torch.Tensor) -> torch.Tensor:
        if self.seen is not None:
            assert self.seen.tolist() == prefix[:, :-1].tolist()
        self.seen = prefix
        return super().__call__(prefix)

    def reorder(self, rows: torch.Tensor) -> None:
        assert self.seen is not None
        self.moved += int((rows != torch.arange(len(rows))).any())
        self.seen = self.seen[rows]


def starts(*tokens: int) -> torch.Tensor:
    return torch.tensor([[token] for token in tokens])


def whole(row: torch.Tensor) -> list[int]:
    """A row without what stands behind its end."""
    row = row.tolist()
    return row[: row.index(END, 1) + 1] if END in row[1:] else row


def said_by_hand(
    score: Table, start: list[int], limit: int, forbidden: tuple[int, ...] = ()
) -> list[int]:
    """The likeliest token at every step, one row and one token at a time."""
    row = list(start)
    for _ in range(limit):
        logits = score(torch.tensor([row]))[0].tolist()
        row.append(
            max((token for token in range(VOCAB) if token not in forbidden), key=logits.__getitem__)
        )
        if row[-1] == END:
            break
    return row


def all_sequences(
    score: Table, start: int, vocab: int, limit: int, end: int | None, forbidden, exponent: float
):
    """Every whole sequence with its penalised log probability."""
    found = {}
    allowed = [token for token in range(vocab) if token not in forbidden]
    for length in range(1, limit + 1):
        for said in itertools.product(allowed, repeat=length):
            if end in said[:-1] or (length < limit and said[-1] != end):
                continue
            total = 0.0
            for place, token in enumerate(said):
                logits = score(torch.tensor([[start, *said[:place]]]))[0].double()
                total += float(logits[allowed].log_softmax(-1)[allowed.index(token)])
            found[said] = total / ((5 + length) / 6) ** exponent
    return found


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("forbidden", [(), (PAD,), (PAD, 3)])
def test_greedy_takes_the_likeliest_by_hand(seed, forbidden):
    score = Table(seed)
    taken = greedy_search(score, starts(2, 3, 4), end=END, limit=7, forbidden=forbidden, pad=9)
    wanted = [said_by_hand(score, [start], 7, forbidden) for start in (2, 3, 4)]
    width = max(map(len, wanted))
    assert taken.tolist() == [row + [9] * (width - len(row)) for row in wanted]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("end", [END, None])
@pytest.mark.parametrize("forbidden", [(), (PAD,)])
def test_a_beam_of_one_is_greedy(seed, end, forbidden):
    score, start = Table(seed), torch.tensor([[2, 0], [3, 0], [4, 0], [2, 2]])
    taken, _ = beam_search(score, start, end=end, limit=7, beams=1, forbidden=forbidden)
    assert (
        taken.tolist()
        == greedy_search(score, start, end=end, limit=7, forbidden=forbidden).tolist()
    )


@pytest.mark.parametrize("vocab", [7, 2048, 2053, 2111])
def test_the_largest_by_pieces_is_the_first_of_the_largest(vocab):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(40, (11, vocab), generator=generator).float()
    logits[0, [vocab - 1, vocab - 2]] = 50.0
    logits[1] = -torch.inf
    logits[2, vocab - 1] = 50.0
    assert torch.equal(find_largest(logits), logits.argmax(-1))


def test_a_beam_of_one_takes_what_greedy_takes_of_equals():
    def score(prefix):  # the second differs by less than its log probability can show
        return torch.tensor([[-200.0, 1.0, 1.0000001, 1.0, 40.0]]).expand(len(prefix), -1)

    options = {"end": END, "limit": 3, "forbidden": (4,)}
    assert (
        beam_search(score, starts(2), beams=1, **options)[0].tolist()
        == greedy_search(score, starts(2), **options).tolist()
    )


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0, 3.0])
@pytest.mark.parametrize(("end", "forbidden"), [(END, ()), (END, (PAD,)), (None, (PAD, 2))])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_the_best_of_all_sequences(seed, end, forbidden, exponent):
    vocab, limit = 4, 4
    score = Table(seed, vocab)
    options = {
        "end": end,
        "limit": limit,
        "beams": vocab**limit,
        "length_penalty": exponent,
        "forbidden": forbidden,
    }
    taken, value = beam_search(score, starts(2, 3), pad=7, **options)
    for row, start in enumerate((2, 3)):
        found = all_sequences(score, start, vocab, limit, end, forbidden, exponent)
        best = max(found, key=found.get)
        assert [token for token in taken[row, 1:].tolist() if token != 7] == list(best)
        assert float(value[row]) == pytest.approx(found[best], rel=1e-6, abs=1e-6)


def beam_by_hand(score: Table, start: int, limit: int, beams: int, exponent: float) -> list[int]:
    """The search with lists, without an early stop."""
    live, whole = [(0.0, [start])], []
    for length in range(1, limit + 1):
        grown = []
        for total, row in live:
            shares = score(torch.tensor([row]))[0].double().log_softmax(-1).tolist()
            grown += [(total + share, [*row, token]) for token, share in enumerate(shares)]
        grown = sorted(grown, reverse=True)[: 2 * beams]
        over = [pair for pair in grown[:beams] if pair[1][-1] == END or length == limit]
        whole += [(total / length_penalty_factor(length, exponent), row) for total, row in over]
        live = [pair for pair in grown if pair[1][-1] != END][:beams]
    return max(whole)[1]


@pytest.mark.parametrize("beams", [2, 3, 4])
@pytest.mark.parametrize("seed", range(20))
def test_a_narrow_beam_follows_what_lists_follow(seed, beams):
    score, limit = Table(seed), 6
    taken, _ = beam_search(
        score, starts(2, 3, 4), end=END, limit=limit, beams=beams, length_penalty=1.0, pad=9
    )
    wanted = [beam_by_hand(score, start, limit, beams, 1.0) for start in (2, 3, 4)]
    assert [[token for token in row if token != 9] for row in taken.tolist()] == wanted


@pytest.mark.parametrize("beams", [2, 3, 5, 11])
@pytest.mark.parametrize("seed", range(10))
def test_the_score_of_a_beam_is_that_of_its_sequence(seed, beams):
    score = Table(seed)
    taken, value = beam_search(
        score, starts(2, 3, 4), end=END, limit=6, beams=beams, forbidden=(PAD,), length_penalty=0.8
    )
    for row, worth in zip(taken, value.tolist(), strict=True):
        said = whole(row)
        steps = [
            mask_forbidden(score(torch.tensor([said[:place]])), (PAD,)).log_softmax(-1)[
                0, said[place]
            ]
            for place in range(1, len(said))
        ]
        assert worth == pytest.approx(
            float(sum(steps)) / length_penalty_factor(len(steps), 0.8), rel=1e-6, abs=1e-6
        )
        assert PAD not in said


@pytest.mark.parametrize("beams", [1, 2, 3, 7])
@pytest.mark.parametrize("seed", range(10))
def test_a_batch_says_what_each_row_says_alone(seed, beams):
    score, start = Table(seed), starts(2, 3, 4, 0, 1)
    together, values = beam_search(score, start, end=END, limit=6, beams=beams, forbidden=(PAD,))
    for row in range(len(start)):
        alone, value = beam_search(
            score, start[row : row + 1], end=END, limit=6, beams=beams, forbidden=(PAD,)
        )
        padded = alone[0].tolist() + [PAD] * (together.shape[1] - alone.shape[1])
        assert together[row].tolist() == padded
        assert float(values[row]) == float(value[0])


def test_the_search_goes_on_while_a_longer_sequence_can_be_better():
    # Ending at once has 0.6. Going on has 0.4, and then all is certain: with the penalty of five
    # tokens it wins.
    def score(prefix):
        first = torch.tensor([-30.0, 0.6, 0.4, -30.0, -30.0]).clamp(min=1e-30).log()
        then = torch.tensor([0.0, 0.0, 100.0, 0.0, 0.0])
        last = torch.tensor([0.0, 100.0, 0.0, 0.0, 0.0])
        return {1: first, 5: last}.get(prefix.shape[1], then).expand(len(prefix), -1)

    asked = []

    def counted(prefix):
        asked.append(prefix.shape)
        return score(prefix)

    taken, value = beam_search(counted, starts(3), end=END, limit=5, beams=2, length_penalty=2.0)
    assert taken.tolist() == [[3, 2, 2, 2, 2, END]]
    assert float(value) == pytest.approx(-0.916290731874155 / (10 / 6) ** 2, abs=1e-6)
    assert asked == [(2, length) for length in range(1, 6)]
    asked.clear()
    taken, value = beam_search(counted, starts(3), end=END, limit=5, beams=2, length_penalty=0.0)
    assert taken.tolist() == [[3, END]]
    assert float(value) == pytest.approx(-0.5108256237659907, abs=1e-6)
    assert asked == [(2, 1)]  # what has 0.4 cannot become better than 0.6


def test_padding_that_is_a_token_is_no_end():
    def score(prefix):  # always says what padding is
        return torch.tensor([[9.0, 0.0, 0.0, 0.0, 0.0]]).expand(len(prefix), -1)

    assert beam_search(score, starts(0), end=END, limit=3, beams=2)[0].tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("seed", range(10))
def test_a_score_that_remembers_is_told_where_its_rows_went(seed):
    score = Remembering(seed)
    taken, _ = beam_search(score, starts(2, 3), end=END, limit=7, beams=3, forbidden=(PAD,))
    assert score.moved
    assert (
        taken.tolist()
        == beam_search(Table(seed), starts(2, 3), end=END, limit=7, beams=3, forbidden=(PAD,))[
            0
        ].tolist()
    )


def test_padding_stands_behind_the_end_and_all_ended_is_the_end():
    def score(prefix):  # row one ends at once, row two a step later
        logits = torch.zeros(len(prefix), VOCAB)
        token = torch.where((prefix[:, 0] == 2) | (prefix.shape[1] == 2), END, 4)
        return logits.scatter(1, token[:, None], 9.0)

    assert greedy_search(score, starts(2, 3), end=END, limit=9).tolist() == [
        [2, END, PAD],
        [3, 4, END],
    ]
    assert greedy_search(score, starts(2, 3), end=None, stop=(4,), limit=3).tolist() == [
        [2, 1, 1, 1],
        [3, 4, 0, 0],
    ]
    assert [token.tolist() for token in stream_tokens(score, starts(2, 3), end=END, limit=9)] == [
        [END, 4],
        [PAD, END],
    ]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"top_k": 3}, [0, 1, 2]),
        ({"top_k": 99}, [0, 1, 2, 3, 4]),
        ({"top_p": 0.8}, [0, 1]),
        ({"top_k": 3, "top_p": 0.9}, [0, 1]),
        ({"forbidden": (1,)}, [0, 2, 3, 4]),
        ({"forbidden": (1, -1, 5)}, [0, 2, 3, 4]),
    ],
)
def test_chance_follows_the_shares(options, left):
    logits, draws = torch.tensor([[1.0, 2.0, 0.5, -1.0, 0.0]]), 40000
    start, generator = torch.zeros(draws, 1, dtype=torch.long), torch.Generator().manual_seed(0)
    options = {"end": None, "limit": 1, "temperature": 0.7, "generator": generator, **options}
    drawn = sample_tokens(lambda prefix: logits.expand(len(prefix), -1), start, **options)[
        :, 1
    ].bincount(minlength=VOCAB)
    share = (logits[0] / 0.7)[left].softmax(-1)
    assert int(drawn[left].sum()) == draws
    surprise = float(((drawn[left] - draws * share) ** 2 / (draws * share)).sum())
    assert (
        surprise < 18.5
    )  # chi-square: passed by chance once in a thousand with four degrees of freedom


@pytest.mark.parametrize("seed", range(5))
def test_top_k_and_top_p_are_what_sorting_by_hand_leaves(seed):
    logits = torch.randn(7, 23, generator=torch.Generator().manual_seed(seed)) * 3
    for top_k, top_p in itertools.product((None, 1, 5, 23), (None, 0.05, 0.5, 0.9, 1.0)):
        for row, kept in zip(
            logits.double(), filter_logits(logits.double(), top_k, top_p), strict=True
        ):
            order = sorted(range(23), key=lambda token, row=row: -float(row[token]))[:top_k]
            share, mass, left = row[order].softmax(-1).tolist(), 0.0, []
            for token, part in zip(order, share, strict=True):
                if top_p is None or top_p == 1 or mass < top_p:
                    left.append(token)
                mass += part
            assert kept.isfinite().nonzero()[:, 0].tolist() == sorted(left)
            assert torch.equal(kept[left], row[left])


def test_top_p_keeps_the_fewest_that_make_up_the_share():
    logits = torch.tensor([[0.3, 0.5, 0.05, 0.15]]).log()
    for share, kept in (
        (0.4, [1]),
        (0.51, [0, 1]),
        (0.9, [0, 1, 3]),
        (1.0, [0, 1, 2, 3]),
        (1e-9, [1]),
    ):
        assert filter_logits(logits, top_p=share)[0].isfinite().nonzero()[:, 0].tolist() == kept, (
            share
        )


def test_top_k_keeps_so_many_of_equals():
    assert int(filter_logits(torch.zeros(1, VOCAB), top_k=2).isfinite().sum()) == 2


@pytest.mark.parametrize("seed", range(10))
def test_no_temperature_and_hardly_any_are_greedy(seed):
    score, start = Table(seed), starts(2, 3, 4)
    wanted = greedy_search(score, start, end=END, limit=8, forbidden=(PAD,)).tolist()
    for temperature in (0, 0.0, 1e-30):
        taken = sample_tokens(
            score, start, end=END, limit=8, forbidden=(PAD,), temperature=temperature
        )
        assert taken.tolist() == wanted


def test_a_seed_says_the_same_again():
    def said(seed: int) -> list:
        return sample_tokens(
            Table(1),
            starts(2, 3),
            end=None,
            limit=12,
            generator=torch.Generator().manual_seed(seed),
        ).tolist()

    assert said(5) == said(5)
    assert said(5) != said(6)


@pytest.mark.parametrize("seed", range(5))
def test_what_streams_is_what_is_sampled(seed):
    options = {"end": END, "limit": 9, "temperature": 1.3, "top_k": 4, "stop": (3,)}
    tokens = list(
        stream_tokens(
            Table(2), starts(2, 3), generator=torch.Generator().manual_seed(seed), **options
        )
    )
    taken = sample_tokens(
        Table(2), starts(2, 3), generator=torch.Generator().manual_seed(seed), **options
    )
    assert torch.stack(tokens, 1).tolist() == taken[:, 1:].tolist()


@pytest.mark.parametrize("seed", range(10))
def test_starts_of_different_lengths_go_on_as_each_alone(seed):
    score, lengths = Table(seed), torch.tensor([3, 1, 5])
    start = torch.randint(2, VOCAB, (3, 5), generator=torch.Generator().manual_seed(seed))
    start[2, 1] = END  # what was given does not end a row
    together = greedy_search(score, start, lengths=lengths, end=END, limit=4, pad=9).tolist()
    for row, length in enumerate(lengths.tolist()):
        alone = greedy_search(score, start[row : row + 1, :length], end=END, limit=4, pad=9)[
            0
        ].tolist()
        assert together[row] == alone + [9] * (len(together[row]) - len(alone))


def test_no_gradient_is_kept():
    weight = torch.zeros(VOCAB, requires_grad=True)
    asked = []

    def score(prefix):
        logits = weight.expand(len(prefix), -1) * 1.0
        asked.append(logits.requires_grad)
        return logits

    greedy_search(score, starts(2), end=None, limit=2)
    assert not beam_search(score, starts(2), end=None, limit=2)[1].requires_grad
    for _ in stream_tokens(score, starts(2), end=None, limit=2):
        assert torch.is_grad_enabled()  # between the steps all is as the caller left it
    assert asked == [False] * 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"temperature": -1.0},
            "temperature must not be negative; got temperature=-1.0; fits: 0 or more",
        ),
        (
            {"temperature": float("nan")},
            "temperature must not be negative; got temperature=nan; fits: 0 or more",
        ),
        (
            {"temperature": float("inf")},
            "temperature must be finite; got temperature=inf; fits: e.g. 1.0",
        ),
        ({"top_k": 0}, "top_k must be positive; got top_k=0; fits: 1 or more"),
        ({"top_p": 0.0}, "top_p must be in (0, 1]; got top_p=0.0; fits: e.g. 0.9"),
        ({"top_p": 1.5}, "top_p must be in (0, 1]; got top_p=1.5; fits: e.g. 0.9"),
        ({"limit": 0}, "limit must be positive; got limit=0; fits: 1 or more"),
        (
            {"lengths": torch.tensor([2])},
            "lengths must be the number of tokens of each row; got [2]; fits: 1 numbers in 1..1",
        ),
        (
            {"lengths": torch.tensor([0])},
            "lengths must be the number of tokens of each row; got [0]; fits: 1 numbers in 1..1",
        ),
        (
            {"lengths": torch.tensor([1, 1])},
            "lengths must be the number of tokens of each row; got [1, 1]; fits: 1 numbers in 1..1",
        ),
        (
            {"start": torch.tensor([2, 3])},
            "start must be rows of tokens; got start of shape (2,), int64; fits: (rows, "
            "tokens), int64",
        ),
    ],
)
def test_wrong_values_are_told_before_the_first_step(options, message):
    with pytest.raises(ArgumentError) as error:
        stream_tokens(**{"score": Table(0), "start": starts(2), "end": END, "limit": 3, **options})
    assert str(error.value) == message
    assert error.value.argument == next(iter(options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beams": 0}, "beams must be positive; got beams=0; fits: 1 or more"),
        ({"limit": 0}, "limit must be positive; got limit=0; fits: 1 or more"),
        (
            {"length_penalty": -0.1},
            "length_penalty must not be negative; got length_penalty=-0.1; fits: 0 or more",
        ),
        ({"forbidden": range(VOCAB)}, "forbidden leaves no token; got all 5 tokens; fits: fewer"),
        (
            {"start": torch.zeros(2, 3)},
            "start must be rows of tokens; got start of shape (2, 3), float32; fits: (rows, "
            "tokens), int64",
        ),
    ],
)
def test_wrong_values_of_a_beam_are_told(options, message):
    with pytest.raises(ArgumentError) as error:
        beam_search(**{"score": Table(0), "start": starts(2), "end": END, "limit": 3, **options})
    assert str(error.value) == message
    assert error.value.argument == next(iter(options))
