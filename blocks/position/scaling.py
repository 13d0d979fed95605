"""Slower rotary frequencies, for texts longer than those of the training: the part `scaling` of
`Rotary`.

All of them take the frequencies of `Rotary` in radians a token, quickest first, and give the new
ones and the factor of cosines and sines.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_positive


def must_not_shrink(factor: float) -> None:
    """Raise a BlockError unless `factor` is 1 or more."""
    if not factor >= 1:
        raise BlockError("factor must be 1 or more", got=f"factor={factor}", fits="e.g. factor=4.0")


def must_be_ordered(low: float, high: float) -> None:
    """Raise a BlockError unless 0 < low < high."""
    if not 0 < low < high:
        raise BlockError(
            "low must be positive and less than high",
            got=f"low={low}, high={high}",
            fits=f"e.g. low=1.0, high={max(high, 2.0)}",
        )


class PositionInterpolation(nn.Module):
    """Divides all frequencies by one factor.

    Args:
        factor: how many times as long the texts are, 1 or more.

    Shape:
        frequencies (half_dim) -> frequencies (half_dim), 1.0

    Raises:
        BlockError: `factor` is less than 1.

    Source:
        Chen et al. 2023, arXiv:2306.15595, section 2.3.
    """

    outputs = ("frequencies", "amplitude")

    def __init__(self, *, factor: float):
        super().__init__()
        must_not_shrink(factor)
        self.factor = factor

    def forward(
        self, frequencies: Float[Tensor, " half_dim"]
    ) -> tuple[Float[Tensor, " half_dim"], float]:
        return frequencies / self.factor, 1.0


class NTKScaling(nn.Module):
    """Divides the slowest frequency by the factor, the quickest by 1, those between them by a power
    of it: a larger base.

    Args:
        factor: how many times as long the texts are, 1 or more.

    Shape:
        frequencies (half_dim) -> frequencies (half_dim), 1.0

    Raises:
        BlockError: `factor` is less than 1.

    Source:
        Peng et al. 2023 (YaRN), arXiv:2309.00071, section 3.1, equation 16: the base becomes base ·
        factor^(dims / (dims - 2)).
    """

    outputs = ("frequencies", "amplitude")

    def __init__(self, *, factor: float):
        super().__init__()
        must_not_shrink(factor)
        self.factor = factor

    def forward(
        self, frequencies: Float[Tensor, " half_dim"]
    ) -> tuple[Float[Tensor, " half_dim"], float]:
        places = torch.linspace(
            0, 1, frequencies.shape[0], dtype=frequencies.dtype, device=frequencies.device
        )
        return frequencies * torch.pow(self.factor, -places), 1.0


class LlamaScaling(nn.Module):
    """Divides the frequencies that turn less than `low` times in a text of the training by the
    factor, keeps those that turn more than `high` times, and mixes both between them.

    Args:
        factor: how many times as long the texts are, 1 or more.
        trained: tokens of a text of the training.
        low: turns in `trained` tokens up to which a frequency is divided.
        high: turns from which it is kept.

    Shape:
        frequencies (half_dim) -> frequencies (half_dim), 1.0

    Raises:
        BlockError: `factor` is less than 1, `trained` is not positive, `low` is not below `high`.

    Source:
        Llama 3.1, as released (the mixing is linear in turns); by parts as in Peng et al. 2023,
        arXiv:2309.00071, section 3.2.
    """

    outputs = ("frequencies", "amplitude")

    def __init__(self, *, factor: float, trained: int, low: float = 1.0, high: float = 4.0):
        super().__init__()
        must_not_shrink(factor)
        must_be_positive("trained", trained)
        must_be_ordered(low, high)
        self.factor, self.trained, self.low, self.high = factor, trained, low, high

    def forward(
        self, frequencies: Float[Tensor, " half_dim"]
    ) -> tuple[Float[Tensor, " half_dim"], float]:
        turns = frequencies * self.trained / (2 * math.pi)
        kept = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        return frequencies * (kept + (1 - kept) / self.factor), 1.0


class YaRN(nn.Module):
    """Divides slow frequencies by the factor, keeps quick ones, mixes both between them along the
    components, and makes queries and keys longer.

    Args:
        factor: how many times as long the texts are, 1 or more.
        trained: tokens of a text of the training.
        low: turns in `trained` tokens up to which a frequency is divided.
        high: turns from which it is kept.
        whole: the two ends of the mixing are whole components: the first is rounded down, the last
            up.
        amplitude: factor of queries and keys. None is 0.1 ln factor + 1.

    Shape:
        frequencies (half_dim) -> frequencies (half_dim), amplitude

    Raises:
        BlockError: `factor` is less than 1, `trained` or `amplitude` is not positive, `low` is not
            below `high`; in forward: a single frequency.

    Source:
        Peng et al. 2023, arXiv:2309.00071, sections 3.2 and 3.4; linear along the components as in
        the authors' code, where the paper's equation 18 is linear in turns.
    """

    outputs = ("frequencies", "amplitude")

    def __init__(
        self,
        *,
        factor: float,
        trained: int,
        low: float = 1.0,
        high: float = 32.0,
        whole: bool = True,
        amplitude: float | None = None,
    ):
        super().__init__()
        must_not_shrink(factor)
        must_be_positive("trained", trained)
        must_be_ordered(low, high)
        must_be_positive("amplitude", 1.0 if amplitude is None else amplitude)
        self.factor, self.trained, self.low, self.high = factor, trained, low, high
        self.whole = whole
        self.amplitude = 0.1 * math.log(factor) + 1 if amplitude is None else amplitude

    def forward(
        self, frequencies: Float[Tensor, " half_dim"]
    ) -> tuple[Float[Tensor, " half_dim"], float]:
        count = frequencies.shape[0]
        if count < 2:
            raise BlockError(
                "scaling along the components needs two frequencies",
                got="a single one",
                fits="4 or more turned components",
            )
        # Frequency i is rate^i, so turns are a power of the component too.
        rate = frequencies[1].log()
        first = math.log(2 * math.pi * self.high / self.trained) / rate
        last = math.log(2 * math.pi * self.low / self.trained) / rate
        if self.whole:
            first, last = first.floor(), last.ceil()
        first, last = first.clamp(min=0), last.clamp(max=2 * count - 1)
        places = torch.arange(count, dtype=frequencies.dtype, device=frequencies.device)
        divided = ((places - first) / (last - first).clamp(min=0.001)).clamp(0, 1)
        return frequencies * (1 - divided + divided / self.factor), self.amplitude
