"""Find the largest numbers, and take elements by their number."""

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from blocks.combine.axes import axis_index
from blocks.errors import BlockError, must_be_positive


def must_be_index(x: tuple[int, ...], index: tuple[int, ...], axis: int) -> None:
    """Raise a BlockError unless an index of a shape names places on the axis of x."""
    fits = axis < len(index) <= len(x)
    for at, (size, wanted) in enumerate(zip(index, x, strict=False)):
        fits = fits and (at == axis or size == wanted)
    if not fits:
        raise BlockError(
            "the index has the axes of x up to the one where it chooses",
            got=f"x {x}, index {index}, axis={axis}",
            fits=f"{axis} to {len(x)} axes; all but axis {axis} of the same size",
            code="shape-mismatch",
        )


class TopK(nn.Module):
    """The largest numbers along an axis in descending order, and where they stand.

    Formula:
        the `count` largest x_i, and their i

    Args:
        count: how many; no more than the axis has.
        axis: index of the axis, counted from the end where negative.
        largest: false for the smallest in ascending order.

    Shape:
        any -> values, and indices: both the same with `count` on the axis

    Raises:
        BlockError: `count` is not positive; in forward: there is no such axis, or it is shorter.

    Source:
        `torch.topk`; the experts of Shazeer et al. 2017, arXiv:1701.06538, equation 5. Gradients
        flow to the values that were chosen.
    """

    outputs = ("values", "indices")

    def __init__(self, count: int, *, axis: int = -1, largest: bool = True):
        super().__init__()
        must_be_positive("count", count)
        self.count, self.axis, self.largest = count, axis, largest

    def forward(self, x: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Int[Tensor, "..."]]:
        size = x.shape[axis_index(self.axis, x.ndim)]
        if size < self.count:
            raise BlockError(
                "count must not exceed the axis",
                got=f"count={self.count}, axis {self.axis} of size {size}",
                fits=f"count in 1..{size}",
            )
        values, indices = x.topk(self.count, dim=self.axis, largest=self.largest)
        return values, indices


class ArgMax(nn.Module):
    """Where the largest number along an axis stands.

    Formula:
        the i of the largest x_i

    Args:
        axis: index of the axis, counted from the end where negative.

    Shape:
        any -> the same without the axis, whole numbers

    Raises:
        BlockError: in forward: there is no such axis.

    Source:
        `torch.argmax`; the nearest codes of van den Oord et al. 2017 (VQ-VAE), arXiv:1711.00937,
        equation 1. No gradient flows through it.
    """

    def __init__(self, axis: int = -1):
        super().__init__()
        self.axis = axis

    def forward(self, x: Shaped[Tensor, "..."]) -> Int[Tensor, "..."]:
        return x.argmax(axis_index(self.axis, x.ndim))


class Gather(nn.Module):
    """The elements of a value at given places of an axis, for each example its own.

    Formula:
        x[b, index[b, i]] for each example b; x[b, index[b]] where there is one place

    Args:
        axis: index of the axis, counted from the end where negative; 1 are the tokens.

    Shape:
        x (batch, ..., size, *rest), index (batch, ..., places), or with axes of the rest too ->
        (batch, ..., places, *rest); index (batch, ...), as of `ArgMax` -> (batch, ..., *rest)

    Raises:
        BlockError: in forward: there is no such axis, or the axes of the index are not those of x.

    Source:
        `torch.gather`; e.g. the tokens that `TopK` of their scores keeps, Rao et al. 2021
        (DynamicViT), arXiv:2106.02034.
    """

    def __init__(self, axis: int = 1):
        super().__init__()
        self.axis = axis

    def forward(self, x: Shaped[Tensor, "..."], index: Int[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        axis = axis_index(self.axis, x.ndim)
        one = index.ndim == axis
        if one:
            index = index.unsqueeze(axis)
        must_be_index(tuple(x.shape), tuple(index.shape), axis)
        rest = x.shape[index.ndim :]
        index = index.view(*index.shape, *(1 for _ in rest)).expand(*index.shape, *rest)
        found = x.gather(axis, index)
        return found.squeeze(axis) if one else found
