"""Tokenizers: what they write they read, and nothing but a number makes a special token."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.text.tokenizer import END, KINDS, MASK, PAD, SPECIAL, START, UNKNOWN, Tokenizer
from tasks.errors import ArgumentError

TEXTS = ["the cat\r\n\r\nsat on\t<pad>", "naïve 中文 🙂, 9:27 PM"]


def test_special_tokens_have_fixed_numbers():
    assert (PAD, START, END, UNKNOWN, MASK) == (0, 1, 2, 3, 4)
    for kind in KINDS:
        tokenizer = Tokenizer.train(TEXTS, kind, 300)
        assert [tokenizer.name(number) for number in range(5)] == [
            "<pad>",
            "<start>",
            "<end>",
            "<unknown>",
            "<mask>",
        ]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_characters_come_back(text):
    tokenizer = Tokenizer.train([text], "characters")
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert tokenizer.vocab == len(SPECIAL) + len(set(text))
    assert tokenizer.decode(ids) == text


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_words_come_back(text):
    tokenizer = Tokenizer.train([text], "words")
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_texts_does_not_matter_and_a_file_keeps_all(kind, tmp_path):
    one, other = Tokenizer.train(TEXTS, kind, 300), Tokenizer.train(TEXTS[::-1], kind, 300)
    one.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    for text in [*TEXTS, "<mask> <unknown>"]:
        assert one.encode(text) == other.encode(text) == again.encode(text)
        assert PAD not in again.encode(text)
        assert MASK not in again.encode(text)


def test_special_tokens_are_not_written():
    tokenizer = Tokenizer.train(["ab"], "characters")
    assert tokenizer.decode([START, *tokenizer.encode("ab"), END, PAD, PAD]) == "ab"


@pytest.mark.parametrize("number", [-1, 7])
def test_a_number_that_no_token_has_is_told(number):
    with pytest.raises(ArgumentError) as error:
        Tokenizer.train(["ab"], "characters").name(number)
    assert str(error.value) == f"no token has this number; got {number}; fits: 0 to 6"


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b"\xff\xfe\x00"])
def test_a_file_that_is_no_tokenizer_is_told(content, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match=r"x\.json is no tokenizer: "):
        Tokenizer.load(path)


def test_too_small_a_vocabulary_is_told():
    with pytest.raises(ArgumentError) as error:
        Tokenizer.train(["ab"], "bpe", 260)
    assert str(error.value) == "bpe starts from the 256 bytes; got vocab=260; fits: 261 or more"
