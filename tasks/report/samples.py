"""Samples and results of the test, as a task returns them for the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

SAMPLES, LAYERS, HEADS = 4, 6, 8  # the most of each in a report
TEXT = 32  # the most tokens of a text in a drawing of attention


@dataclass(frozen=True)
class Sample:
    """One sample of the test, and how the report shows it.

    Args:
        title: the heading.
        batch: the inputs of the network, one row each.
        image: (channels, height, width) in [0, 1], for images.
        tokens: the name of each token of the input; of the target, where there is a source as well.
        source: the name of each token of the source.
        predicted: the name of the prediction at each token.
        rows: the queries to show; None for all.
        columns: the keys to show; None for all.
        cross: only cross-attention is over the image; other attention of the network is among
            words.
    """

    title: str
    batch: Mapping[str, Tensor]
    image: Tensor | None = None
    tokens: Sequence[str] | None = None
    source: Sequence[str] | None = None
    predicted: Sequence[str] | None = None
    rows: Sequence[int] | None = None
    columns: Sequence[int] | None = None
    cross: bool = False


@dataclass(frozen=True)
class Table:
    """Results of the test as a table of texts."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Gallery:
    """Samples of the test by index, each with a caption."""

    title: str
    samples: Sequence[tuple[int, str]]


@dataclass(frozen=True)
class Predictions:
    """Predicted classes of the test samples, in the order of the data.

    Args:
        counts: number of samples by true class and predicted class.
        index: (samples,).
        label: (samples,).
        probabilities: (samples, classes).
    """

    counts: Sequence[Sequence[int]]
    index: Tensor
    label: Tensor
    probabilities: Tensor


@dataclass(frozen=True)
class Labels:
    """Predicted labels of the test samples, in the order of the data.

    Args:
        index: (samples,).
        label: (samples, classes), 1 for each label that a sample has.
        probabilities: (samples, classes).
        threshold: (classes,), the probability from which on a label is predicted.
    """

    index: Tensor
    label: Tensor
    probabilities: Tensor
    threshold: Tensor


@dataclass(frozen=True)
class Numbers:
    """Predicted numbers of the test samples, in the order of the data and in their units.

    Args:
        names: of the targets.
        index: (samples,).
        target: (samples, targets).
        predicted: (samples, targets).
    """

    names: Sequence[str]
    index: Tensor
    target: Tensor
    predicted: Tensor


@dataclass(frozen=True)
class Masked:
    """The true and the predicted mask of a test sample.

    Args:
        index: of the sample.
        truth: (height, width), the class of each pixel; a negative one is not judged.
        predicted: (height, width).
        right: number of pixels that are right.
        judged: number of pixels that are judged.
    """

    index: int
    truth: Tensor
    predicted: Tensor
    right: int
    judged: int

    def accuracy(self) -> float:
        """Return the share of the pixels that is right; one where none is judged."""
        return self.right / self.judged if self.judged else 1.0


@dataclass(frozen=True)
class Masks:
    """Predicted masks of the test samples.

    Args:
        counts: number of pixels by true class and predicted class.
        scores: of each sample: index, pixels that are right, pixels that are judged.
        first: the first samples.
        worst: the samples with the smallest share of right pixels.
    """

    counts: Sequence[Sequence[int]]
    scores: Sequence[tuple[int, int, int]]
    first: Sequence[Masked]
    worst: Sequence[Masked]


@dataclass(frozen=True)
class Reconstructed:
    """An image of the test, cut into patches, and what a network made of the hidden ones.

    Args:
        index: of the sample.
        target: (patches, values), row by row; the values of a patch are rows, columns, channels.
        value: (patches, values), as reconstructed.
        mask: (patches,), True where a patch was hidden.
    """

    index: int
    target: Tensor
    value: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Reconstructions:
    """Reconstructed images of the test."""

    shown: Sequence[Reconstructed]


@dataclass(frozen=True)
class Neighbours:
    """The nearest training samples of some test samples, by cosine of their embeddings.

    Args:
        rows: test index, and the training indices with their cosines, the nearest first.
        similarity: (test samples, test samples), cosines of embeddings, sorted by class.
        label: (test samples,), the class of each row of the matrix.
    """

    rows: Sequence[tuple[int, Sequence[tuple[int, float]]]]
    similarity: Tensor
    label: Tensor


Result = Table | Gallery | Predictions | Labels | Numbers | Masks | Reconstructions | Neighbours


def pick_evenly(items: Sequence[Any], most: int) -> list[Any]:
    """Return at most `most` items at equal distances, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(number * (len(items) - 1) / (most - 1))] for number in range(most)]


def shorten_paths(paths: Sequence[str]) -> dict[str, str]:
    """Return each path without the components that all paths end in: "layers.0.attention.inner" is
    "layers.0".
    """
    short = list(paths)
    while len(paths) > 1:
        heads, _, ends = zip(*[path.rpartition(".") for path in short], strict=True)
        if len(set(ends)) > 1 or not all(heads):
            break
        short = list(heads)
    return dict(zip(paths, short, strict=True))
