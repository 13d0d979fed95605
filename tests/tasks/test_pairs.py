"""Odd files of texts, each as it was once found on somebody's disk."""

import pytest

from tasks.errors import ArgumentError
from tests.tasks.read_tables import read_labelled, read_pairs


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "columns", "pairs"),
    [
        (
            "x.tsv",
            '"Oh, he said\tOh\nb\tc\n5" disk\t5 Zoll\n',
            (),
            [('"Oh, he said', "Oh"), ("b", "c"), ('5" disk', "5 Zoll")],
        ),
        ("x.tsv", '"hi" she said\tx\n', (), [('"hi" she said', "x")]),
        ("x.tsv", '"a\tb"\t"c ""d"""\r\n', (), [("a\tb", 'c "d"')]),
        ("x.tsv", "a\tb\rc\td\r", (), [("a", "b"), ("c", "d")]),
        ("x.tsv", "   \na\tb\n \t \n", (), [("a", "b")]),
        ("x.tsv", b"\xfe\xff" + "a\tb\n".encode("utf-16-be"), (), [("a", "b")]),
        ("x.csv", "\ufeffid, en, zh\r\n1,a,b\r\n", ("en", "zh"), [("a", "b")]),
        ("x.csv", '"' + "x" * 10_000_000 + '",b\n', (), [("x" * 10_000_000, "b")]),
        ("x.jsonl", '{"source": "a\u2028b", "target": 1.5}\n', (), [("a\u2028b", "1.5")]),
        ("x.jsonl", '{"id": 1}\n{"id": 2, "source": "a", "target": "b"}\n', (), [("a", "b")]),
    ],
    ids=range(10),
)
def test_odd_files(tmp_path, name, content, columns, pairs):
    assert read_pairs(written(tmp_path, name, content), *columns)[0] == pairs


def test_values_that_are_no_text_are_left_out_and_told(tmp_path):
    good = '{"source": "a", "target": "b"}\n'
    content = (
        good + '{"source": "a", "target": null}\n{"source": ["a"], "target": "b"}\n{"source": '
        '"\\ud83d", "target": "b"}\n'
    )
    assert read_pairs(written(tmp_path, "x.jsonl", content)) == (
        [("a", "b")],
        ["3 lines left out: 2 (an empty text), 3 (an empty text), 4 (half a character)"],
    )


def test_labels_that_are_numbers(tmp_path):
    content = '{"text": "a", "label": 0}\n{"text": "b", "label": true}\n'
    assert read_labelled(written(tmp_path, "x.jsonl", content)) == ([("a", "0"), ("b", "true")], [])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.csv",
            'a,b\n"c,d\ne,f\n',
            "x.csv: a quote is never closed; got the row that begins in line 2; "
            'fix: close the quote, or double the ones that are meant: ""',
        ),
        (
            "x.jsonl",
            '{"source": "a", "target": "b"}\n\0\n',
            "x.jsonl is not a text: a NUL byte; got line 2",
        ),
        (
            "x.tsv",
            "a\tb\nc\td\n".encode("utf-16-le").join([b"\xff\xfe", b"x"]),
            "x.tsv is not in UTF-16; got byte 0x78 in line 3; "
            "fix: save it as UTF-8, e.g. iconv -f WINDOWS-1252 -t UTF-8 x.tsv > new.tsv",
        ),
        ("x.jsonl", '{"en": "a"}\n{"zh": "b"}\n', "x.jsonl has no column source; fits: en, zh"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, content, message):
    with pytest.raises(ArgumentError) as error:
        read_pairs(written(tmp_path, name, content))
    assert str(error.value).replace(f"{tmp_path}/", "") == message
