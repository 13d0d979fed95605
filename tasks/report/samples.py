"""Samples of the test for a look inside the network: what flows in, and how it is to be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

SAMPLES, LAYERS, HEADS = 4, 6, 8  # the most that is shown of each
TEXT = 32  # tokens of a text that attention is shown of


@dataclass(frozen=True)
class Sample:
    """One sample of the test, and how it is to be read.

    Args:
        title: what stands above it.
        batch: the inputs of the network, one row each.
        image: (channels, height, width) in [0, 1], for images.
        tokens: the name of each token of the input; of the target, where there is a source as well.
        source: the name of each token of the source.
        said: the name of what was said at each token.
        rows: which tokens look; None for all.
        columns: which tokens are looked at; None for all.
        cross: only cross-attention looks at the image; other attention of the network is among
            words.
    """

    title: str
    batch: Mapping[str, Tensor]
    image: Tensor | None = None
    tokens: Sequence[str] | None = None
    source: Sequence[str] | None = None
    said: Sequence[str] | None = None
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


Result = Table | Gallery | Predictions


def evenly(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, the first and the last included."""
    if len(items) <= most:
        return list(items)
    return [items[round(number * (len(items) - 1) / (most - 1))] for number in range(most)]


def without_common_end(paths: Sequence[str]) -> dict[str, str]:
    """Each path without the words that all of them end in: "layers.0.attention.inner" is layer
    0.
    """
    split = [path.split(".") for path in paths]
    shared = 0
    least = min(map(len, split), default=1)
    while (
        len(paths) > 1 and shared < least - 1 and len({parts[-1 - shared] for parts in split}) == 1
    ):
        shared += 1
    return {
        path: ".".join(parts[: len(parts) - shared])
        for path, parts in zip(paths, split, strict=True)
    }
