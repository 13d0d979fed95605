"""Images whose patches were hidden, beside what a network made of them."""

from typing import Any

import torch
from torch import Tensor

from tasks.report import overlays, page
from tasks.report.samples import Reconstructed, Reconstructions

HIDDEN = 0.5  # brightness of a hidden patch


def draw_reconstructions(result: Reconstructions, data: Any) -> str:
    """Return a row for each image: as it is, with its patches hidden, with them reconstructed."""
    shape = data.facts()["image"]
    figures = []
    for shown in result.shown:
        whole = to_pixels(shown.target, shape, data)
        hidden = join_patches(shown.mask[:, None].expand_as(shown.target).float(), shape) > 0.5
        masked = torch.where(hidden, HIDDEN, whole)
        filled = torch.where(hidden, to_pixels(shown.value, shape, data), whole)
        share = float(shown.mask.float().mean())
        error = hidden_error(shown)
        figures += [
            page.figure(overlays.plain(whole), f"test image {shown.index}"),
            page.figure(overlays.plain(masked), f"{share:.0%} of the patches hidden"),
            page.figure(overlays.plain(filled), f"reconstructed, squared error {error:.3f}"),
        ]
    return f'<div class="triples">{"".join(figures)}</div>'


def hidden_error(shown: Reconstructed) -> float:
    """Return the squared error of the hidden patches, in the units of the network."""
    error = (shown.value - shown.target)[shown.mask]
    return float(error.square().mean())


def to_pixels(patches: Tensor, shape: dict[str, int], data: Any) -> Tensor:
    """Return patches as an image (channels, height, width) in [0, 1]."""
    return (join_patches(patches, shape) * data.std + data.mean).clamp(0, 1)


def join_patches(patches: Tensor, shape: dict[str, int]) -> Tensor:
    """Return patches (patches, rows * columns * channels) as an image (channels, height, width).

    Args:
        patches: row by row; squares where several sizes fit.
        shape: "channels", "height" and "width" of the image.
    """
    channels, height, width = shape["channels"], shape["height"], shape["width"]
    count, values = patches.shape
    pixels = values // channels
    fitting = []
    for rows in range(1, height + 1):
        columns = pixels // rows
        if rows * columns == pixels and height % rows == width % columns == 0:
            fitting.append((abs(rows - columns), rows, columns))
    _, rows, columns = min(fitting)
    assert (height // rows) * (width // columns) == count
    grid = patches.reshape(height // rows, width // columns, rows, columns, channels)
    return grid.permute(4, 0, 2, 1, 3).reshape(channels, height, width)
