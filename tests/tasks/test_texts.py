"""Texts from files as people have them, to numbers and back; phrases whose dates no other part
has.
"""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.data.sequences.base import IGNORED
from tasks.data.text.phrases import phrases
from tasks.data.text.text import RunningText
from tasks.data.text.tokenizer import END, PAD, START, UNKNOWN, Tokenizer
from tasks.data.text.translation import Pairs, Phrases
from tasks.errors import ArgumentError
from tests.tasks.read_tables import read_labelled, read_pairs

BPE = Tokenizer.train(["the cat sat on the mat", "naïve 中文 🙂"], "bpe", 300)


@settings(deadline=None)
@given(st.text())
def test_bpe_writes_any_text(text):
    text = text.encode("utf-8", "replace").decode()
    assert BPE.decode(BPE.encode(text)) == text


@settings(deadline=None)
@given(st.text(alphabet="ab \n<>pd星🙂"))
def test_characters_are_one_token_each(text):
    tokenizer = Tokenizer.train(["ab \n<>pd星🙂"], "characters")
    assert tokenizer.vocab == 5 + 10
    assert len(tokenizer.encode(text)) == len(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_words_keep_their_blanks():
    text = "Hello, world! It's 9:27  PM.\n"
    tokenizer = Tokenizer.train([text], "words")
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_what_training_never_saw_is_unknown():
    assert Tokenizer.train(["ab"], "characters").encode("axb")[1] == UNKNOWN


@pytest.mark.parametrize("kind", ["characters", "words", "bpe"])
def test_special_tokens_in_a_text_are_text(kind):
    tokenizer = Tokenizer.train(["<pad> <start>"], kind, 300)
    assert min(tokenizer.encode("<pad>")) > UNKNOWN
    assert tokenizer.decode(tokenizer.encode("<pad>")) == "<pad>"


def test_a_tokenizer_comes_back_from_its_file(tmp_path):
    BPE.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert again.encode("the mat 中") == BPE.encode("the mat 中")
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArgumentError, match=r"tokenizer\.json is no tokenizer"):
        Tokenizer.load(tmp_path / "tokenizer.json")


# Files --------------------------------------------------------------------------------------------


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


WANTED = [("a", "b"), ("c d", "e")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.tsv", "a\tb\nc d\te\n"),
        ("x.tsv", "a\tb\r\nc d\te\r\n"),
        ("x.tsv", "\ufeffa\tb\nc d\te"),
        ("x.tsv", "a\tb\n\n\nc d\te\n\n"),
        ("x.tsv", "source\ttarget\na\tb\nc d\te\n"),
        ("x.tsv", "note\ttgt\tsrc\nz\tb\ta\nz\te\tc d\n"),
        ("x.csv", 'a,b\n"c d",e\n'),
        ("x.csv", "a;b\nc d;e\n"),
        ("x.csv", "Source,Target\na,b\nc d,e\n"),
        ("x.jsonl", '{"source": "a", "target": "b"}\r\n\n{"target": "e", "source": "c d"}\n'),
        ("x.tsv", "a\tb\nc d\te\n".encode("utf-16")),
    ],
)
def test_files_as_people_have_them(tmp_path, name, content):
    assert read_pairs(written(tmp_path, name, content)) == (WANTED, [])


def test_tabs_commas_and_line_breaks_in_quotes(tmp_path):
    assert read_pairs(written(tmp_path, "x.tsv", '"a\tb\nc"\t"he said ""no"""\n'))[0] == [
        ("a\tb\nc", 'he said "no"')
    ]
    assert read_pairs(written(tmp_path, "x.csv", '"a, b","c\nd"\n'))[0] == [("a, b", "c\nd")]


def test_any_script_and_a_line_of_ten_megabytes(tmp_path):
    long = "word " * 2_000_000
    rows = [("🙂👩‍👩‍👧", "שלום"), ("مرحبا", "你好"), (long, "x")]
    content = "".join(f"{source}\t{target}\n" for source, target in rows)
    assert read_pairs(written(tmp_path, "x.tsv", content))[0] == rows


def test_lines_that_do_not_do_are_left_out_and_told(tmp_path):
    content = "a\tb\nalone\nc d\te\n\t\n \tx\n"
    assert read_pairs(written(tmp_path, "x.tsv", content)) == (
        WANTED,
        ["3 lines left out: 2 (a column is missing), 4 (an empty text), 5 (an empty text)"],
    )
    content = (
        '{"source": "a", "target": "b"}\n{"source": \n[1]\n{"source": "c d", "target": '
        '"e"}\n{"source": "x"}\n'
    )
    assert read_pairs(written(tmp_path, "x.jsonl", content)) == (
        WANTED,
        ["3 lines left out: 2 (no JSON), 3 (no object), 5 (a column is missing)"],
    )


def test_texts_with_labels(tmp_path):
    path = written(tmp_path, "x.csv", "label,text\ngood,well done\nbad,oh no\n")
    assert read_labelled(path)[0] == [("well done", "good"), ("oh no", "bad")]


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("x.tsv", "one\ttwo\na\tb\n", ("de", None), "x.tsv has no column de; fits: one, two"),
        ("x.jsonl", '{"en": "a", "zh": "b"}\n', (), "x.jsonl has no column source; fits: en, zh"),
        ("x.csv", "", (), "x.csv is empty; fits: one pair a line"),
        (
            "x.tsv",
            "a\n",
            (),
            "x.tsv has no column of targets; got column 1 (1 different texts in 1 rows); "
            "columns by delimiter: comma 1, tab 1, semicolon 1, pipe 1; fits: a column of texts; "
            "fix: data.target=COLUMN, by its name or its number from 1; data.header=true|false",
        ),
        (
            "x.txt",
            "a\tb\n",
            (),
            "x.txt is no table of texts; got .txt; fits: .csv .tsv .tab .jsonl .ndjson .parquet",
        ),
        ("x.tsv", "a\0\tb\n", (), "x.tsv is not a text: a NUL byte; got line 1"),
        (
            "x.tsv",
            b"ok\tgut\ncaf\xe9\tb\n",
            (),
            "x.tsv is not in UTF-8; got byte 0xe9 in line 2; "
            "fix: save it as UTF-8, e.g. iconv -f WINDOWS-1252 -t UTF-8 x.tsv > new.tsv",
        ),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, content, columns, message):
    with pytest.raises(ArgumentError) as error:
        read_pairs(written(tmp_path, name, content), *columns)
    assert str(error.value).replace(f"{tmp_path}/", "") == message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(
        ArgumentError, match=r"cannot be read: No such file or directory; fix: data\.path=FILE$"
    ):
        read_pairs(tmp_path / "x.tsv")


# Data ---------------------------------------------------------------------------------------------


def days(pairs):
    return {day for _, target in pairs for day in re.findall(r"\d+年\d+月\d+日", target)}


def test_no_date_of_the_test_is_in_training():
    parts = phrases("en", "zh", train=4000, val=500, test=500, seed=0)
    assert [len(parts[name]) for name in ("train", "val", "test")] == [4000, 500, 500]
    assert len(days(parts["test"])) > 200
    assert not days(parts["test"]) & (days(parts["train"]) | days(parts["val"]))
    sources = [source for pairs in parts.values() for source, _ in pairs]
    assert len(set(sources)) == len(sources)


def test_phrases_depend_on_their_seed_alone():
    options = {"train": 50, "val": 5, "test": 5}
    assert phrases("de", "ja", seed=1, **options) == phrases("de", "ja", seed=1, **options)
    assert phrases("de", "ja", seed=1, **options) != phrases("de", "ja", seed=2, **options)


def test_an_unknown_locale_is_told():
    with pytest.raises(ArgumentError, match=r"^no locale 'zz'; got target=zz; fits: "):
        phrases("en", "zz", train=1, val=1, test=1, seed=0)


def test_targets_are_shifted_by_one_and_padding_is_masked():
    data = Phrases(train=40, val=10, test=10, batch_size=8)
    data.read()
    for batch in data.test_dataloader():
        real = batch["target_mask"]
        assert (batch["target"][:, 0] == START).all()
        assert torch.equal(real, batch["target"] != PAD)
        assert torch.equal(batch["label"] != IGNORED, real)
        assert torch.equal(batch["label"][:, :-1][real[:, 1:]], batch["target"][:, 1:][real[:, 1:]])
        assert ((batch["label"] == END).sum(1) == 1).all()
        assert real.any(0).all()  # no column is padding throughout
        assert batch["source_mask"].any(0).all()


def test_one_source_text_stays_in_one_part(tmp_path):
    path = written(tmp_path, "x.tsv", "".join(f"text {k % 20}\tT{k}\n" for k in range(60)))
    data = Pairs(path=str(path), val=0.2, test=0.2, tokenizer="characters")
    parts = data.pairs()
    sources = {part: {source for source, _ in pairs} for part, pairs in parts.items()}
    assert sum(map(len, sources.values())) == 20
    assert sum(map(len, parts.values())) == 60


class Numbers(RunningText):
    def documents(self):
        return [f"{number:02d}0123456789" * 4 for number in range(30)]


def test_every_token_of_a_text_is_foreseen_once_and_documents_stay_whole():
    data = Numbers(length=16)
    data.read()
    lines = []
    for windows in data.windows.values():
        part = windows.take(torch.arange(len(windows)))
        asked = part["label"][part["label"] != IGNORED].tolist()
        lines += data.shown(asked).split("\n")
        asked = part["label"] != IGNORED
        assert torch.equal(
            part["label"][:, :-1][asked[:, :-1]], part["tokens"][:, 1:][asked[:, :-1]]
        )
    assert sorted(lines) == Numbers().documents()


def test_a_text_shorter_than_a_window_is_told():
    with pytest.raises(
        ArgumentError,
        match=r"^the text is shorter than a window; got .*; fix: a smaller data\.length$",
    ):
        Numbers(length=1000).read()
