"""Images and captions: the loss, several processes, the scores, the data, and a run."""

import csv
import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import multiprocessing
from torchmetrics.retrieval import RetrievalHitRate

from blocks.combine import LogitScale
from blocks.errors import BlockError
from blocks.graph import ConfigError, build, compose, plan
from tasks.__main__ import main as use
from tasks.data.captions.digit_captions import (
    DigitCaptions,
    list_captions,
    read_scenes,
    split_scenes,
)
from tasks.errors import ArgumentError
from tasks.learn.losses.contrastive import clip_loss
from tasks.learn.metrics.retrieval import average_prompts, pair_loss, recall_at
from tasks.learn.selfsupervised.contrast_pairs import ContrastPairs, first_rows
from tasks.run import run_folder
from tasks.run.contract import check_contract
from tasks.run.train import train

ROOT = Path(__file__).resolve().parents[2]
BATCH, INPUTS, DIM, PROCESSES = 6, 7, 5, 2
SMALL = ["params.dim=16", "params.depth=1", "params.text_depth=1", "params.heads=2"]
QUICK = ["data.train=384", "data.val=60", "data.test=80", "data.batch_size=64"]


def start(folder, *overrides):
    composed = compose([*overrides, f"runs={folder}"])
    known = run_folder.describe_start(composed.config, list(overrides), folder)
    return train(composed, folder, run_folder.Record(folder, **known))


@pytest.fixture(scope="module")
def data():
    found = DigitCaptions(train=50, val=40, test=60, noise=0.0, batch_size=16)
    found.read()
    return found


# The loss and the scale ---------------------------------------------------------------------------


def draw():
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(DIM, INPUTS, generator=generator)
    return weight, torch.randn(2, BATCH, INPUTS, generator=generator)


def test_the_loss_is_the_formula_of_clip():
    _, (image, text) = draw()
    image, text = 3 * F.normalize(image, dim=1), F.normalize(text, dim=1)
    losses = []
    for row in range(BATCH):
        by_image = [math.exp(float(image[row] @ text[other])) for other in range(BATCH)]
        by_text = [math.exp(float(image[other] @ text[row])) for other in range(BATCH)]
        losses.append(-math.log(by_image[row] / sum(by_image)) / 2)
        losses.append(-math.log(by_text[row] / sum(by_text)) / 2)
    expected = sum(losses) / BATCH
    assert float(clip_loss(image, text)) == pytest.approx(expected, rel=1e-5)
    assert pair_loss(image, text) == pytest.approx(expected, rel=1e-5)


def gradient(image, text, weight, *, gather):
    weight = weight.clone().requires_grad_()
    scale = LogitScale(2.0)
    unit = [F.normalize(value @ weight.T, dim=1) for value in (image, text)]
    loss = clip_loss(scale(unit[0]), unit[1], gather=gather)
    loss.backward()
    return loss.detach(), torch.cat([weight.grad.flatten(), scale.log_scale.grad])


def share(rank, port, queue):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    weight, pairs = draw()
    rows = slice(rank * BATCH // PROCESSES, (rank + 1) * BATCH // PROCESSES)
    loss, found = gradient(pairs[0, rows], pairs[1, rows], weight, gather=True)
    torch.distributed.all_reduce(loss)
    torch.distributed.all_reduce(found)
    if rank == 0:
        queue.put(((loss / PROCESSES).tolist(), (found / PROCESSES).tolist()))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_loss_and_the_gradient_of_one_batch():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    multiprocessing.spawn(share, (port, queue), nprocs=PROCESSES)
    loss, found = queue.get()
    weight, pairs = draw()
    expected, wanted = gradient(pairs[0], pairs[1], weight, gather=False)
    assert loss == pytest.approx(float(expected), rel=1e-6)
    torch.testing.assert_close(torch.tensor(found), wanted, rtol=1e-5, atol=1e-6)


def test_the_scale_starts_where_clip_starts_and_comes_back_from_its_limit():
    block = LogitScale()
    x = torch.randn(BATCH, DIM)
    torch.testing.assert_close(block(x), x / 0.07)
    with torch.no_grad():
        block.log_scale.fill_(math.log(400))
    torch.testing.assert_close(block.eval()(x), 100 * x)
    assert float(block.log_scale.detach().exp()) == pytest.approx(400)
    optimizer = torch.optim.SGD(block.train().parameters(), lr=1e-3)
    block(x).square().mean().backward()
    optimizer.step()
    assert float(block.log_scale.detach().exp()) < 99
    with pytest.raises(BlockError) as error:
        LogitScale(200)
    assert str(error.value) == (
        "the scale must start above zero and at most at its limit; got initial=200, most=100; "
        "fits: 0 < initial <= most; fix: e.g. initial: 14.3, most: 100"
    )


# The scores ---------------------------------------------------------------------------------------


def test_recall_is_the_hit_rate_of_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    queries, keys = torch.randn(23, DIM, generator=generator), torch.randn(31, DIM)
    wanted, owner = torch.arange(23) % 7, torch.arange(31) % 7
    found = recall_at((queries, wanted), (keys, owner), (1, 3))
    for count, share in zip((1, 3), found, strict=True):
        metric = RetrievalHitRate(top_k=count)
        scores = queries @ keys.T
        indexes = torch.arange(23)[:, None].expand_as(scores)
        metric.update(scores.flatten(), (wanted[:, None] == owner).flatten(), indexes.flatten())
        assert share == pytest.approx(float(metric.compute()))
    assert 0 < found[0] < found[1] < 1


def test_the_texts_of_a_class_are_averaged_before_they_are_compared():
    text = F.normalize(torch.randn(4, DIM), dim=1)
    found = average_prompts(text, torch.tensor([0, 1, 0, 1]))
    torch.testing.assert_close(found[1], F.normalize((text[1] + text[3]) / 2, dim=0))


def test_a_caption_of_several_images_counts_once():
    text = torch.tensor([[5, 6], [7, 0], [5, 6], [7, 8], [7, 0]])
    assert first_rows(text).tolist() == [0, 1, 3]


# The data -----------------------------------------------------------------------------------------


def test_each_digit_is_equally_often_in_each_place_of_a_part():
    scenes = split_scenes(0)
    every = torch.cat(list(scenes.values()))
    assert every.sort().values.tolist() == list(range(200))
    for part, partners in {"train": 7, "val": 1, "test": 2}.items():
        axis, first, second = read_scenes(scenes[part])
        for each in range(2):
            for place in (first, second):
                assert place[axis == each].bincount(minlength=10).tolist() == [partners] * 10
    assert not torch.equal(scenes["test"], split_scenes(1)["test"])


def find_digit(data, canvas, digit):
    """Row and column of the only digit of the validation that is on a canvas without noise."""
    image, label = data.pools["val"]
    windows = F.unfold(canvas[None], 8)[0].T
    distance = torch.cdist(windows, image[label == digit].flatten(1)).amin(1)
    places = (distance < 1e-4).nonzero()[:, 0].tolist()
    across = data.size - 7
    return {divmod(place, across) for place in places}


def test_a_caption_is_true_of_its_image(data):
    names = data.names("val")
    part = data.parts["val"]
    captions = list_captions()
    for row in range(20):
        number = int(part["label"][row])
        assert names[row] in captions[number]
        axis, first, second = (int(value) for value in read_scenes(torch.tensor(number)))
        one = find_digit(data, part["image"][row], first)
        other = find_digit(data, part["image"][row], second)
        assert one
        assert other
        assert any(b[1 - axis] - a[1 - axis] >= 8 for a in one for b in other)


def test_captions_are_said_both_ways_and_new_in_each_epoch(data):
    assert list_captions()[38] == ("a three left of an eight", "an eight right of a three")
    assert list_captions()[138] == ("a three above an eight", "an eight below a three")
    assert set(data.parts["val"]["caption"].remainder(2).tolist()) == {0, 1}
    first = data.fresh(0)
    assert torch.equal(first["image"], data.fresh(0)["image"])
    assert not torch.equal(first["image"], data.fresh(1)["image"])
    batch = next(iter(data.loader("val")))
    assert set(batch) == {"image", "text", "text_mask", "label", "group", "index"}
    text = batch["text"][0][batch["text_mask"][0]].tolist()
    assert data.shown(text) == data.names("val")[0]


def test_a_canvas_that_is_too_small_is_refused():
    with pytest.raises(ArgumentError) as error:
        DigitCaptions(size=15)
    assert str(error.value) == (
        "two digits of 8x8 pixels must fit side by side; got size=15; fits: 16 or more"
    )


# The model ----------------------------------------------------------------------------------------


def test_a_model_without_two_projections_is_refused(data):
    composed = compose(["model=cnn", "data=digit_captions", "task=contrast_pairs"])
    facts = data.facts()
    with pytest.raises(ConfigError, match="ContrastPairs needs the output image_projection"):
        check_contract(composed, plan(composed, facts), facts)


def test_projections_of_two_sizes_are_refused(data):
    words = [*SMALL, "graph.text_project.features=11", "params.projection=13"]
    network = build("clip_small", overrides=words, facts=data.facts())
    task = ContrastPairs(network, optimizer=torch.optim.SGD, facts=data.facts())
    with pytest.raises(ArgumentError) as error:
        task.check(data)
    assert str(error.value) == (
        "the projections of images and texts must have the same size; got image_projection 13, "
        "text_projection 11; fix: Linear of the same features before both, e.g. features: "
        "projection"
    )


def test_the_towers_take_different_numbers_of_images_and_texts(data):
    network = build("clip_small", overrides=SMALL, facts=data.facts()).eval()
    batch = next(iter(data.loader("test")))
    whole = network(**{name: batch[name] for name in network.input_names})
    prompts = data.prompts()
    mixed = network(image=batch["image"], **prompts.batch())
    torch.testing.assert_close(mixed["image_projection"], whole["image_projection"])
    assert len(mixed["text_projection"]) == len(prompts.owner) == 400
    first = network(image=batch["image"][:1], text=prompts.text[:2], text_mask=prompts.text[:2] > 0)
    torch.testing.assert_close(first["text_projection"], mixed["text_projection"][:2])


# A run --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("clip") / "run"
    words = [f"model.{word}" for word in SMALL]
    start(place, "experiment=clip", *words, *QUICK, "trainer.max_epochs=1")
    return place


SCORES = {
    "test/loss",
    "test/image_to_text_r1",
    "test/image_to_text_r5",
    "test/text_to_image_r1",
    "test/text_to_image_r5",
    "test/zero_shot_accuracy",
}


@pytest.mark.slow
def test_a_run_is_reported_and_evaluated_again(folder, capsys):
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert set(record["test"]) == SCORES
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h2>Best captions of images</h2>" in page
    assert "<h2>Best images of captions</h2>" in page
    assert "This could not be drawn" not in page
    capsys.readouterr()
    assert use(["evaluate", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {f"test/{line.split()[1]}": float(line.split()[2]) for line in lines}
    assert found == pytest.approx(record["test"], abs=6e-5)


@pytest.mark.slow
def test_a_run_predicts_the_texts_of_its_classes_or_those_that_are_given(folder, tmp_path, capsys):
    from PIL import Image

    Image.new("L", (20, 20), 100).save(tmp_path / "one.png")
    picture = str(tmp_path / "one.png")
    capsys.readouterr()
    assert use(["predict", str(folder), picture, "--top", "3"]) == 0
    header, row = csv.reader(capsys.readouterr().out.splitlines())
    assert len(header) == 8
    assert row[1] in {first for first, _ in list_captions()}
    texts = ["a three left of a seven", "a seven left of a three"]
    given = [word for text in texts for word in ("--caption", text)]
    assert use(["predict", str(folder), picture, *given, "--top", "2", "--json"]) == 0
    [answer] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {entry["class"] for entry in answer["predictions"]} == set(texts)
    assert sum(entry["probability"] for entry in answer["predictions"]) == pytest.approx(1)
    assert use(["predict", str(folder), picture, "--caption", "a horse"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "a text cannot be read: training never saw one of its words where it stands",
        "got 'a horse'",
        "fits: words of training, e.g. 'a zero left of a zero'",
    ]


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_same_batches(tmp_path):
    """Weights and scores after twelve steps, with batches of 2 x 32 and of 64 pairs."""
    states, records = [], []
    words = ["experiment=clip", *QUICK, *(f"model.{word}" for word in SMALL), "optimizer=sgd"]
    words += ["trainer.max_epochs=2", "callbacks.progress.style=none", "optimizer.lr=0.01"]
    kinds = {
        "one": ["data.batch_size=64"],
        "two": [
            "data.batch_size=32",
            "trainer=ddp",
            "trainer.devices=2",
            "trainer.precision=32-true",
        ],
    }
    for name, more in kinds.items():
        place = tmp_path / name
        line = [*words, *more, "trainer.accelerator=cpu", "trainer.max_epochs=2"]
        done = subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *line, f"hydra.run.dir={place}"],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        file = place / "checkpoints" / "last.ckpt"
        states.append(torch.load(file, weights_only=True)["state_dict"])
        records.append(json.loads((place / "run.json").read_text(encoding="utf-8"))["test"])
    one, two = states
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-6)
    assert records[1] == pytest.approx(records[0], abs=1e-5)
