"""Data sets of the Hugging Face Hub, by name and from files: parity with folders and tables, what
is refused, and no byte from the network.
"""

import builtins
import io
import json
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.data.features.table import TableFile
from tasks.data.hub.files import find_files, find_split
from tasks.data.hub.images import HubImages
from tasks.data.hub.table import HubTable
from tasks.data.hub.texts import HubTexts
from tasks.data.images.image_folder import Images
from tasks.data.text.labelled import Labelled
from tasks.errors import ArgumentError
from tasks.resume.state import data_fingerprint

datasets = pytest.importorskip("datasets")

COUNT, TESTED = 33, 12
CLASSES = ("ape", "bee", "cow")
SMALL = {"size": 5, "workers": 0, "batch_size": 7}


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Caches of its own, and a network that nothing may reach."""

    def refuse(*_, **__):
        raise AssertionError("the network is used")

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def encode(number):
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (7, 11, 3), np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def make_rows(count, first=0):
    """Rows sorted by class, as folders are."""
    numbers = range(first, first + count)
    labels = [index * len(CLASSES) // count for index in range(count)]
    images = [{"bytes": encode(number), "path": None} for number in numbers]
    features = {"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=list(CLASSES))}
    return datasets.Dataset.from_dict(
        {"img": images, "fine_label": labels}, features=datasets.Features(features)
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The same images as folders, Parquet, Arrow and by tables of paths."""
    folder = tmp_path_factory.mktemp("hub")
    train, test = make_rows(COUNT), make_rows(TESTED, 100)
    for part, rows in (("train", train), ("test", test)):
        for index, cell in enumerate(rows.cast_column("img", datasets.Image(decode=False))):
            file = folder / "folders" / part / CLASSES[cell["fine_label"]] / f"{index:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(cell["img"]["bytes"])
    (folder / "parquet" / "data").mkdir(parents=True)
    for shard in range(3):
        name = f"train-{shard:05}-of-00003.parquet"
        train.shard(3, shard, contiguous=True).to_parquet(folder / "parquet" / "data" / name)
    test.to_parquet(folder / "parquet" / "data" / "test-00000-of-00001.parquet")
    datasets.DatasetDict(train=train, test=test).save_to_disk(folder / "saved")
    (folder / "arrow").mkdir()
    for part in ("train", "test"):
        (source,) = (folder / "saved" / part).glob("*.arrow")
        (folder / "arrow" / f"{part}.arrow").write_bytes(source.read_bytes())
        lines = []
        for file in sorted((folder / "folders" / part).rglob("*.png")):
            row = {"img": str(file.relative_to(folder)), "fine_label": file.parent.name}
            lines.append(row)
        text = "".join(json.dumps(row) + "\n" for row in lines)
        (folder / f"{part}.jsonl").write_text(text, encoding="utf-8")
    return folder


def read(module, **options):
    data = module(**options)
    data.read()
    return data


def batches(data):
    found = []
    for part in ("train", "val", "test"):
        found += list(data.loader(part))
    return found


def refused(module, **options):
    with pytest.raises(ArgumentError) as error:
        read(module, **options)
    return str(error.value)


# Files and splits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parquet", "parquet files", "saved", "arrow", "jsonl"])
def test_images_are_those_of_class_folders_to_the_bit(place, kind):
    options = {
        "parquet": {"path": str(place / "parquet")},
        "parquet files": {"path": [str(place / "parquet" / "data" / "*.parquet")]},
        "saved": {"path": str(place / "saved")},
        "arrow": {"path": str(place / "arrow")},
        "jsonl": {
            "path": [str(place / "train.jsonl"), str(place / "test.jsonl")],
            "columns": {"image": "img"},
        },
    }[kind]
    mine = read(HubImages, **options, **SMALL)
    theirs = read(Images, path=str(place / "folders"), **SMALL)
    assert (mine.classes, mine.sizes(), mine.facts()) == (
        theirs.classes,
        theirs.sizes(),
        theirs.facts(),
    )
    for ours, other in zip(batches(mine), batches(theirs), strict=True):
        assert ours.keys() == other.keys()
        for name in ours:
            assert torch.equal(ours[name], other[name]), name
    assert mine.names("test")[:2] == ["test:0", "test:1"]
    shown = mine.raw_sample("test", 3).image
    assert torch.equal(shown, theirs.raw_sample("test", 3).image)


def test_the_fingerprint_follows_the_images(place, tmp_path):
    path = str(place / "parquet")
    first = data_fingerprint(read(HubImages, path=path, **SMALL))
    assert first == data_fingerprint(read(HubImages, path=path, **SMALL))
    other = make_rows(COUNT, 500)
    other.to_parquet(tmp_path / "train.parquet")
    assert first != data_fingerprint(read(HubImages, path=str(tmp_path), **SMALL))


def test_a_split_is_named_and_missing_ones_are_cut(place):
    splits = {"train": "test", "test": "train"}
    data = read(HubImages, path=str(place / "saved"), splits=splits, val=0.25, **SMALL)
    assert data.sizes() == {"train": 9, "val": 3, "test": COUNT}
    once = read(HubImages, path=str(place / "saved"), splits={"val": "test"}, **SMALL)
    assert once.sizes() == {"train": COUNT, "val": TESTED, "test": TESTED}
    assert "the split test is used for several parts" in once.notes
    assert refused(HubImages, path=str(place / "saved"), splits={"val": "dev"}, **SMALL) == (
        "there is no split dev; got splits.val=dev; fits: train, test"
    )
    assert refused(HubImages, path=str(place / "saved"), splits={"dev": "test"}, **SMALL) == (
        "splits has no dev; got dev; fits: train, val, test"
    )


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00002.parquet", "train"),
        ("data/validation-00001-of-00002-0a1b2c.parquet", "validation"),
        ("unsupervised-00000-of-00001.parquet", "unsupervised"),
        ("mnist-test-00000-of-00001.arrow", "test"),
        ("default/test/0000.parquet", "test"),
        ("my_dev.csv", "dev"),
        ("restrained.csv", "train"),
    ],
)
def test_a_file_belongs_to_a_split_by_its_name(name, split):
    assert find_split(Path(name)) == split


def write_files(folder, names):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return str(folder)


def test_missing_files_and_several_subsets_are_reported(tmp_path):
    given = write_files(tmp_path / "a", ["train-00000-of-00003.parquet"])
    with pytest.raises(ArgumentError) as error:
        find_files([given])
    assert error.value.problem == f"2 of 3 files of {given}/train-* are missing"
    assert error.value.got == "without 00001, 00002"
    assert find_files([f"{given}/train-*"]).splits == {"train": list(Path(given).iterdir())}
    given = write_files(tmp_path / "b", ["en/train.parquet", "de/train.parquet"])
    with pytest.raises(ArgumentError, match=r"several subsets; .* fits: de, en"):
        find_files([given])
    assert list(find_files([given], "de").splits) == ["train"]
    with pytest.raises(ArgumentError, match="has no fr; got fr; fits: de, en"):
        find_files([given], "fr")
    given = write_files(tmp_path / "c", ["a/1.jpg"])
    with pytest.raises(ArgumentError, match=r"has no files of a data set; .* fix: data=images"):
        find_files([given])
    with pytest.raises(ArgumentError, match="nowhere does not exist"):
        find_files([str(tmp_path / "nowhere")])


def test_configurations_of_a_readme(tmp_path):
    given = Path(write_files(tmp_path, ["x/1.parquet", "x/2.parquet", "y.parquet"]))

    def describe(files, more=""):
        head = f"---\nconfigs:\n- config_name: big\n  data_files: {files}\n{more}---\n# Title\n"
        (given / "README.md").write_text(head, encoding="utf-8")

    describe('[{split: train, path: "x/*.parquet"}, {split: gold, path: y.parquet}]')
    found = find_files([str(given)])
    assert found.splits == {
        "train": [given / "x/1.parquet", given / "x/2.parquet"],
        "gold": [given / "y.parquet"],
    }
    describe("x/1.parquet", "- config_name: other\n  data_files: y.parquet\n")
    with pytest.raises(ArgumentError, match="several subsets; got subset=null; fits: big"):
        find_files([str(given)])
    assert find_files([str(given)], "other").splits == {"train": [given / "y.parquet"]}
    for outside in ("https://host/a.parquet", "hf://datasets/a/b/c.parquet", "../y.parquet"):
        describe(f'"{outside}"')
        with pytest.raises(ArgumentError, match=r"README\.md names files outside of its folder"):
            find_files([str(given)])


@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_a_damaged_file_is_reported(place, tmp_path, share):
    content = (place / "parquet" / "data" / "test-00000-of-00001.parquet").read_bytes()
    file = tmp_path / "train.parquet"
    file.write_bytes(content[: int(share * len(content))])
    said = refused(HubImages, path=str(file), **SMALL)
    assert said.startswith(f"the split train of {tmp_path} cannot be read as parquet: ")


# Rows and columns ---------------------------------------------------------------------------------


def write_parquet(file, features, **columns):
    rows = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    rows.to_parquet(file)
    return str(file)


def test_rows_without_label_or_image_are_counted(tmp_path):
    labels = [0, 1, None, 2, -1, *[0, 1, 2] * 6]
    contents = [{"bytes": encode(number), "path": None} for number in range(len(labels))]
    contents[0] = {"bytes": b"\x89PNG", "path": None}
    contents[1] = None
    features = {"x": datasets.Image(), "y": datasets.ClassLabel(names=list(CLASSES))}
    path = write_parquet(tmp_path / "a.parquet", features, x=contents, y=labels)
    data = read(HubImages, path=path, **SMALL)
    assert sum(data.sizes().values()) == 19
    assert data.notes[:3] == [
        "2 of 23 rows of the part train have no label and are left out",
        "images: the column x, classes: the column y",
        "2 of 21 images are broken and left out: train:0 (cannot be read: cannot identify image "
        "file train:0); train:1 (cannot be read: the row has no image)",
    ]


def test_columns_are_told_apart_or_asked_for(tmp_path):
    features = {
        "left": datasets.Image(),
        "right": datasets.Image(),
        "coarse": datasets.ClassLabel(names=["a", "b"]),
        "fine": datasets.ClassLabel(names=list(CLASSES)),
    }
    cells = [{"bytes": encode(number), "path": None} for number in range(18)]
    columns = {"left": cells, "right": cells[::-1], "coarse": [0, 1] * 9, "fine": [0, 1, 2] * 6}
    path = write_parquet(tmp_path / "a.parquet", features, **columns)
    shown = "left (image), right (image), coarse (2 classes), fine (3 classes)"
    assert refused(HubImages, path=path) == (
        f"several columns may have the images; got {shown}; fix: data.columns.image=left"
    )
    assert refused(HubImages, path=path, columns={"image": "left"}) == (
        f"several columns may have the labels; got {shown}; fix: data.columns.label=coarse"
    )
    assert refused(HubImages, path=path, columns={"image": "up"}) == (
        f"there is no column up; got columns.image=up; fits: {shown}"
    )
    assert refused(HubImages, path=path, columns={"image": "fine"}) == (
        f"the column fine has no images; got 3 classes; fits: {shown}"
    )
    assert refused(HubImages, path=path, columns={"text": "fine"}) == (
        "columns has no text; got text; fits: image, label"
    )
    data = read(HubImages, path=path, columns={"image": "right", "label": "fine"}, **SMALL)
    assert data.classes == list(CLASSES)
    assert refused(HubTexts, path=path).startswith("no column has texts; got left (image)")


def test_a_class_that_training_lacks_is_refused(tmp_path):
    cells = [{"bytes": encode(number), "path": None} for number in range(12)]
    for part, names in (("train", ["3", "20"] * 6), ("test", ["3", "4"] * 6)):
        features = {"x": datasets.Image(), "y": datasets.Value("string")}
        write_parquet(tmp_path / f"{part}.parquet", features, x=cells, y=names)
    assert refused(HubImages, path=str(tmp_path), **SMALL) == (
        f"the test part of {tmp_path} has a class that training lacks; got 4; training has 3, 20"
    )


# Names --------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the Hub."""
    import huggingface_hub as client

    folder = tmp_path / "hub"
    monkeypatch.setattr(client.constants, "HF_HUB_CACHE", str(folder))
    return folder


def test_a_name_is_read_from_the_cache_of_the_hub(place, hub):
    commit = "0123456789" * 4
    repository = hub / "datasets--zoo--apes"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    snapshot = repository / "snapshots" / commit
    snapshot.parent.mkdir()
    snapshot.symlink_to(place / "parquet")
    data = read(HubImages, name="zoo/apes", **SMALL)
    assert data.sizes() == read(HubImages, path=str(place / "parquet"), **SMALL).sizes()
    assert read(HubImages, name="zoo/apes", revision=commit, **SMALL).sizes() == data.sizes()
    said = refused(HubImages, name="zoo/apes", revision="v2", **SMALL)
    assert said == (
        f"zoo/apes@v2 is not in the cache {hub}; got download=false; "
        "fix: hf download --repo-type dataset zoo/apes --revision v2\n"
        "or data.download=true, which does the same"
    )


def test_what_load_dataset_has_prepared_is_found(place, hub, tmp_path):
    rows = datasets.load_dataset("parquet", data_files=str(place / "parquet/data/train*"))["train"]
    prepared = Path(rows.cache_files[0]["filename"]).parent
    goal = tmp_path / "cache" / "zoo___my_apes" / "default" / "0.0.0" / "abc"
    goal.parent.mkdir(parents=True)
    goal.symlink_to(prepared)
    data = read(HubImages, name="zoo/myApes", revision="abc", **SMALL)
    assert sum(data.sizes().values()) == COUNT
    assert "is not in the cache" in refused(HubImages, name="zoo/myApes", revision="abd", **SMALL)


def test_downloading_is_tried_only_when_it_is_asked_for(hub, monkeypatch):
    import huggingface_hub as client

    asked = []

    def fetch(name, **options):
        asked.append((name, options["local_files_only"]))
        raise ConnectionError("no route")

    monkeypatch.setattr(client, "snapshot_download", fetch)
    assert "fix: hf download --repo-type dataset a/b" in refused(HubTexts, name="a/b")
    assert refused(HubTexts, name="a/b", download=True) == (
        "a/b could not be fetched; got no route; fix: where there is a network: "
        f"hf download --repo-type dataset a/b\nand copy {hub} here"
    )
    assert asked == [("a/b", True), ("a/b", False)]
    assert refused(HubTexts) == (
        "a data set lies in files, or has a name; got neither; "
        "fix: data.path=FOLDER_OR_FILES, or data.name=USER/NAME"
    )
    assert refused(HubTexts, path="a", revision="b").startswith("files have no revision to fetch")
    assert refused(HubTexts, name="../a").startswith("this is no name on the Hub")


# Texts and tables ---------------------------------------------------------------------------------

WORDS = ("calm", "dark", "eager", "fresh", "grand")


def make_texts(count, first=0):
    names = ["bad", "good"]
    rows = []
    for number in range(first, first + count):
        words = [WORDS[number % 5], WORDS[number // 5 % 5], names[number % 2], str(number)]
        rows.append((" ".join(words), names[number % 2]))
    return rows


def test_texts_are_those_of_a_table(tmp_path):
    rows = make_texts(60)
    lines = [f"{text}\t{label}\n" for text, label in rows]
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "".join(lines), encoding="utf-8")
    features = {
        "words": datasets.Value("string"),
        "mood": datasets.ClassLabel(names=["bad", "good"]),
    }
    texts = [text for text, _ in rows]
    labels = [["bad", "good"].index(label) for _, label in rows]
    path = write_parquet(tmp_path / "a.parquet", features, words=texts, mood=labels)
    mine, theirs = read(HubTexts, path=path), read(Labelled, path=str(tmp_path / "a.tsv"))
    assert mine.facts() == theirs.facts()
    assert data_fingerprint(mine) == data_fingerprint(theirs)
    assert mine.notes[0] == "texts: the column words, classes: the column mood"


def test_texts_of_given_splits_stay_in_them(tmp_path):
    for part, first, count in (("train", 0, 60), ("validation", 55, 15), ("test", 80, 11)):
        texts, labels = zip(*make_texts(count, first), strict=True)
        features = {"text": datasets.Value("string"), "label": datasets.Value("string")}
        cells = {"text": ["", *texts], "label": ["good", *labels]}
        write_parquet(tmp_path / f"{part}.parquet", features, **cells)
    data = read(HubTexts, path=str(tmp_path))
    assert data.sizes() == {"train": 60, "val": 15, "test": 11}
    assert data.names("test") == [text for text, _ in make_texts(11, 80)]
    left = "1 of 12 rows of the part test have no text or no label and are left out"
    assert left in data.notes
    assert "5 texts of the part val are in training, too" in data.notes


def test_a_table_is_that_of_a_file(tmp_path):
    source = np.random.default_rng(0)
    columns = {"size": source.normal(size=41), "colour": source.choice(["red", "blue"], 41)}
    columns["price"] = 3 * columns["size"] + 0.1
    path = tmp_path / "a.parquet"
    datasets.Dataset.from_dict(columns).to_parquet(path)
    mine, theirs = read(HubTable, path=str(path)), read(TableFile, path=str(path))
    assert mine.facts() == theirs.facts()
    assert data_fingerprint(mine) == data_fingerprint(theirs)
    named = datasets.Dataset.from_dict(columns).rename_column("price", "cost")
    named.to_parquet(tmp_path / "test.parquet")
    said = refused(HubTable, path=[str(path), str(tmp_path / "test.parquet")])
    assert said.startswith("the part test has other columns than the training part")
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "test.parquet")
    data = read(HubTable, path=[str(path), str(tmp_path / "test.parquet")], val=0.25)
    assert data.sizes() == {"train": 31, "val": 10, "test": 41}
    assert data.names("test")[0] == "test:0"


def test_a_confined_process_reads_and_writes_in_its_project(place, tmp_path, monkeypatch):
    monkeypatch.setenv("DOUGONG_CONFINED", str(place))
    said = refused(HubImages, path=str(place / "parquet"), **SMALL)
    assert said == (
        f"the cache of the package datasets, {tmp_path / 'cache'}, is outside of the project, "
        "where this process reads nothing; fix: HF_DATASETS_CACHE=FOLDER of the project, or "
        "data.streaming=true, which makes no copy (data=hub)"
    )
    read(HubImages, path=str(place / "parquet"), streaming=True, **SMALL)
    read(HubImages, path=str(place / "saved"), **SMALL)
    monkeypatch.setenv("DOUGONG_CONFINED", str(place / "parquet"))
    for outside in ("saved", "folders", "train.jsonl"):
        said = refused(HubImages, path=str(place / outside), **SMALL)
        assert "outside of the project" in said or "has no files" in said, outside


@pytest.mark.parametrize("streaming", [False, True])
def test_a_missing_package_is_named_with_the_command(place, monkeypatch, streaming):
    load = builtins.__import__

    def refuse(name, *rest):
        if name.partition(".")[0] in ("datasets", "pyarrow"):
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert refused(HubImages, path=str(place / "parquet"), streaming=streaming) == (
        "data sets of the Hugging Face Hub are read by the package datasets; got no package "
        "datasets; fix: pip install -c constraints.txt -e '.[datasets]'"
    )
