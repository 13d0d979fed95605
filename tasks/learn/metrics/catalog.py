"""Metrics by name, for the section `metrics` of an objective."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MulticlassJaccardIndex,
)

from tasks.errors import ArgumentError
from tasks.learn.metrics.running import Determination, Mean

IGNORED = -100  # the label of what is not judged
Shape = Sequence[int]


def flatten_classes(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (samples, classes) and labels (samples,), without those that are ignored.

    Args:
        logits: (batch, ..., classes), or (batch, classes, ...).
        label: (batch, ...).
    """
    if logits.shape[:-1] != label.shape:
        logits = logits.movedim(1, -1)
    logits, label = logits.flatten(0, -2), label.flatten()
    judged = label != IGNORED
    return logits[judged], label[judged]


def flatten_numbers(value: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as (numbers,)."""
    return value.flatten().float(), target.flatten().float()


def count_classes(shapes: Sequence[Shape]) -> int:
    """Return the number of classes of logits, beside the shape of their label.

    Raises:
        ArgumentError: the shapes are not those of logits and label.
    """
    logits, label = map(tuple, shapes)
    if logits[:-1] == label:
        return logits[-1]
    if logits[:1] + logits[2:] == label:
        return logits[1]
    raise ArgumentError(
        "in",
        "logits have the axes of the label, and one of the classes",
        got=f"{logits[1:]} and {label[1:]} of each sample",
        fits="in: [logits, batch.label]",
    )


def make_accuracy(shapes: Sequence[Shape], *, top: int = 1) -> Metric:
    """Share of the samples whose class is among the `top` largest logits."""
    classes = count_classes(shapes)
    if not 1 <= top <= classes:
        raise ArgumentError(
            "top", f"top is between 1 and the {classes} classes", got=f"top={top}", fits="top=1"
        )
    return MulticlassAccuracy(classes, average="micro", top_k=top)


def make_f1(shapes: Sequence[Shape]) -> Metric:
    """F1, the mean over the classes."""
    return MulticlassF1Score(count_classes(shapes), average="macro")


def make_auroc(shapes: Sequence[Shape]) -> Metric:
    """Area under the curve of true against false positives, the mean over the classes."""
    return MulticlassAUROC(count_classes(shapes), average="macro", thresholds=200)


def make_overlap(shapes: Sequence[Shape]) -> Metric:
    """Intersection over union, the mean over the classes."""
    return MulticlassJaccardIndex(count_classes(shapes), average="macro")


def require_equal(shapes: Sequence[Shape]) -> None:
    """Raise an ArgumentError unless two shapes are equal."""
    first, second = map(tuple, shapes)
    if first != second:
        raise ArgumentError(
            "in",
            "two numbers are compared, so the shapes must agree",
            got=f"{first[1:]} and {second[1:]} of each sample",
        )


def make_absolute_error(shapes: Sequence[Shape]) -> Metric:
    """Mean absolute error over all numbers."""
    require_equal(shapes)
    return MeanAbsoluteError()


def make_squared_error(shapes: Sequence[Shape]) -> Metric:
    """Mean squared error over all numbers."""
    require_equal(shapes)
    return MeanSquaredError()


def make_determination(shapes: Sequence[Shape]) -> Metric:
    """R2 over all numbers: the share of their variance that is explained."""
    require_equal(shapes)
    return Determination(1)


def make_mean(shapes: Sequence[Shape]) -> Metric:
    """Mean of all numbers of one value."""
    return Mean()


def weigh_mean(value: Tensor) -> tuple[Tensor, int]:
    """Return the mean of a value, and its weight among other batches."""
    return value.float().mean(), len(value) if value.dim() else 1


@dataclass(frozen=True)
class Kind:
    """A metric that YAML may name.

    Args:
        make: makes it from the shapes of what flows in, and its arguments.
        prepare: what flows in -> the arguments of `update`.
        inputs: names of what flows in.
    """

    make: Callable[..., Metric]
    prepare: Callable[..., tuple[Any, ...]]
    inputs: tuple[str, ...]


CLASSES, NUMBERS = ("logits", "label"), ("value", "target")
METRICS: dict[str, Kind] = {
    "Accuracy": Kind(make_accuracy, flatten_classes, CLASSES),
    "F1": Kind(make_f1, flatten_classes, CLASSES),
    "AUROC": Kind(make_auroc, flatten_classes, CLASSES),
    "Overlap": Kind(make_overlap, flatten_classes, CLASSES),
    "AbsoluteError": Kind(make_absolute_error, flatten_numbers, NUMBERS),
    "SquaredError": Kind(make_squared_error, flatten_numbers, NUMBERS),
    "R2": Kind(make_determination, flatten_numbers, NUMBERS),
    "Mean": Kind(make_mean, weigh_mean, ("value",)),
}


def make_metric(
    spec: Mapping[str, Any], shapes: Sequence[Shape], own: type[Metric] | None = None
) -> tuple[Kind, Metric]:
    """Return a metric by its name and arguments.

    Args:
        spec: `block`, the name, and the arguments.
        shapes: of what flows in, with the batch.
        own: a class of the user's own, in place of a name.

    Raises:
        ArgumentError: an unknown name or argument, or shapes that do not fit.
    """
    arguments = dict(spec)
    if own is not None:
        del arguments["_target_"]
        return Kind(own, lambda *values: values, ()), own(**arguments)
    name = arguments.pop("block", None)
    if name not in METRICS:
        raise ArgumentError(
            "block", f"no metric {name!r}", got=f"block: {name}", fits=", ".join(METRICS)
        )
    kind = METRICS[name]
    if len(shapes) != len(kind.inputs):
        raise ArgumentError(
            "in",
            f"{name} takes {len(kind.inputs)} inputs: {', '.join(kind.inputs)}",
            got=f"{len(shapes)} inputs",
        )
    known = [each for each in inspect.signature(kind.make).parameters if each != "shapes"]
    for argument, value in arguments.items():
        if argument not in known:
            raise ArgumentError(
                argument,
                f"{name} has no argument {argument}",
                fits=", ".join(known) or "none beside `block` and `in`",
            )
        if not isinstance(value, int) or isinstance(value, bool):
            raise ArgumentError(argument, f"{argument} is a whole number", got=repr(value))
    return kind, kind.make(shapes, **arguments)


def detach(values: Sequence[Tensor]) -> list[Tensor]:
    """Return values without their gradients, in a precision that sums keep."""
    found = []
    for value in values:
        value = value.detach()
        if value.dtype in (torch.float16, torch.bfloat16):
            value = value.float()
        found.append(value)
    return found
