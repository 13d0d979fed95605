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


def erase(image: Tensor, source: torch.Generator, probability: float) -> Tensor:
    """Replace a random box of a normalised image by normal noise, with some probability.

    The box has 2 to 33 % of the area, and sides of 0.3 to 1 / 0.3 times each other.

    Args:
        image: (channels, height, width).
        source: the random source.
        probability: of a box.

    Source:
        Zhong et al. 2020, arXiv:1708.04896, algorithm 1, with noise of deviation 1 in each pixel.
    """
    if torch.rand((), generator=source) >= probability:
        return image
    _, height, width = image.shape
    area, ratio, down, across = torch.rand(4, generator=source).tolist()
    area = (0.02 + 0.31 * area) * height * width
    proportion = math.exp((2 * ratio - 1) * math.log(1 / 0.3))
    high = min(round(math.sqrt(area * proportion)), height)
    wide = min(round(math.sqrt(area / proportion)), width)
    top, left = int(down * (height - high + 1)), int(across * (width - wide + 1))
    erased = image.clone()
    noise = torch.randn(len(image), high, wide, generator=source)
    erased[:, top : top + high, left : left + wide] = noise
    return erased


def mix_images(image: Tensor, order: Tensor, share: float) -> Tensor:
    """Return a share of each image plus the rest of another one, as mixup does.

    Args:
        image: (batch, channels, height, width).
        order: the number of the other image, (batch,).
        share: of the first image.
    """
    return share * image + (1 - share) * image[order]


def cut_box(
    height: int, width: int, share: float, center: tuple[float, float]
) -> tuple[tuple[slice, slice], float]:
    """Return the box that CutMix takes from another image, and the share that is left of the first.

    Args:
        height: of an image.
        width: of an image.
        share: of the first image, before the box is cut at the border.
        center: of the box, down and across, in [0, 1).

    Source:
        Yun et al. 2019, arXiv:1905.04899, section 3.1.
    """
    rows = cut_side(height, share, center[0])
    columns = cut_side(width, share, center[1])
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return (rows, columns), 1 - area / (height * width)


def cut_side(size: int, share: float, center: float) -> slice:
    """Return one side of a box with the share 1 - `share` of the area, cut at the border."""
    half = int(size * math.sqrt(1 - share)) // 2
    middle = int(center * size)
    return slice(max(middle - half, 0), min(middle + half, size))
