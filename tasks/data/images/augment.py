"""Random changes of training images that keep their label.

Each function takes its random source; none keeps state.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def move(
    image: Tensor, source: torch.Generator, *, shift: float = 0, rotate: float = 0, scale: float = 0
) -> Tensor:
    """Shift, rotate and scale each image a little, by bilinear sampling; the outside is black.

    Args:
        image: (batch, channels, height, width).
        source: the random source.
        shift: up to this many pixels, in each direction.
        rotate: up to this many degrees, either way.
        scale: larger or smaller by up to this share.
    """
    count, _, height, width = image.shape

    def draw(most: float) -> Tensor:
        return (2 * torch.rand(count, generator=source) - 1) * most

    angle, size = draw(math.radians(rotate)), 1 + draw(scale)
    cosine, sine = angle.cos() / size, angle.sin() / size
    right, down = draw(2 * shift / width), draw(2 * shift / height)
    # from a position in the new image to one in the old, both sides from -1 to 1
    across = torch.stack([cosine, -sine * height / width, right], 1)
    along = torch.stack([sine * width / height, cosine, down], 1)
    grid = F.affine_grid(torch.stack([across, along], 1), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, align_corners=False)


def flip(image: Tensor, source: torch.Generator) -> Tensor:
    """Mirror half of the images, left to right."""
    mirrored = torch.rand(len(image), generator=source) < 0.5
    return torch.where(mirrored[:, None, None, None], image.flip(3), image)
