"""`python -m tasks probe`: features by node, the baseline, what is chosen, and the messages."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from blocks.graph import build, compose
from tasks.__main__ import main as use
from tasks.data.images.digits import Digits
from tasks.errors import ArgumentError
from tasks.learn.metrics.probe import probe, score_neighbours, spread
from tasks.probe import find_default_node, probe_run
from tasks.probe.features import Features, pool_features, read_inputs
from tasks.run import run_folder, train
from tasks.run.load_run import Finished

FACTS = {"image": {"channels": 1, "height": 8, "width": 8}, "classes": 10}
SMALL = ["params.dim=12", "params.depth=2", "params.heads=2"]
BATCH, TOKENS, DIM = 3, 7, 5


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("vit", overrides=SMALL, facts=FACTS).eval()


def finish(network, *words):
    """A run of a network that has not been trained."""
    config = compose(list(words)).config
    return Finished(Path("nowhere"), config, FACTS, network)


# The features -------------------------------------------------------------------------------------


def test_the_default_features_are_what_the_head_takes(network):
    batch = {"image": torch.randn(BATCH, 1, 8, 8)}
    path = find_default_node(network)
    assert path == "pool"
    features = Features(network, path).run(batch)
    with torch.no_grad():
        logits = network(**batch)["logits"]
        torch.testing.assert_close(network.head(features), logits)


@pytest.mark.parametrize("model", ["mae", "simclr"])
def test_the_default_features_of_self_supervision_are_its_embedding(model):
    small = SMALL if model == "mae" else ["params.width=4"]
    network = build(model, overrides=small, facts=FACTS).eval()
    image = torch.randn(BATCH, 1, 8, 8)
    features = Features(network, find_default_node(network)).run({"image": image})
    with torch.no_grad():
        torch.testing.assert_close(features, network(image=image)["embedding"])


def test_tokens_are_pooled_without_padding():
    value = torch.randn(BATCH, TOKENS, DIM)
    names = ("batch", "tokens", "dim")
    mask = torch.arange(TOKENS) < torch.tensor([[TOKENS], [4], [0]])
    found = pool_features(value, names, "mean", mask)
    torch.testing.assert_close(found[0], value[0].mean(0))
    torch.testing.assert_close(found[1], value[1, :4].mean(0))
    assert found[2].abs().max() == 0
    assert torch.equal(pool_features(value, names, "first"), value[:, 0])
    assert torch.equal(pool_features(value, names, "all"), value.flatten(1))


def test_the_axis_of_the_features_is_found_by_its_name():
    value = torch.randn(BATCH, DIM, 2, 11)
    first = pool_features(value, ("batch", "channels", "height", "width"), "mean")
    torch.testing.assert_close(first, value.mean((2, 3)))
    last = pool_features(value, ("batch", "height", "width", "dim"), "mean")
    torch.testing.assert_close(last, value.mean((1, 2)))


def test_the_raw_input_is_pixels_and_counts_of_tokens():
    image = torch.randn(2, 1, 2, 3)
    tokens = torch.tensor([[5, 5, 6, 0], [6, 0, 0, 0]])
    batch = {"image": image, "tokens": tokens, "mask": tokens != 0}
    found = read_inputs(batch, {"tokens": {"tokens": 4, "vocab": 7}})
    expected = torch.zeros(2, 7)
    expected[0, 5], expected[0, 6], expected[1, 6] = 2, 1, 1
    assert torch.equal(found, torch.cat([image.flatten(1), expected], 1))


# What is chosen -----------------------------------------------------------------------------------


def blobs(deviation):
    values, label = make_blobs([60, 60, 60, 60], 5, cluster_std=deviation, random_state=3)
    rows = {"train": slice(0, 150), "val": slice(150, 190), "test": slice(190, 240)}
    return {part: (values[rows[part]], label[rows[part]]) for part in rows}


def test_the_neighbours_are_those_that_are_best_on_the_validation():
    parts = blobs(7.0)
    counts = (1, 3, 10, 30)
    found = probe(parts, counts)
    scores = {}
    for count in counts:
        model = KNeighborsClassifier(count, metric="cosine", weights="distance").fit(
            *parts["train"]
        )
        scores[count] = model.score(*parts["val"]), model.score(*parts["test"])
    best = max(value for value, _ in scores.values())
    assert found.neighbours == min(count for count in counts if scores[count][0] == best)
    assert found.knn == scores[found.neighbours][1]
    assert len({value for value, _ in scores.values()}) > 1
    assert score_neighbours(parts, 3, "val") == scores[3][0]


def test_samples_are_left_out_evenly():
    label = np.repeat(np.arange(5), 40)  # sorted by class, as in folders
    assert np.bincount(label[spread(200, 20)]).tolist() == [4] * 5
    assert spread(3, 10).tolist() == [0, 1, 2]
    assert spread(9, 1).tolist() == [0]


@pytest.mark.slow
def test_a_run_is_judged_beside_its_raw_input(network):
    found = probe_run(finish(network, "data=digits"), {"share": 0.2}, samples=100)
    learned, raw = found.rows
    assert (learned.features, learned.size) == ("pool", 12)
    assert (raw.features, raw.size) == ("raw input", 64)
    assert found.samples == {"train": 100, "val": 179, "test": 359}
    assert (found.available, found.classes) == (252, 10)
    data = Digits(share=0.2)
    data.read()
    parts = {}
    for part, values in data.parts.items():
        image = (values["image"] - data.mean) / data.std
        parts[part] = image.flatten(1).numpy(), values["label"].numpy()
    kept = spread(252, 100)
    values, label = parts["train"][0][kept], parts["train"][1][kept]
    scaler = StandardScaler().fit(values)
    model = LogisticRegression(C=raw.probed.strength, max_iter=1000)
    model.fit(scaler.transform(values), label)
    image, wanted = parts["test"]
    assert raw.probed.linear == pytest.approx(model.score(scaler.transform(image), wanted))
    assert raw.probed.linear > 0.8


# Messages -----------------------------------------------------------------------------------------


def test_a_node_that_is_not_there_is_named(network):
    with pytest.raises(ArgumentError) as error:
        probe_run(finish(network, "data=digits"), {}, node="layer.1")
    assert str(error.value) == (
        "the network has no such node; got layer.1; fits: did you mean layers.1 or layers.0?; "
        "fix: --node PATH, as `python -m blocks explain` prints it for this model"
    )
    assert error.value.code == "unknown-name"


def test_a_node_inside_a_scan_is_refused():
    graph = {
        "steps": {
            "scan": {"axis": "tokens", "state": {"hidden": 5}},
            "body": {"sum": {"block": "Linear", "in": "hidden", "features": 5}},
            "outputs": {"hidden": "sum"},
            "in": "x",
        },
    }
    network = build({"inputs": {"x": {"tokens": TOKENS, "dim": DIM}}, "graph": graph})
    with pytest.raises(ArgumentError) as error:
        Features(network, "steps.sum")
    assert str(error.value) == (
        "a node inside a scan runs once for each step; got steps.sum; "
        "fits: the scan itself: --node steps"
    )


def test_data_without_classes_are_refused(network):
    with pytest.raises(ArgumentError) as error:
        probe_run(finish(network, "data=digit_canvas"), {})
    assert str(error.value) == (
        "a probe needs data with one class for each sample, which can be read in order; "
        "got DigitCanvas; fits: images, labelled texts and signals, e.g. data=digits"
    )


def test_other_inputs_than_those_of_training_are_refused(network):
    with pytest.raises(ArgumentError) as error:
        probe_run(finish(network, "data=digits"), {"size": 16})
    assert str(error.value) == (
        "the data do not fit the network; "
        "got image={'channels': 1, 'height': 16, 'width': 16}; "
        "fits: image={'channels': 1, 'height': 8, 'width': 8}, as in training"
    )


@pytest.mark.slow
def test_a_part_without_samples_and_features_that_are_not_finite_are_refused(network):
    with pytest.raises(ArgumentError, match="the part val has no samples; fix: a share for it"):
        probe_run(finish(network, "data=digits"), {"val": 0.0, "share": 0.1})
    broken = build("vit", overrides=SMALL, facts=FACTS).eval()
    torch.nn.init.constant_(broken.norm.weight, float("nan"))
    with pytest.raises(ArgumentError, match="got 126 of 126 samples of the part train at pool"):
        probe_run(finish(broken, "data=digits"), {"share": 0.1})


# A run --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_finished_run_is_probed_as_its_test_was(tmp_path, capsys):
    words = ["experiment=simclr", "model.params.width=4", "trainer.max_epochs=1"]
    words += ["callbacks.progress.style=none", f"runs={tmp_path}"]
    place = tmp_path / "run"
    composed = compose(words)
    known = run_folder.describe_start(composed.config, words, place)
    train.train(composed, place, run_folder.Record(place, **known))
    capsys.readouterr()
    assert use(["probe", str(place), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    record = json.loads((place / "run.json").read_text(encoding="utf-8"))
    learned, raw = said["probes"]
    assert learned["linear"] == pytest.approx(record["test"]["test/linear_accuracy"], abs=1e-6)
    assert raw["features"] == "raw input"
    assert said["samples"] == {"train": 1259, "val": 179, "test": 359}
    assert use(["probe", str(place), "--node", "nowhere", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)
    assert error["errors"][0]["problem"] == "the network has no such node"
    assert use(["probe", str(place), "share=0.5", "--samples", "200"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["features", "size", "linear", "C", "k-NN", "k"]
    assert lines[3:] == [
        "200 train, 179 val, 359 test; 10 classes",
        f"{lines[4].split()[0]} training samples are there: --samples takes more",
    ]
