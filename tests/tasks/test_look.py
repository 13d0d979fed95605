"""Looking into a run: the numbers are those of the network, for samples, drawings and sentences."""

import base64
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blocks.graph import build
from blocks.graph.run.inspect import record_attention
from blocks.studio.look.looks import Looks
from tasks.data.features.embedded import Embedded
from tasks.data.text.text import Topics
from tasks.errors import ArgumentError
from tasks.look import Looker
from tasks.look.given import read_row
from tasks.look.look import spread

RUN = Path(__file__).resolve().parents[1] / "data" / "run_of_0_1_0"


@pytest.fixture(scope="module")
def looker():
    return Looker(RUN)


def unpack(found):
    shape = (found["heads"], found["queries"], found["keys"])
    shares = np.frombuffer(base64.b64decode(found["weights"]), np.uint8).reshape(shape)
    return shares / 255 * np.array(found["most"])[..., None]


def test_a_sample_has_the_prediction_and_the_attention_of_the_network(looker):
    look = looker.look({"index": 5})
    found, run = look.describe(), looker.inputs.run
    image = look.given.batch["image"]
    with torch.no_grad():
        result = run.network(image=image)
    logits = result["logits"] if isinstance(result, dict) else result
    chances = logits[0].softmax(-1)
    assert found["prediction"][0] == (
        run.classes[int(chances.argmax())],
        round(float(chances.max()), 4),
    )
    assert found["truth"] in run.classes
    assert [node["path"] for node in found["nodes"]][-1] == "head"
    attention = record_attention(run.network, {"image": image})
    assert found["layers"] == list(attention)
    shown = look.describe_attention("layers.1.attention.inner")
    weights = attention["layers.1.attention.inner"].weights[0].numpy()
    assert np.abs(unpack(shown) - weights).max() < 0.003  # a step of 1 in 255
    assert (shown["grid"], shown["extra"]) == ((4, 4), 1)
    with pytest.raises(ArgumentError, match="no attention of this name"):
        look.describe_attention("head")
    with pytest.raises(ArgumentError, match="no such sample"):
        looker.look({"index": 10**6})


def test_a_window_of_text_and_a_row_of_a_table_are_samples_too():
    text = Topics(tokenizer="characters", length=7, batch_size=3)
    text.read()
    window = text.cut("test", torch.tensor([4]))
    assert read_row(text, 4)["tokens"].equal(window["tokens"])
    table = Embedded(name="wine", batch_size=3)
    table.read()
    assert read_row(table, 4)["numbers"].equal(table.parts["test"]["numbers"][4:5])
    with pytest.raises(ArgumentError, match="no such sample"):
        read_row(table, table.sizes()["test"])


def test_a_drawing_is_read_as_an_image_file_is(looker, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (23, 23), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "drawn.png")
    look = looker.look({"pixels": pixels.tolist()})
    (item,) = looker.inputs.run.reader.items(str(tmp_path / "drawn.png"))
    assert torch.equal(look.given.image, item.sample)


@pytest.mark.parametrize("pixels", [[], [[]], [[1, 2], [1]], [[0] * 5000] * 2])
def test_what_is_no_picture_is_refused(pixels, looker):
    with pytest.raises(ArgumentError, match="no picture"):
        looker.look({"pixels": pixels})


def test_windows_lie_at_their_places():
    network = build("swin", data="digits").eval()
    batch = {"image": torch.rand(1, 1, 8, 8)}
    for found in record_attention(network, batch).values():
        weights, grid = spread(found)
        assert grid is not None
        assert grid[0] * grid[1] == weights.shape[1] == weights.shape[2]
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:2]))


@pytest.mark.parametrize(
    "run", ["", ".", "..", "/etc", "runs", "runs/../..", "runs/x\0", "runs/a/b/../../../outside"]
)
def test_no_folder_but_a_run_of_the_project_is_opened(run, tmp_path):
    (tmp_path / "project" / "runs").mkdir(parents=True)
    shutil.copytree(RUN, tmp_path / "outside")
    looks = Looks(tmp_path / "project")
    assert looks.answer({"ask": "look", "run": run, "what": {"index": 0}})["errors"]
    assert looks.answer({"ask": "attention", "run": run, "layer": "head"})["errors"]


def test_the_newest_network_is_taken(tmp_path):
    folder = shutil.copytree(RUN, tmp_path / "runs" / "a" / "b")
    looks = Looks(tmp_path)
    question = {"ask": "look", "run": "runs/a/b", "what": {"index": 0}}
    first = looks.answer(dict(question))
    assert first["kind"] == "image"
    shutil.copyfile(folder / "checkpoints/last.ckpt", folder / "checkpoints/best.ckpt")
    assert looks.answer(dict(question))["saved"] > first["saved"]
    for file in (folder / "checkpoints").iterdir():
        file.write_bytes(b"PK damaged")
    assert looks.answer(dict(question))["errors"]
