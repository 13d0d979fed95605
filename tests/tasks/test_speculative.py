"""Speculative decoding: the tokens of the network alone, whoever proposes them."""

import pytest
import torch

from tasks.decode.search import Sampler, greedy_search
from tasks.decode.speculative import DraftedDecoding, subtract
from tasks.errors import ArgumentError
from tests.tasks.test_score import TOKENS, VOCAB, network, scorer, starts


def decode(made, draft, start, limit, **options):
    sampler = Sampler(temperature=0.0)
    decoding = DraftedDecoding(scorer(made)[0], scorer(draft)[0], sampler, **options)
    tokens = list(decoding.stream(start, limit=limit))
    return torch.cat([start, *[token[:, None] for token in tokens]], dim=1), decoding.counts


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("gpt", ()),
        ("llama", ()),
        ("llama", ("attention=sliding", "attention.window=3")),
        ("lstm_language", ()),
        ("gpt", ("attention=retention",)),
        ("gpt", ("attention=mamba2",)),
    ],
)
def test_with_a_draft_as_without(model, options):
    made, limit = network(model, *options), TOKENS + 2  # beyond the window, too
    for seed in range(2):
        start = starts(2, rows=2)[seed : seed + 1]
        alone = greedy_search(
            scorer(made)[0].score({}, limit + 2), start, end=None, limit=limit, pad=0
        )
        for draft in (network("rnn_language"), network("gpt", "params.depth=1"), made):
            found, counts = decode(made, draft, start, limit, ahead=3)
            assert torch.equal(found, alone)
            if draft is made:
                assert 0 < counts.accepted == counts.proposed


class Table:
    """Fixed logits of the next token for each last token, as a network and as its session."""

    def __init__(self, seed, spread):
        generator = torch.Generator().manual_seed(seed)
        self.logits = torch.randn(VOCAB, VOCAB, generator=generator) * spread
        self.vocab, self.limit = VOCAB, 100

    def score(self, fixed, limit, history):
        return self

    def __call__(self, prefix):
        return self.logits[prefix[:, -1]]

    def score_last(self, prefix, count):
        return self.logits[prefix[:, -count:]]


def test_sampled_tokens_have_the_distribution_of_the_network():
    network, draft = Table(1, 1.5), Table(2, 1.0)
    sampler = Sampler(top_p=0.9, generator=torch.Generator().manual_seed(0))
    decoding = DraftedDecoding(network, draft, sampler, ahead=2)
    rounds, start = 2500, torch.tensor([[3]])
    counts = torch.zeros(2, VOCAB)
    for _ in range(rounds):
        for place, token in enumerate(decoding.stream(start, limit=2)):
            counts[place, token] += 1
    chain = sampler.weigh(network.logits)
    first = chain[3]
    wanted = torch.stack((first, first @ chain))
    likely = wanted > 5 / rounds
    gap = (counts / rounds - wanted).abs()
    assert (gap[likely] < 4 * (wanted * (1 - wanted) / rounds).sqrt()[likely]).all()
    assert not counts[wanted == 0].any()
    assert 0.2 < decoding.counts.accepted / decoding.counts.proposed < 0.9


@pytest.mark.parametrize("seed", range(3))
def test_what_is_accepted_and_what_is_drawn_make_up_the_distribution(seed):
    generator = torch.Generator().manual_seed(seed)
    wanted, draft = torch.randn(2, 1, VOCAB, generator=generator).double().mul(3).softmax(-1)
    accepted = torch.minimum(draft, wanted)
    rest = subtract(wanted, draft)
    torch.testing.assert_close(accepted + (1 - accepted.sum()) * rest, wanted, rtol=0, atol=1e-12)
    assert torch.equal(subtract(wanted, wanted), wanted)


def test_another_vocabulary_is_reported():
    wider, narrower = Table(1, 1.0), Table(2, 1.0)
    narrower.vocab = VOCAB - 1
    with pytest.raises(ArgumentError) as caught:
        DraftedDecoding(wider, narrower, Sampler())
    assert str(caught.value) == (
        f"the draft has another vocabulary; got {VOCAB - 1} tokens, the run {VOCAB}; "
        "fits: a run that was trained with the same tokenizer"
    )
