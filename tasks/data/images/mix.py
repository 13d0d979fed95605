"""Options that both kinds of image data share: RandAugment, random erasing, mixup and CutMix."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tasks.data.images.augment import cut_box, erase, mix_images
from tasks.data.images.decode import to_tensor
from tasks.data.images.rand_augment import LARGEST, rand_augment
from tasks.errors import ArgumentError, must_not_be_negative

Batch = dict[str, Any]


class Regularization:
    """Random changes of training images beyond crops and flips; all are off by default.

    Args:
        mixup: the parameter of the Beta distribution of shares, e.g. 0.2; 0 for none.
        cutmix: the same for CutMix, e.g. 1.0; with both, each batch has one of them.
        erase: probability that a box of an image is replaced by noise, e.g. 0.25.
        randaugment: number of changes of RandAugment, e.g. 2.
        magnitude: their strength, from 0 to 30.

    Source:
        Zhang et al. 2018, arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899; Zhong et al. 2020,
        arXiv:1708.04896; Cubuk et al. 2020, arXiv:1909.13719.
    """

    def __init__(
        self,
        *,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        erase: float = 0.0,
        randaugment: int = 0,
        magnitude: float = 9.0,
    ):
        must_not_be_negative("mixup", mixup)
        must_not_be_negative("cutmix", cutmix)
        must_not_be_negative("randaugment", randaugment)
        must_be_within("erase", erase, 1)
        must_be_within("magnitude", magnitude, LARGEST)
        self.mixup, self.cutmix, self.erase_probability = mixup, cutmix, erase
        self.changes, self.magnitude = randaugment, magnitude

    @property
    def mixes(self) -> bool:
        """Whether batches are mixed, and their labels with them."""
        return bool(self.mixup or self.cutmix)

    def check_channels(self, channels: int) -> None:
        """Raise an ArgumentError where images have channels that RandAugment cannot change."""
        if self.changes and channels not in (1, 3):
            raise ArgumentError(
                "randaugment",
                "RandAugment changes grey and RGB images",
                got=f"{channels} channels",
                fits="randaugment=0",
            )

    def change_image(self, image: Image.Image, source: torch.Generator) -> Image.Image:
        """Apply RandAugment to an image before it is normalised."""
        if not self.changes:
            return image
        return rand_augment(image, source, changes=self.changes, magnitude=self.magnitude)

    def change_tensors(self, images: Tensor, source: torch.Generator) -> Tensor:
        """Apply RandAugment to images (batch, channels, height, width) in [0, 1]."""
        if not self.changes:
            return images
        changed = []
        for image in images:
            changed.append(to_tensor(self.change_image(to_image(image), source), len(image)))
        return torch.stack(changed)

    def erase(self, images: Tensor, source: torch.Generator) -> Tensor:
        """Erase a box of some normalised images (batch, channels, height, width)."""
        if not self.erase_probability:
            return images
        return torch.stack([erase(image, source, self.erase_probability) for image in images])

    def mix(self, batch: Batch, source: torch.Generator) -> Batch:
        """Mix the normalised images of a batch with one another.

        Returns:
            The batch with "label", the label of the larger share, "label_mixed", that of the
            smaller one, and "label_share", the larger share, (batch,), the same in all rows.
        """
        if not self.mixes:
            return batch
        image, label = batch["image"], batch["label"]
        # from the same source: the draws of NumPy follow from it
        draws = np.random.default_rng(int(torch.randint(2**62, (), generator=source)))
        order = torch.from_numpy(draws.permutation(len(image)))
        cuts = bool(self.cutmix)
        if self.mixup and self.cutmix:
            cuts = bool(draws.random() < 0.5)
        alpha = self.cutmix if cuts else self.mixup
        share = float(draws.beta(alpha, alpha))
        if cuts:
            height, width = image.shape[-2:]
            across, down = draws.random(2).tolist()
            box, share = cut_box(height, width, share, (down, across))
            mixed = image.clone()
            mixed[:, :, box[0], box[1]] = image[order][:, :, box[0], box[1]]
        else:
            mixed = mix_images(image, order, share)
        first, second = label, label[order]
        if share < 0.5:
            first, second, share = second, first, 1 - share
        shares = torch.full((len(image),), share)
        labels = {"label": first, "label_mixed": second, "label_share": shares}
        return batch | {"image": mixed, **labels}


def to_image(tensor: Tensor) -> Image.Image:
    """Return an image (channels, height, width) in [0, 1] with one byte for each value."""
    array = (tensor.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    if array.shape[2] == 1:
        array = array[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(array))


def must_be_within(argument: str, value: float, largest: float) -> None:
    """Raise an ArgumentError unless a value lies from 0 to the largest one."""
    if not 0 <= value <= largest:
        raise ArgumentError(
            argument,
            f"{argument} must be from 0 to {largest:g}",
            got=f"{argument}={value}",
            fits=f"0 to {largest:g}; 0 for none",
        )
