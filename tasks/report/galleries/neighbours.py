"""The nearest neighbours of images by their embeddings, and the cosines of all pairs."""

from typing import Any

import numpy as np
from PIL import Image

from tasks.report import matrices, overlays, page
from tasks.report.samples import Neighbours

CELL = 2  # pixels of a pair in the matrix


def draw_neighbours(result: Neighbours, data: Any) -> str:
    """Return a row for each test sample: the sample, then its nearest training samples."""
    rows = []
    for index, found in result.rows:
        figures = [overlays.draw_sample(data.raw_sample("test", index), f"test image {index}")]
        for near, cosine in found:
            caption = f"train {near}, {cosine:.3f}"
            figures.append(overlays.draw_sample(data.raw_sample("train", near), caption))
        rows.append(page.pictures(figures))
    about = "A test image, and the training images with the largest cosine of the embeddings."
    return f'<p class="soft">{about}</p>' + "".join(rows)


def draw_similarity(result: Neighbours) -> str:
    """Return the cosines of all pairs of some test samples, in the order of their classes."""
    cosine = result.similarity.numpy()
    low, high = cosine.min(), cosine.max()
    share = (cosine - low) / max(high - low, 1e-9)
    pixels = matrices.viridis(np.repeat(np.repeat(share, CELL, 0), CELL, 1))[..., :3]
    picture = Image.fromarray(pixels.astype(np.uint8))
    words = (
        f"Cosines of the embeddings of {len(cosine)} test samples in the order of their classes, "
        f"from {low:.2f} (dark) to {high:.2f}"
    )
    return page.sheet(overlays.png(picture), words)
