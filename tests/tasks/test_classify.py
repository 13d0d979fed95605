"""Classification: losses, weights, sampling and metrics, of one class and of several labels."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as sk
from sklearn.utils.class_weight import compute_class_weight
from torchmetrics.classification import (
    BinaryCalibrationError,
    MulticlassCalibrationError,
    MultilabelF1Score,
)

from tasks.data.sampler import Order, draw_balanced, generator
from tasks.data.split import stratify
from tasks.errors import ArgumentError
from tasks.learn.classify import Classify
from tasks.learn.losses.classes import balance_classes, balance_labels, class_loss, label_loss
from tasks.learn.metrics.classification import make_class_metrics, make_label_metrics
from tasks.learn.metrics.histogram import CANDIDATES, Threshold
from tasks.learn.metrics.running import metric_states, set_metric_states

SAMPLES, CLASSES = 211, 5


def draw(seed=0, several=False):
    source = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(SAMPLES, CLASSES, generator=source)
    if several:
        noise = torch.randn(SAMPLES, CLASSES, generator=source)
        return logits, (logits + 2 * noise > torch.arange(CLASSES)).long()
    noise = 3 * torch.randn(SAMPLES, CLASSES, generator=source)
    return logits, (logits + noise).argmax(1)


def make_task(**options):
    facts = {"classes": CLASSES}
    if options.get("kind") == "multilabel":
        facts["label"] = {"classes": CLASSES, "dtype": "int"}
    return Classify(torch.nn.Identity(), optimizer=torch.optim.SGD, facts=facts, **options)


class Labelled:
    """Stands for a data module."""

    classes = ["a", "b", "c", "d", "e"]  # noqa: RUF012

    def __init__(self, label):
        self.label = label

    def training_labels(self):
        return self.label


# Losses -------------------------------------------------------------------------------------------


def test_the_focal_loss_is_the_formula():
    logits, label = draw()
    share = logits.double().softmax(1)[torch.arange(SAMPLES), label].numpy()
    expected = (-((1 - share) ** 2.5) * np.log(share)).mean()
    loss, count = class_loss(logits.double(), label, loss="focal", gamma=2.5)
    assert float(loss) == pytest.approx(expected, rel=1e-9)
    assert count == SAMPLES
    logits, label = draw(several=True)
    share = logits.double().sigmoid().numpy()
    right = np.where(label.numpy() > 0, share, 1 - share)
    expected = (-((1 - right) ** 2.5) * np.log(right)).mean()
    loss, _ = label_loss(logits.double(), label, loss="focal", gamma=2.5)
    assert float(loss) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 0.0, 2.0, 3.0])])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_without_gamma_the_focal_loss_is_the_cross_entropy(weight, smoothing):
    logits, label = draw(several=True)
    options = {"weight": weight, "smoothing": smoothing if weight is None else 0.0}
    expected, _ = label_loss(logits, label, **options)
    found, _ = label_loss(logits, label, loss="focal", gamma=0.0, **options)
    torch.testing.assert_close(found, expected)
    logits, label = draw()
    expected, _ = class_loss(logits, label, **options)
    found, _ = class_loss(logits, label, loss="focal", gamma=0.0, **options)
    torch.testing.assert_close(found, expected)


def test_weighted_losses_are_those_of_torch():
    weight = torch.tensor([0.5, 1.0, 0.0, 2.0, 3.0])
    logits, label = draw()
    found, count = class_loss(logits, label, weight=weight, smoothing=0.1)
    torch.testing.assert_close(found, F.cross_entropy(logits, label, weight, label_smoothing=0.1))
    assert float(count) == pytest.approx(float(weight[label].sum()))
    logits, label = draw(several=True)
    found, _ = label_loss(logits, label, weight=weight)
    expected = F.binary_cross_entropy_with_logits(logits, label.float(), pos_weight=weight)
    torch.testing.assert_close(found, expected)


def test_a_batch_whose_classes_have_no_weight_has_no_loss():
    logits = torch.randn(3, CLASSES, requires_grad=True)
    weight = torch.tensor([0.0, 1, 1, 1, 1])
    for loss in ("cross_entropy", "focal", "squared_error"):
        found, count = class_loss(logits, torch.zeros(3).long(), loss=loss, weight=weight)
        assert float(found.detach()) == float(count) == 0
        assert torch.autograd.grad(found, logits)[0].abs().max() == 0


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "squared_error"])
def test_batches_with_their_counts_are_one_large_batch(kind, loss):
    """As gradients of several batches and processes are summed: weighted by the counts."""
    logits, label = draw(several=kind == "multilabel")
    task = make_task(kind=kind, loss=loss, label_smoothing=0.1, class_weights=[1, 2, 3, 4, 5])
    whole, count = task.weighted_loss(logits, label)
    parts = []
    for rows in torch.arange(SAMPLES).split([3, 50, 100, 58]):
        part, number = task.weighted_loss(logits[rows], label[rows])
        parts.append((part * number, number))
    totals = [torch.as_tensor(sum(values)).float() for values in zip(*parts, strict=True)]
    torch.testing.assert_close(totals[0] / totals[1], whole)
    assert float(totals[1]) == pytest.approx(float(count))


def test_balanced_weights_are_those_of_scikit_learn():
    _, label = draw()
    expected = compute_class_weight("balanced", classes=np.arange(CLASSES), y=label.numpy())
    counts = label.bincount(minlength=CLASSES)
    np.testing.assert_allclose(balance_classes(counts), expected, rtol=1e-6)
    task = make_task(class_weights="balanced")
    task.check(Labelled(label))
    np.testing.assert_allclose(task.weight, expected, rtol=1e-6)
    _, label = draw(several=True)
    task = make_task(kind="multilabel", class_weights="balanced")
    task.check(Labelled(label))
    torch.testing.assert_close(task.weight, (1 - label).sum(0) / label.sum(0))
    assert balance_labels(torch.tensor([0, 7]), 7).tolist() == [7, pytest.approx(1 / 7)]


def test_weights_by_name_leave_the_others_as_they_are():
    task = make_task(class_weights={"b": 3, "e": 0})
    task.check(Labelled(None))
    assert task.weight.tolist() == [1, 3, 1, 1, 0]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "class_weights has one number for each class; got 2 numbers; fits: 5 numbers, of"),
        ([1, 2, -1, 0, 1], "a class weight is a number that is not negative, and one of them is"),
        ([0] * 5, "a class weight is a number that is not negative, and one of them is positive"),
        ({"x": 2}, "there is no such class; got x; fits: a, b, c, d, e"),
    ],
)
def test_weights_that_fit_no_class_are_refused(weights, message):
    with pytest.raises(ArgumentError, match=f"^{message}"):
        make_task(class_weights=weights).check(Labelled(None))


# Sampling -----------------------------------------------------------------------------------------


def test_a_balanced_epoch_has_as_many_samples_of_each_class():
    strata = torch.tensor([0] * 90 + [1] * 9 + [2] * 2)
    drawn = draw_balanced(strata, generator(0))
    assert len(drawn) == 101
    counts = strata[drawn].bincount()
    assert sorted(counts.tolist()) == [33, 34, 34]
    times = drawn.bincount(minlength=101)
    assert times[:90].max() == 1  # none twice before all were drawn
    assert set(times[90:99].tolist()) == {3, 4}
    assert times[99:].min() >= 16


def test_the_order_depends_on_seed_and_epoch_alone_and_processes_share_it():
    strata = torch.tensor([0] * 30 + [1] * 7)
    order = Order(37, shuffle=True, seed=3, strata=strata)
    order.set_epoch(2)
    whole = order.indices()
    shares = []
    for rank in range(2):
        part = Order(37, shuffle=True, seed=3, rank=rank, world=2, strata=strata)
        part.set_epoch(2)
        shares.append(part.indices())
    assert torch.equal(torch.stack(shares, 1).flatten(), whole[:36])
    order.set_epoch(3)
    assert not torch.equal(order.indices(), whole)
    order.set_epoch(2)
    assert torch.equal(order.indices(), whole)


def test_several_labels_are_one_class_by_the_rarest():
    label = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 1, 1], [0, 1, 0]])
    # 3 of the first, 3 of the second, 2 of the third
    assert stratify(label).tolist() == [1, 1, 0, 3, 3, 2]


# Metrics ------------------------------------------------------------------------------------------

CLASS_NAMES = ["accuracy", "top2", "balanced_accuracy", "f1", "precision", "recall", "auroc", "map"]
LABEL_NAMES = ["map", "auroc", "f1", "f1_micro", "precision", "recall", "accuracy", "calibration"]


def feed(metrics, share, label, sizes=(100, 80, 31)):
    for rows in torch.arange(SAMPLES).split(list(sizes)):
        for metric in metrics.values():
            metric.update(share[rows], label[rows])
    return {name: float(metric.compute()) for name, metric in metrics.items()}


def test_metrics_of_classes_are_those_of_scikit_learn():
    logits, label = draw()
    share = logits.softmax(1)
    found = feed(make_class_metrics([*CLASS_NAMES, "calibration"], CLASSES), share, label)
    guess, one_hot = share.argmax(1), F.one_hot(label, CLASSES)
    score = share.double().numpy()
    score /= score.sum(1, keepdims=True)
    macro = {"average": "macro", "zero_division": 0}
    expected = {
        "accuracy": sk.accuracy_score(label, guess),
        "top2": sk.top_k_accuracy_score(label, score, k=2),
        "balanced_accuracy": sk.balanced_accuracy_score(label, guess),
        "f1": sk.f1_score(label, guess, **macro),
        "precision": sk.precision_score(label, guess, **macro),
        "recall": sk.recall_score(label, guess, **macro),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name
    auroc = sk.roc_auc_score(label, score, multi_class="ovr")
    assert found["auroc"] == pytest.approx(auroc, abs=5e-4)
    average = sk.average_precision_score(one_hot, share, average="macro")
    assert found["map"] == pytest.approx(average, abs=5e-3)
    reference = MulticlassCalibrationError(CLASSES, n_bins=15)
    assert found["calibration"] == pytest.approx(float(reference(share, label)), abs=1e-5)


def test_metrics_of_labels_are_those_of_scikit_learn_and_torchmetrics():
    logits, label = draw(several=True)
    share = logits.sigmoid()
    thresholds = torch.tensor([0.3, 0.5, 0.42, 0.111, 0.87])
    found = feed(make_label_metrics(LABEL_NAMES, thresholds), share, label)
    guess = (share >= thresholds).long()
    macro = {"average": "macro", "zero_division": 0}
    expected = {
        "f1": sk.f1_score(label, guess, **macro),
        "f1_micro": sk.f1_score(label, guess, average="micro"),
        "precision": sk.precision_score(label, guess, **macro),
        "recall": sk.recall_score(label, guess, **macro),
        "accuracy": float((guess == label).float().mean()),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(label, share), abs=5e-4)
    average = sk.average_precision_score(label, share, average="macro")
    assert found["map"] == pytest.approx(average, abs=5e-3)
    reference = BinaryCalibrationError(n_bins=15)(share.flatten(), label.flatten())
    assert found["calibration"] == pytest.approx(float(reference), abs=1e-5)


def test_scores_on_the_edges_of_the_bins_are_exact():
    """Probabilities that lie on the edges lose nothing, so the curves are those of scikit-learn."""
    logits, label = draw(several=True)
    share = (logits.sigmoid() * 98).round() / 100 + 0.01
    found = feed(make_label_metrics(["map", "auroc"], torch.full((CLASSES,), 0.5)), share, label)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(label, share), abs=1e-6)
    average = sk.average_precision_score(label, share, average="macro")
    assert found["map"] == pytest.approx(average, abs=1e-6)


def test_a_class_without_samples_does_not_count_in_curves():
    logits, label = draw(several=True)
    share = logits.sigmoid()
    label[:, 2] = 0
    others = [0, 1, 3, 4]
    found = feed(make_label_metrics(["map", "auroc"], torch.full((CLASSES,), 0.5)), share, label)
    assert found["auroc"] == pytest.approx(
        sk.roc_auc_score(label[:, others], share[:, others]), abs=5e-4
    )
    average = sk.average_precision_score(label[:, others], share[:, others], average="macro")
    assert found["map"] == pytest.approx(average, abs=5e-3)


@pytest.mark.parametrize("each", [False, True])
def test_the_threshold_is_the_one_with_the_best_f1(each):
    logits, label = draw(several=True)
    share = logits.sigmoid()
    metric = Threshold(CLASSES, each=each)
    feed({"threshold": metric}, share, label)
    scores = []
    for candidate in CANDIDATES.tolist():
        score = MultilabelF1Score(CLASSES, threshold=candidate - 1e-7, average="none")
        scores.append(score(share, label))
    scores = torch.stack(scores)
    best = scores.max(0).values if each else scores.mean(1).max()
    rows = (metric.chosen * 100).round().long() - 1
    chosen = scores[rows, torch.arange(CLASSES)]
    torch.testing.assert_close(chosen if each else chosen.mean(), best)
    assert (len(metric.chosen.unique()) > 1) == each


def test_the_states_of_two_processes_add_up_and_can_be_restored():
    logits, label = draw(several=True)
    share = logits.sigmoid()
    start = torch.full((CLASSES,), 0.5)
    whole = make_label_metrics(LABEL_NAMES, start)
    expected = feed(whole, share, label)
    ranks = [make_label_metrics(LABEL_NAMES, start) for _ in range(2)]
    for rank, metrics in enumerate(ranks):
        for metric in metrics.values():
            metric.update(share[rank::2], label[rank::2])
    for name, metric in ranks[0].items():
        for state in metric._defaults:
            assert metric._reductions[state] is torchmetrics_sum(), name
            total = getattr(metric, state) + getattr(ranks[1][name], state)
            setattr(metric, state, total)
        metric._computed = None
        assert float(metric.compute()) == pytest.approx(expected[name], abs=1e-12)
    states = copy.deepcopy(metric_states(whole))
    again = make_label_metrics(LABEL_NAMES, start)
    set_metric_states(again, states)
    assert {name: float(metric.compute()) for name, metric in again.items()} == expected


def torchmetrics_sum():
    from torchmetrics.utilities import dim_zero_sum

    return dim_zero_sum


@pytest.mark.parametrize(
    ("kind", "names", "message"),
    [
        (
            "multiclass",
            ["accuracy", "top9"],
            "top9 needs 9 classes or more; got 5 classes; fits: top4",
        ),
        (
            "multiclass",
            ["acc"],
            "there is no such metric; got acc; fits: accuracy, balanced_accuracy, f1, precision, "
            "recall, auroc, map, calibration, top5",
        ),
        (
            "multilabel",
            ["top5"],
            "there is no such metric; got top5; fits: map, auroc, calibration, f1, f1_micro, "
            "precision, recall, accuracy",
        ),
    ],
)
def test_a_metric_that_there_is_not_is_answered_with_those_that_fit(kind, names, message):
    with pytest.raises(ArgumentError) as raised:
        make_task(kind=kind, metrics=names)
    assert str(raised.value) == message


def test_the_first_metric_is_the_headline_and_all_are_logged_in_the_validation():
    task = make_task(metrics=["f1", "accuracy", "top3"])
    assert task.headline == "f1"
    assert task.metric_names() == [
        "train/loss",
        "train/accuracy",
        "val/loss",
        "val/f1",
        "val/accuracy",
        "val/top3",
        "train/learning rate",
    ]


@pytest.mark.parametrize("threshold", [0.0, 1.0, "best"])
def test_a_threshold_is_a_probability(threshold):
    with pytest.raises(ArgumentError, match="a threshold is a probability"):
        make_task(kind="multilabel", threshold=threshold)
