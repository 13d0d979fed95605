"""Parts of a value, by their place on an axis."""

from jaxtyping import Shaped
from torch import Tensor, nn

from blocks.combine.axes import axis_index
from blocks.errors import BlockError, must_be_positive, must_divide


class Part(nn.Module):
    """One of several equal parts of the input along an axis; a view, nothing is copied.

    Args:
        index: which part, counted from 0.
        of: into how many parts the axis is divided.
        axis: index of the axis, counted from the end where negative.

    Shape:
        any -> the same with `axis` divided by `of`

    Raises:
        BlockError: there is no such part or axis; `of` does not divide the axis.

    Source:
        `torch.chunk`, one output a node; e.g. the halves of Dauphin et al. 2017, arXiv:1612.08083
        (GLU).
    """

    def __init__(self, index: int, of: int, *, axis: int = -1):
        super().__init__()
        must_be_positive("of", of)
        if not 0 <= index < of:
            raise BlockError(
                "there is no such part", got=f"index={index}, of={of}", fits=f"index in 0..{of - 1}"
            )
        self.index, self.of, self.axis = index, of, axis

    @property
    def idle(self) -> bool:
        return self.of == 1

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        must_divide("of", self.of, f"axis {self.axis}", x.shape[axis_index(self.axis, x.ndim)])
        return x.chunk(self.of, dim=self.axis)[self.index]


class Slice(nn.Module):
    """From one place of an axis up to another, as `x[start:stop]`; a view, nothing is copied.

    Args:
        start: the first place, counted from the end where negative.
        stop: the place after the last; None is the end.
        axis: index of the axis, counted from the end where negative.

    Shape:
        any -> the same with a shorter `axis`

    Raises:
        BlockError: nothing is left.

    Source:
        The crops of Ronneberger et al. 2015 (U-Net), arXiv:1505.04597, section 2.
    """

    def __init__(self, start: int = 0, stop: int | None = None, *, axis: int = 1):
        super().__init__()
        self.start, self.stop, self.axis = start, stop, axis

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        size = x.shape[self.axis]
        start, stop, _ = slice(self.start, self.stop).indices(size)
        if stop <= start:
            got = f"start={self.start}, stop={self.stop}, size {size}"
            raise BlockError(
                "nothing is left of the axis", got=got, fits=f"start below stop, both within {size}"
            )
        return x.narrow(self.axis, start, stop - start)


class Flip(nn.Module):
    """Reverse an axis: the last comes first.

    Args:
        axis: index of the axis, counted from the end where negative; 1 are the tokens.

    Shape:
        any -> the same

    Source:
        The backward direction of Schuster and Paliwal 1997, doi:10.1109/78.650093.
    """

    def __init__(self, axis: int = 1):
        super().__init__()
        self.axis = axis

    def forward(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        return x.flip(self.axis)
