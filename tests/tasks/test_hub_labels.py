"""Several labels in a data set of the Hugging Face Hub: lists, columns of 0 and 1, separators."""

import io
import socket

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.data.hub.images import HubImages
from tasks.data.hub.texts import HubTexts
from tasks.data.images.image_folder import Images
from tasks.errors import ArgumentError

datasets = pytest.importorskip("datasets")

COUNT = 37
NAMES = ("ape", "bee", "cow")
SMALL = {"size": 5, "workers": 0, "batch_size": 7}


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Caches of its own, and a network that nothing may reach."""

    def refuse(*_, **__):
        raise AssertionError("the network is used")

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def held_by(number):
    return [name for bit, name in enumerate(NAMES) if number >> bit & 1]


def encode(number):
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (5, 5, 3), np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def make_columns():
    """The same labels in four forms, beside images and texts."""
    held = list(map(held_by, range(COUNT)))
    columns = {
        "image": [{"bytes": encode(number), "path": None} for number in range(COUNT)],
        "text": [f"text {number}" for number in range(COUNT)],
        "numbers": [[NAMES.index(name) for name in names] for names in held],
        "words": held,
        "cell": ["; ".join(names) for names in held],
    }
    for name in NAMES:
        columns[name] = [int(name in names) for names in held]
    return columns


def write(file, group=None, **changed):
    names = datasets.ClassLabel(names=list(NAMES))
    features = {
        "image": datasets.Image(),
        "text": datasets.Value("string"),
        "numbers": datasets.List(names),
        "words": datasets.List(datasets.Value("string")),
        "cell": datasets.Value("string"),
        **{name: datasets.Value("int64") for name in NAMES},
    }
    columns = make_columns() | changed
    rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    rows.to_parquet(file, batch_size=group)
    return str(file)


FORMS = {
    "numbers": {"columns": {"label": "numbers"}},
    "words": {"columns": {"label": "words"}},
    "cell": {"columns": {"label": "cell"}, "separator": ";"},
    "flags": {"columns": {"label": list(NAMES)}},
}


def read(module, form, path, **options):
    chosen = dict(FORMS[form])
    kind = "text" if module is HubTexts else "image"
    chosen["columns"] = {kind: kind, **chosen["columns"]}
    data = module(path=path, **chosen, **options)
    data.read()
    return data


def make_table(folder):
    """The same images and labels as files and a table."""
    lines = ["path,ape,bee,cow"]
    for number in range(COUNT):
        (folder / f"{number}.png").write_bytes(encode(number))
        flags = ",".join(str(int(name in held_by(number))) for name in NAMES)
        lines.append(f"{number}.png,{flags}")
    (folder / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder / "t.csv")


@pytest.mark.parametrize("form", FORMS)
def test_labels_are_those_of_a_table_of_images_to_the_bit(tmp_path, form):
    mine = read(HubImages, form, write(tmp_path / "a.parquet"), **SMALL)
    theirs = Images(table=make_table(tmp_path), label=list(NAMES), **SMALL)
    theirs.read()
    assert (mine.classes, mine.sizes(), mine.facts()) == (
        theirs.classes,
        theirs.sizes(),
        theirs.facts(),
    )
    for part in ("train", "val", "test"):
        for ours, other in zip(mine.loader(part), theirs.loader(part), strict=True):
            assert ours.keys() == other.keys()
            for name in ours:
                assert torch.equal(ours[name], other[name]), name
    shown = {"flags": "labels: the columns ape, bee, cow"}
    wanted = shown.get(form, f"labels: the column {form}")
    assert f"images: the column image, {wanted}" in mine.notes


@pytest.mark.parametrize("form", FORMS)
def test_a_stream_has_the_labels_of_the_whole_to_the_bit(tmp_path, form):
    words = make_columns()["words"]
    words[3] = None
    for part in ("train", "val", "test"):
        write(tmp_path / f"{part}.parquet", group=5, words=words)
    whole = read(HubImages, form, str(tmp_path), check=False, **SMALL)
    stream = read(HubImages, form, str(tmp_path), streaming=True, buffer=6, **SMALL)
    assert (whole.classes, whole.sizes(), whole.facts()) == (
        stream.classes,
        stream.sizes(),
        stream.facts(),
    )
    assert set(whole.notes) <= set(stream.notes)
    assert torch.equal(whole.training_labels(), stream.training_labels())
    for part in ("train", "val", "test"):
        for ours, other in zip(stream.plain_loader(part), whole.plain_loader(part), strict=True):
            for name in ours:
                assert torch.equal(ours[name], other[name]), name
    cut = read(HubImages, form, str(tmp_path / "train.parquet"), streaming=True, **SMALL)
    seen = {}
    for part in ("train", "val", "test"):
        rows = cut.parts[part]
        for index in range(len(rows)):
            flags = dict(zip(NAMES, cut._labels(rows)[index].tolist(), strict=True))
            seen[rows.name(index)] = [name for name, flag in flags.items() if flag]
    numbers = [number for number in range(COUNT) if form != "words" or number != 3]
    assert seen == {f"train:{number}": held_by(number) for number in numbers}


@pytest.mark.parametrize("form", FORMS)
def test_texts_have_the_labels_of_their_rows(tmp_path, form):
    data = read(HubTexts, form, write(tmp_path / "a.parquet"))
    assert data.classes == list(NAMES)
    assert data.facts()["label"] == {"classes": 3, "dtype": "int"}
    for part in ("train", "val", "test"):
        for text, label in zip(data.names(part), data.parts[part]["label"].tolist(), strict=True):
            names = [name for name, flag in zip(NAMES, label, strict=True) if flag]
            assert names == held_by(int(text.removeprefix("text ")))


def test_rows_without_labels_are_counted_and_empty_lists_kept(tmp_path):
    words = make_columns()["words"]
    words[3] = None
    data = read(HubImages, "words", write(tmp_path / "a.parquet", words=words), **SMALL)
    assert sum(data.sizes().values()) == COUNT - 1
    assert "1 of 37 rows of the part train have no label and are left out" in data.notes


def test_a_label_that_training_lacks_is_refused_in_another_part(tmp_path):
    write(tmp_path / "train.parquet")
    write(tmp_path / "test.parquet", words=[["ape", "dog"]] * COUNT)
    for module, options in ((HubImages, SMALL), (HubTexts, {})):
        with pytest.raises(ArgumentError) as caught:
            read(module, "words", str(tmp_path), **options)
        where = f"the test part of {tmp_path}" if module is HubImages else "the part test"
        assert str(caught.value) == (
            f"{where} has a class that training lacks; got dog; training has ape, bee, cow"
        )


@pytest.mark.parametrize("streaming", [False, True])
def test_what_does_not_fit_several_labels_is_refused(tmp_path, streaming):
    numbers, words = make_columns()["numbers"], make_columns()["words"]
    numbers[7], words[8] = [0, -1], ["ape", ""]
    changed = {"bee": [0] * (COUNT - 1) + [2], "numbers": numbers, "words": words}
    path = write(tmp_path / "a.parquet", group=5, **changed)
    for form, options, message in (
        (
            "flags",
            {},
            "row 36: a column of labels has another value; got bee is neither 0 nor 1: "
            "'2'; fits: 0 and 1",
        ),
        (
            "words",
            {"separator": ";"},
            "a separator divides the labels of one column of texts; got "
            "words (lists of string); fits: separator=null",
        ),
        (
            "numbers",
            {},
            "row 7: a column of labels has another value; got -1 is no number from 0 to 2; "
            "fits: lists of texts or of numbers of classes",
        ),
        (
            "words",
            {},
            "row 8: a column of labels has another value; got '' is neither a text nor a whole "
            "number; fits: lists of texts or of numbers of classes",
        ),
    ):
        with pytest.raises(ArgumentError) as caught:
            read(HubImages, form, path, streaming=streaming, **options, **SMALL)
        assert str(caught.value) == message


def test_lists_of_flags_are_refused(tmp_path):
    flags = [[str(int(name in held_by(number))) for name in NAMES] for number in range(COUNT)]
    path = write(tmp_path / "a.parquet", group=5, words=flags)
    for module, options in ((HubImages, SMALL), (HubImages, {"streaming": True}), (HubTexts, {})):
        with pytest.raises(ArgumentError) as caught:
            read(module, "words", path, **options)
        assert str(caught.value) == (
            "the lists of labels in the part train look like flags; got lists of 3 numbers, each "
            "of them 0 or 1; fits: the numbers or the names of the labels: [1, 2] instead of "
            "[0, 1, 1]"
        )
