"""Pairs of images and captions by a table: what is read, what is refused, and a run."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from blocks.graph import compose
from tasks.__main__ import main
from tasks.data.captions.caption_table import CaptionTable
from tasks.data.captions.rows import group_pairs
from tasks.data.images.listing.samples import Samples
from tasks.errors import ArgumentError
from tasks.resume import adopt
from tasks.run import run_folder
from tasks.run.evaluate import evaluate_run
from tasks.run.load_run import open_run
from tasks.run.train import train

IMAGES, SIDE = 40, 8
SMALL = {"size": SIDE, "channels": 1, "workers": 0, "tokenizer": "words"}
PLACES = ("left", "right", "top", "bottom")


def make_rows():
    """Two captions of each image: where it is bright, and its number."""
    rows = [["file", "caption"]]
    for number in range(IMAGES):
        rows.append([f"photos/{number}.png", f"light at the {PLACES[number % 4]} {number}"])
        rows.append([f"photos/{number}.png", f"photo {number}"])
    return rows


def write_table(folder, rows, name="captions.csv"):
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return str(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    (folder / "photos").mkdir()
    source = np.random.default_rng(0)
    half = SIDE // 2
    bright = np.s_[:, :half], np.s_[:, half:], np.s_[:half], np.s_[half:]
    for number in range(IMAGES):
        image = source.integers(0, 60, (SIDE, SIDE), np.uint8)
        image[bright[number % 4]] += np.uint8(180)
        Image.fromarray(image).save(folder / "photos" / f"{number}.png")
    return folder


def test_pairs_are_those_of_the_table_and_an_image_stays_in_one_part(place):
    rows = make_rows()
    data = CaptionTable(write_table(place, rows), batch_size=16, crop=1, **SMALL)
    data.read()
    assert data.sizes() == {"train": 64, "val": 8, "test": 8}
    assert data.notes == ["80 pairs by " + str(place / "captions.csv") + "; file: caption"]
    captions = dict.fromkeys(range(IMAGES))
    for name, caption in rows[1:]:
        number = int(name.removeprefix("photos/").removesuffix(".png"))
        captions[number] = {caption, *(captions[number] or ())}
    for part in ("train", "val", "test"):
        for batch in data.plain_loader(part):
            assert set(batch) == {"image", "text", "text_mask", "group", "index"}
            for row, index in enumerate(batch["index"].tolist()):
                number = int(data.pairs(part).name(index)[7:-4])
                assert data.names(part)[index] in captions[number]
                ids = batch["text"][row][batch["text_mask"][row]].tolist()
                known = [data.tokenizer.encode(data.names(part)[index])]
                assert ids == known[0]
                pixels = np.asarray(Image.open(place / "photos" / f"{number}.png")) / 255
                expected = torch.from_numpy(pixels).float()[None] * 2 - 1
                torch.testing.assert_close(batch["image"][row], expected)
                same = data.names(part).index(f"photo {number}")
                assert data.group[part][index] == data.group[part][same]
        assert len(data.group[part].unique()) == data.sizes()[part] // 2


def test_pairs_that_share_a_caption_are_one_group():
    names = ["a", "b", "b", "c", "d", "d", "e"]
    captions = ["dog", "dog", "hound", "hound", "cat", "tom", "bird"]
    assert group_pairs(Samples.pack(None, names, captions)).tolist() == [0, 0, 0, 0, 3, 3, 4]


def test_parts_may_be_stated_and_what_repeats_or_is_cut_is_counted(place):
    rows = [[*row, "train"] for row in make_rows()]
    rows[0][2] = "part"
    for row in rows[-8:]:
        row[2] = "test"
    rows[2 + 2 * 39][1] = "photo 36"
    rows.append(rows[2])
    data = CaptionTable(
        write_table(place, rows, "parts.csv"), split_column="part", length=4, **SMALL
    )
    data.read()
    assert data.sizes() == {"train": 64, "val": 8, "test": 8}
    assert data.notes[1:] == [
        "1 rows repeat a pair; each is taken once",
        "40 of 79 captions are longer than 4 tokens, and cut",
        "1 images share a caption with another one of their part: the captions of each are right "
        "for all of them",
    ]


def change(*cells, options=None):
    return {"cells": cells, "options": options or {}}


REFUSED = {
    "T, line 1: there is no such column; got words; fits: file, caption; "
    "fix: data.caption=COLUMN, or name the column in the table": change(
        options={"caption": "words"}
    ),
    "T, line 1: no column is known to hold the images; got columns x, caption; "
    "fits: x, caption; fix: data.image=COLUMN": change((0, 0, "x")),
    "T, line 4: 2 of 80 rows name no file; got photos/x.png; fits: files below F; "
    "fix: data.path=FOLDER that the paths begin in": change(
        (3, 0, "photos/x.png"), (9, 0, "photos/y.png")
    ),
    "T, line 3: 2 of 80 rows have no caption; got caption is empty; fits: a caption for each "
    "image; fix: fill or delete the rows": change((2, 1, " "), (7, 1, "")),
    "T, line 3: 1 of 80 rows repeat an image in another part; got photos/0.png, as line 2; fits: "
    "one part for each image; fix: correct or delete the rows": change(
        (2, 2, "test"), options={"split_column": "part"}
    ),
}


@pytest.mark.parametrize("message", REFUSED, ids=lambda message: message[:50])
def test_a_table_that_does_not_do_is_refused(place, message):
    case = REFUSED[message]
    rows = make_rows()
    if case["options"].get("split_column"):
        rows = [[*rows[0], "part"], *([*row, "train"] for row in rows[1:])]
    for row, column, cell in case["cells"]:
        rows[row][column] = cell
    table = write_table(place, rows, "bad.csv")
    with pytest.raises(ArgumentError) as caught:
        CaptionTable(table, **case["options"], **SMALL).read()
    assert str(caught.value) == message.replace("T", table, 1).replace(" F;", f" {place};")


def test_too_few_images_are_refused(place):
    table = write_table(place, make_rows()[:5], "few.csv")
    with pytest.raises(ArgumentError) as caught:
        CaptionTable(table, **SMALL).read()
    assert str(caught.value) == (
        "too few images for the part val; got 4 pairs; "
        "fits: three images or more: one for each part"
    )


# A run --------------------------------------------------------------------------------------------


def learn(folder, *words):
    composed = compose(list(words))
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), folder)
    is_resumed = (folder / run_folder.RECORD).is_file()
    return train(composed, folder, run_folder.Record(folder, resumed=is_resumed, **known))


@pytest.fixture(scope="module")
def finished(place):
    folder = place / "run"
    rows = [row for row in make_rows() if not row[1].startswith("photo")]
    for row in rows[1:]:
        row[1] = row[1].rpartition(" ")[0]
    table = write_table(place, rows, "run.csv")
    words = [
        *("model=clip_small", "task=contrast_pairs", "data=captions", f"data.table={table}"),
        *("data.size=8", "data.channels=1", "data.batch_size=8", "data.workers=0", "data.length=7"),
        *("data.tokenizer=words", "data.test=0.2", "trainer.max_epochs=8", "optimizer.lr=1e-2"),
        *("model.params.dim=16", "model.params.depth=1", "model.params.heads=2"),
        "callbacks.progress.style=none",
    ]
    metrics = learn(folder, *words)
    return SimpleNamespace(folder=folder, metrics=metrics, words=words)


@pytest.mark.slow
def test_a_run_matches_places_and_is_evaluated_again(finished):
    assert finished.metrics["test/image_to_text_r1"] > 0.8
    assert "test/zero_shot_accuracy" not in finished.metrics
    assert evaluate_run(open_run(finished.folder), {}) == pytest.approx(finished.metrics, abs=1e-6)
    page = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert "Best captions of images" in page
    assert "light at the" in page


@pytest.mark.slow
def test_an_image_is_compared_with_texts_which_must_be_given(finished, place, capsys):
    command = ["predict", str(finished.folder), str(place / "photos" / "1.png")]
    texts = []
    for name in PLACES:
        texts += ["--caption", f"light at the {name}"]
    assert main([*command, *texts, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["predictions"]
    assert found["class"] == "light at the right"
    assert main(command) == 2
    assert capsys.readouterr().err.endswith(
        f"caption\n  {finished.folder} compares images with texts, and its data have no classes\n"
        "  fix       --caption TEXT for each text to compare with\n"
    )


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_if_it_had_not(finished, tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    words = [*finished.words, "schedule=constant"]
    learn(whole, *words, "trainer.max_epochs=2")
    learn(part, *words, "trainer.max_epochs=1")
    learn(part, *words, "trainer.max_epochs=2", f"resume={part}")
    states = [
        torch.load(each / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for each in (whole, part)
    ]
    assert {name for name in states[0] if not states[0][name].equal(states[1][name])} == set()
