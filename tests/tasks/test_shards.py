"""Images in .tar files: parity with folders, and everything that may be wrong with a shard."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
import torch

from tasks.data.images.image_folder import Images
from tasks.data.shards import index
from tasks.data.shards.images import Shards
from tasks.data.shards.paths import expand_braces
from tasks.data.shards.scan import scan_shard
from tasks.errors import ArgumentError, SampleError
from tasks.resume.state import data_fingerprint
from tests.tasks.image_sets import CLASSES, draw_images, encode_image, write_shard, write_shards

SMALL = {"size": 5, "workers": 0, "batch_size": 7}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The same images in shards and in class folders."""
    folder = tmp_path_factory.mktemp("shards")
    write_shards(folder / "shards")
    for part, count, first in (("train", 91, 0), ("test", 23, 100)):
        for number, (content, label) in enumerate(draw_images(count, first)):
            file = folder / "folders" / part / label / f"{number:04}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return folder


def read(path, **options):
    data = Shards(path, **{**SMALL, **options})
    data.read()
    return data


def refused(path, **options):
    with pytest.raises(ArgumentError) as error:
        read(path, **options)
    return str(error.value)


def make_samples(count=12):
    pairs = draw_images(count)
    return [{"png": content, "cls": str(CLASSES.index(label)).encode()} for content, label in pairs]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("{a,b}-{0..1}.tar", ["a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar"]),
    ],
)
def test_braces_are_expanded_as_by_a_shell(text, found):
    assert list(expand_braces(text)) == found


@pytest.mark.parametrize("kind", ["folder", "braces", "pattern"])
def test_images_are_those_of_class_folders_to_the_bit(place, kind):
    folder = place / "shards"
    path = {
        "folder": str(folder),
        "braces": [str(folder / "train-{000..003}.tar"), str(folder / "test-00{0,1}.tar")],
        "pattern": [str(folder / "*.tar")],
    }[kind]
    mine = read(path)
    theirs = Images(str(place / "folders"), **SMALL)
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
    assert mine.names("test")[:2] == ["test-000.tar/0000.png", "test-000.tar/0001.png"]
    assert mine.notes == ["114 images; shards: 6"]
    assert torch.equal(mine.raw_sample("test", 9).image, theirs.raw_sample("test", 9).image)
    assert data_fingerprint(mine) == data_fingerprint(read(path))
    assert data_fingerprint(mine) != data_fingerprint(read(str(folder / "train-*.tar")))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_buffer_reads_shard_by_shard_without_duplicates(place, world, monkeypatch):
    data = read(str(place / "shards"), buffer=10)
    seen = []
    for rank in range(world):
        monkeypatch.setattr(data, "share", lambda rank=rank: (rank, world))
        loader = data.loader("train")
        indices = [index for batch in loader for index in batch["index"].tolist()]
        seen += indices
        shards = data.parts["train"].shards[indices]
        assert (shards[1:] != shards[:-1]).sum() < len(indices) / 2  # neighbours share a shard
        resumed = data.loader("train")
        resumed.load_state_dict({"epoch": 0, "batch": 2})
        assert [index for batch in resumed for index in batch["index"].tolist()] == indices[14:]
    assert len(seen) == len(set(seen))
    assert len(seen) > data.sizes()["train"] - 7 * world  # the last batch of each is dropped


def test_classes_are_numbers_names_or_values_of_a_record(tmp_path):
    samples = make_samples()
    for sample in samples:
        kind = CLASSES[int(sample["cls"])]
        sample["json"] = json.dumps({"meta": 1, "kind": kind.upper()}).encode()
    write_shard(tmp_path / "train.tar", samples)
    path = str(tmp_path / "train.tar")
    assert read(path).classes == ["0", "1", "2"]
    assert read(path, classes=CLASSES).classes == list(CLASSES)
    assert read(path, fields={"label": "json.kind"}).classes == ["BLUE", "GREEN", "RED"]
    assert refused(path, classes=CLASSES[:2]) == (
        f"the train part of {path} has a class that training lacks; got 2; training has blue, green"
    )
    assert refused(path, fields={"label": "json.size"}) == (
        f"no sample of {path} has an image and a class; got samples without a class: "
        "12 (train.tar/0000, train.tar/0001, train.tar/0002, train.tar/0003, train.tar/0004, and 7 "
        "more); fits: files such as 0001.jpg and 0001.cls, one after the other; "
        "fix: data.fields.image=jpg data.fields.label=cls, or json.KEY"
    )
    assert refused(path, fields={"picture": "png"}).startswith("fields has no picture")


def test_one_of_several_images_is_chosen(tmp_path):
    samples = make_samples()
    for number, sample in enumerate(samples):
        sample["seg.png"] = encode_image("red", 500 + number)
    write_shard(tmp_path / "train.tar", samples)
    first = read(str(tmp_path / "train.tar"))
    other = read(str(tmp_path / "train.tar"), fields={"image": "seg.png"})
    assert all(name.endswith(".seg.png") for name in other.names("train"))
    assert not any(name.endswith(".seg.png") for name in first.names("train"))


def test_what_a_sample_lacks_and_empty_shards_are_counted(tmp_path):
    samples = make_samples(24)
    del samples[1]["png"]
    del samples[2]["cls"]
    samples[3]["cls"] = b" \n"
    samples[4]["png"] = b""
    samples[5]["png"] = b"\x89PNG no more"
    write_shard(tmp_path / "train-0.tar", samples)
    write_shard(tmp_path / "train-1.tar", [])
    data = read(str(tmp_path / "train-{0..1}.tar"))
    assert sum(data.sizes().values()) == 19
    assert data.notes == [
        "21 images; shards: 2",
        "samples without an image: 1 (train-0.tar/0001)",
        "samples without a class: 2 (train-0.tar/0002, train-0.tar/0003)",
        "shards without samples: 1 (train-1.tar)",
        "2 of 21 images are broken and left out: train-0.tar/0004.png (cannot be read: an empty "
        "file); train-0.tar/0005.png (cannot be read: cannot identify image file 0005.png)",
    ]
    unchecked = read(str(tmp_path / "train-0.tar"), check=False, val=0, test=0)
    with pytest.raises(SampleError, match=r"data\.check=true leaves out broken files"):
        list(unchecked.loader("train"))


def test_missing_shards_and_other_files_are_refused(place, tmp_path):
    folder = place / "shards"
    assert refused(str(folder / "train-{002..006}.tar")) == (
        f"3 of 5 shards are missing; got {folder}/train-004.tar, {folder}/train-005.tar, "
        f"{folder}/train-006.tar; fits: all shards that data.path names; "
        "fix: fetch them, or leave them out of data.path"
    )
    (tmp_path / "a.tar.gz").write_bytes(b"")
    assert refused(str(tmp_path / "a.tar.gz")) == (
        f"{tmp_path}/a.tar.gz is no .tar file, whose images can be read in any order; got .gz; "
        "fits: .tar; fix: gunzip a.tar.gz: images are compressed already"
    )
    assert refused(str(tmp_path)) == f"{tmp_path} has no .tar files; fits: shards: FOLDER/*.tar"
    assert refused(str(folder / "test-*.tar")).startswith("no split is named train; got test")
    write_shard(tmp_path / "train.tar", [])
    assert refused(str(tmp_path / "train.tar")).startswith(
        f"no sample of {tmp_path}/train.tar has an image and a class; "
        "got shards without samples: 1 (train.tar)"
    )
    assert refused(str(folder), buffer=5, sampling="balanced").endswith("fix: data.buffer=null")


def test_damaged_shards_are_refused_wherever_they_are_cut(tmp_path):
    write_shard(tmp_path / "whole.tar", make_samples())
    content = (tmp_path / "whole.tar").read_bytes()
    file = tmp_path / "train.tar"
    with tarfile.open(tmp_path / "whole.tar") as archive:
        members = archive.getmembers()
    last = members[-1]
    end = last.offset_data + 512
    for size in (0, 100, members[4].offset + 100, members[4].offset_data + 10, end - 500):
        file.write_bytes(content[:size])
        said = refused(str(file))
        assert said.startswith(f"{file} is damaged: "), size
        assert said.endswith("fix: fetch it again, or leave it out of data.path")
    broken = bytearray(content)
    broken[members[6].offset : members[6].offset + 512] = b"x" * 512  # tarfile ends without a word
    file.write_bytes(broken)
    assert refused(str(file)).startswith(
        f"{file} is damaged: no header at byte {members[6].offset:,}"
    )
    file.write_bytes(content[:end])
    assert read(str(file)).notes[1] == (
        "shards without the mark of their end, which may be cut: 1 (train.tar)"
    )


def test_a_sample_with_two_files_of_one_ending_is_refused(tmp_path):
    file = tmp_path / "train.tar"
    with tarfile.open(file, "w") as archive:
        for name in ("1.png", "1.cls", "1.png"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert refused(str(file)) == (
        f"{file} has 1.png twice; fits: one file of each ending in a sample"
    )


def test_a_record_that_is_no_json_is_refused(tmp_path):
    write_shard(tmp_path / "train.tar", [{"png": encode_image("red", 0), "json": b"{"}])
    said = refused(str(tmp_path / "train.tar"))
    assert said.startswith(f"{tmp_path / 'train.tar'}, 0000: json cannot be read as JSON: ")


def test_names_in_folders_and_hidden_files(tmp_path):
    file = Path(tmp_path / "train.tar")
    with tarfile.open(file, "w") as archive:
        for sample in range(6):
            folder = tarfile.TarInfo(f"x/{sample}")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            content = encode_image(CLASSES[sample % 2], sample)
            label = str(sample % 2).encode()
            for name, data in (("._a.jpg", b"?"), ("a.JPG", content), ("a.cls", label)):
                member = tarfile.TarInfo(f"x/{sample}/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    data = read(str(file))
    assert sum(data.sizes().values()) == 6
    assert data.notes == ["6 images; shards: 1"]
    assert {name.count("/") for name in data.names("train")} == {3}


# The index ----------------------------------------------------------------------------------------


@pytest.fixture
def indexed(tmp_path, monkeypatch):
    """Shards that are large enough for an index, and settled; and the shards that are scanned."""
    write_shards(tmp_path / "shards")
    samples = make_samples(7)
    del samples[1]["png"], samples[2]["cls"]
    write_shard(tmp_path / "shards" / "train-004.tar", samples)
    for file in (tmp_path / "shards").iterdir():
        os.utime(file, (1_000_000_000, 1_000_000_000))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "LEAST", 50)
    scanned = []

    def scan(path, fields):
        scanned.append(path.name)
        return scan_shard(path, fields)

    monkeypatch.setattr(index, "scan_shard", scan)
    return tmp_path / "shards", scanned


def test_shards_are_scanned_once(indexed):
    folder, scanned = indexed
    path = str(folder / "train-*.tar")
    first = read(path, fields={"label": None}, check=False)
    (place,) = (folder.parent / "cache" / "dougong" / "index").iterdir()
    assert first.notes[0] == f"an index of the shards is written to {place}"
    assert len(scanned) == 5
    scanned.clear()
    again = read(path, check=False)
    assert again.notes == [f"shards by the index {place}", *first.notes[1:]]
    assert data_fingerprint(again) == data_fingerprint(first)
    assert scanned == []
    assert read(path, check=False, index=False).notes == first.notes[1:]
    assert len(scanned) == 5


@pytest.mark.parametrize("change", ["time", "size", "damage", "other"])
def test_an_index_that_does_not_hold_is_written_anew(indexed, change):
    folder, scanned = indexed
    path = str(folder / "train-*.tar")
    read(path, check=False)
    (place,) = (folder.parent / "cache" / "dougong" / "index").iterdir()
    scanned.clear()
    fields = {}
    if change == "time":
        os.utime(folder / "train-001.tar", (1_000_000_001, 1_000_000_001))
    if change == "size":
        write_shard(folder / "train-001.tar", make_samples(6))
        os.utime(folder / "train-001.tar", (1_000_000_000, 1_000_000_000))
    if change == "damage":
        place.write_bytes(place.read_bytes()[:300])
    if change == "other":
        fields = {"image": "png"}
    read(path, check=False, fields=fields)
    assert len(scanned) == 5


def test_a_shard_that_has_just_been_changed_is_not_indexed(indexed):
    folder, _ = indexed
    os.utime(folder / "train-001.tar")
    data = read(str(folder / "train-*.tar"), check=False)
    assert data.notes[0] == "no index of the shards is written: one has just been changed"
    assert not (folder.parent / "cache").exists()
