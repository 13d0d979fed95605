"""Masked autoencoders: the loss, the masks, the probes, and fine-tuning from a run."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from blocks.graph import ConfigError, build, compose, fine_tune, load_weights
from tasks.data.base import DataModule
from tasks.data.images.digits import Digits
from tasks.errors import ArgumentError
from tasks.learn.metrics.probe import probe, score_neighbours
from tasks.learn.selfsupervised.embedding import has_classes
from tasks.learn.selfsupervised.reconstruct import Reconstruct, masked_error, normalise_patches
from tasks.lightning import as_lightning
from tasks.report.galleries.reconstructions import join_patches
from tasks.resume.state import data_fingerprint
from tasks.run import run_folder
from tasks.run.build import open_donor
from tasks.run.evaluate import evaluate_run
from tasks.run.load_run import open_run
from tasks.run.train import train

FACTS = {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 10}
SMALL = ["params.dim=16", "params.depth=1", "params.heads=2"]
DECODER = ["params.decoder_dim=8", "params.decoder_depth=1", "params.decoder_heads=2"]
BATCH, PATCHES, VALUES = 3, 7, 5


def make_task(**options):
    torch.manual_seed(0)
    network = build("mae", overrides=[*SMALL, *DECODER], facts=FACTS)
    return Reconstruct(network, optimizer=torch.optim.SGD, facts=FACTS, **options)


def draw_batch(index):
    image = torch.randn(len(index), 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return {"image": image, "index": torch.tensor(index), "label": torch.zeros(len(index)).long()}


def start(folder, *overrides):
    composed = compose([*overrides, f"runs={folder}"])
    known = run_folder.describe_start(composed.config, list(overrides), folder)
    return train(composed, folder, run_folder.Record(folder, **known))


# The loss and the masks ---------------------------------------------------------------------------


def test_the_loss_is_the_mean_over_the_values_of_hidden_patches():
    value, target = torch.randn(2, BATCH, PATCHES, VALUES).unbind()
    mask = torch.rand(BATCH, PATCHES) < 0.6
    errors = []
    for row, patch in mask.nonzero().tolist():
        errors += (value[row, patch] - target[row, patch]).square().tolist()
    assert float(masked_error(value, target, mask)) == pytest.approx(np.mean(errors), rel=1e-5)
    assert float(masked_error(value, target, torch.zeros_like(mask))) == 0


def test_a_normalised_patch_has_mean_zero_and_deviation_one_and_a_flat_one_stays_finite():
    target = torch.randn(BATCH, PATCHES, VALUES) * 3 + 2
    target[0, 0] = 4.0
    found = normalise_patches(target)
    assert found.isfinite().all()
    assert found[0, 0].abs().max() == 0
    torch.testing.assert_close(found.mean(-1), torch.zeros(BATCH, PATCHES), atol=1e-5, rtol=0)
    deviation = found.std(-1)
    deviation[0, 0] = 1
    torch.testing.assert_close(deviation, torch.ones(BATCH, PATCHES), atol=1e-5, rtol=0)


def test_normalise_changes_the_target_of_the_loss():
    batch = draw_batch([3, 5])
    plain, normalised = make_task(), make_task(normalise=True)
    _, found = plain.reconstruct(batch, 0)
    expected = masked_error(
        found["reconstruction"], normalise_patches(found["target"]), found["mask"]
    )
    torch.testing.assert_close(normalised.reconstruct(batch, 0)[0], expected)


def test_masks_depend_on_seed_epoch_and_sample_only():
    task = make_task(seed=3)
    image = torch.zeros(3, 1, 8, 8)
    noise = task.draw_noise(torch.tensor([4, 9, 2]), 0, image)
    assert noise.shape == (3, 16)
    assert torch.equal(task.draw_noise(torch.tensor([2, 4]), 0, image), noise[[2, 0]])
    assert not torch.equal(task.draw_noise(torch.tensor([4, 9, 2]), 1, image), noise)
    assert not torch.equal(make_task(seed=4).draw_noise(torch.tensor([4, 9, 2]), 0, image), noise)


def test_validation_is_the_same_each_time_whatever_the_batches():
    task = make_task()
    batch = draw_batch([1, 6, 3, 8])
    task.validation_step(batch, 0)
    whole = task.part_metrics("val")["loss"].compute()
    task.part_metrics("val")["loss"].reset()
    torch.manual_seed(7)
    for rows in ([2], [0, 3, 1]):
        task.validation_step({name: value[rows] for name, value in batch.items()}, 0)
    torch.testing.assert_close(task.part_metrics("val")["loss"].compute(), whole)


def test_a_model_that_hides_nothing_is_refused():
    network = build("vit", overrides=SMALL, facts=FACTS)
    task = Reconstruct(network, optimizer=torch.optim.SGD, facts=FACTS)
    with pytest.raises(ArgumentError) as error:
        task.check(SimpleNamespace())
    assert str(error.value) == (
        "this model hides no patches: it has no input noise; got inputs image; "
        "fix: model=mae, or +model/pretext=mae for another ViT with a class token"
    )


def test_patches_are_joined_to_the_image_that_was_cut():
    shape = {"channels": 2, "height": 6, "width": 9}
    image = torch.randn(2, 6, 9)
    cut = image.reshape(2, 2, 3, 3, 3).permute(1, 3, 2, 4, 0).reshape(6, 18)
    assert torch.equal(join_patches(cut, shape), image)


# The probes ---------------------------------------------------------------------------------------


def blobs(deviation):
    value, label = make_blobs(
        300, 6, centers=4, cluster_std=deviation, center_box=(-5, 5), random_state=1
    )
    sizes = {"train": slice(0, 150), "val": slice(150, 200), "test": slice(200, 300)}
    return {part: (value[rows], label[rows]) for part, rows in sizes.items()}


def test_probes_find_separate_classes_and_nothing_in_noise():
    found = probe(blobs(0.1))
    assert found.linear == found.knn == 1
    source = np.random.default_rng(0)
    parts = blobs(0.1)
    noise = {
        part: (source.normal(size=value.shape), label) for part, (value, label) in parts.items()
    }
    lost = probe(noise)
    assert max(lost.linear, lost.knn) < 0.45


def test_neighbours_vote_by_cosine():
    parts = blobs(4.0)
    values, label = parts["train"]
    tested, truth = parts["test"]
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    right = 0
    for value, true in zip(tested, truth, strict=True):
        distance = 1 - unit @ (value / np.linalg.norm(value))
        near = distance.argsort()[:20]
        votes = np.bincount(label[near], 1 / distance[near], minlength=4)
        right += votes.argmax() == true
    assert score_neighbours(parts) == pytest.approx(right / len(truth))
    few = {**parts, "train": (values[:3], label[:3])}
    assert 0 <= score_neighbours(few) <= 1


# A share of the labels ----------------------------------------------------------------------------


def test_a_share_of_the_training_part_has_each_class_and_the_statistics_of_all():
    whole, tenth, other = Digits(), Digits(share=0.1), Digits(share=0.1, seed=5)
    for data in (whole, tenth, other):
        data.read()
    counts = whole.parts["train"]["label"].bincount()
    kept = tenth.parts["train"]["label"].bincount()
    assert kept.tolist() == [round(0.1 * count) for count in counts.tolist()]
    assert torch.equal(tenth.parts["train"]["image"], other.parts["train"]["image"])
    assert torch.equal(tenth.mean, whole.mean)
    assert torch.equal(tenth.parts["test"]["image"], whole.parts["test"]["image"])
    assert tenth.notes == [f"share=0.1: {int(kept.sum())} training samples are used"]
    least = Digits(share=0.001)
    least.read()
    assert least.parts["train"]["label"].tolist() == sorted(
        range(10), key=least.parts["train"]["label"].tolist().index
    )


def test_a_share_outside_the_unit_interval_is_refused():
    for share in (0, 1.5):
        with pytest.raises(ArgumentError, match=r"share must be in \(0, 1\]"):
            Digits(share=share)


def test_a_plain_loader_reads_the_training_part_in_order_and_unchanged():
    data = Digits(shift=2, flip=True)
    data.read()
    batches = list(data.plain_loader("train"))
    index = torch.cat([batch["index"] for batch in batches])
    assert index.tolist() == list(range(data.sizes()["train"]))
    image = torch.cat([batch["image"] for batch in batches])
    torch.testing.assert_close(image * data.std + data.mean, data.parts["train"]["image"])


# A run, and fine-tuning from it -------------------------------------------------------------------

RUN = [f"model.{text}" for text in (*SMALL, *DECODER)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mae") / "run"
    start(folder, "experiment=mae", *RUN, "trainer.max_epochs=1", "data.batch_size=256")
    return folder


def test_a_run_is_probed(folder):
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert set(record["test"]) == {"test/loss", "test/linear_accuracy", "test/knn_accuracy"}
    assert record["test"]["test/linear_accuracy"] > 0.3  # of 10 classes


@pytest.mark.parametrize("kind", [Digits, DataModule])
def test_data_answer_within_a_training_as_outside(kind):
    """What tells data apart by their class must not see the class that Lightning needs."""
    data: Any = kind()
    data.facts = lambda: {"classes": 10}
    data.parts = {"train": {"image": torch.arange(7.0)}}
    wrapped = as_lightning(data)
    assert has_classes(wrapped) == has_classes(data) == (kind is Digits)
    assert data_fingerprint(wrapped) == data_fingerprint(data) != data_fingerprint(kind())


@pytest.mark.slow
def test_a_run_is_reported_and_evaluated_again(folder):
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("75% of the patches hidden") >= 8
    assert "<h2>Reconstructions</h2>" in page
    again = evaluate_run(open_run(folder), {})
    for name, value in record["test"].items():
        assert again[name] == pytest.approx(value, abs=1e-6)


def test_a_run_is_the_start_of_a_model_with_the_same_nodes(folder):
    composed = compose(["model=vit", *RUN[:3], f"weights.load={folder}"])
    donor = open_donor(composed, str(folder))
    network = build("vit", overrides=SMALL, facts=FACTS)
    before = network.state_dict()["head.weight"].clone()
    report, _, _ = fine_tune(network, {"load": str(folder)}, donor=donor)
    own, theirs = network.state_dict(), donor.state_dict()
    assert set(report.missing) == {"head.weight", "head.bias"}
    assert set(report.matched) == set(own) - set(report.missing)
    for name in report.matched:
        assert torch.equal(own[name], theirs[name])
    assert torch.equal(own["head.weight"], before)
    assert "restore.token" in report.left_over


def test_a_head_of_other_classes_stays_new_and_positions_are_resampled():
    donor = build("vit", overrides=SMALL, facts=FACTS)
    larger = {"image": {"channels": 1, "height": 12, "width": 12}, "classes": 3}
    network = build("vit", overrides=SMALL, facts=larger)
    report, _, _ = fine_tune(network, {}, donor=donor)
    assert set(report.replaced) == {"head.weight", "head.bias"}
    assert list(report.reshaped) == ["position.table"]
    assert not report.missing
    assert not report.left_over


def test_a_run_of_another_architecture_is_refused(folder):
    donor = open_donor(compose([f"weights.load={folder}"]), str(folder))
    with pytest.raises(ConfigError, match="no layer of the same name"):
        fine_tune(build("lenet5", facts={"image": [1, 28, 28], "classes": 10}), {}, donor=donor)
    wider = build("vit", overrides=["params.dim=32"], facts=FACTS)
    with pytest.raises(ConfigError, match=r"token.token is \(1, 32\), and token.token gives"):
        load_weights(wider, donor, strict=False)


def test_a_folder_that_is_no_run_is_named(tmp_path):
    composed = compose([f"weights.load={tmp_path}"])
    with pytest.raises(ConfigError, match="is no run folder: it has no config"):
        open_donor(composed, str(tmp_path))
