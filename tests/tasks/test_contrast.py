"""Contrastive learning: the loss, several processes, the views, and a run."""

import json
import os
import socket

import pytest
import torch
import torch.nn.functional as F
from torch import multiprocessing

from blocks.graph import ConfigError, build, compose, plan
from tasks.data.images.digits import Digits
from tasks.errors import ArgumentError
from tasks.learn.losses.contrastive import nt_xent
from tasks.learn.selfsupervised.contrast import Contrast
from tasks.learn.selfsupervised.embedding import find_neighbours
from tasks.run import run_folder
from tasks.run.contract import check_contract
from tasks.run.evaluate import evaluate_run
from tasks.run.load_run import open_run
from tasks.run.train import train

BATCH, INPUTS, DIM, PROCESSES = 6, 7, 5, 2
FACTS = {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 10}
SMALL = ["params.width=4", "params.projection_hidden=8", "params.projection=6"]


def start(folder, *overrides):
    composed = compose([*overrides, f"runs={folder}"])
    known = run_folder.describe_start(composed.config, list(overrides), folder)
    return train(composed, folder, run_folder.Record(folder, **known))


def draw():
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(DIM, INPUTS, generator=generator)
    return weight, torch.randn(2, BATCH, INPUTS, generator=generator)


# The loss -----------------------------------------------------------------------------------------


def test_the_loss_is_the_formula_of_simclr():
    first, second = torch.randn(2, BATCH, DIM).unbind()
    every = F.normalize(torch.cat([first, second]), dim=1).double()
    losses = []
    for i in range(2 * BATCH):
        partner = (i + BATCH) % (2 * BATCH)
        below = 0.0
        for k in range(2 * BATCH):
            if k != i:
                below += torch.exp(every[i] @ every[k] / 0.3)
        losses.append(-torch.log(torch.exp(every[i] @ every[partner] / 0.3) / below))
    expected = float(torch.stack(losses).mean())
    assert float(nt_xent(first, second, 0.3)) == pytest.approx(expected, rel=1e-5)


def test_equal_views_that_differ_from_all_others_have_the_least_loss():
    views = torch.eye(BATCH)
    least = float(nt_xent(views, views, 0.1))
    assert least == pytest.approx(0, abs=1e-3)
    assert float(nt_xent(views, views.roll(1, 0), 0.1)) > 9
    assert float(nt_xent(5 * views, views, 0.1)) == pytest.approx(least)  # lengths do not count


def gradient(first, second, weight, *, gather):
    weight = weight.clone().requires_grad_()
    loss = nt_xent(first @ weight.T, second @ weight.T, 0.5, gather=gather)
    loss.backward()
    return loss.detach(), weight.grad


def share(rank, port, queue):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    weight, views = draw()
    rows = slice(rank * BATCH // PROCESSES, (rank + 1) * BATCH // PROCESSES)
    loss, found = gradient(views[0, rows], views[1, rows], weight, gather=True)
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
    weight, views = draw()
    expected, wanted = gradient(views[0], views[1], weight, gather=False)
    assert loss == pytest.approx(float(expected), rel=1e-6)
    torch.testing.assert_close(torch.tensor(found), wanted, rtol=1e-5, atol=1e-6)


# The views and the model --------------------------------------------------------------------------


def read_views(**options):
    data = Digits(views=2, shift=1, rotate=20, seed=4, **options)
    data.read()
    return data


def test_views_differ_from_each_other_and_from_epoch_to_epoch():
    loader = read_views().loader("train")
    first = next(iter(loader))
    again = next(iter(loader))
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["view"], again["view"])
    assert not torch.equal(first["image"], first["view"])
    loader.sampler.set_epoch(1)
    assert not torch.equal(next(iter(loader))["view"], first["view"])


def test_views_of_validation_never_change_and_one_view_leaves_it_as_it_is():
    loader = read_views().loader("val")
    first = next(iter(loader))
    loader.sampler.set_epoch(1)
    assert torch.equal(next(iter(loader))["view"], first["view"])
    data = Digits(shift=1, rotate=20)
    data.read()
    batch = next(iter(data.loader("val")))
    assert "view" not in batch
    plain = next(iter(data.plain_loader("val")))
    assert torch.equal(batch["image"], plain["image"])


def test_the_first_view_is_the_image_that_training_without_views_sees():
    plain = Digits(shift=1, rotate=20, seed=4)
    plain.read()
    batch = next(iter(plain.loader("train")))
    assert torch.equal(batch["image"], next(iter(read_views().loader("train")))["image"])


def test_data_with_one_view_are_refused():
    network = build("simclr", overrides=SMALL, facts=FACTS)
    task = Contrast(network, optimizer=torch.optim.SGD, facts=FACTS)
    with pytest.raises(ArgumentError) as error:
        task.check(Digits())
    assert str(error.value) == "contrast compares two views of each image; fix: data.views=2"
    task.check(Digits(views=2))


def test_a_batch_of_one_image_is_refused():
    """Its loss is 0 whatever the weights are."""
    network = build("simclr", overrides=SMALL, facts=FACTS)
    task = Contrast(network, optimizer=torch.optim.SGD, facts=FACTS)
    with pytest.raises(ArgumentError) as error:
        task.check(Digits(views=2, batch_size=1))
    assert str(error.value) == (
        "contrast compares the samples of a batch, and this one has no other; "
        "got data.batch_size=1; fix: data.batch_size=256"
    )


def test_two_views_and_mixed_images_do_not_go_together():
    with pytest.raises(ArgumentError) as error:
        Digits(views=2, cutmix=1.0)
    assert str(error.value) == (
        "two views are compared as they are, and mixing makes one image of two; got views=2, "
        "mixup=0.0, cutmix=1.0; fits: data.erase and data.randaugment, which change each view by "
        "itself; fix: data.mixup=0 data.cutmix=0, or data.views=1"
    )


def test_a_model_without_a_projection_is_refused():
    composed = compose(["model=cnn", "task=contrast", "data.views=2"])
    with pytest.raises(ConfigError, match="Contrast needs the output projection"):
        check_contract(composed, plan(composed, FACTS), FACTS)


@pytest.mark.parametrize(
    "model",
    [
        "vit",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet18", "swin", "lenet5")),
    ],
)
def test_any_model_of_images_gets_a_projection_in_place_of_its_head(model):
    composed = compose([f"model={model}", "+model/pretext=simclr", "task=contrast"])
    facts = {"image": {"channels": 3, "height": 32, "width": 32}, "classes": 10}
    planned = plan(composed, facts)
    check_contract(composed, planned, facts)
    names = set(planned.model.state_dict())
    kept = set(plan(compose([f"model={model}"]), facts).model.state_dict())
    assert {name for name in kept if not name.startswith("head.")} < names


def test_neighbours_are_the_training_samples_of_the_largest_cosine():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(23, DIM, generator=generator), torch.randn(9, DIM, generator=generator)
    train_part = (torch.arange(23), values[0], torch.zeros(23))
    test_part = (torch.arange(9), values[1], torch.tensor([2, 0, 1] * 3))
    [found] = find_neighbours({"train": train_part, "test": test_part})
    cosine = F.cosine_similarity(values[1][:, None], values[0][None], dim=2)
    for index, near in found.rows:
        assert [number for number, _ in near] == cosine[index].topk(6).indices.tolist()
    assert found.label.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    torch.testing.assert_close(found.similarity.diagonal(), torch.ones(9))
    assert find_neighbours({}) == []


# A run --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_is_probed_reported_evaluated_and_fine_tuned(tmp_path):
    folder = tmp_path / "run"
    words = [f"model.{text}" for text in SMALL]
    start(folder, "experiment=simclr", *words, "trainer.max_epochs=1")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert set(record["test"]) == {"test/loss", "test/linear_accuracy", "test/knn_accuracy"}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h2>Nearest neighbours</h2>" in page
    assert page.count("test image") >= 8
    again = evaluate_run(open_run(folder), {})
    for name, value in record["test"].items():
        assert again[name] == pytest.approx(value, abs=1e-6)
    tuned = tmp_path / "tuned"
    start(tuned, "model=cnn", words[0], f"weights.load={folder}", "trainer.max_epochs=1")
    notes = json.loads((tuned / "run.json").read_text(encoding="utf-8"))["notes"]
    assert "missing    head.weight, head.bias" in notes[-1]
