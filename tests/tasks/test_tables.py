"""Tables as people have them: the delimiter, the header and the columns are found, or what was
tried is said.
"""

import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tasks.commands.predict_items import predict_items, read_items
from tasks.data.readers.text import TextReader
from tasks.data.tables.rows import read_rows
from tasks.data.tables.wanted import wanted_labelled, wanted_pair
from tasks.data.text.labelled import Labelled
from tasks.data.text.tokenizer import Tokenizer
from tasks.errors import ArgumentError
from tests.tasks.read_tables import read_labelled, read_pairs

FILMS = [
    (f'"Well, film {number} was ""fine"", <br /><br />and; long | of course."', "positive")
    if number % 2
    else (f'"I slept, twice,\nin film {number}; {"zz" * (number % 5)} and left."', "negative")
    for number in range(40)
]
TEXTS = [
    ('Well, film {0} was "fine", <br /><br />and; long | of course.', "positive"),
    ("I slept, twice,\nin film {0}; {1} and left.", "negative"),
]


def written(place, content, name="x.csv"):
    path = place / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def decided(path, *given, wanted=wanted_labelled, header="auto"):
    """The number of rows, and what was decided, as a note says it."""
    rows, notes, layout = read_rows(path, wanted(*given), header)
    return rows, notes, str(layout).split("; ", 1)[1]


def films(head, mark=","):
    return "\n".join([head, *(f"{text}{mark}{label}" for text, label in FILMS)]) + "\n"


@pytest.mark.parametrize(
    "head", ["review,sentiment", "comment,verdict", "Kommentar,Stimmung", "文本,标签"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_header_of_any_names_is_no_sample(tmp_path, head, encoding):
    path = written(tmp_path, films(head).replace("\n", "\r\n").encode(encoding))
    rows, notes, note = decided(path)
    assert (len(rows), notes) == (40, [])
    assert {label for _, label in rows} == {"positive", "negative"}
    assert rows[1] == ['Well, film 1 was "fine", <br /><br />and; long | of course.', "positive"]
    assert note.startswith("line 1 is a header (")
    assert note.endswith("text: {}, label: {}".format(*head.split(",")))


def test_the_films_of_everyone_just_train(tmp_path):
    data = Labelled(path=str(written(tmp_path, films("review,sentiment"))), tokenizer="words")
    data.read()
    assert data.classes == ["negative", "positive"]
    assert sum(data.sizes().values()) == 40
    assert data.reader_arguments()["column"] == "review"
    assert data.notes[0] == (
        "x.csv: comma-separated; line 1 is a header (it holds review and sentiment); "
        "text: review, label: sentiment; to overrule: data.header=false, "
        "data.delimiter=NAME, data.text=COLUMN, data.label=COLUMN"
    )


@pytest.mark.parametrize("mark", ["\t", ";", "|", ","])
@pytest.mark.parametrize("name", ["x.csv", "x.tsv"])
@pytest.mark.parametrize("head", [True, False])
def test_the_rows_and_not_the_suffix_say_the_delimiter(tmp_path, mark, name, head):
    texts = [f"good, really {n}" if n % 2 else f"bad, sadly {n}" for n in range(12)]
    cells = [f'"{text}"' if mark == "," else text for text in texts]
    lines = [f"{cell}{mark}{'no' if n % 3 else 'yes'}" for n, cell in enumerate(cells)]
    content = "\n".join([f"words{mark}answer"] * head + lines)
    found = read_labelled(written(tmp_path, content, name))
    assert found == ([(text, "no" if n % 3 else "yes") for n, text in enumerate(texts)], [])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        # the first row is a sample: its label comes again, or nothing tells it from the others
        ("good one,pos\nbad one,neg\nfine one,pos\nfoul one,neg\n", [("good one", "pos")]),
        ("ham\tgo there\nham\tok then\nspam\twin now\nspam\tfree prize\n", [("go there", "ham")]),
        (
            "great stuff,owl\nlovely words,finch\nmore of it,crow\nmore still,crow\n",
            [("great stuff", "owl")],
        ),
        # ids, measurements and long unique columns are no labels
        ("id,body,stars\n7,some words,1\n8,other words,2\n9,more words,1\n", [("some words", "1")]),
        (
            "".join(
                f"{n},{n / 7:.3f},text number {n},{'ab'[n % 2]},{n * n} also unique\n"
                for n in range(30)
            ),
            [("0 also unique", "a")],
        ),
        # pandas: a column of row numbers without a name; names that are numbers; R: one name fewer
        (",text,label\n0,a b,x\n1,c d,y\n", [("a b", "x")]),
        ("0,1\na b,x\nc d,y\ne f,x\n", [("a b", "x")]),
        ("words\tkind\n1\ta b\tx\n2\tc d\ty\n3\te f\tx\n", [("a b", "x")]),
        # a header in the middle, where two files were joined
        ("text,label\na b,x\ntext,label\nc d,y\n", [("a b", "x"), ("c d", "y")]),
        # cells of a spreadsheet that are empty
        ("text,label,,\na b,x,,\nc d,y,,\n", [("a b", "x"), ("c d", "y")]),
    ],
)
def test_samples_and_labels_are_found(tmp_path, content, found):
    assert read_labelled(written(tmp_path, content))[0][: len(found)] == found
    if content.startswith(("good", "great")):
        assert len(read_labelled(written(tmp_path, content))[0]) == content.count("\n")


def test_rows_with_more_cells_than_columns_are_left_out_and_told(tmp_path):
    rows, notes = read_labelled(written(tmp_path, "text,label\nwell, well,x\nno,y\nyes,x\n"))
    assert rows == [("no", "y"), ("yes", "x")]
    assert notes == ["1 line left out: 2 (3 columns, not 2)"]


def test_what_was_decided_is_overruled(tmp_path):
    path = written(tmp_path, "text,label\na b,x\nc d,x\n")
    assert [label for _, label in read_labelled(path, header=False)[0]] == ["label", "x", "x"]
    path = written(tmp_path, "a b,x,1\nc d,y,1\ne f,x,2\n")
    assert read_labelled(path, 1, "3")[0] == [("a b", "1"), ("c d", "1"), ("e f", "2")]
    assert read_labelled(path, header=True, text="a b", label="1")[0] == [
        ("c d", "1"),
        ("e f", "2"),
    ]
    with pytest.raises(ArgumentError, match=r"x\.csv has no column 4; fits: 1 to 3$"):
        read_labelled(path, 4)


def test_pairs_have_a_header_too(tmp_path):
    rows = [(f"This is sentence {n}.", f"Das ist Satz {n}.") for n in range(9)]
    body = "".join(f"{n}\t{source}\t{target}\n" for n, (source, target) in enumerate(rows))
    assert read_pairs(written(tmp_path, "nr\tenglish\tdeutsch\n" + body)) == (rows, [])
    assert read_pairs(written(tmp_path, body)) == (rows, [])
    plain = "".join(f"{source}|{target}\n" for source, target in rows)
    found = decided(written(tmp_path, "clean|noisy\n" + plain), wanted=wanted_pair)
    reason = "it holds single words, the rows below it texts"
    assert (len(found[0]), found[2]) == (
        9,
        f"line 1 is a header ({reason}); source: clean, target: noisy",
    )
    words = "it\tes\nhe\ter\nshe\tsie\nwe\twir\nyou\tdu\nI\tich\n"
    rows, _, note = decided(written(tmp_path, words), wanted=wanted_pair)
    assert rows[0] == ["it", "es"]
    assert (
        note == "line 1 is no header (it looks like the rows below it); source: column 1, target: "
        "column 2"
    )


def test_every_permutation_of_the_columns_gives_the_same_rows(tmp_path):
    chance = random.Random(0)
    rows = [
        {
            "nr": str(n),
            "score": f"{chance.random():.4f}",
            "opinion": f"It was, as I said, film {n}.",
            "mood": "ab"[n % 2],
        }
        for n in range(60)
    ]
    for _ in range(12):
        order = chance.sample(list(rows[0]), 4)
        mark = chance.choice("\t;|")
        body = [mark.join(row[name] for name in order) for row in rows]
        for head in ([], [mark.join(order)]):
            found = read_labelled(written(tmp_path, "\n".join([*head, *body])))
            assert found == ([(row["opinion"], row["mood"]) for row in rows], []), (
                order,
                mark,
                head,
            )


# Prediction ---------------------------------------------------------------------------------------

CHARACTERS = Tokenizer.train(["abc xyz,"], "characters")


@pytest.mark.parametrize(
    ("content", "options", "found"),
    [
        (
            "abc, xyz\nabc\nxyz, abc, z\n",
            {},
            ["abc, xyz", "abc", "xyz, abc, z"],
        ),  # no text is cut at its comma
        ("abc, xyz\n", {}, ["abc, xyz"]),
        ("1;abc, xyz\n2;xyz\n", {}, ["abc, xyz", "xyz"]),
        ("nr;abc\n1;abc, xyz\n2;xyz\n", {}, ["abc, xyz", "xyz"]),
        ("x\tabc\ny\txyz\n", {"column": 2}, ["abc", "xyz"]),
        ("abc\nxyz\n", {"column": 2}, ["abc", "xyz"]),
        ("a,x\nb,y\n", {"text": "2"}, ["x", "y"]),
        ("text\nabc\n", {"header": False}, ["text", "abc"]),
    ],
)
def test_the_reader_of_a_trained_network_finds_the_texts(tmp_path, content, options, found):
    reader = TextReader(CHARACTERS, length=99, column=options.pop("column", None))
    reader.choose(options.get("text"), options.get("header", "auto"))
    assert [item.name for item in reader.items(str(written(tmp_path, content)))] == found


# Every item has its row ---------------------------------------------------------------------------


class Fussy(torch.nn.Module):
    """Fails where a batch holds the token of `z`."""

    input_names = ("tokens",)

    def forward(self, tokens):
        if (tokens == CHARACTERS.encode("z")[0]).any():
            raise RuntimeError("z is too hard")
        return {"logits": torch.stack([tokens.float().mean(1), -tokens.float().mean(1)], 1)}


@pytest.mark.parametrize("size", [1, 2, 64])
def test_each_item_has_its_row(monkeypatch, tmp_path, size):
    monkeypatch.setattr(Path, "rglob", lambda *_: pytest.fail("walks the file system"))
    run = SimpleNamespace(
        reader=TextReader(CHARACTERS, length=9),
        network=Fussy(),
        classes=["p", "q"],
        facts={},
        thresholds=None,
    )
    given = [
        "",
        "and/or",
        "caf\u00e9.csv is good",
        "/",
        "//",
        "/..",
        "xz",
        " ",
        "a",
        "b.csv",
        "a\0b",
        "~",
        ".",
    ]
    found = list(predict_items(run, read_items(run, given), 1, size))
    assert [item.name for item, _ in found] == given
    bad = {item.name: item.error for item, _ in found if item.error}
    assert bad == {
        "": "an empty text",
        " ": "an empty text",
        "xz": "the network fails: z is too hard",
    }
    assert all(bool(answer) != bool(item.error) for item, answer in found)
    noted = [item.name for item, _ in found if item.note]
    assert noted == ["and/or", "/", "//", "/..", "b.csv"]


def test_a_reader_that_raises_costs_one_row(tmp_path):
    class Broken(TextReader):
        def items(self, given):
            if given == "gone":
                raise PermissionError(13, "Permission denied")
            yield from super().items(given)

    reader = Broken(CHARACTERS, length=9)
    run = SimpleNamespace(
        reader=reader, network=Fussy(), classes=["p", "q"], facts={}, thresholds=None
    )
    found = list(predict_items(run, read_items(run, ["a", "gone", "b"]), 1, 64))
    assert [item.error for item, _ in found] == [None, "[Errno 13] Permission denied", None]


def test_the_delimiter_can_be_overruled(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("one,two;three|a\nfour,five;six|b\n", encoding="utf-8")
    for name, mark in (("comma", ","), ("semicolon", ";"), ("pipe", "|")):
        rows, _, _ = read_rows(path, wanted_pair(1, 2), False, name)
        lines = path.read_text(encoding="utf-8").splitlines()
        assert rows == [line.split(mark) for line in lines]
    with pytest.raises(ArgumentError, match="no such delimiter"):
        read_rows(path, wanted_pair(1, 2), False, "colon")
