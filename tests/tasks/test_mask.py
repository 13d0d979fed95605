"""Masks are those of BERT, a function of their seed, and laid over what is asked; bad directions
are found out.
"""

import math

import pytest
import torch

from blocks.graph import ConfigError, assemble, build, compose
from tasks.data.permutation import random_rows
from tasks.data.sampler import generator
from tasks.data.sequences.base import IGNORED
from tasks.data.text.mask import by_frequency, by_neighbours, masked
from tasks.data.text.text import RunningText, Topics
from tasks.data.text.tokenizer import MASK
from tasks.learn.checks.causality import looks_ahead
from tasks.run.build import make_task
from tasks.run.check_training import check_task
from tasks.run.data_facts import read_data

VOCAB = 101


def part(rows=97, tokens=53):
    found = torch.randint(5, VOCAB, (rows, tokens), generator=generator(1))
    label = found.clone()
    label[-1, :7] = IGNORED
    return {"tokens": found, "label": label}


def draws(given):
    rows, width = given["tokens"].shape
    return random_rows(0, torch.arange(rows), 3 * width).unflatten(1, (3, width))


def test_masks_are_those_of_bert():
    given = part(rows=2000)
    found = masked(given, 0.15, VOCAB, draws(given))
    chosen = found["label"] != IGNORED
    assert (chosen.sum(1)[:-1] == round(0.15 * 53)).all()
    assert not chosen[-1, :7].any()
    assert torch.equal(found["label"][chosen], given["tokens"][chosen])
    assert torch.equal(found["tokens"][~chosen], given["tokens"][~chosen])
    hidden = (found["tokens"] == MASK) & chosen
    changed = (found["tokens"] != given["tokens"]) & chosen & ~hidden
    assert float(hidden.sum() / chosen.sum()) == pytest.approx(0.8, abs=0.01)
    assert float(changed.sum() / chosen.sum()) == pytest.approx(
        0.1 * (1 - 1 / (VOCAB - 5)), abs=0.01
    )
    assert found["tokens"][changed].min() >= 5
    assert chosen.float().mean(0).std() < 0.02  # every place alike


def test_a_row_with_one_token_to_ask_for_is_asked():
    given = {"tokens": torch.tensor([[9, 8]]), "label": torch.tensor([[IGNORED, 8]])}
    assert (masked(given, 0.01, VOCAB, draws(given))["label"] != IGNORED).tolist() == [
        [False, True]
    ]


class Pages(RunningText):
    def documents(self):
        return [
            f"page {number} says {'abcdefghijklmnop'[number % 16] * 20}. " * 3
            for number in range(40)
        ]


def test_masks_of_training_change_with_the_epoch_and_those_of_the_test_do_not():
    data, again, other = (Pages(length=32, mask=0.2, seed=seed) for seed in (3, 3, 4))
    for each in (data, again, other):
        each.read()
    index = torch.arange(data.sizes()["train"])
    first, second = data.cut("train", index, 0), data.cut("train", index, 1)
    assert torch.equal(first["tokens"], again.cut("train", index, 0)["tokens"])
    assert not torch.equal(first["tokens"], second["tokens"])
    assert not torch.equal(first["tokens"], other.cut("train", index, 0)["tokens"])
    for name in ("val", "test"):
        index = torch.arange(data.sizes()[name])
        found = data.cut(name, index)
        assert torch.equal(
            found["tokens"], other.cut(name, index)["tokens"]
        )  # the split has its own seed
        backwards = data.cut(name, index.flip(0))
        assert torch.equal(found["tokens"], backwards["tokens"].flip(0))
    assert not (data.windows["train"].ids == MASK).any()
    assert data.facts()["mask"] == 0.2
    assert data.shown([MASK, *data.tokenizer.encode("ge")]) == "▢ge"
    assert data.answers(data.tokenizer.encode("ge")) == "g · e"


def test_frequency_alone_by_hand():
    known, asked = torch.tensor([[1, 1, 1], [2, 0, 1]]), torch.tensor([1, 2, 1])
    right, perplexity = by_frequency(known, asked, 4)  # counts and one: 2 5 2 1 of 10
    assert right == pytest.approx(2 / 3)
    assert perplexity == pytest.approx(math.exp(-(2 * math.log(0.5) + math.log(0.2)) / 3))


def test_neighbours_by_hand():
    known = torch.tensor(
        [[0, 1, 2, 0, 1, 3, 0, 4, 5]]
    )  # after 0 mostly 1, between 0 and 5 only 4; the commonest is 0
    for tokens, label, before, both in [
        ([0, 9, 5], [IGNORED, 4, IGNORED], 0, 1),
        ([0, 9, 3], [IGNORED, 1, IGNORED], 1, 1),
        ([7, 9, 7], [IGNORED, 0, IGNORED], 1, 1),  # never seen: the commonest
        ([9, 4, 9], [0, IGNORED, 5], 1, 1),  # the edges are neighbours too: what begins, what ends
    ]:
        part = {"tokens": torch.tensor([tokens]), "label": torch.tensor([label])}
        assert by_neighbours(known, part, 10) == (before, both), tokens


# Direction ----------------------------------------------------------------------------------------

FACTS = {"tokens": {"tokens": 24, "dtype": "int", "vocab": VOCAB}, "vocab": VOCAB}
SMALL = ["params.depth=2", "params.dim=32"]
CAUSAL = [
    ("gpt", []),
    ("bert", ["attention=causal"]),
    ("bert", ["attention=causal", "residual=rezero"]),
    ("llama", []),
    ("gru_language", []),
    ("lstm_language", []),
]
BOTH = [
    ("bert", []),
    ("bert", ["residual=rezero"]),
    ("bert", ["residual=layerscale"]),
    ("bert", ["attention=linear"]),
]


@pytest.mark.parametrize(
    ("model", "options", "ahead"),
    [(*each, False) for each in CAUSAL] + [(*each, True) for each in BOTH],
)
def test_a_network_tells_whether_it_looks_ahead_and_stays_as_it_was(model, options, ahead):
    torch.manual_seed(0)
    network = build(model, overrides=[*SMALL, *options], facts=FACTS).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    tokens = torch.randint(VOCAB, (1, 24), generator=generator(2))
    assert (
        looks_ahead(network, lambda given: network(tokens=given)["logits"], tokens, 12, VOCAB)
        == ahead
    )
    assert network.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def checked(*overrides):
    composed = compose([*overrides, "data.batch_size=4"])
    data = read_data(composed)
    torch.manual_seed(0)
    network = assemble(composed, data.facts())
    check_task(composed, make_task(composed, network, data.facts(), {}), data)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(
        Topics, "documents", lambda self: [f"{number} a page. " * 30 for number in range(30)]
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model=bert", "data=topics", "task=language"],
            "  the network sees the tokens that it is to predict\n"
            "  got       another token in tokens, at position 64 and later, changes the logits "
            "before it\n"
            "  fix       model/attention=causal, or data.mask=0.15 to fill gaps; "
            "task.check_causal=false trains it all the same",
        ),
        (
            ["model=gpt", "data=topics", "task=language", "data.mask=0.15"],
            "  the network sees one side of a gap only\n"
            "  got       another token in tokens, at position 64 and later, does not change the "
            "logits before it\n"
            "  fix       model/attention=full, or data.mask=0 to predict the next token; "
            "task.check_causal=false trains it all the same",
        ),
        (
            ["model=bert", "data=recall", "task=recall", "data.kind=copy", "data.lag=20"],
            "  the network sees the tokens that it is to predict\n"
            "  got       another token in tokens, at position 20 and later, changes the logits "
            "before it\n"
            "  fix       model/attention=causal; task.check_causal=false trains it all the same",
        ),
        (
            [
                *(
                    "model=transformer",
                    "data=phrases",
                    "task=translate",
                    "data.train=99",
                    "data.val=9",
                    "data.test=9",
                ),
                "model.graph.decoder.body.attention.inner.causal=false",
            ],
            "  the network sees the tokens that it is to predict\n"
            "  got       another token in target, at position 5 and later, changes the logits "
            "before it\n"
            "  fix       a decoder whose self-attention is causal, as that of model=transformer; "
            "task.check_causal=false trains it all the same",
        ),
    ],
)
def test_a_network_that_looks_the_wrong_way_is_told(short, overrides, message):
    with pytest.raises(ConfigError) as error:
        checked(*overrides)
    place, _, rest = str(error.value).partition("\n")
    assert place.endswith("task.check_causal")
    assert rest == message
    checked(*overrides, "task.check_causal=false")


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=gpt", "data=topics", "task=language"],
        ["model=bert", "data=topics", "task=language", "data.mask=0.15"],
        ["model=bert", "data=recall", "task=recall"],
        [
            "model=transformer",
            "data=phrases",
            "task=translate",
            "data.train=99",
            "data.val=9",
            "data.test=9",
        ],
        [
            "model=seq2seq",
            "data=phrases",
            "task=translate",
            "data.train=99",
            "data.val=9",
            "data.test=9",
        ],
    ],
)
def test_a_network_that_looks_the_right_way_may_be_trained(short, overrides):
    checked(*overrides)
