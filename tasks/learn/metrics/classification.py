"""The metrics of classification by name."""

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from tasks.errors import ArgumentError
from tasks.learn.metrics.histogram import (
    AreaUnderROC,
    AtThreshold,
    AveragePrecision,
    CalibrationError,
)

TOP = re.compile(r"top([1-9]\d*)")
ABOVE = ("f1", "f1_micro", "precision", "recall", "accuracy")  # scores at a threshold

# one class for each sample; means over the classes, where these differ
OF_CLASSES: dict[str, Callable[[int], Metric]] = {
    "accuracy": lambda classes: MulticlassAccuracy(classes, average="micro"),
    "balanced_accuracy": lambda classes: MulticlassAccuracy(classes, validate_args=False),
    "f1": lambda classes: MulticlassF1Score(classes, validate_args=False),
    "precision": lambda classes: MulticlassPrecision(classes, validate_args=False),
    "recall": lambda classes: MulticlassRecall(classes, validate_args=False),
    "auroc": AreaUnderROC,
    "map": AveragePrecision,
    "calibration": lambda classes: CalibrationError(),
}
# several labels for each sample
OF_LABELS: dict[str, Callable[[int], Metric]] = {
    "map": AveragePrecision,
    "auroc": AreaUnderROC,
    "calibration": lambda classes: CalibrationError(),
}


def make_class_metrics(names: Sequence[str], classes: int) -> dict[str, Metric]:
    """Return the metrics of samples with one class each, by name.

    Args:
        names: of `OF_CLASSES`, or topK, the share of the samples whose class is among the K most
            probable.
        classes: how many.

    Raises:
        ArgumentError: a name is unknown, or there are fewer than K classes.
    """
    found = {}
    for name in names:
        top = TOP.fullmatch(str(name))
        if top is not None:
            found[name] = make_top(int(top[1]), classes)
        elif name in OF_CLASSES:
            found[name] = OF_CLASSES[name](classes)
        else:
            raise unknown_metric(name, [*OF_CLASSES, "top5"])
    return found


def make_label_metrics(names: Sequence[str], thresholds: Tensor) -> dict[str, Metric]:
    """Return the metrics of samples with several labels each, by name.

    Args:
        names: of `OF_LABELS` or `ABOVE`.
        thresholds: (classes,), of the probabilities.

    Raises:
        ArgumentError: a name is unknown.
    """
    found: dict[str, Metric] = {}
    for name in names:
        if name in ABOVE:
            found[name] = AtThreshold(name, thresholds)
        elif name in OF_LABELS:
            found[name] = OF_LABELS[name](len(thresholds))
        else:
            raise unknown_metric(name, [*OF_LABELS, *ABOVE])
    return found


def make_top(number: int, classes: int) -> Metric:
    """Return the share of the samples whose class is among the most probable ones.

    Raises:
        ArgumentError: there are not as many classes.
    """
    if number > classes:
        raise ArgumentError(
            "metrics",
            f"top{number} needs {number} classes or more",
            got=f"{classes} classes",
            fits=f"top{max(1, classes - 1)}",
        )
    return MulticlassAccuracy(classes, average="micro", top_k=number, validate_args=False)


def unknown_metric(name: object, known: Sequence[str]) -> ArgumentError:
    """Return the error to raise for a name that no metric has."""
    return ArgumentError("metrics", "there is no such metric", got=str(name), fits=", ".join(known))


def read_threshold(value: float | str) -> float:
    """Return the threshold to begin with: a number, or 0.5 where one is chosen.

    Raises:
        ArgumentError: it is neither `auto` nor `each` nor a number between 0 and 1.
    """
    if value in ("auto", "each"):
        return 0.5
    if isinstance(value, str) or not 0 < value < 1:
        raise ArgumentError(
            "threshold",
            "a threshold is a probability",
            got=f"threshold={value}",
            fits="auto, each, or a number between 0 and 1",
        )
    return float(torch.tensor(float(value)))
