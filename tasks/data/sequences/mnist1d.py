"""MNIST-1D: ten templates of twelve points, padded, scaled, shifted, sheared and made noisy.

Nothing to download.
"""

import random
from typing import Any

import numpy as np
import torch

from tasks.data.base import RawSample
from tasks.data.readers.signal import SignalReader
from tasks.data.sequences.base import InMemorySequences, Part
from tasks.data.split import hold_out
from tasks.errors import must_be_share

DIGITS = 10


class Mnist1d(InMemorySequences):
    """The 4,000 training and 1,000 test signals of MNIST-1D, each 40 samples long.

    The authors' own package generates them; with its default arguments they are the published file
    to 1e-15. A batch has "signal" (batch, tokens=40, dim=1), "label" and "index".

    Args:
        val: share of the training signals kept for validation, of each class.
        options: those of `InMemorySequences`.

    Raises:
        ModuleNotFoundError: the package `mnist1d` is not installed; `tasks.config.instantiate`
            reports the command that installs it.

    Source:
        Greydanus and Kobak 2020, arXiv:2011.14439.
    """

    quick = True

    reader = SignalReader

    def __init__(self, *, val: float = 0.1, **options: Any):
        import mnist1d.data  # noqa: F401 - fails early if it is missing

        super().__init__(**options)
        must_be_share("val", val)
        self.val = val

    def load(self) -> dict[str, Part]:
        made = make()
        label = torch.from_numpy(made["y"]).long()
        signal = torch.from_numpy(made["x"]).float()[:, :, None]
        stay, take = hold_out(label, self.val, self.split_seed)
        self.classes = list(map(str, range(DIGITS)))
        return {
            "train": {"signal": signal[stay], "label": label[stay]},
            "val": {"signal": signal[take], "label": label[take]},
            "test": {
                "signal": torch.from_numpy(made["x_test"]).float()[:, :, None],
                "label": torch.from_numpy(made["y_test"]).long(),
            },
        }

    def facts(self) -> dict[str, Any]:
        self.read()
        tokens, dim = self.parts["train"]["signal"].shape[1:]
        return {"signal": {"tokens": tokens, "dim": dim}, "classes": len(self.classes)}

    def reader_arguments(self) -> dict[str, Any]:
        return {"tokens": self.facts()["signal"]["tokens"]}

    def raw_sample(self, part: str, index: int) -> RawSample:
        return RawSample(signal=self.parts[part]["signal"][index, :, 0])


def make() -> dict[str, np.ndarray]:
    """Return the arrays x, y, x_test, y_test.

    The package seeds the random sources of the process; their state is restored.
    """
    from mnist1d.data import make_dataset

    python, arrays = random.getstate(), np.random.get_state()
    try:
        return make_dataset()
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
