"""Figures mean what their names say."""

import math

import pytest
from torchmetrics.functional.text import chrf_score

from tasks.data.text.text import RunningText
from tasks.data.text.tokenizer import UNKNOWN, Tokenizer
from tasks.learn.translate import score_translations


@pytest.mark.parametrize("kind", ["characters", "words", "bpe"])
def test_the_bytes_behind_unknown_tokens_are_counted(kind):
    tokenizer = Tokenizer.train(["red fish blue fish"], kind, 300)
    known, strange = "red fish", "red \u82b1\u5349 fish"
    assert tokenizer.unknown_bytes(known) == 0
    hidden = {"characters": 6, "words": 7, "bpe": 0}[
        kind
    ]  # two characters of three bytes; a word has its blank
    assert (UNKNOWN in tokenizer.encode(strange)) == bool(hidden)
    assert tokenizer.unknown_bytes(strange) == hidden


def test_a_text_of_unknown_words_costs_its_bytes():
    class Text(RunningText):
        def documents(self):
            return ["abc " * 540 + "xyz " * 60]

    data = Text(tokenizer="words", length=8, val=0.1, test=0.1)
    data.read()
    assert data.unknown_bits_per_character == pytest.approx(8, abs=0.2)
    assert any("unknown tokens hide" in note for note in data.notes)


def test_chrf_is_chrf_without_words():
    pairs = [("the cat sat on the mat", "the cat on the mat"), ("a dog", "the dog")]
    said, wanted = [pair[1] for pair in pairs], [[pair[0]] for pair in pairs]
    found = score_translations(pairs, None)["chrf"]
    assert found == pytest.approx(
        float(chrf_score(said, wanted, n_char_order=6, n_word_order=0, beta=2.0))
    )
    assert not math.isclose(found, float(chrf_score(said, wanted)), abs_tol=1e-3)
