"""Attention and feature maps of a trained network, as sections of the report.

A task returns test samples as images or as tokens with names; the rest is the same for all tasks.
"""

from collections.abc import Mapping, Sequence

from torch import nn

from tasks.report import images, tokens
from tasks.report.samples import SAMPLES, Sample


def sections(
    network: nn.Module, samples: Sequence[Sample], names: Mapping[str, Sequence[str | None]]
) -> list[tuple[str, str]]:
    """Return attention over images, feature maps and attention over tokens, as far as the network
    has them.

    Args:
        network: trained; it does not change.
        samples: of the test.
        names: the names of the axes of each node's output, by path.
    """
    with_image: list[Sample] = []
    with_tokens: list[Sample] = []
    for sample in samples:
        if sample.image is not None:
            with_image.append(sample)
        if sample.tokens is not None:
            with_tokens.append(sample)
    found: list[tuple[str, str]] = []
    if with_image:
        found += images.over_images(network, with_image[:SAMPLES])
        found += images.feature_maps(network, with_image, names)
    if with_tokens:
        found += tokens.over_tokens(network, with_tokens[:SAMPLES])
    return found
