"""Several handwritten digits on a canvas, whose set is to be named: nothing to download."""

from typing import Any

import torch
from torch import Tensor

from tasks.data.images.in_memory import InMemoryImages
from tasks.data.masks.digit_canvas import DigitCanvas
from tasks.data.readers.image import ImageReader


class CanvasLabels(DigitCanvas):
    """The canvases of `DigitCanvas`; the labels of each are the digits that are on it.

    Args:
        options: those of `DigitCanvas`.
    """

    reader = ImageReader

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.classes = list(map(str, range(10)))

    def load(self) -> dict[str, tuple[Tensor, Tensor]]:
        found = {}
        for part, (image, mask) in super().load().items():
            held = [(mask == digit + 1).flatten(1).any(1) for digit in range(10)]
            found[part] = (image, torch.stack(held, 1))
        return found

    def facts(self) -> dict[str, Any]:
        """Return the shape of a canvas, the number of classes, and the shape of a label."""
        facts = InMemoryImages.facts(self)
        return facts | {"label": {"classes": len(self.classes), "dtype": "int"}}

    def reader_arguments(self) -> dict[str, Any]:
        return InMemoryImages.reader_arguments(self)
