"""What a trained network looks at, and what its channels answer to, as sections of the report.

A task says with its samples how they are to be read: as an image, or as tokens with names. The rest
is the same.
"""

from collections.abc import Mapping, Sequence

from torch import nn

from tasks.report import images, tokens
from tasks.report.samples import SAMPLES, Sample


def sections(
    network: nn.Module, samples: Sequence[Sample], names: Mapping[str, Sequence[str | None]]
) -> list[tuple[str, str]]:
    """Attention over images and tokens, and feature maps; nothing of what the network has not.

    Args:
        network: trained; it stays as it is.
        samples: of the test.
        names: the names of the axes of what each node gives, by path.
    """
    pictures = [sample for sample in samples if sample.image is not None]
    texts = [sample for sample in samples if sample.tokens is not None]
    found: list[tuple[str, str]] = []
    if pictures:
        found += images.over_images(network, pictures[:SAMPLES])
        found += images.feature_maps(network, pictures, names)
    if texts:
        found += tokens.over_tokens(network, texts[:SAMPLES])
    return found
