"""The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn: nothing to download."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.data.images.in_memory import InMemoryImages
from tasks.data.split import split
from tasks.errors import must_be_positive


class Digits(InMemoryImages):
    """UCI optical recognition of handwritten digits, the test part, as
    `sklearn.datasets.load_digits` has it.

    Args:
        size: height and width; other sizes than 8 are interpolated bilinearly, which adds pixels
            and no detail.
        options: those of `InMemoryImages`. The split is stratified and the same for every seed.
    """

    quick = True

    def __init__(self, *, size: int = 8, **options: Any):
        super().__init__(**options)
        must_be_positive("size", size)
        self.size = size

    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        image = torch.from_numpy(bunch.images).float()[:, None] / 16  # pixels are 0..16
        if self.size != image.shape[-1]:
            size = (self.size, self.size)
            image = F.interpolate(image, size=size, mode="bilinear", antialias=True)
        label = torch.from_numpy(bunch.target)
        chosen = split(label, self.val, self.test, self.split_seed)
        return {name: (image[index], label[index]) for name, index in chosen.items()}
