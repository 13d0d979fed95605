"""The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn: nothing to download."""

import torch
from torch import Tensor

from tasks.data.held import HeldImages
from tasks.data.split import split


class Digits(HeldImages):
    """UCI optical recognition of handwritten digits, the test part, as `sklearn.datasets.load_digits` has it.

    Args: those of `HeldImages`. The split is stratified and the same for every seed.
    """

    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        image = torch.from_numpy(bunch.images).float()[:, None] / 16  # pixels are 0..16
        label = torch.from_numpy(bunch.target)
        chosen = split(label, self.val, self.test, self.split_seed)
        return {name: (image[index], label[index]) for name, index in chosen.items()}
