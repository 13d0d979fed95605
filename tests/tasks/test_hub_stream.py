"""Streams of Parquet files: the same images as in memory, in an order that any position can begin,
divided among processes and workers, with few row groups in memory.
"""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.data.hub.groups import RowGroups
from tasks.data.hub.images import HubImages
from tasks.data.hub.order import StreamOrder
from tasks.data.hub.stream import Share
from tasks.errors import ArgumentError, SampleError
from tasks.resume.state import data_fingerprint

datasets = pytest.importorskip("datasets")
parquet = pytest.importorskip("pyarrow.parquet")

COUNT, TESTED, GROUP = 59, 23, 7
CLASSES = ("ape", "bee", "cow")
SMALL = {"size": 5, "workers": 0, "batch_size": 5}


def encode(number):
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (7, 11, 3), np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


def write(file, labels, first=0, feature=None, broken=None):
    """Write images in small row groups, sorted by class."""
    cells = [encode(first + number) for number in range(len(labels))]
    if broken is not None:
        cells[broken]["bytes"] = b"no image"
    feature = feature or datasets.ClassLabel(names=list(CLASSES))
    features = datasets.Features({"image": datasets.Image(), "label": feature})
    rows = datasets.Dataset.from_dict({"image": cells, "label": labels}, features=features)
    table = rows.with_format("arrow")[:].replace_schema_metadata(features.arrow_schema.metadata)
    parquet.write_table(table, file, row_group_size=GROUP)


def sorted_labels(count):
    return [index * len(CLASSES) // count for index in range(count)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    write(folder / "train-00000-of-00002.parquet", sorted_labels(COUNT)[:30])
    write(folder / "train-00001-of-00002.parquet", sorted_labels(COUNT)[30:], 30)
    write(folder / "test.parquet", sorted_labels(TESTED), 200)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def stream(path, **options):
    data = HubImages(str(path), **{"streaming": True, "buffer": 17, **SMALL, **options})
    data.read()
    return data


def refused(path, **options):
    with pytest.raises(ArgumentError) as error:
        stream(path, **options)
    return str(error.value)


# The order ----------------------------------------------------------------------------------------

COUNTS = torch.tensor([7, 0, 5, 1, 11, 7, 0])


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("buffer", [1, 6, 100])
def test_an_epoch_has_each_row_once_among_all_processes(world, buffer):
    size = int(COUNTS.sum())
    options = {"buffer": buffer, "world": world}
    seen, plain = [], []
    for rank in range(world):
        order = StreamOrder(COUNTS, shuffle=True, seed=3, rank=rank, **options)
        own = [index for _, index in order]
        assert len(own) == len(order) == size // world
        assert own == order.indices().tolist()
        seen += own
        plain += [index for _, index in StreamOrder(COUNTS, rank=rank, **options)]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(size))
    assert plain == list(range(size))


def test_any_position_begins_the_same_order():
    order = StreamOrder(COUNTS, buffer=6, shuffle=True, seed=3, rank=1, world=2)
    order.set_epoch(4)
    whole = list(order)
    assert {epoch for epoch, _ in whole} == {4}
    for passed in range(len(whole) + 1):
        order.passed = (4, passed)
        assert list(order) == whole[passed:]
    order.passed = (3, 5)  # of another epoch
    assert list(order) == whole
    order.set_epoch(5)
    assert [index for _, index in order] != [index for _, index in whole]


def test_a_process_without_rows_takes_part():
    order = StreamOrder(torch.tensor([1]), buffer=6, rank=0, world=2)
    assert (len(order), list(order)) == (1, [])


# The rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_shares_divide_the_rows_of_each_group_evenly(share):
    for group in range(6):
        taken = []
        for begin, end in ((0, share), (share, 2 * share), (2 * share, 1)):
            chosen = Share(begin, end, seed=1).choose(100, group, 100 * group)
            assert abs(len(chosen) - 100 * (end - begin)) <= 3
            taken += chosen.tolist()
        assert sorted(taken) == list(range(100))


def test_a_stream_has_the_images_of_the_files_to_the_bit(place):
    options = {"val": 0, **SMALL}
    mine, theirs = stream(place, **options), HubImages(str(place), **options)
    theirs.read()
    assert (mine.classes, mine.facts()) == (theirs.classes, theirs.facts())
    assert mine.sizes() == theirs.sizes() == {"train": COUNT, "val": 0, "test": TESTED}
    for part in ("train", "test"):
        assert mine.names(part) == theirs.names(part)
        loaders = mine.plain_loader(part), theirs.plain_loader(part)
        for ours, other in zip(*loaders, strict=True):
            assert ours.keys() == other.keys()
            for name in ours:
                assert torch.equal(ours[name], other[name]), name
    assert mine.training_labels().tolist() == theirs.training_labels().tolist()
    first = mine.raw_sample("train", 40).image
    assert torch.equal(first, theirs.raw_sample("train", 40).image)


def test_parts_that_are_missing_are_cut_from_each_row_group(place):
    data = stream(place / "train-00000-of-00002.parquet", val=0.2, test=0.3)
    assert sum(data.sizes().values()) == 30
    assert abs(data.sizes()["val"] - 6) <= 1
    assert abs(data.sizes()["test"] - 9) <= 1
    names = [set(data.names(part)) for part in ("train", "val", "test")]
    assert len(set.union(*names)) == 30
    other = stream(place / "train-00000-of-00002.parquet", val=0.2, test=0.3, seed=5)
    assert other.names("test") == data.names("test")
    third = stream(place / "train-00000-of-00002.parquet", val=0.2, test=0.3, split_seed=5)
    assert third.names("test") != data.names("test")
    assert data_fingerprint(other) == data_fingerprint(data) != data_fingerprint(third)


def test_the_order_does_not_depend_on_the_workers_and_begins_anywhere(place):
    found = []
    for workers in (0, 2):
        data = stream(place, workers=workers, val=0)
        loader = data.loader("train")
        loader.sampler.set_epoch(2)
        found.append(list(loader))
    resumed = stream(place, val=0).loader("train")
    resumed.load_state_dict({"epoch": 2, "batch": 4})
    resumed.sampler.set_epoch(2)
    pairs = [*zip(*found, strict=True), *zip(found[0][4:], resumed, strict=True)]
    for one, other in pairs:
        for name in one:
            assert torch.equal(one[name], other[name])


def test_few_row_groups_are_read_and_kept(place, monkeypatch):
    asked, kept = [], []
    read = RowGroups.read
    monkeypatch.setattr(
        RowGroups,
        "read",
        lambda self, group, columns: asked.append((group, *columns)) or read(self, group, columns),
    )
    data = stream(place, val=0)
    assert {each[1:] for each in asked} == {("label",)}  # no image is read before training
    asked.clear()
    rows = data.parts["train"]
    for _ in data.loader("train"):
        kept.append(sum(int(rows.groups.rows[group]) for group in rows.kept))
    assert max(kept) <= 17 + 2 * GROUP
    buffers = -(-COUNT // 17)
    assert len(asked) <= len(rows.counts) + buffers


def test_rows_without_a_class_are_counted_and_names_sorted(tmp_path):
    labels = ["10", None, "9", "", " 9 ", *["9", "10"] * 9]
    write(tmp_path / "a.parquet", labels, feature=datasets.Value("string"))
    data = stream(tmp_path, val=0.2, test=0.2)
    assert data.classes == ["9", "10"]
    assert sum(data.sizes().values()) == 21
    assert data.notes == [
        "2 of 23 rows of the part train have no label and are left out",
        "images: the column image, classes: the column label",
        "streamed: 4 row groups of up to 7 rows and 0.00282 MB; 17 rows are shuffled together",
    ]
    wanted = {f"train:{row}" for row in range(23)} - {"train:1", "train:3"}
    assert {name for part in data.parts for name in data.names(part)} == wanted
    seen = {}
    for batch in data.plain_loader("train"):
        for index, label in zip(batch["index"].tolist(), batch["label"].tolist(), strict=True):
            seen[data.names("train")[index]] = data.classes[label]
    assert seen == {name: labels[int(name[6:])].strip() for name in seen}


def test_what_cannot_be_streamed_is_refused(place, tmp_path):
    rows = datasets.Dataset.from_dict({"image": [encode(0)], "label": [0]})
    rows.save_to_disk(tmp_path / "saved")
    assert refused(tmp_path / "saved") == (
        f"{tmp_path / 'saved'} is no data set in Parquet files, which are streamed; got saved; "
        "fits: parquet; fix: data.streaming=false, which maps Arrow files into memory without a "
        "copy"
    )
    assert refused(place, check=True) == (
        "a stream is read while it is needed, not before training; got check=True, "
        "streaming=true; fix: data.streaming=false"
    )
    assert refused(place, sampling="balanced").startswith("a stream is read while it is needed")
    assert refused(place, buffer=0).startswith("buffer must be positive")


def test_a_broken_image_stops_the_run_with_its_row(tmp_path):
    write(tmp_path / "a.parquet", sorted_labels(24), broken=3)
    data = stream(tmp_path, val=0, test=0.1)
    with pytest.raises(SampleError) as error:
        list(data.plain_loader("train" if "train:3" in data.names("train") else "test"))
    assert str(error.value) == (
        "train:3 cannot be read: cannot identify image file train:3\n  fix       "
        "data.streaming=false data.check=true leaves out broken images, with a note"
    )


@pytest.mark.parametrize("share", [0, 0.4, 0.9])
def test_a_damaged_file_is_reported(place, tmp_path, share):
    content = (place / "test.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content[: int(share * len(content))])
    said = refused(tmp_path)
    assert said.startswith(f"{tmp_path / 'a.parquet'} cannot be read as Parquet: ")
