"""The most likely tokens without a look at all logits in float32: the same as with it."""

import pytest
import torch
from torch import nn

from blocks.graph import build
from tasks.decode import screened_head
from tasks.decode.scorer import NextTokenScorer
from tasks.decode.screened_head import AVAILABLE, ScreenedHead, ScreenedHeads
from tasks.decode.search import find_largest, find_top, greedy_search, mask_forbidden

VOCAB, DIM, ROWS = 4999, 37, 7
needs_integers = pytest.mark.skipif(not AVAILABLE, reason="a CPU with products of integers")


def make_head(vocab=VOCAB, seed=0):
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(DIM, vocab, bias=False)
    with torch.no_grad():
        head.weight.normal_(generator=generator)
        head.weight.mul_(torch.rand(vocab, 1, generator=generator) + 0.5)
    return head, torch.randn(ROWS, DIM, generator=generator)


@needs_integers
@torch.no_grad()
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("forbidden", [(), (0, 17, VOCAB - 1, VOCAB)])
def test_the_token_is_that_of_all_logits(seed, forbidden):
    head, hidden = make_head(seed=seed)
    expected = find_largest(mask_forbidden(head(hidden), forbidden))
    assert torch.equal(ScreenedHead(head.weight).choose(hidden, forbidden), expected)
    best = find_largest(head(hidden)).tolist()
    expected = find_largest(mask_forbidden(head(hidden), best))
    assert torch.equal(ScreenedHead(head.weight).choose(hidden, best), expected)


@needs_integers
@torch.no_grad()
def test_rows_that_differ_by_less_than_a_step_are_told_apart():
    head, hidden = make_head()
    best = find_largest(head(hidden))
    other = (best + 100) % VOCAB
    head.weight[other] = head.weight[best] + 1e-5 * hidden.sign()
    assert torch.equal(ScreenedHead(head.weight).choose(hidden), find_largest(head(hidden)))
    assert not torch.equal(find_largest(head(hidden)), best)


@needs_integers
@torch.no_grad()
def test_of_equals_it_is_the_first():
    head, hidden = make_head()
    best = find_largest(head(hidden))
    for place in (VOCAB - 1, 3):
        head.weight[place] = head.weight[best[0]]
    assert ScreenedHead(head.weight).choose(hidden)[0] == 3


@needs_integers
@torch.no_grad()
@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf])
def test_what_cannot_be_told_apart_is_left_to_all_logits(value):
    head, hidden = make_head()
    hidden[2] = value
    assert ScreenedHead(head.weight).choose(hidden) is None


@needs_integers
@torch.no_grad()
def test_weights_that_changed_are_read_again(monkeypatch):
    monkeypatch.setattr(screened_head, "MIN_PRODUCT", 1)
    (head, hidden), heads = make_head(), ScreenedHeads()
    for _ in range(2):
        assert torch.equal(heads.choose(head, hidden, ()), find_largest(head(hidden)))
        assert heads.failed == 0
        head.weight.neg_()


@needs_integers
@torch.no_grad()
def test_a_head_that_tells_nothing_apart_is_not_screened_for_long(monkeypatch):
    monkeypatch.setattr(screened_head, "MIN_PRODUCT", 1)
    (head, hidden), heads = make_head(), ScreenedHeads()
    head.weight.fill_(1.0)
    for _ in range(9):
        assert torch.equal(heads.choose(head, hidden, ()), find_largest(head(hidden)))
    assert heads.failed == screened_head.PATIENCE


@needs_integers
@torch.no_grad()
@pytest.mark.parametrize("limit", [1, 6])  # the second prompt is longer than what is left
def test_a_network_decodes_the_same_tokens(monkeypatch, limit):
    monkeypatch.setattr(screened_head, "MIN_PRODUCT", 1)
    used = []
    choose = ScreenedHead.choose
    monkeypatch.setattr(
        ScreenedHead, "choose", lambda *given: used.append(choose(*given)) or used[-1]
    )
    torch.manual_seed(0)
    words = [f"params.vocab={VOCAB}", "params.dim=32", "params.depth=2", "params.heads=2"]
    network = build("gpt2", [*words, "params.length=12"], {}).eval()
    start = torch.randint(VOCAB, (2, 3))
    tokens = []
    for cache in (True, False):
        scorer = NextTokenScorer(network, {"tokens": {"vocab": VOCAB}}, "tokens", cache=cache)
        score = scorer.score({}, 12)
        tokens.append(greedy_search(score, start, end=None, limit=limit))
    assert torch.equal(*tokens)
    assert len(used) == limit
    assert all(token is not None for token in used)


@pytest.mark.parametrize(("vocab", "count"), [(7, 7), (2048, 8), (2053, 8), (4999, 16)])
def test_the_best_by_pieces_are_the_best(vocab, count):
    values = torch.randn(11, vocab, generator=torch.Generator().manual_seed(0))
    values[0, -3:] = 50.0
    values[1, : vocab - 2] = -torch.inf
    found, places = find_top(values, count)
    assert torch.equal(found, values.topk(count).values)
    assert torch.equal(values.gather(1, places), found)
    assert all(len(set(row)) == count for row in places.tolist())
