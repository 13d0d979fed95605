"""Made sequences: the answer is where it should be, new in each epoch, the same for each seed."""

import pytest
import torch

from tasks.data.sequences.base import IGNORED
from tasks.data.sequences.recall import Recall
from tasks.errors import ArgumentError


def test_the_answer_is_the_symbol_of_lag_steps_ago():
    part = Recall(lag=7, symbols=5, answers=3).make(11, 0, 0)
    assert part["tokens"].shape == (11, 10)
    for place in range(10):
        wanted = part["tokens"][:, place - 7] if place >= 7 else torch.full((11,), IGNORED)
        assert torch.equal(part["label"][:, place], wanted)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("copy", lambda x: x), ("reverse", lambda x: x[::-1]), ("sort", lambda x: sorted(x))],
)
def test_the_symbols_are_said_again_behind_the_separator(kind, wanted):
    part = Recall(kind=kind, lag=6, symbols=5).make(13, 0, 0)
    for tokens, label in zip(part["tokens"].tolist(), part["label"].tolist(), strict=True):
        given, answer = tokens[:6], label[6:]
        assert label[:6] == [IGNORED] * 6
        assert tokens[6] == 5
        assert answer == wanted(given)
        assert (
            tokens[7:] == answer[:-1]
        )  # teacher forcing: each answer is read where the next is asked for


def test_every_epoch_is_new_and_every_seed_repeats():
    data, again, other = Recall(seed=3), Recall(seed=3), Recall(seed=4)
    assert torch.equal(data.fresh(2)["tokens"], again.fresh(2)["tokens"])
    assert not torch.equal(data.fresh(2)["tokens"], data.fresh(1)["tokens"])
    assert not torch.equal(data.fresh(2)["tokens"], other.fresh(2)["tokens"])


def test_the_test_is_the_same_for_every_seed():
    assert torch.equal(
        Recall(seed=3).load()["test"]["tokens"], Recall(seed=4).load()["test"]["tokens"]
    )


def test_a_last_short_batch_is_judged_but_not_trained_on():
    data = Recall(lag=3, train=10, val=10, test=10, batch_size=4)
    data.read()
    assert [len(batch["tokens"]) for batch in data.train_dataloader()] == [4, 4]
    assert [len(batch["tokens"]) for batch in data.test_dataloader()] == [4, 4, 2]


def test_symbols_read_as_letters():
    assert Recall(kind="copy", lag=2, symbols=3).shown([0, 2, 3, 1]) == "ac|b"


def test_wrong_values_are_told():
    with pytest.raises(
        ArgumentError,
        match=r"^kind is none of its choices; got kind=shuffle; fits: lag, hold, copy, rev",
    ):
        Recall(kind="shuffle")
    with pytest.raises(ArgumentError, match=r"^lag must be positive; got lag=0; fits: 1 or more$"):
        Recall(lag=0)


def test_held_symbols_stand_in_front_of_fillers():
    part = Recall(kind="hold", lag=7, symbols=5).make(11, 0, 0)
    assert (part["tokens"][:, 0] < 5).all()
    assert (part["tokens"][:, 1:] >= 5).all()
    assert torch.equal(part["label"][:, 7], part["tokens"][:, 0])
    assert (part["label"][:, :7] == IGNORED).all()


@pytest.mark.parametrize("kind", ["copy", "reverse", "sort"])
def test_a_pair_says_what_a_line_says(kind):
    line, pair = (
        Recall(kind=kind, lag=6, symbols=5, form=form).make(13, 0, 0) for form in ("line", "pair")
    )
    assert torch.equal(pair["source"], line["tokens"][:, :6])
    assert torch.equal(pair["label"], line["label"][:, 6:])
    assert torch.equal(pair["target"], line["tokens"][:, 6:])


def test_a_lag_has_no_pair():
    words = r"^lag has no target; got form=pair, kind=lag; fits: kind=copy, reverse, sort$"
    with pytest.raises(ArgumentError, match=words):
        Recall(kind="lag", form="pair")
