"""Texts with labels: every class in every part, a text in one part, odd files read or told."""

from collections import Counter

import pytest
import torch

from tasks.data.readers.text import TextReader
from tasks.data.text.labelled import Labelled, sort_classes
from tasks.data.text.naive_bayes import naive_bayes
from tasks.data.text.names import Names
from tasks.data.text.tokenizer import PAD, Tokenizer
from tasks.errors import ArgumentError
from tests.tasks.read_tables import read_labelled


def table(place, rows, head="text,label"):
    path = place / "x.csv"
    path.write_text(
        "\n".join([head, *(f'"{text}",{label}' for text, label in rows)]) + "\n", encoding="utf-8"
    )
    return str(path)


def read(path, **options):
    data = Labelled(path=path, **options)
    data.read()
    return data


def many(count, labels):
    return [(f"text {number} {label}", label) for label in labels for number in range(count)]


def test_each_class_is_divided_alike_and_a_text_stays_in_one_part(tmp_path):
    rows = many(40, ["a", "b"]) + many(20, ["c"])
    data = read(table(tmp_path, rows + rows[::2]), val=0.2, test=0.1, tokenizer="words")
    texts = {part: {text for text, _ in found} for part, found in data.rows.items()}
    assert (
        len(texts["train"] | texts["val"] | texts["test"]) == sum(map(len, texts.values())) == 100
    )
    assert sum(map(len, data.rows.values())) == 150
    for part, share in {"train": 0.7, "val": 0.2, "test": 0.1}.items():
        counts = Counter(text[-1] for text in texts[part])
        assert counts == {"a": 40 * share, "b": 40 * share, "c": 20 * share}
    assert data.notes[1] == "50 rows repeat a text; each text stays in one part"
    assert data.notes[2].startswith(
        "of the test, always the commonest class (a) names 40.00%, naive Bayes "
    )


def test_a_batch_is_what_the_file_says(tmp_path):
    rows = [
        (f"{'ab' * (1 + number % 5)}{number}", "no" if number % 3 else "yes")
        for number in range(60)
    ]
    data = read(table(tmp_path, rows), tokenizer="characters", length=8, batch_size=7)
    assert data.facts()["classes"] == len(data.classes) == 2
    assert data.facts()["tokens"]["tokens"] == 8
    assert any("longer than 8 tokens, and cut" in note for note in data.notes)
    label, seen = dict(rows), []
    for batch in data.test_dataloader():
        assert torch.equal(batch["padding_mask"], batch["tokens"] != PAD)
        assert batch["padding_mask"].any(0).all()  # no column is padding throughout
        for index, number, row in zip(batch["index"], batch["label"], batch["tokens"], strict=True):
            text = data.names("test")[int(index)]
            assert (
                data.tokenizer.decode([token for token in row.tolist() if token != PAD]) == text[:8]
            )
            assert data.classes[int(number)] == label[text]
            seen.append(text)
    assert seen == data.names("test")


def test_classes_are_in_the_order_people_expect():
    assert sort_classes({"10", "9", "-1"}) == ["-1", "9", "10"]
    assert sort_classes({"10", "9", "x"}) == ["10", "9", "x"]


def test_rare_classes_and_contradictions_are_told(tmp_path):
    rows = [*many(20, ["a", "b"]), ("alone", "c"), ("two", "d"), ("three", "d"), ("text 0 a", "b")]
    data = read(table(tmp_path, rows))
    assert data.notes[1:4] == [
        "1 rows repeat a text; each text stays in one part",
        "1 texts have several labels",
        "classes with too few texts to be in every part: c (1), d (2)",
    ]
    assert "alone" in data.names("train")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            "text,label\na,x\nb,x\n",
            {},
            "there is one class only; got 2 texts of the class x; fits: two classes or more",
        ),
        (
            "id,body\n1,one\n2,two\n3,three\n",
            {},
            "x.csv has no column of labels; got id (3 different numbers in 3 rows), body (3 ",
        ),
        ("id,body\n1,one\n", {"text": "words"}, "x.csv has no column words; fits: id, body"),
        (
            "text,label\na,\nb\n",
            {},
            "x.csv has no rows with texts; got 2 lines left out: 2 (an ",
        ),
        (
            "text\na\nb\n",
            {},
            "x.csv has no column of labels; got text (2 different ",
        ),
        ('{"text": "a"}\n{"text": "b"}\n', {}, "x.jsonl has no column label; fits: text"),
    ],
)
def test_files_that_do_not_do_are_told(tmp_path, content, options, message):
    path = tmp_path / ("x.jsonl" if content.startswith("{") else "x.csv")
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ArgumentError) as error:
        read(str(path), **options)
    assert str(error.value).replace(f"{tmp_path}/", "").startswith(message)


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("x.csv", "\ufefftext,label\r\n\r\na,x\r\n\r\nb,y\r\n", [("a", "x"), ("b", "y")]),
        ("x.tsv", 'label\ttext\nx\t"a\tb"\ny\t"c\nd"\n', [("a\tb", "x"), ("c\nd", "y")]),
        (
            "x.csv",
            'text,label\n"👩‍👩‍👧, 🙂",مرحبا\nשלום,中\n',
            [("👩‍👩‍👧, 🙂", "مرحبا"), ("שלום", "中")],
        ),
        ("x.tsv", "label\ttext\n1\tx\n".encode("utf-16"), [("x", "1")]),
        (
            "x.jsonl",
            '{"label": 1, "review": "a\\nb"}\n{"label": 0, "review": "c"}\n',
            [("a\nb", "1"), ("c", "0")],
        ),
        ("x.csv", "text;label\na, b;x\n", [("a, b", "x")]),
        ("x.csv", "text,label\n" + "x" * 10_000_000 + ",y\n", [("x" * 10_000_000, "y")]),
    ],
    ids=range(7),
)
def test_files_as_people_have_them(tmp_path, name, content, rows):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read_labelled(path) == (rows, [])


def test_naive_bayes_is_as_good_as_its_pieces():
    known = [("aba", "a"), ("bab", "a"), ("cdc", "c"), ("dcd", "c")]
    assert naive_bayes(known, [("ab", "a"), ("dc", "c"), ("ba", "c")], 0) == pytest.approx(2 / 3)
    long = [("ab" * 900_000, "a"), ("cd" * 900_000, "c")] * 40  # 144 MB: its beginnings do
    assert naive_bayes(long, [("ab", "a")], 0) == 1


# Names of the CLDR --------------------------------------------------------------------------------


def test_names_have_one_language_each():
    data = Names(languages=["de", "nl", "pt"], names=200, tokenizer="characters")
    data.read()
    assert data.classes == ["de", "nl", "pt"]
    rows = [row for found in data.rows.values() for row in found]
    assert Counter(code for _, code in rows) == {"de": 200, "nl": 200, "pt": 200}
    assert len({text for text, _ in rows}) == 600
    assert data.labelled() == Names(languages=["de", "nl", "pt"], names=200).labelled()
    every = dict(Names(languages=["de", "pt"], names=9999).labelled())
    assert every["Vereinigte Staaten"] == "de"
    assert every["domingo"] == "pt"
    assert "Angola" not in every


def test_languages_that_cannot_be_are_told():
    with pytest.raises(ArgumentError, match=r"^no locale 'klingon'; got languages=klingon; fits: "):
        Names(languages=["de", "klingon"]).read()
    with pytest.raises(
        ArgumentError, match=r"^there must be two languages or more; got languages=\['de'\]; fits: "
    ):
        Names(languages=["de"])


# The reader ---------------------------------------------------------------------------------------

CHARACTERS = Tokenizer.train(["abc xyz"], "characters")


def items(given, column=None):
    reader = TextReader(CHARACTERS, length=5, column=column)
    return [
        (item.name, item.error or CHARACTERS.decode(item.sample))
        for item in reader.items(str(given))
    ]


def test_arguments_are_texts_unless_they_name_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert items("abc xyz") == [("abc xyz", "abc x")]
    assert items(" ") == [(" ", "an empty text")]
    assert items("a" * 5000) == [("a" * 5000, "aaaaa")]
    assert items("~nobody/ab") == [("~nobody/ab", "b")]
    assert items("gone.csv") == [("gone.csv", "")]
    assert [item.note for item in TextReader(CHARACTERS, length=5).items("a/b")] == [
        "no such file or folder, so it is judged as a text"
    ]
    assert [item.note for item in TextReader(CHARACTERS, length=5).items("a and/or b")] == [None]
    assert items("/a") == [("/a", "a")]
    assert items("see a.csv") == [("see a.csv", " a")]
    (tmp_path / "abc").mkdir()
    (tmp_path / "abc" / "x.txt").write_text("ab\n\nba\n", encoding="utf-8")
    assert items("") == [("", "an empty text")]  # not the folder where we stand
    assert items("abc") == [("abc", "abc")]
    assert items("abc/") == [("ab", "ab"), ("", "an empty text"), ("ba", "ba")]
    (tmp_path / "x.doc").write_text("a", encoding="utf-8")
    assert items("x.doc") == [
        ("x.doc", "no file of texts: .doc; fits: .csv .tsv .tab .jsonl .ndjson .parquet .txt .text")
    ]


def test_every_row_of_a_table_keeps_its_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.tsv").write_text("label\ttext\nx\tab\ny\n\nz\t \nx\tba\n", encoding="utf-8")
    assert items("x.tsv") == [
        ("ab", "ab"),
        ("x.tsv:3", "a column is missing"),
        ("x.tsv:5", "an empty text"),
        ("ba", "ba"),
    ]
    (tmp_path / "y.jsonl").write_text(
        '{"text": "ab"}\n{"text": \n{"text": 1}\n[]\n{"x": "a"}\n', encoding="utf-8"
    )
    assert items("y.jsonl")[1:] == [
        ("y.jsonl:2", "no JSON"),
        ("1", ""),
        ("y.jsonl:4", "no object"),
        ("y.jsonl:5", "a column is missing"),
    ]
    assert next(name for name, _ in items(tmp_path)) == "ab"


@pytest.mark.parametrize(
    ("content", "column", "found"),
    [
        ("ab\nba\n", None, ["ab", "ba"]),
        ("ab\nba\n", "review", ["ab", "ba"]),
        ("id,Review\n1,ab\n", "Review", ["ab"]),
        ("id,review\n1,ab\n", "Review", ["ab"]),
        ("id,text\n1,ab\n", "body", ["ab"]),
        ("ab,x\nba,y\n", None, ["ab", "ba"]),
        ("id,words\n1,ab\n", "body", ["no column body: id, words"]),
        ("", None, ["an empty file"]),
    ],
)
def test_the_column_of_the_texts_is_found_or_told(tmp_path, content, column, found):
    (tmp_path / "x.csv").write_text(content, encoding="utf-8")
    assert [text for _, text in items(tmp_path / "x.csv", column)] == found


def test_classes_that_look_like_numbers_are_sorted_all_the_same():
    assert sort_classes({"--1", "2", "-1"}) == ["--1", "-1", "2"]
    assert sort_classes({"10", "-2", "9"}) == ["-2", "9", "10"]
    assert sort_classes({"9" * 5000, "10"}) == ["10", "9" * 5000]
    assert sort_classes({"-", "1"}) == ["-", "1"]
