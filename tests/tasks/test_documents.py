"""Text files of one's own: read in a fixed order, told by name where they cannot be, cut in parts
that hold all.
"""

import pytest
import torch

from tasks.data.sequences.base import IGNORED
from tasks.data.split import PARTS
from tasks.data.text.documents import Documents
from tasks.errors import ArgumentError


def folder(place, **contents):
    for name, content in contents.items():
        path = place / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Documents(path=str(place))


def every(data, part):
    """All windows of a part."""
    return data.cut(part, torch.arange(data.sizes()[part]))


def test_a_folder_is_read_with_all_below_it_in_order(tmp_path):
    data = folder(tmp_path, b_dot_md="two", a__z_dot_txt="one", c_dot_py="three = 3\n")
    assert data.documents() == ["one", "two", "three = 3\n"]
    assert data.notes == ["3 files, 16 characters"]


def test_what_is_left_out_of_a_folder_is_told_by_name(tmp_path):
    data = folder(
        tmp_path,
        a_dot_txt="fine",
        _dot_git__config="x",
        _dot_hidden="x",
        b_dot_png=b"\x89PNG\r\n\0\0",
        c_dot_txt="café".encode("latin-1"),
        d_dot_txt=b"",
        e_dot_txt=b"x" * 9000 + b"\0",
    )
    (tmp_path / "f.txt").symlink_to(tmp_path / "gone")
    assert data.documents() == ["fine"]
    assert data.notes == [
        "7 of the files are left out: .git (hidden), .hidden (hidden), b.png (is no text but "
        "binary), "
        "c.txt (is not in UTF-8), d.txt (is empty), and 2 more",
        "1 file, 4 characters",
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("\ufeffa\n", "a\n"),
        ("a שלום 🙂\n".encode("utf-16"), "a שלום 🙂\n"),
        (b"\xfe\xff" + "a\r\n中".encode("utf-16-be"), "a\n中"),
        ("word " * 2_000_000, "word " * 2_000_000),
    ],
    ids=range(5),
)
def test_texts_as_people_have_them(tmp_path, content, text):
    assert folder(tmp_path, a_dot_txt=content).documents() == [text]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"ok\ncaf\xe9\n",
            "x.txt is not in UTF-8; got byte 0xe9 in line 2; fix: save it as UTF-8, e.g. iconv ",
        ),
        (b"\0\1\2", "x.txt is no text but binary; fits: a file of text"),
        (b" \n\t\n", "x.txt is empty; fits: a file of text"),
        (None, "x.txt does not exist; got path=x.txt; fix: data.path=FILE_OR_FOLDER"),
    ],
)
def test_a_file_that_is_no_text_is_told(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(ArgumentError) as error:
        Documents(path="x.txt").documents()
    assert str(error.value).startswith(message)


def test_a_folder_without_texts_says_what_it_holds(tmp_path):
    with pytest.raises(
        ArgumentError,
        match=r"^no texts in .*; got a\.bin \(is no text but binary\); fits: files of",
    ):
        folder(tmp_path, a_dot_bin=b"\0").documents()
    (tmp_path / "a.bin").unlink()
    with pytest.raises(ArgumentError, match=r"^no texts in .*; got nothing; fits: files of text$"):
        Documents(path=str(tmp_path)).documents()


@pytest.mark.parametrize("sizes", [(9000,), (100, 9000, 120), (900,) * 10])
@pytest.mark.parametrize("mask", [0.0, 0.3])
def test_every_part_has_its_share_and_nothing_is_lost(tmp_path, sizes, mask):
    texts = [f"{number}" * size for number, size in enumerate(sizes)]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text, encoding="utf-8")
    data = Documents(
        path=str(tmp_path), tokenizer="characters", length=50, mask=mask, val=0.2, test=0.2
    )
    data.read()
    held = {part: int((every(data, part)["label"] != IGNORED).sum()) for part in PARTS}
    if not mask:
        assert sum(held.values()) in range(
            sum(sizes), sum(sizes) + len(sizes)
        )  # and line feeds between documents
    assert held["val"] > 0
    assert held["test"] > 0
    assert held["train"] > max(held["val"], held["test"])
    assert ("the documents are too few or too uneven" in " ".join(data.notes)) == (len(sizes) == 3)


def test_ten_megabytes_of_characters_keep_their_place(tmp_path):
    lines = "".join(f"{number:07d} ÀÉ\n" for number in range(800_000))
    data = folder(tmp_path, a_dot_txt=lines)
    data.kind = "characters"
    data.read()
    assert len(lines.encode()) > 10_000_000
    found = every(data, "train")
    tokens, label = found["tokens"], found["label"]
    assert torch.equal(tokens[1:, 0], label[:-1, -1])
    assert data.shown(label[0].tolist()) == lines[:128]
