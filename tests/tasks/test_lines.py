"""Lines as they come, and answers beside their questions."""

import io
import os

import pytest
import torch

from tasks.data.text.tokenizer import PAD, Tokenizer
from tasks.decode import translate_lines

LETTERS = Tokenizer.train(["abc"], "characters")


@pytest.fixture
def pipe():
    """The end that is read, and a function that writes bytes into the other."""
    reads, writes = os.pipe()
    stream = io.TextIOWrapper(os.fdopen(reads, "rb"), encoding="utf-8")
    other = os.fdopen(writes, "wb", buffering=0)
    yield stream, other
    other.close()
    stream.close()


def test_lines_that_have_come_are_given_before_the_next_are_waited_for(pipe):
    stream, other = pipe
    ready = translate_lines.read_ready_lines(stream)
    other.write(b"one\ntwo \r\nthr")
    assert next(ready) == ["one", "two"]  # would wait for ever if it wanted the third
    other.write("ee\n年".encode()[:-1])  # a character in two pieces
    assert next(ready) == ["three"]
    other.write("年".encode()[-1:])
    other.close()
    assert list(ready) == [["年"]]


def test_an_empty_line_is_a_line_and_the_end_is_none(pipe):
    stream, other = pipe
    other.write(b"one\n\ntwo\n")
    other.close()
    assert list(translate_lines.read_ready_lines(stream)) == [["one", "", "two"]]
    assert list(translate_lines.read_ready_lines(io.StringIO("one\n\ntwo"))) == [
        ["one"],
        [""],
        ["two"],
    ]


class Echo:
    """Says each source again, without its padding, and remembers how it was asked."""

    def __init__(self, *names):
        self.input_names, self.asked = names, []

    def translate(self, batch):
        assert torch.equal(batch["source_mask"], batch["source"] != PAD)
        self.asked.append(tuple(batch["source"].shape))
        return batch["source"]


@pytest.mark.parametrize("masked", [True, False])
def test_answers_come_in_the_order_of_the_questions(masked):
    texts = [("a", "bc", "", "cab", "cabcab")[number % 5] for number in range(170)]
    questions = [translate_lines.SourceLine.encode(text, LETTERS, longest=3) for text in texts]
    task = Echo("source", "source_mask") if masked else Echo("source")
    said = list(translate_lines.translate_lines(task, LETTERS, questions))
    assert said == ["" if len(text) in (0, 6) else text for text in texts]
    # what can be asked of each 64 at once, padded to the longest; without a mask each alone
    assert task.asked == ([(39, 3), (38, 3), (25, 3)] if masked else [(1, 1), (1, 2), (1, 3)] * 34)


def test_what_is_bad_about_a_text_is_told():
    told = [
        translate_lines.SourceLine.encode(text, LETTERS, longest=3).note
        for text in ("", "abca", "axbz", "ab", "xbx")
    ]
    assert told == [
        "'': nothing to translate",
        "'abca': 4 tokens, the longest in training had 3",
        "'axbz': 4 tokens, the longest in training had 3",
        None,
        "'xbx': training never saw x",
    ]
