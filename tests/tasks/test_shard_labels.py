"""Several labels in .tar files: lists, fields of 0 and 1, separators, and what is refused."""

import json

import pytest
import torch

from tasks.data.images.image_folder import Images
from tasks.data.shards import index
from tasks.data.shards.images import Shards
from tasks.errors import ArgumentError
from tasks.resume.state import data_fingerprint
from tests.tasks.image_sets import draw_images, write_shard

SMALL = {"size": 5, "workers": 0, "batch_size": 7}
COUNT = 37
NAMES = ("ape", "bee", "cow")
FORMS = {
    "names": {"fields": {"label": "json.names"}},
    "numbers": {"fields": {"label": "json.numbers"}, "classes": list(NAMES)},
    "flags": {"fields": {"label": [f"json.{name}" for name in NAMES]}},
    "text": {"fields": {"label": "json.text"}, "separator": ";"},
    "cls": {"separator": ";"},
}


def held_by(number):
    return [name for bit, name in enumerate(NAMES) if number >> bit & 1]


def make_samples(**changed):
    """The same labels in five forms; `changed` has records by the number of their sample."""
    samples = []
    for number, (content, _) in enumerate(draw_images(COUNT)):
        held = held_by(number)
        record = {
            "names": held,
            "numbers": [NAMES.index(name) for name in held],
            "text": "; ".join(held),
            **{name: name in held for name in NAMES},
        }
        record |= changed.get(f"n{number}", {})
        cls = ";".join(held).encode()
        samples.append({"png": content, "json": json.dumps(record).encode(), "cls": cls})
    return samples


def read(path, form, **options):
    data = Shards(str(path), **{**SMALL, **FORMS[form], **options})
    data.read()
    return data


def refused(path, form, **options):
    with pytest.raises(ArgumentError) as error:
        read(path, form, **options)
    return str(error.value)


@pytest.mark.parametrize("form", FORMS)
def test_labels_are_those_of_a_table_of_images_to_the_bit(tmp_path, form, monkeypatch):
    samples = make_samples()
    write_shard(tmp_path / "train.tar", samples)
    lines = ["path,ape,bee,cow"]
    for number, sample in enumerate(samples):
        (tmp_path / f"{number:04}.png").write_bytes(sample["png"])
        flags = ",".join(str(int(name in held_by(number))) for name in NAMES)
        lines.append(f"{number:04}.png,{flags}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    mine = read(tmp_path / "train.tar", form)
    theirs = Images(table=str(tmp_path / "t.csv"), label=list(NAMES), **SMALL)
    theirs.read()
    assert (mine.classes, mine.sizes(), mine.facts()) == (
        theirs.classes,
        theirs.sizes(),
        theirs.facts(),
    )
    assert mine.notes == ["37 images; shards: 1", "5 of 37 images have no label"]
    assert mine.notes[1] in theirs.notes
    for part in ("train", "val", "test"):
        for ours, other in zip(mine.loader(part), theirs.loader(part), strict=True):
            for name in ours:
                assert torch.equal(ours[name], other[name]), name
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "LEAST", 30)
    monkeypatch.setattr(index, "SETTLED", -1)
    prints = {data_fingerprint(read(tmp_path / "train.tar", form)) for _ in range(2)}
    assert prints == {data_fingerprint(mine)}
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 1  # the second time was by the index


def test_what_is_no_label_is_refused_by_its_sample_and_null_is_counted(tmp_path):
    bad = {"n5": {"names": None, "ape": None}, "n6": {"names": ["ape", None], "numbers": [0, 9]}}
    bad["n7"] = {"text": 1.5, "bee": 2}
    path = tmp_path / "train.tar"
    write_shard(path, make_samples(**bad))
    fits = "; fits: texts, whole numbers, or lists of them; 0 and 1 in several fields"
    for form, message in (
        ("names", f"{path}, 0006: 'None' is neither a text nor a whole number{fits}"),
        ("flags", f"{path}, 0007: bee is neither 0 nor 1: '2'{fits}"),
        ("text", f"{path}, 0007: json.text is 1.5{fits}"),
        (
            "numbers",
            f"the train part of {path} has a class that training lacks; got 9; "
            "training has ape, bee, cow",
        ),
    ):
        assert refused(path, form) == message
    write_shard(path, make_samples(n5=bad["n5"]))
    for form in ("names", "flags"):
        data = read(path, form)
        assert sum(data.sizes().values()) == COUNT - 1
        assert "samples without a class: 1 (train.tar/0005)" in data.notes


def test_lists_beside_texts_and_lists_of_flags_are_refused(tmp_path):
    path = tmp_path / "train.tar"
    write_shard(path, make_samples(n9={"names": "ape"}))
    assert refused(path, "names") == (
        "train.tar/0009.png has a class; got a list of labels in train.tar/0000.png; "
        "fits: lists in all samples, or in none"
    )
    flags = {}
    for number in range(COUNT):
        flags[f"n{number}"] = {"names": [int(name in held_by(number)) for name in NAMES]}
    write_shard(path, make_samples(**flags))
    assert refused(path, "names").startswith(
        "the lists of labels in the part train look like flags; got lists of 3 numbers"
    )


def test_options_that_do_not_fit_several_labels_are_refused(tmp_path):
    path = tmp_path / "train.tar"
    write_shard(path, make_samples())
    assert refused(path, "flags", separator=";") == (
        "a separator divides the labels of one field; "
        "got fields.label=json.ape, json.bee, json.cow; fits: separator=null"
    )
    assert refused(path, "flags", classes=["a", "b", "c"]).endswith("fix: data.classes=null")
    assert refused(path, "names", separator=";").startswith(
        f"{path}, 0000: a separator divides texts, not lists; separator=null"
    )
    assert refused(path, "flags", fields={"label": ["json.ape", "json.ape"]}).startswith(
        "two fields are one label"
    )
